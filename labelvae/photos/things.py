"""Things that lie on a sheet or a desk and are no writing: labels, stickers, coins, magnets."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from labelvae.photos.found import Found

RECTANGLE = 0.92
"""Share of the tightest rectangle, turned as it may be, that a thing with straight sides fills at least."""

ROUND = 0.97
"""Share of the ellipse of the same spread that a round thing fills at least."""

LEAST_BLANK = 0.7
"""Share of a thing that is blank at least; a 0 has a larger hole."""

NARROW = 0.4
"""Shorter side over longer side of a bar, as a 1 is; things are wider."""

NEARLY_ROUND = 0.8
"""The same of a round thing at least on which a 0 or a 1 is written; a thick 0 is narrower."""

CONVEX = 0.85
"""Share of such an ellipse that the hole of a 0 or an 8 fills at least."""

BARE = 0.9
"""Share of a round thing that is blank at least where a 0 or a 1 is written on it; a thick 0 has a larger hole."""

SMALLEST = 0.04
"""Longer side of a thing over that of the picture, at least; smaller ones are specks."""

ROD = 0.2
"""Shorter half axis over longer one of a rod, at most."""

LONGER = 1.5
"""How much longer than each digit a pen is that lies beside them, at least."""

THICKER = 1.4
"""How much thicker than their strokes it is, at least."""

SPECK = 0.15
"""Longer side of a digit over the length of such a pen, at least; less is a speck."""


def is_label(ink: np.ndarray) -> bool:
    """Return whether ink is a label of paper or the face of a plate, turned by any angle, with something on it.

    Args:
        ink: share of each pixel that ink covers, `(h, w)` in [0, 1].
    """
    mask = np.pad(ink > 0.4, 1)
    filled = ndimage.binary_fill_holes(mask)
    blank = float(mask.sum() / filled.sum())
    if not LEAST_BLANK < blank < 1.0:
        return False
    return is_rectangle(filled) or (_is_round(filled) and not _is_loop(filled & ~mask, filled, blank))


def things_in(mask: np.ndarray) -> np.ndarray:
    """Return the parts of a mask `(H, W)` that are solid and have the outline of a rectangle or an ellipse.

    Specks are left out: many of them are a scene or a pattern.
    """
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    things = np.zeros_like(mask)
    for index, box in enumerate(ndimage.find_objects(labels), 1):
        sides = [side.stop - side.start for side in box]
        if max(sides) < SMALLEST * max(mask.shape):
            continue
        piece = labels[box] == index
        if min(sides) <= NARROW * max(sides) or piece.mean() < 0.4 * LEAST_BLANK:  # half of its box, if it lies aslant
            continue
        piece = np.pad(piece, 1)
        filled = ndimage.binary_fill_holes(piece)
        if piece.sum() > LEAST_BLANK * filled.sum() and (_is_round(filled) or is_rectangle(filled)):
            things[box] |= filled[1:-1, 1:-1] & mask[box]
    return things


def rods_among(found: list[Found]) -> list[Found]:
    """Return the straight rods, such as a pen or a ruler, that are longer and thicker than the strokes beside them."""
    rods = [one for one in found if _is_rod(one)]
    strokes = [one for one in found if not any(one is rod for rod in rods)]

    def stands_out(rod: Found) -> bool:
        length = float(np.hypot(*rod.ink.shape))
        beside = [one for one in strokes if max(one.ink.shape) > SPECK * length]
        return bool(beside) and all(
            length > LONGER * max(one.ink.shape) and rod.width > THICKER * one.width for one in beside
        )

    return [rod for rod in rods if stands_out(rod)]


def _is_rod(found: Found) -> bool:
    axes = spread(found.ink > 0.4)[1]
    return bool(axes[0] < ROD * axes[1])


def is_rectangle(filled: np.ndarray, share: float = RECTANGLE) -> bool:
    """Return whether a mask without holes fills that share of the tightest rectangle about it."""
    edge = np.argwhere(filled & ~ndimage.binary_erosion(filled))
    angles = np.deg2rad(np.arange(0, 90, 2))
    axes = np.stack([np.cos(angles), np.sin(angles)]), np.stack([-np.sin(angles), np.cos(angles)])
    sides = [np.ptp(edge @ axis, axis=0) + 1 for axis in axes]
    return bool(filled.sum() > share * (sides[0] * sides[1]).min())


def _is_round(filled: np.ndarray) -> bool:
    """Return whether a mask without holes fills an ellipse."""
    area, axes = spread(filled)
    return bool(area > ROUND * np.pi * axes[0] * axes[1])


def _is_loop(hole: np.ndarray, filled: np.ndarray, blank: float) -> bool:
    """Return whether the holes in a round mask are those of a thick 0 or 8: convex as an ellipse, nothing written."""
    labels, count = ndimage.label(hole)
    spreads = [spread(labels == index) for index in range(1, count + 1)]
    if count > 2 or any(area < CONVEX * np.pi * axes[0] * axes[1] for area, axes in spreads):
        return False
    short, long = spread(filled)[1]
    return not (blank > BARE and short > NEARLY_ROUND * long)


def spread(mask: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the area of a mask, and the half axes of the ellipse whose pixels spread as far, the shorter one first."""
    points = np.argwhere(mask).astype(float)
    spread = np.cov(points.T, bias=True) + np.eye(2) / 12  # a pixel is a square
    return float(len(points)), 2 * np.sqrt(np.linalg.eigvalsh(spread))
