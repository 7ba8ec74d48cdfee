"""How an image file lies: its orientation in EXIF, and what turns it upright.

An orientation that cannot be read counts as upright.
"""

from __future__ import annotations

import struct
from typing import Any

from PIL import Image

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image upright, by its orientation in EXIF."""

TURNING = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif", "Raw profile type APP1")
"""Metadata that may hold an orientation."""

_ORIENTATION = 0x0112


def orientation(image: Image.Image, header_only: bool = False) -> int:
    """Return an image's orientation, 1 to 8 as in EXIF; 1, upright, if there is none or an invalid one.

    Args:
        image: an opened image.
        header_only: do not read the pixels to find metadata behind them, which some PNG files have.
    """
    value = _stated_orientation(image.info.get("exif"))
    if value is None:  # in a TIFF's tags, in XMP, behind the pixels of a PNG
        try:
            value = (Image.Image.getexif(image) if header_only else image.getexif()).get(_ORIENTATION)
        except Exception:  # on broken files Pillow's readers raise nearly anything
            return 1
    return value if isinstance(value, int) and value in TURNS else 1


def _stated_orientation(exif: Any) -> int | None:
    """Return the orientation in the bytes of EXIF; 1 if it is invalid, None if there is none."""
    try:
        head = exif.removeprefix(b"Exif\0\0")
        order = {b"II": "<", b"MM": ">"}[head[:2]]
        (start,) = struct.unpack_from(f"{order}I", head, 4)
        (count,) = struct.unpack_from(f"{order}H", head, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number, value = struct.unpack_from(f"{order}HHIH", head, entry)
            if tag == _ORIENTATION:
                return value if (kind, number) == (3, 1) else 1
    except (AttributeError, KeyError, struct.error):
        pass
    return None
