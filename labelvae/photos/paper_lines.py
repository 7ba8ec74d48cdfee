"""The lines of ruled and squared paper, taken out of a map of ink."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from labelvae.photos.morphology import closed, highest

THICKEST = 0.008
"""Thickest printed line, as a share of the longer side of the picture."""

REACH = 0.3
"""Share of the picture's width that the pieces of a line cover together."""

STRIP = 0.5
"""Width over height of a picture below which its width is no measure: the strokes of a strip of digits cross it."""

FAR = 0.12
"""How far from a line's pieces the rest of it is looked for, as a share of the picture's width."""

PARALLEL = 0.05
"""Largest difference between the slopes of lines of which the rest is looked for; the joints of bricks differ more."""

BLUR = 3
"""How much thicker the rest may be, in pixels."""


def without_lines(ink: np.ndarray, floor: float) -> np.ndarray:
    """Remove long straight lines, near the horizontal or the vertical, from a map of ink.

    A line is thin, and its pieces together cross a good part of the picture. It reaches the border of the picture,
    or has parallels. A pen's stroke that crosses a line is longer across the line than the line is thick, or darker
    than the line: it stays.

    Args:
        ink: how much darker (or brighter) than the paper each pixel is, `(H, W)`, at least 0.
        floor: what counts as ink at all.

    Returns:
        The map with 0 where the lines were, `(H, W)`.
    """
    lines = _horizontal(ink, floor) | _horizontal(ink.T, floor).T
    return np.where(lines, 0.0, ink).astype(ink.dtype) if lines.any() else ink


def _horizontal(ink: np.ndarray, floor: float) -> np.ndarray:
    """Return the pixels of near-horizontal lines."""
    mask = ink > floor
    height, width = mask.shape
    lengths, thickest = run_lengths(mask), max(5, round(THICKEST * max(height, width)))
    thin = mask & (lengths <= thickest)
    linked = closed(thin, 1, 15)
    labels, count = ndimage.label(linked, np.ones((3, 3)))
    pieces = []
    for index, place in enumerate(ndimage.find_objects(labels), 1):
        long = place[1].stop - place[1].start
        if long < 0.05 * width or place[0].stop - place[0].start > 0.4 * long:
            continue
        rows, columns = np.nonzero(labels[place] == index)
        slope, start = np.polyfit(columns, rows, 1)
        if np.abs(rows - slope * columns - start).mean() < 2 + 0.01 * long:
            middle = place[0].start + start + slope * (width / 2 - place[1].start)
            pieces.append((float(middle), float(slope), int(place[1].start), int(place[1].stop), index))
    if not pieces:
        return np.zeros_like(mask)
    lean = _weighted_median([piece[1] for piece in pieces], [piece[3] - piece[2] for piece in pieces])
    pieces = sorted(piece for piece in pieces if abs(piece[1] - lean) < 0.08)
    lines: list[list[tuple[float, float, int, int, int]]] = []
    far = 0.012 * width
    for piece in pieces:
        if lines and piece[0] - lines[-1][-1][0] < far:
            lines[-1].append(piece)
        else:
            lines.append([piece])
    reach = REACH * max(width, STRIP * height)
    long_lines = [line for line in lines if sum(piece[3] - piece[2] for piece in line) > reach]
    edge = 0.03 * width
    chosen = np.zeros(count + 1, bool)
    for line in long_lines:
        at_edge = min(piece[2] for piece in line) < edge or max(piece[3] for piece in line) > width - edge
        if at_edge or len(long_lines) > 2:
            chosen[[piece[4] for piece in line]] = True
    if len(long_lines) > 2:  # a printed pattern: short pieces that lie the same way belong to it
        chosen[[piece[4] for piece in pieces if piece[3] - piece[2] > 0.1 * width]] = True
    found = chosen[labels] & thin
    if len(long_lines) > 2 and np.ptp([piece[1] for line in long_lines for piece in line]) < PARALLEL:
        found |= highest(found, 1, 2 * round(FAR * width) + 1) & mask & (lengths <= thickest + BLUR)
    if not found.any():
        return np.zeros_like(mask)
    strength = float(np.quantile(ink[found], 0.9))
    return np.asarray(ndimage.binary_dilation(found, np.ones((3, 1), bool)) & mask & (ink < max(1.5 * strength, floor)))


def run_lengths(mask: np.ndarray) -> np.ndarray:
    """Return the length of the vertical run of true pixels that each true pixel is in, `(H, W)`; 0 elsewhere."""
    columns = mask.T
    edges = np.flatnonzero(np.diff(np.pad(columns, ((0, 0), (1, 1))).ravel()))  # where runs begin, and where they end
    lengths = edges[1::2] - edges[::2]
    result = np.zeros(columns.shape, lengths.dtype)
    result[columns] = np.repeat(lengths, lengths)
    return result.T


def _weighted_median(values: list[float], weights: list[int]) -> float:
    order = np.argsort(values)
    total = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(total, total[-1] / 2)])
