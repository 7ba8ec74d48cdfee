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
from scipy.spatial import cKDTree
from torch import Tensor

from labelvae.frames import fit_ink
from labelvae.paper_lines import without_lines
from labelvae.reading import plain

WORKING_SIDE = 1000
"""Longest side of the copy that digits are looked for in."""

SMALLEST_SIDE = 250
"""A smaller picture is enlarged to this longest side."""

WIDEST_STROKE = 0.28
"""Widest stroke that is found, as a share of the shorter side of the picture."""

FAINTEST = 0.07
"""Least contrast between ink and paper."""

SMALLEST_DIGIT = 0.025
"""Longer side of the smallest digit that is found, as a share of the longest side of the picture."""

SMALLEST_PIECE = 0.1
"""Longer side of the smallest piece of a digit, as a share of the longer side of the largest piece."""

LARGEST_STROKE = 0.06
"""Thicker things at the border, as a share of the longest side, are a table or a hand, and all that is joined to them."""

LEAST_SHARE = 0.5
"""Share of all ink in the picture that is in its digits; less is a scene or a text."""

MOST_DIGITS = 12
"""More pieces than this are text or a pattern."""

Box = tuple[slice, slice]
Pieces = tuple[np.ndarray, dict[int, Box]]
"""The label of each pixel, 0 for no piece, and by label the box of each piece that is kept."""


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


def find_digits(picture: Image.Image) -> list[Found]:
    """Find the written digits in a photograph, in reading order.

    Args:
        picture: a photograph, scan or drawing of any size and mode.

    Returns:
        The digits found, row by row and from left to right; at least one.

    Raises:
        ValueError: no strokes were found, or too many to be digits.
    """
    picture = plain(picture, "RGB")
    longest = max(picture.size)
    factor = min(1.0, WORKING_SIDE / longest) if longest > SMALLEST_SIDE else SMALLEST_SIDE / longest
    size = (max(8, round(picture.width * factor)), max(8, round(picture.height * factor)))
    small = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0) if size != picture.size else picture
    levels = ndimage.gaussian_filter(np.asarray(small, dtype=np.float32) / 255.0, (0.7, 0.7, 0))
    best: list[Found] = []
    for bright, ink in zip((False, True), ink_maps(levels), strict=True):
        found = _digits(levels, ink, bright, picture.width / size[0])
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
    labels, boxes = _pieces(levels, ink, floor)
    groups = _grouped(labels, boxes)
    groups = [members for members in groups if not _drawn_inside(labels, members)]
    found = [_cut(ink, np.isin(labels, members), bright, scale) for members in groups]
    tallest = max((max(one.ink.shape) for one in found), default=0)
    contrast = max((one.contrast for one in found), default=0)
    found = [one for one in found if max(one.ink.shape) > 0.5 * tallest and one.contrast > 0.6 * contrast]
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    all_ink = float(ink[(labels > 0) & ~np.isin(labels, border)].sum())
    if sum(float(one.ink.sum()) * one.contrast for one in found) < LEAST_SHARE * all_ink:
        return []
    return _in_reading_order(found)


def _pieces(levels: np.ndarray, ink: np.ndarray, floor: float) -> Pieces:
    """Label connected ink, at half the level at which the first piece appears that may be a digit's."""
    level = 0.8
    while level > floor:
        if _plausible(levels, ink, level)[1]:
            break
        level *= 0.7
    return _plausible(levels, ink, max(floor, 0.5 * level))


def _plausible(levels: np.ndarray, ink: np.ndarray, level: float) -> Pieces:
    """Label the connected pieces of ink above a level that may be strokes, and give their boxes by label."""
    labels, count = ndimage.label(ink > level, np.ones((3, 3)))
    height, width = ink.shape
    outside = np.zeros(count + 1, bool)
    outside[np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))] = True
    outside[np.unique(labels[_beyond_paper(ink > 0.5 * level)])] = True
    least, boxes = max(4, SMALLEST_DIGIT * max(height, width)), {}
    for index, box in enumerate(ndimage.find_objects(labels), 1):
        tall, wide = box[0].stop - box[0].start, box[1].stop - box[1].start
        if outside[index] or max(tall, wide) < least:
            continue
        piece = np.pad(labels[box] == index, 1)
        thick = 2 * float(ndimage.distance_transform_edt(piece).max())
        sharp = _blur(ink[box], piece[1:-1, 1:-1]) < 5 + 0.5 * thick
        if thick < 0.5 * max(tall, wide) and sharp and _on_paper(levels, labels, index, box, thick):
            boxes[index] = box
    longest = max((_long(box) for box in boxes.values()), default=0)
    for index, box in enumerate(ndimage.find_objects(labels), 1):
        if not outside[index] and max(3, SMALLEST_PIECE * longest) < _long(box) < least and longest:
            boxes[index] = box
    return labels, boxes


def _beyond_paper(mask: np.ndarray) -> np.ndarray:
    """The parts of a mask that reach the border of the picture and are thicker there than strokes: table, hand."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    border, thick = np.zeros(count + 1, bool), np.zeros(count + 1, bool)
    border[np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))] = True
    border[0] = False
    if border.any():
        core = ndimage.minimum_filter(mask.view(np.uint8), round(LARGEST_STROKE * max(mask.shape)), mode="nearest")
        thick[np.unique(labels[core > 0])] = True
    return np.asarray((border & thick)[labels])


def _on_paper(levels: np.ndarray, labels: np.ndarray, index: int, box: Box, thick: float) -> bool:
    """Whether a piece has paper on all sides: what lies around it differs from it, on both sides, alike."""
    far = int(0.5 * thick) + 6
    place = tuple(slice(max(0, side.start - far), side.stop + far) for side in box)
    piece, others = labels[place] == index, labels[place] > 0
    distance, (rows, columns) = ndimage.distance_transform_edt(~piece, return_indices=True)
    ring = (distance > far - 3) & (distance <= far) & ~ndimage.binary_dilation(others, np.ones((3, 3)), iterations=2)
    if ring.sum() < 8:
        return False
    around, nearest = levels[place][ring], _core(levels[place], piece)[rows[ring], columns[ring]]
    step = np.log((around + 0.02) / (nearest + 0.02))
    usual = np.median(step, axis=0)
    channel = int(np.abs(usual).argmax())
    step = step[:, channel] * np.sign(usual[channel])
    return bool((step > 0.5 * np.quantile(step, 0.75)).mean() > 0.85)


def _core(levels: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """The levels of a piece with those at its edge replaced by the levels of the nearest pixel of its middle."""
    depth = ndimage.distance_transform_edt(piece)
    ridge = piece & (depth >= ndimage.maximum_filter(depth, 5))
    rows, columns = ndimage.distance_transform_edt(~ridge, return_distances=False, return_indices=True)
    return np.asarray(levels[rows, columns])


def _blur(ink: np.ndarray, piece: np.ndarray) -> float:
    """Mean width of the edge of a piece, in pixels: a pen's is sharp, that of a shadow or a lamp's spot is not."""
    full = float(np.quantile(ink[piece], 0.8))
    soft = piece & (ink < 0.8 * full)
    edge = piece & ~ndimage.binary_erosion(piece)
    return float(soft.sum()) / max(1, int(edge.sum()))


def _grouped(labels: np.ndarray, boxes: dict[int, Box]) -> list[list[int]]:
    """Join pieces that lie close together, as a 5's hat and its body do."""
    longest = max((_long(box) for box in boxes.values()), default=0)
    members = {index: [index] for index, box in boxes.items() if _long(box) > SMALLEST_PIECE * longest}
    if len(members) > 6 * MOST_DIGITS:
        return list(members.values())
    points = {}
    for index in members:
        edge = (labels[boxes[index]] == index) & ~ndimage.binary_erosion(labels[boxes[index]] == index)
        points[index] = np.argwhere(edge) + (boxes[index][0].start, boxes[index][1].start)
    owner = {index: index for index in members}
    for small in sorted(members, key=lambda index: _long(boxes[index])):
        best, nearest = None, np.inf
        for large in members:
            if large == small or _long(boxes[large]) < _long(boxes[small]) or owner[large] == owner[small]:
                continue
            gap = float(cKDTree(points[large]).query(points[small])[0].min()) / _long(boxes[large])
            if gap < nearest and gap < _widest_gap(boxes[small], boxes[large]):
                best, nearest = large, gap
        if best is not None:
            old, new = owner[small], owner[best]
            owner = {index: new if root == old else root for index, root in owner.items()}
    return [[index for index in members if owner[index] == root] for root in sorted(set(owner.values()))]


def _widest_gap(small: Box, large: Box) -> float:
    """Up to which distance two pieces are one digit, as a share of the larger one's longer side."""
    overlap = min(small[1].stop, large[1].stop) - max(small[1].start, large[1].start)
    if all(one.start > other.start and one.stop < other.stop for one, other in zip(small, large, strict=True)):
        return 0.05  # drawn inside it
    stacked = overlap > 0.5 * min(small[1].stop - small[1].start, large[1].stop - large[1].start)
    if _long(small) < 0.6 * _long(large):
        return 0.3 if stacked else 0.2
    return 0.06 if stacked else 0.0


def _long(box: Box) -> int:
    return int(max(box[0].stop - box[0].start, box[1].stop - box[1].start))


def _drawn_inside(labels: np.ndarray, members: list[int]) -> bool:
    """Whether something else is drawn inside a digit, as eyes are in a face."""
    rows, columns = np.nonzero(np.isin(labels, members))
    inside = labels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    speck = (0.04 * max(inside.shape)) ** 2
    sizes = np.bincount(inside.ravel(), minlength=int(labels.max()) + 1)
    whole = np.bincount(labels.ravel(), minlength=len(sizes))
    sizes[[0, *members]] = 0
    return bool(sizes[(sizes == whole) & (sizes > speck)].sum() > 0.04 * len(rows))


def _cut(ink: np.ndarray, mask: np.ndarray, bright: bool, scale: float) -> Found:
    """The ink of one digit, and its measures."""
    (top, bottom), (left, right) = (
        (seen[0], seen[-1] + 1) for seen in (np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0)))
    )
    top, left = max(0, top - 2), max(0, left - 2)
    bottom, right = min(ink.shape[0], bottom + 2), min(ink.shape[1], right + 2)
    piece = mask[top:bottom, left:right]
    near = ndimage.binary_dilation(piece, np.ones((3, 3)), iterations=2)
    full = float(np.quantile(ink[top:bottom, left:right][piece], 0.8))
    cover = ((ink[top:bottom, left:right] / full - 0.15) / 0.75).clip(0, 1) * near
    depth = ndimage.distance_transform_edt(np.pad(ndimage.gaussian_filter(cover, 1.0) > 0.4, 1))[1:-1, 1:-1]  # no grain
    ridge = (depth == ndimage.maximum_filter(depth, 3)) & (depth > 0)
    width = 2 * float(np.median(depth[ridge])) - 1 if ridge.any() else 1.0
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
