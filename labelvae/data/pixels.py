"""How an image file becomes pixels: opened by its content, turned upright, on white, grey or RGB, in [0, 255].

Pillow's warnings about broken metadata are hidden.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from typing import IO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from labelvae.data.depth import (
    Levels,
    common_levels,
    is_deep,
    is_float,
    is_white_zero,
    range_of,
    read_levels,
    stated_levels,
)
from labelvae.data.image_files import other_format
from labelvae.data.orientation import TURNING, TURNS, orientation

GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_SAFE = ("Jpeg", "Png", "Gif", "WebP", "Bmp", "Tiff", "Ppm", "Avif")
"""Formats that a file may have, as Pillow names their modules. Some others start programs (EPS)."""

UNREADABLE = Exception
"""What opening an image may raise: on broken files Pillow's readers raise nearly anything."""

MOST_PIXELS = 2**28
"""Pixels of the largest image that is read. Cameras of telephones reach 200 million."""

LARGE = 2**25
"""Pixels from which on a JPEG is read at a half, a quarter or an eighth of its size, but at least `ENOUGH` a side."""

ENOUGH = 2048

_SUBFILE, _WIDTH, _HEIGHT, _FORMATS = 254, 256, 257, 339


@contextmanager
def open_image(path: str | os.PathLike[str] | IO[bytes]) -> Iterator[Image.Image]:
    """Yield an opened image file. Its header is read now, and its pixels when they are asked for.

    Args:
        path: the path, or an open file.

    Raises:
        ValueError: no such file; more than `MOST_PIXELS` pixels; a TIFF of several pages. For a broken or refused file,
            Pillow's own errors are raised: catch `UNREADABLE`.
    """
    path = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if isinstance(path, str) and not os.path.isfile(path):
        raise ValueError("no file, or a link that leads to none")
    with _PATIENT, _opened(path) as image:
        pixels = image.width * image.height
        if pixels > MOST_PIXELS:
            raise ValueError(
                f"{image.width}x{image.height} pixels are more than {MOST_PIXELS:,}: a decompression bomb, or an image "
                "to make smaller first"
            )
        if pixels > LARGE and image.format in ("JPEG", "MPO"):
            image.draft(None, (ENOUGH, ENOUGH))
        if image.format == "TIFF":
            _refuse_pages(image)
            # Pillow would map the file, with the height of one on its side as width.
            if image.mode not in ("RGB", "RGBA"):
                image.filename = ""  # type: ignore[attr-defined]
        yield image


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return `(H, W)`, after it is turned upright, of an image that is opened, but not yet read."""
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    width, height = tags.get(_WIDTH, image.width), tags.get(_HEIGHT, image.height)  # some Pillows swap those of a TIFF
    return (width, height) if orientation(image, header_only=True) >= 5 else (height, width)


def reduction(image: Image.Image) -> int:
    """Return the factor by which an opened image is smaller than in its file: 1, or 2, 4 or 8 for a large JPEG."""
    scale = getattr(image, "decoderconfig", None) if image.format in ("JPEG", "MPO") else None
    return max(1, int(scale[0])) if scale else 1


def is_animated(image: Image.Image) -> bool:
    """Return whether an image has frames that follow each other in time."""
    return image.format in ("GIF", "WEBP", "PNG", "AVIF") and bool(getattr(image, "is_animated", False))


def plain(image: Image.Image, mode: str, levels: Levels | None = None) -> list[Image.Image]:
    """Turn an image upright, put it on white where it is transparent, and make it grey or RGB.

    Args:
        image: the image.
        mode: "L" or "RGB".
        levels: the range of an image with more than 8 bits whose file does not state it. None takes the image's own.

    Returns:
        One image of this mode; or, for an image with more than 8 bits, one image of mode "F" for each channel, in [0,
        255].
    """
    if is_deep(image):  # asked before pixels are read
        bands = _deep_bands(image, mode, levels)
    else:
        image.load()  # before its orientation: reading turns a TIFF, and what is broken is raised once only
        bands = [_usual(image)]
    with _PATIENT:
        turn = TURNS.get(orientation(image))
    bands = [band.transpose(turn) for band in bands] if turn is not None else bands
    if bands[0].mode == "F":
        return bands
    (picture,) = bands
    if picture.has_transparency_data:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    made = picture.convert(mode)
    for key in TURNING:
        made.info.pop(key, None)  # it lies upright now, and must not be turned again
    return [made]


def eight_bits(bands: list[Image.Image]) -> Image.Image:
    """Return the result of `plain` as one image with 8 bits a channel."""
    if bands[0].mode != "F":
        return bands[0]
    rounded = [np.asarray(band).round().clip(0, 255).astype(np.uint8) for band in bands]
    return Image.fromarray(rounded[0] if len(rounded) == 1 else np.stack(rounded, axis=2))


def fit(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale a picture to cover `size`, and crop it at the centre. A picture of that size stays as it is.

    Args:
        picture: the picture.
        size: `(H, W)`.

    Returns:
        The picture of that size.
    """
    if picture.size == size[::-1]:
        return picture
    return ImageOps.fit(picture, size[::-1], Image.Resampling.BICUBIC)


def _deep_bands(image: Image.Image, mode: str, levels: Levels | None) -> list[Image.Image]:
    pixels = read_levels(image)  # once: the lower halves are gone from an image that was read
    levels = stated_levels(image) or levels or common_levels([range_of(image, pixels)], is_float(image))
    shares = levels.shares(pixels)
    if is_white_zero(image):
        shares = 1.0 - shares
    clear = image.info.get("transparency") if image.format == "PNG" else None
    if clear is not None:  # one level, or one colour
        shares[pixels == clear if pixels.ndim == 2 else (pixels == clear).all(axis=2)] = 1.0
    if shares.ndim == 3 and shares.shape[2] == 4:
        shares = 1.0 - shares[:, :, 3:] * (1.0 - shares[:, :, :3])  # on white
    if mode == "L" and shares.ndim == 3:
        shares = shares @ np.array([0.299, 0.587, 0.114], dtype=np.float32)  # as Pillow makes colours grey
    bands = [shares] * (1 if mode == "L" else 3) if shares.ndim == 2 else list(np.moveaxis(shares, 2, 0))
    return [Image.fromarray(np.ascontiguousarray(band) * np.float32(255.0)) for band in bands]


def _refuse_pages(image: Image.Image) -> None:
    """Refuse a TIFF whose pages are separate images, and kinds of TIFF that Pillow reads as noise."""
    tags = getattr(image, "tag_v2", {})
    if 2 in tags.get(_FORMATS, ()) and max(tags.get(258, (8,))) <= 8:
        raise ValueError("levels of 8 bits with a sign; save it with levels from 0 to 255")
    if tags.get(284) == 2 and max(tags.get(258, (8,))) > 8:
        raise ValueError("colours of 16 bits in separate planes; save it with the colours of a pixel together")
    pages = 1
    for page in range(1, getattr(image, "n_frames", 1)):
        image.seek(page)
        pages += not getattr(image, "tag_v2", {}).get(_SUBFILE, 0) & 5  # smaller copies and masks
    image.seek(0)
    if pages > 1:
        raise ValueError(
            f"a TIFF of {pages} pages; save each page as a file of its own (ImageMagick: magick in.tif page-%d.tif)"
        )


def _opened(path: str | IO[bytes]) -> Image.Image:
    try:
        return Image.open(path, formats=_formats())
    except UnidentifiedImageError as error:
        said = other_format(_head(path))
        if said is None:
            raise
        raise ValueError(said) from error


def _head(path: str | IO[bytes]) -> bytes:
    if not isinstance(path, str):
        path.seek(0)
        return path.read(132)
    with open(path, "rb") as file:
        return file.read(132)


def _usual(image: Image.Image) -> Image.Image:
    """Return the image in a mode with grey or RGB levels, and with alpha that is not multiplied in."""
    if image.mode in ("La", "RGBa"):
        return image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.mode != "LAB":
        return image
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    turned = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    assert turned is not None  # but in place
    return turned


@cache
def _formats() -> tuple[str, ...]:
    for name in _SAFE:
        with suppress(ImportError):
            import_module(f"PIL.{name}ImagePlugin")
    return tuple(name.upper() for name in _SAFE if name.upper() in Image.OPEN)


class _Patient:
    """Hide Pillow's warnings, and lift its limit on pixels (telephones exceed it), while any thread is inside.

    Both are settings of the whole process. The first thread that enters changes them, and the last one restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module="PIL")
                self._bound, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                Image.MAX_IMAGE_PIXELS = self._bound
                self._caught.__exit__(None, None, None)


_PATIENT = _Patient()
