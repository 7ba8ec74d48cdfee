"""A picture of any size and mode, brought to what a model was trained on.

It is turned upright, laid on white where it is transparent, and made grey or RGB as the model has one channel or
three. Then it is fitted into the model's frame:

- `pad`: scaled as a whole, and the rest filled with the colour of its edge;
- `crop`: scaled until it fills the frame, and cropped at the centre, as the images of a folder are for training;
- `strokes`: for a model of pen strokes, bright on dark. The one digit in the picture is found on its paper, dark on
  bright or bright on dark (`labelvae.strokes`); it is scaled to 20/28 of the frame and its centre of mass put in the
  middle, as MNIST was made (LeCun et al., 1998).

An image that has the model's size already keeps its pixels under `pad` and `crop`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor

from labelvae.checks import check_choice
from labelvae.inputs import ImageShape
from labelvae.reading import UNREADABLE, open_image, plain
from labelvae.strokes import find_digits

Fit = Literal["pad", "crop", "strokes"]


def read_scan(path: str | Path, image_shape: ImageShape, *, invert: bool = False, fit: Fit = "pad") -> Tensor:
    """The picture in a file as an image `(C, H, W)` in [0, 1]; see `fit_scan`.

    Raises:
        ValueError: a file that is missing, no image, of a format that is not read, or too large to be meant.
    """
    try:
        with open_image(Path(path)) as picture:
            return fit_scan(picture, image_shape, invert=invert, fit=fit)
    except UNREADABLE as error:
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error


def fit_scan(picture: Image.Image, image_shape: ImageShape, *, invert: bool = False, fit: Fit = "pad") -> Tensor:
    """A picture of any size and mode as an image `(C, H, W)` in [0, 1].

    Args:
        picture: what was scanned, photographed or drawn.
        image_shape: the model's, with 1 or 3 channels.
        invert: swap dark and bright: for dark ink on bright paper and a model of bright strokes on dark. Under
            `strokes` this is found out and need not be said.
        fit: how it comes into the frame.

    Raises:
        ValueError: a model of other channels; `strokes` for a model of colours; a picture without a digit or with
            several.
    """
    check_choice("fit", fit, get_args(Fit))
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise ValueError(f"image_shape: pictures have 1 or 3 channels, the model's images have {channels}")
    if fit == "strokes" and channels != 1:
        raise ValueError("fit: strokes is for models of grey images, this one's are in colour; use pad or crop")
    if fit == "strokes":
        return _strokes(picture, height, width)
    picture = plain(picture, "L" if channels == 1 else "RGB")
    if invert:
        picture = ImageOps.invert(picture)
    if picture.size != (width, height):
        resampling = Image.Resampling.BICUBIC
        if fit == "crop":
            picture = ImageOps.fit(picture, (width, height), resampling)
        else:
            picture = ImageOps.pad(picture, (width, height), resampling, color=_edge(picture))
    levels = np.asarray(picture).reshape(height, width, channels)
    return torch.from_numpy(rearrange(levels, "h w c -> c h w") / np.float32(255.0))


def _edge(picture: Image.Image) -> int | tuple[int, ...]:
    """The median of each channel along the edge."""
    pixels = np.asarray(picture).reshape(picture.height, picture.width, -1)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = tuple(int(level) for level in np.median(edge, axis=0))
    return colour if len(colour) > 1 else colour[0]


def _strokes(picture: Image.Image, height: int, width: int) -> Tensor:
    """The one digit of a picture, scaled and centred, `(1, H, W)`."""
    found = find_digits(picture)
    if len(found) > 1:
        raise ValueError(
            f"strokes: found {len(found)} digits, expected 1; crop the picture to one digit, or read all of them with "
            "labelvae.doubts.read_digits"
        )
    return found[0].fit(height, width)
