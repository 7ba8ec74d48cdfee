"""A picture of any size and mode, brought to what a model was trained on.

It is turned upright, laid on white where it is transparent, and made grey or RGB as the model has one channel or
three. If bright strokes alone are drawn on nothing, a model of grey images gets them on black. Then the picture is
fitted into the model's frame:

- `pad`: scaled as a whole, and the rest filled with the colour of its edge;
- `crop`: scaled until it fills the frame, and cropped at the centre, as the images of a folder are for training;
- `strokes`: for a model of pen strokes, bright on dark. The one digit in the picture is found on its paper, dark on
  bright or bright on dark (`labelvae.photos.strokes`); it is scaled to 20/28 of the frame and its centre of mass put
  in the middle, as MNIST was made (LeCun et al., 1998).

An image that has the model's size already keeps its pixels under `pad` and `crop`.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor

from labelvae.data.depth import Levels, is_deep
from labelvae.data.pixels import UNREADABLE, eight_bits, open_image, plain
from labelvae.inputs.checks import check_choice
from labelvae.inputs.conversions import MODES, described, image_bytes
from labelvae.inputs.tensors import ImageShape, check_image_shape
from labelvae.photos.masking import on_black
from labelvae.photos.strokes import find_digits
from labelvae.system.whole_files import user_path

Picture: TypeAlias = "Image.Image | np.ndarray | Tensor"
"""A picture of any size: Pillow's; or an array or a tensor `(H, W)`, `(H, W, C)` or `(C, H, W)` in grey, RGB or RGBA,
as 8-bit integers or floats in [0, 1]."""

Fit = Literal["pad", "crop", "strokes"]
MOST_DRAWN = 0.4
"""Share of a transparent picture that is drawn where strokes alone are drawn; a cut-out sheet covers more."""

BRIGHT = 0.7
"""Mean level of such strokes from which they are laid on black."""

FITS: tuple[str, ...] = get_args(Fit)


def read_scan(
    path: str | Path | IO[bytes],
    image_shape: ImageShape,
    *,
    invert: bool = False,
    fit: Fit = "pad",
    levels: Levels | None = None,
) -> Tensor:
    """Read the picture in a file as an image `(C, H, W)` in [0, 1]; see `fit_scan`.

    Args:
        path: the file, where `~` is the home folder; or a file that is open for reading bytes.
        image_shape: the model's, with 1 or 3 channels.
        invert: swap dark and bright.
        fit: how it comes into the frame.
        levels: what is black and white in a picture with more than 8 bits; by default the picture's own range.

    Raises:
        ValueError: a file that is missing, no image, of a format that is not read, or too large to be meant.
    """
    image_shape, mode = check_fit(image_shape, fit)
    if not isinstance(path, str | Path) and not hasattr(path, "read"):
        raise ValueError(f"path: expected the path of a file, or an open file, got {described(path)}")
    path = user_path(path) if isinstance(path, str | Path) else path
    name = path if isinstance(path, Path) else getattr(path, "name", "file")
    try:
        with open_image(path) as picture:
            bands = plain(on_contrast(picture) if image_shape[0] == 1 else picture, mode, levels)
    except UNREADABLE as error:
        raise ValueError(f"{name}: cannot be read as an image ({error})") from error
    try:
        return _fitted(bands, image_shape, invert, fit)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def fit_scan(
    picture: Picture,
    image_shape: ImageShape,
    *,
    invert: bool = False,
    fit: Fit = "pad",
    levels: Levels | None = None,
) -> Tensor:
    """Fit a picture of any size and mode into an image `(C, H, W)` in [0, 1].

    Args:
        picture: what was scanned, photographed or drawn. The colours of an array are red, green and blue; OpenCV reads
            them the other way round, and `array[:, :, ::-1]` turns them.
        image_shape: the model's, with 1 or 3 channels.
        invert: swap dark and bright: for dark ink on bright paper and a model of bright strokes on dark. Under
            `strokes` this is found out and need not be said.
        fit: how it comes into the frame.
        levels: what is black and white in a picture with more than 8 bits; by default the picture's own range.

    Raises:
        ValueError: what is no picture, or cannot be read; a model of other channels; `strokes` for a model of colours;
            a picture without a digit or with several.
    """
    image_shape, mode = check_fit(image_shape, fit)
    drawn = as_picture(picture)
    try:
        bands = plain(on_contrast(drawn) if image_shape[0] == 1 else drawn, mode, levels)
    except UNREADABLE as error:
        raise ValueError(f"picture: cannot be read as an image ({error})") from error
    return _fitted(bands, image_shape, invert, fit)


def as_picture(picture: Any) -> Image.Image:
    """Return a picture, an array or a tensor as a picture of Pillow's.

    Raises:
        ValueError: what is no picture.
    """
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, str | Path):
        raise ValueError(
            f"picture: expected a picture, got {described(picture)}; read_scan(path, image_shape) reads a file"
        )
    if not (hasattr(picture, "shape") and hasattr(picture, "dtype")) or len(picture.shape) not in (2, 3):
        raise ValueError(
            f"picture: expected a picture, or an array (H, W), (H, W, C) or (C, H, W), got {described(picture)}"
        )
    wrong = f"picture: expected 1, 3 or 4 channels, got {described(picture)}"
    if 0 in picture.shape:
        raise ValueError(wrong)
    pixels = image_bytes(picture[None], "picture")[0].cpu()
    if len(pixels) not in MODES:
        raise ValueError(wrong)
    return Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).contiguous().numpy())


def on_contrast(picture: Image.Image) -> Image.Image:
    """Lay bright strokes that are drawn on nothing on black; on white, as `plain` lays it, they would be lost.

    Other pictures are returned as they are.
    """
    if is_deep(picture) or not picture.has_transparency_data:
        return picture
    small = picture.convert("RGBA").reduce(max(1, max(picture.size) // 500))
    share = np.asarray(small.getchannel("A"), dtype=np.float32) / 255.0
    drawn = float((np.asarray(small.convert("L")) / 255.0 * share).sum() / max(float(share.sum()), 1.0))
    return on_black(picture) if share.mean() < MOST_DRAWN and drawn > BRIGHT else picture


def frame_box(size: tuple[int, int], image_shape: ImageShape, fit: Fit) -> tuple[int, int, int, int]:
    """Return the part of a picture that `pad` or `crop` brings into a model's frame.

    Args:
        size: width and height of the picture.
        image_shape: `(C, H, W)`.
        fit: "pad", whose frame may reach beyond the picture, or "crop".

    Returns:
        Left, top, right and bottom, in pixels of the picture.
    """
    _, height, width = image_shape
    scales = size[0] / width, size[1] / height
    scale = min(scales) if fit == "crop" else max(scales)
    left, top = round((size[0] - width * scale) / 2), round((size[1] - height * scale) / 2)
    return left, top, left + round(width * scale), top + round(height * scale)


def check_fit(image_shape: ImageShape, fit: Fit) -> tuple[ImageShape, str]:
    """Check whether pictures can be fitted into a model's frame.

    Returns:
        The model's shape, and how a picture is read, "L" or "RGB": strokes are found by their colour as well.

    Raises:
        ValueError: a fit that is not known, or that the model's images cannot take.
    """
    image_shape = check_image_shape(image_shape, smallest=1)
    check_choice("fit", fit, FITS)
    channels = image_shape[0]
    if channels not in (1, 3):
        raise ValueError(f"image_shape: pictures have 1 or 3 channels, the model's images have {channels}")
    if fit == "strokes" and channels != 1:
        raise ValueError("fit: strokes is for models of grey images, this one's are in colour; use pad or crop")
    return image_shape, "RGB" if channels == 3 or fit == "strokes" else "L"


def _fitted(bands: list[Image.Image], image_shape: ImageShape, invert: bool, fit: Fit) -> Tensor:
    """Return what `plain` returned, as an image `(C, H, W)` in [0, 1]."""
    _, height, width = image_shape
    if fit == "strokes":
        return _strokes(eight_bits(bands), height, width)
    bands = [_inverted(band) for band in bands] if invert else bands
    if bands[0].size != (width, height):
        into = _cropped if fit == "crop" else _padded
        bands = [into(band, (width, height)) for band in bands]
    levels = np.concatenate([np.asarray(band).reshape(height, width, -1) for band in bands], axis=2)
    return torch.from_numpy(rearrange(levels, "h w c -> c h w") / np.float32(255.0)).clamp_(0.0, 1.0)


def _inverted(picture: Image.Image) -> Image.Image:
    if picture.mode != "F":
        return ImageOps.invert(picture)
    return Image.fromarray(np.float32(255.0) - np.asarray(picture))


def _cropped(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return ImageOps.fit(picture, size, Image.Resampling.BICUBIC)


def _padded(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale a picture as a whole into `size` (W, H); the rest has the colour of its edge."""
    ratio, wanted = picture.width / picture.height, size[0] / size[1]
    width, height = size
    if ratio > wanted:
        height = max(1, round(picture.height / picture.width * width))
    elif ratio < wanted:
        width = max(1, round(picture.width / picture.height * height))
    padded = Image.new(picture.mode, size, _edge(picture))
    place = round((size[0] - width) * 0.5), round((size[1] - height) * 0.5)
    padded.paste(picture.resize((width, height), Image.Resampling.BICUBIC), place)
    return padded


def _edge(picture: Image.Image) -> float | tuple[int, ...]:
    """Return the median of each channel along the edge."""
    pixels = np.asarray(picture).reshape(picture.height, picture.width, -1)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = np.median(edge, axis=0)
    if picture.mode == "F":
        return float(colour[0])
    return tuple(int(level) for level in colour) if len(colour) > 1 else int(colour[0])


def _strokes(picture: Image.Image, height: int, width: int) -> Tensor:
    """Return the one digit of a picture, scaled and centred, `(1, H, W)`."""
    found = find_digits(picture)
    if len(found) > 1:
        raise ValueError(
            f"strokes: found {len(found)} digits, expected 1; crop the picture to one digit, or read all of them with "
            "labelvae.photos.reading.read_digits"
        )
    return found[0].fit(height, width)
