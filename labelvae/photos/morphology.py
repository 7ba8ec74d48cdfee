"""Running extremes of a map, in a few passes of NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def closed(levels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Fill in what is darker and thinner than a window: the grey closing of a map.

    Args:
        levels: `(H, W)`, of any type that can be compared.
        rows: height of the window, odd.
        columns: width of the window, odd.
    """
    return lowest(highest(levels, rows, columns), rows, columns)


def opened(levels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Take away what is brighter and thinner than a window: the grey opening of a map."""
    return highest(lowest(levels, rows, columns), rows, columns)


def highest(levels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the largest value in a window about each pixel."""
    return _running(_running(levels, rows, 0, np.maximum), columns, 1, np.maximum)


def lowest(levels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the smallest value in a window about each pixel."""
    return _running(_running(levels, rows, 0, np.minimum), columns, 1, np.minimum)


def _running(levels: np.ndarray, length: int, axis: int, pick: Callable[..., np.ndarray]) -> np.ndarray:
    """Return the extreme of `length` neighbours along an axis; windows of 1, 2, 4, ... values are put together."""
    if length < 2:
        return levels
    pad = [(0, 0), (0, 0)]
    pad[axis] = (length // 2, length // 2)
    levels, covered = np.pad(levels, pad, mode="edge"), 1

    def joined(step: int) -> np.ndarray:
        if axis == 0:
            return pick(levels[:-step], levels[step:])
        return pick(levels[:, :-step], levels[:, step:])

    while 2 * covered <= length:
        levels = joined(covered)
        covered *= 2
    return joined(length - covered) if covered < length else levels
