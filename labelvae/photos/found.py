"""The strokes of one digit of a photograph: cut out, turned, joined with others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from torch import Tensor

from labelvae.photos.frames import fit_ink
from labelvae.photos.pieces import Box


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
    """

    box: tuple[int, int, int, int]
    ink: np.ndarray
    scale: float
    bright: bool
    width: float
    contrast: float

    def fit(self, height: int, width: int) -> Tensor:
        """Scale and centre the strokes as MNIST's were, `(1, H, W)` in [0, 1].

        The longer side becomes 20/28 of the frame, and the centre of mass the centre of the frame. Strokes of a very
        fine pen are widened to 1.8/28 of the frame.
        """
        return fit_ink(self.ink, height, width, self.width).image


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
