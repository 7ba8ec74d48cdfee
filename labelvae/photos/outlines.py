"""Digits that are drawn in outline: one line about a stroke that is left white."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.morphology import convex_hull_image

from labelvae.photos.things import spread

OPEN = 0.03
"""Half the widest gap that a hand leaves in an outline, as a share of the longer side."""

SPECK = 0.002
"""Share of its box that a hole fills at least; less is a speck."""

HUGGING = 0.95
"""Share of the ink that lies along the hole at least; a 6 and a 9 have tails."""

THIN = 1.5
"""Widest place of the hole over the width of the strokes, at least; the hole of a thick narrow 0 is narrower."""

NARROW = 0.1
"""The same over the longer side: a narrower hole closes in a model's frame, and a stroke is left."""

LONG = 3.4
"""Length of a hole over its width from which it is a stroke; the holes of nearly all 0s are wider."""

BENT = 0.8
"""Share of its convex hull that a hole covers at most where it is a bent stroke; that of a 0 is convex."""


def is_outline(ink: np.ndarray) -> bool:
    """Return whether ink is the outline of a stroke, whole or with small gaps.

    Args:
        ink: share of each pixel that ink covers, `(h, w)` in [0, 1].
    """
    gap = max(1, round(OPEN * max(ink.shape)))
    mask = np.pad(ink > 0.4, gap + 1)
    whole, wide = ndimage.binary_fill_holes(mask), ndimage.binary_dilation(mask, np.ones((3, 3), bool), iterations=gap)
    linked = ndimage.binary_erosion(ndimage.binary_fill_holes(wide), np.ones((3, 3), bool), iterations=gap) | mask
    return any(_surrounds_stroke(mask, filled & ~mask) for filled in (whole, ndimage.binary_fill_holes(linked)))


def _surrounds_stroke(mask: np.ndarray, holes: np.ndarray) -> bool:
    """Return whether a mask has one hole, runs along it, and the hole is long or bent as a stroke is."""
    labels, _ = ndimage.label(holes)
    large = np.flatnonzero(np.bincount(labels.ravel())[1:] > SPECK * mask.size) + 1
    if len(large) != 1:
        return False
    hole = labels == large[0]
    width = 4 * float(np.median(ndimage.distance_transform_edt(mask)[mask]))
    open_width = 2 * float(ndimage.distance_transform_edt(hole).max())
    far = ndimage.distance_transform_edt(~hole)[mask]
    if (far <= width + 2).mean() < HUGGING or open_width < max(THIN * width, NARROW * max(mask.shape)):
        return False
    short, long = spread(hole)[1]
    return bool(long > LONG * short or hole.sum() < BENT * convex_hull_image(hole).sum())
