"""Marks beside and about digits that no hand writes as a digit: a ruler's line or a pen, brackets, frames of forms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from labelvae.photos.pieces import SMALLEST_PIECE, Box, is_encircled, longer_side
from labelvae.photos.things import ROD, is_rectangle, spread

STRAIGHT = 0.0015
"""How far the middle of a line strays from straight, as a share of its length, at most. A hand's 1 strays by more."""

BEYOND = 1.1
"""How much longer a straight line is than each piece of writing beside it, at least."""

LEAST_LENGTH = 60
"""Length of a line at least, in pixels, to tell how straight it is."""

MANY = 3
"""That many straight lines are printed, however long they are."""

SLICES = 20
"""Slices along a line of which the middle is followed."""

BOW = 0.05
"""Height of a bracket's bow over its length, at least. Most 1s are straighter."""

SINGLE_BOW = 0.08
"""The same of a bracket without a partner."""

UNLIKE = 1.3
"""How much longer one bracket of a pair is than the other, at most."""

ROUNDED = 0.85
"""Share of the tightest rectangle that a frame encloses at least; one that a hand draws has round corners."""

OPEN = 0.03
"""Half the widest gap in a frame, as a share of its longer side."""

HOLLOW = 0.4
"""Share of the area of a frame that is drawn, at most."""


class _Line(NamedTuple):
    """A long thin piece.

    Attributes:
        length: in pixels.
        strays: from straight, as a share of the length.
        bow: to the right if positive, as a share of the length.
    """

    length: float
    strays: float
    bow: float


def marks_among(labels: np.ndarray, boxes: dict[int, Box]) -> list[int]:
    """Return the labels of pieces that are no part of a digit: straight lines, brackets, frames about digits.

    Args:
        labels: the label of each pixel, `(H, W)`.
        boxes: by label the box of each piece.
    """
    longest = max((longer_side(box) for box in boxes.values()), default=0)
    large = {index: box for index, box in boxes.items() if longer_side(box) > SMALLEST_PIECE * longest}
    frames = [index for index, box in large.items() if _is_frame(labels, index, box, large)]
    written = {index: box for index, box in large.items() if index not in frames}
    lines = {index: _line(labels[box] == index) for index, box in written.items()}
    rods = _rods(written, lines)
    brackets = _brackets({index: box for index, box in written.items() if index not in rods}, lines)
    return [*frames, *rods, *brackets]


def _line(piece: np.ndarray) -> _Line | None:
    """Follow the middle of a piece; None if it is not long and thin."""
    axes = spread(piece)[1]
    if axes[0] >= ROD * axes[1]:
        return None
    points = np.argwhere(piece).astype(float)
    points -= points.mean(axis=0)
    down, across = np.linalg.eigh(np.cov(points.T))[1][:, 1]
    sign = 1.0 if down >= 0 else -1.0
    along, aside = sign * (points @ [down, across]), sign * (points @ [-across, down])
    length = float(np.ptp(along)) + 1
    slices = ((along - along.min()) / length * SLICES).astype(int)
    counts = np.bincount(slices, minlength=SLICES)
    if not counts.all():
        return None
    middle = np.bincount(slices, aside, SLICES) / counts
    place = np.linspace(-1, 1, SLICES)
    strays = (middle - np.polyval(np.polyfit(place, middle, 1), place))[1:-1].std()
    return _Line(length, float(strays) / length, -float(np.polyfit(place, middle, 2)[0]) / length)


def _rods(boxes: dict[int, Box], lines: dict[int, _Line | None]) -> list[int]:
    """Return the lines straighter than a hand draws, if they are many or longer than all writing beside them."""
    straight = {
        index: line
        for index in boxes
        if (line := lines[index]) and line.strays < STRAIGHT and line.length > LEAST_LENGTH
    }
    beside = [longer_side(box) for index, box in boxes.items() if index not in straight]
    if not beside:
        return []
    many = len(straight) >= MANY
    return [index for index, line in straight.items() if many or line.length > BEYOND * max(beside)]


def _brackets(boxes: dict[int, Box], lines: dict[int, _Line | None]) -> list[int]:
    """Return the pieces that bow away from a digit, and reach beyond its top and its foot."""
    bowed = {index: line for index in boxes if (line := lines[index]) and abs(line.bow) > BOW}
    found = set[int]()
    for index, line in bowed.items():
        inner = [other for other in boxes if other not in bowed and _opens_to(boxes[index], line, boxes[other])]
        for digit in inner:
            partners = [
                other
                for other, far in bowed.items()
                if far.bow * line.bow < 0
                and _opens_to(boxes[other], far, boxes[digit])
                and max(far.length, line.length) < UNLIKE * min(far.length, line.length)
            ]
            if partners or abs(line.bow) > SINGLE_BOW:
                found |= {index, *partners}
    return sorted(found)


def _opens_to(bracket: Box, line: _Line, digit: Box) -> bool:
    """Return whether a bracket's hollow side is towards a digit close to it, which is less high at both ends."""
    if not (bracket[0].start < digit[0].start and bracket[0].stop > digit[0].stop):
        return False
    gap = digit[1].start - bracket[1].stop if line.bow < 0 else bracket[1].start - digit[1].stop
    return bool(-0.1 * line.length < gap < 0.8 * line.length)


def _is_frame(labels: np.ndarray, own: int, box: Box, boxes: dict[int, Box]) -> bool:
    """Return whether a piece is the outline of a rectangle about another piece, or a row of such outlines."""
    piece = labels[box] == own
    gap, square = max(2, round(OPEN * longer_side(box))), np.ones((3, 3), bool)
    wide = ndimage.binary_dilation(np.pad(piece, gap + 1), square, iterations=gap)  # closes what a hand leaves open
    filled = ndimage.binary_erosion(ndimage.binary_fill_holes(wide), square, iterations=gap)[gap + 1 : -gap - 1]
    filled = filled[:, gap + 1 : -gap - 1] | piece
    if piece.sum() > HOLLOW * filled.sum() or not is_rectangle(np.pad(filled, 1), ROUNDED):
        return False
    others = {index: other for index, other in boxes.items() if index != own}
    inner = (np.argwhere(labels[other] == index) + [side.start for side in other] for index, other in others.items())
    return any(is_encircled(points, filled, box) for points in inner)
