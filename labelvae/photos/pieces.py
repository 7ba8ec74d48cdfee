"""Connected pieces of ink: which may be strokes of a digit, and which belong together."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from labelvae.photos.morphology import lowest

SMALLEST_DIGIT = 0.025
"""Longer side of the smallest digit that is found, as a share of the longest side of the picture."""

SMALLEST_PIECE = 0.1
"""Longer side of the smallest piece of a digit, as a share of the longer side of the largest piece."""

LARGEST_STROKE = 0.06
"""Thicker things at the border, as a share of the longest side, are a table or a hand."""

MOST_GROWTH = 1.5
"""How much longer a piece may be at half the level, where it is no stroke any more."""

FAINTEST_STEP = 0.05
"""Least step from a piece to the paper around it, in natural logarithms; paper inside a drawn ring has none."""

MOST_DIGITS = 12
"""More pieces than this are text or a pattern."""

Box = tuple[slice, ...]
Pieces = tuple[np.ndarray, dict[int, Box]]
"""The label of each pixel, 0 for no piece, and by label the box of each piece that is kept."""


def pieces_of(levels: np.ndarray, ink: np.ndarray, floor: float) -> Pieces:
    """Label connected ink, at half the level at which the first piece appears that may be a digit's, or there."""
    level, pieces = 0.8, _plausible(levels, ink, 0.8)
    while level > floor and not pieces[1]:
        level *= 0.7
        pieces = _plausible(levels, ink, level)
    fuller = _plausible(levels, ink, max(floor, 0.5 * level))
    return fuller if fuller[1] else (pieces[0], _alone(pieces, fuller[0]))


def _alone(pieces: Pieces, fuller: np.ndarray) -> dict[int, Box]:
    """Return the boxes of pieces that are hardly longer at a lower level, where the rest of a line is part of it.

    Args:
        pieces: the pieces at a level.
        fuller: the labels at a lower level.
    """
    labels, boxes = pieces
    wholes = ndimage.find_objects(fuller)
    alone = {}
    for index, box in boxes.items():
        within = int(fuller[box][labels[box] == index].max())
        if within and longer_side(wholes[within - 1]) < MOST_GROWTH * longer_side(box):
            alone[index] = box
    return alone


def _plausible(levels: np.ndarray, ink: np.ndarray, level: float) -> Pieces:
    """Label the connected pieces of ink above a level that may be strokes, and give their boxes by label."""
    labels, count = ndimage.label(ink > level, np.ones((3, 3)))
    height, width = ink.shape
    outside = np.zeros(count + 1, bool)
    outside[at_border(labels)] = True
    outside[np.unique(labels[beyond_paper(ink > 0.5 * level)])] = True
    least, boxes = max(4, SMALLEST_DIGIT * max(height, width)), {}
    for index, box in enumerate(ndimage.find_objects(labels), 1):
        tall, wide = box[0].stop - box[0].start, box[1].stop - box[1].start
        if outside[index] or max(tall, wide) < least:
            continue
        piece = np.pad(labels[box] == index, 1)
        thick = 2 * float(ndimage.distance_transform_edt(piece).max())
        sharp = thick < 0.5 * max(tall, wide) and _edge_width(ink, labels, index, box) < 8 + 0.25 * thick
        if sharp and on_paper(levels, labels, index, box, thick):
            boxes[index] = box
    longest = max((longer_side(box) for box in boxes.values()), default=0)
    for index, box in enumerate(ndimage.find_objects(labels), 1):
        if not outside[index] and max(3, SMALLEST_PIECE * longest) < longer_side(box) < least and longest:
            boxes[index] = box
    return labels, boxes


def at_border(labels: np.ndarray, near: int = 1) -> np.ndarray:
    """Return the labels that occur within so many pixels of the border."""
    sides = labels[:near], labels[-near:], labels[:, :near], labels[:, -near:]
    return np.unique(np.concatenate([side.ravel() for side in sides]))


def beyond_paper(mask: np.ndarray) -> np.ndarray:
    """Return the parts of a mask that reach the picture's border and are thicker there than strokes: table, hand."""
    side = 2 * (round(LARGEST_STROKE * max(mask.shape)) // 2) + 1
    core = lowest(mask, side, side)
    if not core.any():
        return core
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    border, thick = np.zeros(count + 1, bool), np.zeros(count + 1, bool)
    border[at_border(labels)] = True
    border[0] = False
    thick[labels[core]] = True
    return np.asarray((border & thick)[labels])


def on_paper(levels: np.ndarray, labels: np.ndarray, index: int, box: Box, thick: float) -> bool:
    """Return whether a piece has paper on all sides: what lies around it differs from it, on both sides, alike."""
    far = int(0.5 * thick) + 6
    place = tuple(slice(max(0, side.start - far), side.stop + far) for side in box)
    piece, others = labels[place] == index, labels[place] > 0
    distance, (rows, columns) = ndimage.distance_transform_edt(~piece, return_indices=True)
    ring = (
        (distance > far - 3) & (distance <= far) & ~ndimage.binary_dilation(others, np.ones((3, 3), bool), iterations=2)
    )
    if ring.sum() < 8:
        return False
    around, nearest = levels[place][ring], _core(levels[place], piece, 0.25 * thick)[rows[ring], columns[ring]]
    step = np.log((around + 0.02) / (nearest + 0.02))
    usual = np.median(step, axis=0)
    channel = int(np.abs(usual).argmax())
    step = step[:, channel] * np.sign(usual[channel])
    usual_step = float(np.quantile(step, 0.75))
    return usual_step > FAINTEST_STEP and bool((step > 0.5 * usual_step).mean() > 0.85)


def _core(levels: np.ndarray, piece: np.ndarray, grain: float) -> np.ndarray:
    """Return the levels of a piece, without its grain; at its edge, those of the nearest pixel of its middle."""
    inside = piece.astype(np.float32)[..., None]
    share = ndimage.gaussian_filter(inside, (grain, grain, 0)).clip(1e-6)
    levels = ndimage.gaussian_filter(levels * inside, (grain, grain, 0)) / share
    depth = ndimage.distance_transform_edt(piece)
    ridge = piece & (depth >= ndimage.maximum_filter(depth, 5)) & (depth >= 0.4 * depth.max())
    rows, columns = ndimage.distance_transform_edt(~ridge, return_distances=False, return_indices=True)
    return np.asarray(levels[rows, columns])


def _edge_width(ink: np.ndarray, labels: np.ndarray, index: int, box: Box) -> float:
    """Return the width of the edge of a piece, in pixels: a pen's is sharp, a shadow's or a lamp's spot's is not."""
    place = tuple(slice(max(0, side.start - 2), side.stop + 2) for side in box)
    piece = labels[place] == index
    full = float(np.quantile(ink[place][piece], 0.8))
    edge = piece & ~ndimage.binary_erosion(piece)
    steep = np.hypot(*np.gradient(ink[place]))
    return full / max(1e-6, float(np.median(ndimage.maximum_filter(steep, 3)[edge])))


def grouped(labels: np.ndarray, boxes: dict[int, Box]) -> list[list[int]]:
    """Join pieces that lie close together, as a 5's hat and its body do. A line drawn under a digit is left out."""
    boxes = {index: box for index, box in boxes.items() if not any(_underlines(box, other) for other in boxes.values())}
    longest = max((longer_side(box) for box in boxes.values()), default=0)
    members = {index: [index] for index, box in boxes.items() if longer_side(box) > SMALLEST_PIECE * longest}
    if len(members) > 6 * MOST_DIGITS:
        return list(members.values())
    points = {}
    for index in members:
        edge = (labels[boxes[index]] == index) & ~ndimage.binary_erosion(labels[boxes[index]] == index)
        points[index] = np.argwhere(edge) + np.array([side.start for side in boxes[index]])
    owner = {index: index for index in members}
    for small in sorted(members, key=lambda index: longer_side(boxes[index])):
        best, nearest = None, np.inf
        for large in members:
            if large == small or longer_side(boxes[large]) < longer_side(boxes[small]) or owner[large] == owner[small]:
                continue
            gap = float(np.min(cKDTree(points[large]).query(points[small])[0])) / longer_side(boxes[large])
            near = gap < nearest and gap < _widest_gap(boxes[small], boxes[large], longest)
            if near and not is_encircled(points[small], labels[boxes[large]] == large, boxes[large]):
                best, nearest = large, gap
        if best is not None:
            old, new = owner[small], owner[best]
            owner = {index: new if root == old else root for index, root in owner.items()}
    return [[index for index in members if owner[index] == root] for root in sorted(set(owner.values()))]


def is_encircled(points: np.ndarray, ring: np.ndarray, box: Box) -> bool:
    """Return whether points lie in a hole of a piece, as a digit in a drawn circle does, and are no part of it."""
    rows, columns = (points - [side.start for side in box]).T
    if min(rows.min(), columns.min()) < 0 or rows.max() >= ring.shape[0] or columns.max() >= ring.shape[1]:
        return False
    return bool(ndimage.binary_fill_holes(ring)[rows, columns].all())


def _underlines(line: Box, other: Box) -> bool:
    """Return whether a piece is a flat line close below another one, and reaches beyond it on both sides."""
    (down, across), (tall, wide) = line, other
    flat = down.stop - down.start < 0.25 * (across.stop - across.start)
    close = 0 <= down.start - tall.stop + 0.1 * (tall.stop - tall.start) < 0.5 * (tall.stop - tall.start)
    beyond = 0.08 * (wide.stop - wide.start)
    return bool(flat and close and across.start < wide.start - beyond and across.stop > wide.stop + beyond)


def _widest_gap(small: Box, large: Box, longest: int) -> float:
    """Return up to which distance two pieces are one digit, as a share of the larger one's longer side.

    Args:
        small: the smaller piece.
        large: the larger piece.
        longest: longer side of the largest piece in the picture; two pieces of half that size are parts.
    """
    overlap = min(small[1].stop, large[1].stop) - max(small[1].start, large[1].start)
    if all(one.start > other.start and one.stop < other.stop for one, other in zip(small, large, strict=True)):
        return 0.1  # drawn inside it
    stacked = overlap > 0.5 * min(small[1].stop - small[1].start, large[1].stop - large[1].start)
    if longer_side(small) < 0.6 * longer_side(large) or longer_side(large) < 0.5 * longest:
        return 0.3 if stacked else 0.2
    return 0.06 if stacked else 0.0


def longer_side(box: Box) -> int:
    """Return the longer side of a box."""
    return int(max(box[0].stop - box[0].start, box[1].stop - box[1].start))


def bounds(boxes: list[Box]) -> Box:
    """Return the smallest box that holds all boxes."""
    return tuple(slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in (0, 1))


def drawn_inside(inside: np.ndarray, members: list[int]) -> bool:
    """Return whether something else is drawn inside a digit, as eyes are in a face.

    Args:
        inside: labels of the pieces within the digit's box, `(h, w)`.
        members: labels of the pieces that are the digit's.
    """
    names, sizes = np.unique(inside, return_counts=True)
    border = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    speck = (0.04 * max(inside.shape)) ** 2
    other = ~np.isin(names, [0, *members]) & ~np.isin(names, border) & (sizes > speck)
    return bool(sizes[other].sum() > 0.04 * int(np.isin(inside, members).sum()))
