"""The strokes of one digit of a photograph: cut out, turned, joined with others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from torch import Tensor

from labelvae.photos.frames import fit_ink
from labelvae.photos.pieces import Box, longer_side, on_paper

LEAST_CUT = 0.25
"""Length of a stroke at the picture's edge that is told of, over that of the longest digit."""

MOST_CUT = 2.0
"""The same at most; a longer one is the edge of a table or a line of the paper."""

MOST_UNLIKE = 2.5
"""How much thicker or thinner than the digits' such a stroke is, at most."""


@dataclass(frozen=True)
class Found:
    """The strokes of one digit in a photograph.

    Attributes:
        box: left, top, right and bottom in pixels of the upright photograph.
        ink: share of each pixel that ink covers, `(h, w)` float32 in [0, 1], at the size of the working copy.
        scale: pixels of the photograph for each pixel of `ink`.
        bright: whether the strokes are brighter than the paper.
        width: width of the strokes, in pixels of `ink`.
        contrast: how far the ink is from the paper, in (0, 1].
        with_spot: the same strokes and a bright spot that may hide a part of them, taken for ink; None without one.
    """

    box: tuple[int, int, int, int]
    ink: np.ndarray
    scale: float
    bright: bool
    width: float
    contrast: float
    with_spot: Found | None = None

    def fit(self, height: int, width: int) -> Tensor:
        """Scale and centre the strokes as MNIST's were, `(1, H, W)` in [0, 1].

        The longer side becomes 20/28 of the frame, and the centre of mass the centre of the frame. Strokes of a very
        fine pen are widened to 1.8/28 of the frame.
        """
        return fit_ink(self.ink, height, width, self.width).image


class PassedOver(NamedTuple):
    """How many marks in a photograph were seen, and taken for no digits.

    Attributes:
        at_edge: strokes that the picture's edge may cut.
        beside: lines, brackets, frames and pens beside the digits.
        letters: small letters, three and more in a row.
    """

    at_edge: int = 0
    beside: int = 0
    letters: int = 0

    def said(self) -> str:
        """Return in words what was passed over; nothing where nothing was."""
        kinds = (
            (self.at_edge, "mark{s} at the picture's edge"),
            (self.beside, "line{s}, bracket{s} or frame{s} beside the digits"),
            (self.letters, "small letter{s}"),
        )
        listed = [f"{count} {name.replace('{s}', 's' if count > 1 else '')}" for count, name in kinds if count]
        return f"passed over: {' and '.join(listed)}" if listed else ""


class Writing(NamedTuple):
    """What was found in a photograph.

    Attributes:
        digits: in reading order.
        parts: smaller strokes that may be parts of the digits, such as a 5's hat that lies far from it.
        passed_over: what was taken for no digit.
    """

    digits: list[Found]
    parts: list[Found]
    passed_over: PassedOver = PassedOver()


def cut_out(ink: np.ndarray, labels: np.ndarray, place: Box, members: list[int], bright: bool, scale: float) -> Found:
    """Cut out the ink of one digit, and measure it.

    Args:
        ink: how far each pixel is from its paper, `(H, W)`.
        labels: the labels of the connected pieces, `(H, W)`.
        place: the rows and columns that hold the digit.
        members: labels of the pieces that are the digit's.
        bright: whether the strokes are brighter than the paper.
        scale: pixels of the photograph for each pixel of `ink`.
    """
    top, left = (max(0, side.start - 2) for side in place)
    bottom, right = (min(length, side.stop + 2) for side, length in zip(place, ink.shape, strict=True))
    piece = np.isin(labels[top:bottom, left:right], members)
    near = ndimage.binary_dilation(piece, np.ones((3, 3), bool), iterations=2)
    full = float(np.quantile(ink[top:bottom, left:right][piece], 0.8))
    cover = ((ink[top:bottom, left:right] / full - 0.15) / 0.75).clip(0, 1) * near
    solid = ndimage.binary_closing(np.pad(cover > 0.3, 4), np.ones((3, 3), bool), iterations=2)  # no grain
    depth = ndimage.distance_transform_edt(solid)
    ridge = (depth == ndimage.maximum_filter(depth, 7)) & (depth > 0)
    width = 2 * float(np.quantile(depth[ridge], 0.6)) - 1 if ridge.any() else 1.0
    rows, columns = (np.flatnonzero((cover > 0.25).any(axis=axis)) for axis in (1, 0))
    cover = cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    left, top = left + int(columns[0]), top + int(rows[0])
    right, bottom = left + cover.shape[1], top + cover.shape[0]
    box = (round(left * scale), round(top * scale), round(right * scale), round(bottom * scale))
    return Found(box, cover.astype(np.float32), scale, bright, max(width, 1.0), full)


def like_strokes(levels: np.ndarray, ink: np.ndarray, labels: np.ndarray, cut: list[int], found: list[Found]) -> int:
    """Return how many of the pieces at the picture's edge are as thick, as dark and as long as strokes of the digits.

    Args:
        levels: the picture, `(H, W, 3)` in [0, 1].
        ink: how far each pixel is from its paper, `(H, W)`.
        labels: the label of each pixel, `(H, W)`.
        cut: the labels of the pieces at the edge.
        found: the digits.
    """
    if not found:
        return 0
    tallest = max(max(one.ink.shape) for one in found)
    widths, contrasts = [one.width for one in found], [one.contrast for one in found]
    boxes, count = ndimage.find_objects(labels), 0
    for index in cut:
        box = boxes[index - 1]
        piece = labels[box] == index
        thick = 2 * float(ndimage.distance_transform_edt(np.pad(piece, 1)).max())
        as_thick = min(widths) / MOST_UNLIKE < thick < MOST_UNLIKE * max(widths)
        as_dark = float(np.quantile(ink[box][piece], 0.8)) > 0.6 * max(contrasts)
        as_long = LEAST_CUT < longer_side(box) / tallest < MOST_CUT
        count += as_thick and as_dark and as_long and on_paper(levels, labels, index, box, thick)
    return count


def turned(found: Found, quarters: int, size: tuple[int, int]) -> Found:
    """Turn a digit with its photograph, counterclockwise.

    Args:
        found: the digit.
        quarters: the number of times 90 degrees.
        size: width and height of the photograph before it is turned.
    """
    left, top, right, bottom = found.box
    width, height = size
    for _ in range(quarters % 4):
        left, top, right, bottom = top, width - right, bottom, width - left
        width, height = height, width
    return replace(found, box=(left, top, right, bottom), ink=np.ascontiguousarray(np.rot90(found.ink, quarters)))


def joined(one: Found, other: Found) -> Found:
    """Join two parts of a digit, of the same photograph and the same kind of ink."""
    left, top = min(one.box[0], other.box[0]), min(one.box[1], other.box[1])
    places = [
        (round((part.box[1] - top) / part.scale), round((part.box[0] - left) / part.scale)) for part in (one, other)
    ]
    height, width = (
        max(place[axis] + part.ink.shape[axis] for place, part in zip(places, (one, other), strict=True))
        for axis in (0, 1)
    )
    ink = np.zeros((height, width), np.float32)
    for (y, x), part in zip(places, (one, other), strict=True):
        view = ink[y : y + part.ink.shape[0], x : x + part.ink.shape[1]]
        np.maximum(view, part.ink, out=view)
    box = (left, top, max(one.box[2], other.box[2]), max(one.box[3], other.box[3]))
    larger = max(one, other, key=lambda part: float(part.ink.sum()))
    return replace(larger, box=box, ink=ink)


def in_reading_order(found: list[Found]) -> list[Found]:
    """Sort row by row, from left to right. Digits are in one row if the middle of one is beside the other."""
    rows: list[list[Found]] = []
    for one in sorted(found, key=lambda one: one.box[1] + one.box[3]):
        if rows and any(_beside(one, other) or _beside(other, one) for other in rows[-1]):
            rows[-1].append(one)
        else:
            rows.append([one])
    return [one for row in rows for one in sorted(row, key=lambda one: one.box[0])]


def _beside(one: Found, other: Found) -> bool:
    """Return whether the middle of one is between the top and the bottom of the other."""
    return other.box[1] < (one.box[1] + one.box[3]) / 2 < other.box[3]
