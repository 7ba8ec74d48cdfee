"""Find the written digits in a photograph: dark on bright or bright on dark, on any paper, in any light.

1. The photograph is reduced. Its paper is what remains when all that is thinner than a stroke can be is filled in
   (a morphological closing, or opening for bright strokes). Shadows with a straight edge, lamps and tables are
   larger than that, and stay paper. What differs from the paper, and also from the local median, is ink.
2. Printed lines are taken out (`labelvae.paper_lines`).
3. Ink that is connected is a piece. Pieces at the border, solid ones and specks are no digits; pieces that lie
   close together are one digit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage
from torch import Tensor

from labelvae.frames import fit_ink
from labelvae.paper_lines import without_lines
from labelvae.pieces import MOST_DIGITS, drawn_inside, grouped, pieces_of
from labelvae.pixels import eight_bits, plain

WORKING_SIDE = 1000
"""Longest side of the copy that digits are looked for in."""

SMALLEST_SIDE = 250
"""A smaller picture is enlarged to this longest side."""

WIDEST_STROKE = 0.28
"""Widest stroke that is found, as a share of the shorter side of the picture."""

FAINTEST = 0.07
"""Least contrast between ink and paper."""

LEAST_SHARE = 0.5
"""Share of all ink in the picture that is in its digits; less is a scene or a text."""


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


def find_digits(picture: Image.Image, bright: bool | None = None) -> list[Found]:
    """Find the written digits in a photograph, in reading order.

    Args:
        picture: a photograph, scan or drawing of any size and mode.
        bright: whether the strokes are brighter than the paper; None finds out.

    Returns:
        The digits found, row by row and from left to right; at least one.

    Raises:
        ValueError: no strokes were found, or too many to be digits.
    """
    picture = eight_bits(plain(picture, "RGB"))
    longest = max(picture.size)
    factor = min(1.0, WORKING_SIDE / longest) if longest > SMALLEST_SIDE else SMALLEST_SIDE / longest
    size = (max(8, round(picture.width * factor)), max(8, round(picture.height * factor)))
    small = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0) if size != picture.size else picture
    levels = ndimage.gaussian_filter(np.asarray(small, dtype=np.float32) / 255.0, (0.7, 0.7, 0))
    best: list[Found] = []
    for kind, ink in zip((False, True), ink_maps(levels), strict=True):
        found = _digits(levels, ink, kind, picture.width / size[0]) if bright in (None, kind) else []
        if _weight(found) > _weight(best):
            best = found
    if not best:
        raise ValueError(
            "strokes: found no digit; expected dark strokes on bright paper or bright strokes on a dark board, "
            "inside the picture; write larger or darker, or crop the photograph to the digit"
        )
    if len(best) > MOST_DIGITS:
        raise ValueError(
            f"strokes: found {len(best)} pieces of writing, expected 1 to {MOST_DIGITS} digits; crop the photograph "
            "to the digits"
        )
    return best


def ink_maps(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure how far each pixel is from the paper around it.

    Args:
        levels: `(H, W, 3)` in [0, 1].

    Returns:
        Two maps `(H, W)` in [0, 1]: of ink darker than the paper, and of ink brighter than the paper.
    """
    height, width = levels.shape[:2]
    reach = 2 * max(2, round(0.5 * WIDEST_STROKE * min(height, width))) + 1
    dark, bright = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for level, usual in zip(np.moveaxis(levels, 2, 0), np.moveaxis(_local_median(levels), 2, 0), strict=True):
        above = ndimage.minimum_filter(ndimage.maximum_filter(level, reach), reach)
        below = ndimage.maximum_filter(ndimage.minimum_filter(level, reach), reach)
        fall = np.minimum(above, usual) - level
        np.maximum(dark, fall / np.minimum(above, usual).clip(0.08), out=dark)
        np.maximum(bright, level - np.maximum(below, usual), out=bright)
    return dark.clip(0, 1), bright.clip(0, 1)


def _local_median(levels: np.ndarray) -> np.ndarray:
    """The median of a large neighbourhood of each pixel, `(H, W, 3)`."""
    height, width = levels.shape[:2]
    step = max(1, round(max(height, width) / 64))
    small = np.stack(
        [ndimage.uniform_filter(levels[..., c], step)[step // 2 :: step, step // 2 :: step] for c in range(3)]
    )
    window = 2 * round(0.2 * min(small.shape[1:])) + 1
    middle = np.stack([ndimage.median_filter(channel, window, mode="nearest") for channel in small])
    rows, columns = ((np.arange(n, dtype=np.float32) - step // 2) / step for n in (height, width))
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([ndimage.map_coordinates(channel, grid, order=1, mode="nearest") for channel in middle], axis=2)


def _digits(levels: np.ndarray, ink: np.ndarray, bright: bool, scale: float) -> list[Found]:
    """The digits in a map of ink; `levels` are what the map was made from."""
    middle = float(np.median(ink))
    spread = 1.4826 * float(np.median(np.abs(ink - middle)))
    floor = max(FAINTEST, middle + 5 * spread)
    ink = without_lines(ink, floor)
    labels, boxes = pieces_of(levels, ink, floor)
    groups = grouped(labels, boxes)
    groups = [members for members in groups if not drawn_inside(labels, members)]
    found = [_cut(ink, np.isin(labels, members), bright, scale) for members in groups]
    tallest = max((max(one.ink.shape) for one in found), default=0)
    contrast = max((one.contrast for one in found), default=0)
    found = [one for one in found if max(one.ink.shape) > 0.5 * tallest and one.contrast > 0.6 * contrast]
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    all_ink = float(ink[(labels > 0) & ~np.isin(labels, border)].sum())
    if sum(float(one.ink.sum()) * one.contrast for one in found) < LEAST_SHARE * all_ink:
        return []
    return _in_reading_order(found)


def _cut(ink: np.ndarray, mask: np.ndarray, bright: bool, scale: float) -> Found:
    """The ink of one digit, and its measures."""
    (top, bottom), (left, right) = (
        (seen[0], seen[-1] + 1) for seen in (np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0)))
    )
    top, left = max(0, top - 2), max(0, left - 2)
    bottom, right = min(ink.shape[0], bottom + 2), min(ink.shape[1], right + 2)
    piece = mask[top:bottom, left:right]
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


def _weight(found: list[Found]) -> float:
    return sum(float(one.ink.sum()) * one.contrast for one in found)


def _in_reading_order(found: list[Found]) -> list[Found]:
    """Row by row, and from left to right; digits whose middles are within half a height are in one row."""
    rows: list[list[Found]] = []
    for one in sorted(found, key=lambda one: one.box[1] + one.box[3]):
        middle = (one.box[1] + one.box[3]) / 2
        if rows and any(other.box[1] < middle < other.box[3] for other in rows[-1]):
            rows[-1].append(one)
        else:
            rows.append([one])
    return [one for row in rows for one in sorted(row, key=lambda one: one.box[0])]
