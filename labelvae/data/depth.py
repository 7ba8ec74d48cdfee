"""Images with more than 8 bits: their levels, and the range from black to white.

A file may hold 10 or 12 bits in numbers of 16. If it does not say how many bits are meant, all images of a data set
decide together: their largest level sets the range, so that all are scaled alike.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

_BITS, _PHOTOMETRIC, _MOST, _SIGN, _MOST_OF_SAMPLES = 258, 262, 281, 339, 341
"""Tags of TIFF."""

_HALVES = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""The order of bytes with which the lower half of 16-bit colours is read."""


LEAST_SPREAD = 1 / 8
"""Share of the range over which levels spread at least; else fewer than 32 of 256 grey levels would be left."""


@dataclass(frozen=True)
class Levels:
    """The levels of black and white.

    Attributes:
        low: the level that becomes 0.
        high: the level that becomes 1.
    """

    low: float = 0.0
    high: float = 65535.0

    def shares(self, levels: np.ndarray) -> np.ndarray:
        """Return levels of any shape as float32 in [0, 1]. Levels outside the range are clipped."""
        scaled = (levels.astype(np.float64) - self.low) / ((self.high - self.low) or 1e-12)
        return scaled.clip(0.0, 1.0).astype(np.float32)


SIXTEEN_BITS = Levels()
UNIT = Levels(high=1.0)


def is_deep(image: Image.Image) -> bool:
    """Return whether an image that is opened, but not yet read, has more than 8 bits a channel."""
    return image.mode.startswith(("I", "F")) or _colour_order(image) is not None


def is_float(image: Image.Image) -> bool:
    """Return whether the levels are floating-point numbers."""
    return image.mode.startswith("F")


def stated_levels(image: Image.Image) -> Levels | None:
    """Return the range that a file states, by a PGM's largest value or fewer than 16 bits in a TIFF; else None."""
    if image.format == "PPM" and image.mode == "I":
        return Levels()  # Pillow has brought the file's largest value to 65535
    bits = _tag(image, _BITS)
    if image.mode.startswith("I") and 8 < bits < 16:
        return Levels(high=2.0**bits - 1)
    return None


def read_levels(image: Image.Image) -> np.ndarray:
    """Return the levels of a deep image, `(h, w)` or `(h, w, 3 or 4)`. The smaller level is darker.

    Raises:
        ValueError: levels that are not finite.
    """
    order = _colour_order(image)
    levels = _sixteen_bit_colours(image, order) if order else np.asarray(image)
    if image.mode == "I" and _tag(image, _BITS) == 32 and _tag(image, _SIGN, 1) == 1:
        levels = levels.view(np.uint32)
    if levels.dtype.kind == "f" and not np.isfinite(levels).all():
        raise ValueError("has levels that are not finite")
    return levels


def is_white_zero(image: Image.Image) -> bool:
    """Return whether the file's smallest level is white. (Pillow undoes this for 8 bits only.)"""
    return image.format == "TIFF" and _tag(image, _PHOTOMETRIC, 1) == 0 and is_deep(image)


def range_of(image: Image.Image, levels: np.ndarray | None = None) -> tuple[float, float]:
    """Return the smallest and the largest level of a deep image. The file may state the largest.

    Args:
        image: the image.
        levels: the result of `read_levels`, if it was called. An image is read only once.
    """
    levels = read_levels(image) if levels is None else levels
    low, high = float(levels.min()), float(levels.max())
    said = max(_tag(image, _MOST), _tag(image, _MOST_OF_SAMPLES))
    return low, max(high, said)


def common_levels(ranges: Iterable[tuple[float, float]], floats: bool) -> Levels:
    """Return the range that images share.

    Integers start at 0, and end at the largest number of the fewest bits (8 or more) that hold them all. Floating-point
    numbers start at 0, and end at 1, or at the largest level if it is above 1 or far below. If a level is negative, or
    all levels lie close together far above 0, the range is from the smallest to the largest level.

    >>> common_levels([(0, 3000), (12, 4000)], floats=False)
    Levels(low=0.0, high=4095.0)
    """
    lows, highs = zip(*ranges, strict=True)
    low, high = min(lows), max(highs)
    if low < 0:
        return Levels(low, high)
    top = max(1.0, high) if floats else 2.0 ** max(8, int(high).bit_length()) - 1
    if low == high or top == 255:
        return Levels(0.0, top)
    top = high if high < LEAST_SPREAD * top else top
    return Levels(low, high) if high - low < LEAST_SPREAD * top else Levels(0.0, top)


def _colour_order(image: Image.Image) -> str | None:
    """Return the order of bytes in 16-bit colours, if Pillow reads only their upper half; else None."""
    tile = getattr(image, "tile", None)
    if not tile or image.mode not in ("RGB", "RGBA"):
        return None
    raw = tile[0][3] if isinstance(tile[0][3], str) else tile[0][3][0]
    return raw[-1] if raw in {f"{image.mode};16{order}" for order in _HALVES} else None


def _sixteen_bit_colours(image: Image.Image, order: str) -> np.ndarray:
    """Return colours with all their bits, read as upper and lower halves."""
    with Image.open(getattr(image, "filename", "") or image.fp) as other:  # type: ignore[attr-defined]
        other.tile = [_in_order(tile, _HALVES[order]) for tile in other.tile]
        lower = np.asarray(other).astype(np.uint16)
    return (np.asarray(image).astype(np.uint16) << 8) | lower


def _in_order(tile: Any, order: str) -> Any:
    codec, extents, offset, args = tile
    changed = args[:-1] + order if isinstance(args, str) else (args[0][:-1] + order, *args[1:])
    return tile._replace(args=changed) if hasattr(tile, "_replace") else (codec, extents, offset, changed)


def _tag(image: Image.Image, number: int, missing: int = 0) -> int:
    """Return the first value of a TIFF's tag."""
    value = getattr(image, "tag_v2", {}).get(number, missing) if image.format == "TIFF" else missing
    value = value[0] if isinstance(value, tuple) and value else value
    return int(value) if isinstance(value, int | float) else missing
