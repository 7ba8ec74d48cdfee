"""Pictures that people send to the page: refused in words where they are too large, broken or no pictures at all."""

from __future__ import annotations

import base64
import binascii
import io
import os
from contextlib import ExitStack
from typing import IO

from PIL import Image, UnidentifiedImageError

from labelvae.data.pixels import UNREADABLE, eight_bits, open_image, plain, reduction

MOST_BYTES = 40 * 2**20
"""Size of the largest file that is taken."""

MOST_MEGAPIXELS = 50
"""Size of the largest picture that is taken; telephones take 12 as a rule."""

LONGEST = 1600
"""Longest side at which a picture is kept."""

_BROKEN = "This picture is broken and cannot be read. Save it again, or send another one."
_DRAWING = "data:image/png;base64,"
_MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr")


def open_upload(file: str | os.PathLike[str] | IO[bytes]) -> Image.Image:
    """Read a picture that somebody sent: upright, in RGB, on white where it is transparent.

    Its size is looked at before it is decoded.

    Args:
        file: path of the file, or the file, open for reading bytes.

    Returns:
        The picture, reduced to `LONGEST` pixels on its longer side.

    Raises:
        ValueError: no picture, a broken one, or one that is too large; the sentence is for the person who sent it.
    """
    if isinstance(file, str | os.PathLike) and os.path.getsize(file) > MOST_BYTES:
        size = os.path.getsize(file) / 2**20
        raise ValueError(f"This file has {size:.4g} MB; at most {MOST_BYTES // 2**20} MB are taken. Make it smaller.")
    with ExitStack() as opened:
        try:
            picture = opened.enter_context(open_image(file))
        except UnidentifiedImageError as error:
            raise ValueError(
                "This file is no picture that can be read here. Send a JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF picture."
            ) from error
        except ValueError as error:  # which says why
            raise ValueError(f"This picture cannot be read: {error}.") from error
        except UNREADABLE as error:
            raise ValueError(_BROKEN) from error
        million = _megapixels(picture)
        if million > MOST_MEGAPIXELS:
            raise ValueError(
                f"This picture has {million:.4g} megapixels; at most {MOST_MEGAPIXELS} are taken. "
                "Make it smaller first."
            )
        try:
            return _reduced(picture)
        except UNREADABLE as error:
            raise ValueError(_BROKEN) from error


def open_drawing(address: str) -> Image.Image | None:
    """Read what was drawn on the page.

    Args:
        address: a data URI of a PNG, transparent where nothing was drawn.

    Returns:
        The drawing on white, reduced to `LONGEST` pixels on its longer side; None for an empty sheet.

    Raises:
        ValueError: something else.
    """
    if not str(address).startswith(_DRAWING) or len(address) > MOST_BYTES:
        raise ValueError("This is no drawing; draw on the sheet.")
    try:
        with open_image(io.BytesIO(base64.b64decode(address[len(_DRAWING) :], validate=True))) as picture:
            if _megapixels(picture) > MOST_MEGAPIXELS:
                raise ValueError("too large")
            drawn = picture.convert("RGBA")
    except (binascii.Error, UNREADABLE) as error:
        raise ValueError("This drawing cannot be read; draw it again.") from error
    if drawn.getchannel("A").getextrema()[1] == 0:
        return None
    drawn.thumbnail((LONGEST, LONGEST), Image.Resampling.BICUBIC)
    return eight_bits(plain(drawn, "RGB"))


def _megapixels(picture: Image.Image) -> float:
    """Return how many million pixels a picture has in its file. A large JPEG is opened at a part of its size."""
    return 1e-6 * picture.width * picture.height * reduction(picture) ** 2


def _reduced(picture: Image.Image) -> Image.Image:
    """Return an opened picture in RGB, decoded with little memory where its format allows it."""
    if picture.format in ("JPEG", "MPO"):
        picture.draft(None, (LONGEST, LONGEST))
    if picture.mode in _MODES and max(picture.size) > LONGEST:
        picture.load()  # by which a TIFF is turned
        picture.thumbnail((LONGEST, LONGEST), Image.Resampling.BICUBIC, reducing_gap=2.0)
    upright = eight_bits(plain(picture, "RGB"))
    upright.thumbnail((LONGEST, LONGEST), Image.Resampling.BICUBIC)
    return upright
