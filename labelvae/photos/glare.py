"""Bright spots of a flash or a lamp, in which ink can no more be seen."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from labelvae.photos.morphology import closed, opened
from labelvae.photos.pieces import Box

BRIGHTER = 0.05
"""How much brighter than the paper about it the middle of a spot is, at least."""

MIDDLE = 0.6
"""Share of that step from which a pixel is of the spot's middle."""

LARGEST = 0.4
"""Width of a spot as a share of the picture's shorter side, at most; a larger one is a lamp's pool of light."""

NEAR = 1.5
"""How close to the spot's middle the ink is, in widths of its strokes, at most."""

END = 3
"""Length of the end of a stroke beside a spot, in pixels, at which its ink is looked at."""

FADED = 0.75
"""Contrast of the ink at that end over that of the digit, at most; beside a lamp's light ink does not fade."""


def spots_beside(
    levels: np.ndarray, ink: np.ndarray, labels: np.ndarray, groups: list[list[int]], widths: list[float]
) -> dict[int, np.ndarray]:
    """Return by digit the bright spots `(H, W)` at which its dark ink ends; nothing for a digit without any.

    Args:
        levels: the picture, `(H, W, 3)` in [0, 1].
        ink: how far each pixel is from its paper, `(H, W)`.
        labels: the labels of the connected pieces, `(H, W)`.
        groups: the labels of each digit's pieces.
        widths: the width of each digit's strokes in pixels.
    """
    spots = _spots(levels, max(widths, default=0.0))
    if not spots.any():
        return {}
    far, (rows, columns) = ndimage.distance_transform_edt(spots == 0, return_indices=True)
    nearest, beside = spots[rows, columns], {}
    for at, (members, width) in enumerate(zip(groups, widths, strict=True)):
        piece = np.isin(labels, members)
        faded = FADED * float(np.quantile(ink[piece], 0.8))
        near = piece & (far < NEAR * width + 2)
        hiding = [index for index in np.unique(nearest[near]) if _end(ink, far, near & (nearest == index)) < faded]
        if hiding:
            beside[at] = np.isin(spots, hiding)
    return beside


def _end(ink: np.ndarray, far: np.ndarray, piece: np.ndarray) -> float:
    """Return the most ink at the end of a piece that is nearest to a spot."""
    return float(ink[piece & (far < far[piece].min() + END)].max())


def _spots(levels: np.ndarray, width: float) -> np.ndarray:
    """Label the middles of bright spots on the paper, `(H, W)`, 0 elsewhere; strokes up to a width are paper."""
    window, reach = 2 * round(width) + 9, 2 * round(0.5 * LARGEST * min(levels.shape[:2])) + 1
    paper = closed(ndimage.gaussian_filter(levels.min(axis=2), 1.5), window, window)
    step = paper - opened(paper, reach, reach)
    labels, count = ndimage.label(step > BRIGHTER)
    peaks = np.asarray(ndimage.maximum(step, labels, np.arange(count + 1)))
    return np.asarray(ndimage.label((labels > 0) & (step > MIDDLE * peaks[labels]))[0])


def with_spot_inked(
    ink: np.ndarray, labels: np.ndarray, members: list[int], spot: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray, Box]:
    """Return the ink and the labels of a digit as if all of a bright spot were ink, and the box that holds it.

    Pieces at the other sides of the spot are then of the digit as well. The digit has the label 1, all else 0.
    """
    near = ndimage.distance_transform_edt(~spot) < NEAR * width + 2
    digit = np.isin(labels, np.union1d(members, labels[near & (labels > 0)])) | spot
    full = float(np.quantile(ink[np.isin(labels, members)], 0.8))
    return np.where(spot, full, ink), digit.astype(int), ndimage.find_objects(digit.astype(int))[0]
