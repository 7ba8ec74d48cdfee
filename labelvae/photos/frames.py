"""Bring ink into a model's frame, scaled and centred as MNIST's digits were (LeCun et al., 1998)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

STROKE_SHARE = 20 / 28
"""Longer side of the strokes over the shorter side of the frame."""

THINNEST = 1.8 / 28
"""Thinnest stroke in the frame; the strokes of a finer pen are widened to it."""


class Fitted(NamedTuple):
    """Ink in a frame, and where it lies there.

    Attributes:
        image: `(1, H, W)` in [0, 1].
        scale: pixels of the frame for each pixel of the ink.
        top: row of the frame at which the ink begins.
        left: column of the frame at which the ink begins.
    """

    image: Tensor
    scale: float
    top: float
    left: float


def fit_ink(ink: np.ndarray, height: int, width: int, stroke: float) -> Fitted:
    """Scale ink to 20/28 of a frame and put its centre of mass in the middle.

    Args:
        ink: `(h, w)` float32 in [0, 1].
        height: the height of the frame.
        width: the width of the frame.
        stroke: width of the strokes in pixels of `ink`.
    """
    side = min(height, width)
    scale = STROKE_SHARE * side / max(ink.shape)
    missing = max(0.0, THINNEST * side / scale - stroke)
    border = 0
    if missing > 0:
        border = int(np.ceil(0.5 * missing))
        ink = _widened(ink, 0.5 * missing, border)
        scale = STROKE_SHARE * side / max(ink.shape)
    size = (max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale)))
    small = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BICUBIC)).clip(0.0, 1.0)
    top, left = (_centred(small, axis, length) for axis, length in ((0, height), (1, width)))
    frame = np.zeros((height, width), dtype=np.float32)
    frame[top : top + small.shape[0], left : left + small.shape[1]] = small
    image = torch.from_numpy(frame / max(float(frame.max()), 1e-6))[None]
    return Fitted(image, scale, top + border * scale, left + border * scale)


def _widened(ink: np.ndarray, reach: float, border: int) -> np.ndarray:
    """Return ink whose strokes reach further to each side, on a larger sheet."""
    ink = np.pad(ink, border)
    distance = ndimage.distance_transform_edt(ink < 0.5)
    return np.asarray(np.maximum(ink, (reach + 0.5 - distance).clip(0, 1)).astype(np.float32))


def _centred(ink: np.ndarray, axis: int, side: int) -> int:
    """Return where ink begins along an axis so that its centre of mass is the frame's, all of it inside."""
    mass = ink.sum(axis=1 - axis)
    centre = float((mass * np.arange(len(mass))).sum() / mass.sum())
    return int(min(max(round((side - 1) / 2 - centre), 0), side - len(mass)))
