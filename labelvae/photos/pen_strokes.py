"""Draw what a model drew in few grey pixels as a pen would: strokes of one width, with sharp edges."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import ndimage
from skimage.draw import line
from skimage.morphology import skeletonize

FINER = 8
"""Points for each pixel of the model's image, at which the strokes' middle is followed."""

FAINTEST = 0.15
"""Faintest ink along which a stroke goes on to the next one, as a share of the darkest."""

LONGEST_GAP = 8
"""Longest stretch of faint ink that is drawn, in pixels of the model's image."""

MOST_TURNED = 1.4
"""Most by which such a stretch turns from where its stroke was heading, in radians: it does not curl back."""

LOOP = 0.6
"""Share of a loop's inner radius that the pen may fill from each side."""


def pen_distance(pixels: np.ndarray, reach: float) -> np.ndarray:
    """Return how far each point is from the edge of the pen's strokes, in pixels of the image, negative inside.

    There are `FINER` points for each pixel. The strokes follow the middle of the image's strokes, and faint ink between
    them. Their width varies about the pen's as the image's does; a loop stays open however thick the pen is.

    Args:
        pixels: the model's image, `(H, W)`, bright strokes on 0.
        reach: half the pen's width, in pixels of the image.
    """
    smooth = ndimage.gaussian_filter(
        ndimage.zoom(pixels / max(float(pixels.max()), 1e-6), FINER, order=3, mode="grid-constant", grid_mode=True),
        0.4 * FINER,
    )
    stroke = _strokes(smooth)
    if not stroke.any():
        return np.full(smooth.shape, 1e3, np.float32)
    middle = skeletonize(np.pad(stroke, 1))[1:-1, 1:-1]
    depth = ndimage.distance_transform_edt(stroke) / FINER
    near = ndimage.gaussian_filter(middle.astype(np.float32), FINER)
    half = ndimage.gaussian_filter(np.where(middle, depth, 0.0), FINER) / near.clip(1e-6)
    half = reach * (half / float(np.median(half[middle]))).clip(0.8, 1.2)
    middle = _linked(middle, smooth)
    far, (rows, columns) = ndimage.distance_transform_edt(~middle, return_indices=True)
    half = np.minimum(half[rows, columns], _widest(middle, far / FINER))
    return np.asarray(ndimage.gaussian_filter(far / FINER - half, 0.2 * FINER), dtype=np.float32)


def _strokes(smooth: np.ndarray) -> np.ndarray:
    """Return where strokes are, without specks and what is faint all over."""
    stroke = smooth > np.maximum(0.4 * ndimage.gaussian_filter(ndimage.maximum_filter(smooth, 3 * FINER), FINER), 0.1)
    labels, count = ndimage.label(stroke, np.ones((3, 3)))
    ink, peak = (pick(smooth, labels, np.arange(count + 1)) for pick in (ndimage.sum, ndimage.maximum))
    kept = (ink > 0.12 * ink[1:].sum()) & (peak > 0.5 * peak[1:].max(initial=0.0))
    kept[0] = False
    return np.asarray(kept[labels])


def _linked(middle: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """Return the middle of strokes, each of which goes on from its end to another one where there is faint ink."""
    ends = middle & (ndimage.convolve(middle.astype(np.uint8), np.ones((3, 3), np.uint8), mode="constant") == 2)
    linked = middle.copy()
    for end in np.argwhere(ends):
        way = _onward(end, linked, smooth)
        for one, other in pairwise(way):
            linked[line(*one, *other)] = True
    return linked


def _onward(end: np.ndarray, middle: np.ndarray, smooth: np.ndarray) -> list[tuple[int, int]]:
    """Return the points from a stroke's end along the darkest ink ahead to another stroke; none if it leads to none."""
    down, across = np.ogrid[: middle.shape[0], : middle.shape[1]]
    labels, _ = ndimage.label(
        middle & (np.hypot(down - end[0], across - end[1]) < 3 * FINER), np.ones((3, 3), dtype=bool)
    )
    own = labels == labels[tuple(end)]
    others = ndimage.binary_dilation(middle & ~own, iterations=FINER // 2)
    first = heading = float(np.arctan2(*(end - np.argwhere(own).mean(axis=0))))
    way = [end.astype(float)]
    for _ in range(LONGEST_GAP):
        turns = np.linspace(-1.0, 1.0, 17)
        turns = turns[abs(heading + turns - first) <= MOST_TURNED]
        ahead = way[-1][:, None] + FINER * np.stack([np.sin(heading + turns), np.cos(heading + turns)])
        ink = ndimage.map_coordinates(smooth, ahead, order=1)
        best = int(np.argmax(ink - 0.1 * abs(turns)))
        if ink[best] < FAINTEST:
            break
        heading += turns[best]
        way.append(ahead[:, best])
        place = tuple(ahead[:, best].round().astype(int).clip(0, np.array(middle.shape) - 1))
        if others[place]:
            rows, columns = np.nonzero(middle & ~own)
            nearest = int(np.argmin((rows - place[0]) ** 2 + (columns - place[1]) ** 2))
            way.append(np.array([rows[nearest], columns[nearest]], float))
            return [(int(y), int(x)) for y, x in np.round(way)]
    return []


def _widest(middle: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Return the most by which a pen may reach to each point: inside a loop, less than to the loop's own middle."""
    areas, count = ndimage.label(~middle)
    inner = ndimage.maximum(far, areas, np.arange(count + 1))
    most = np.where(inner > 0.5, LOOP * inner, np.inf)
    border = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
    most[[0, *np.unique(border)]] = np.inf
    return np.asarray(most[areas])
