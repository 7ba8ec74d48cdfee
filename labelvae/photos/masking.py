"""A result that differs from its picture only inside a mask."""

from __future__ import annotations

import os

import numpy as np
import torch
from PIL import Image

from labelvae.data.pixels import UNREADABLE, eight_bits, open_image, plain, reduction, upright_size
from labelvae.models.edits import soft_edge

EDGE = 0.01
"""Width of the edge of a mask of two values, as a share of the picture's shorter side; at least one pixel."""


def read_mask(path: str | os.PathLike[str], picture: str | os.PathLike[str]) -> Image.Image:
    """Read the mask of a picture: bright where it may change.

    A mask of two values gets a soft edge, inside the edge. The levels of another mask are taken as they are. What is
    transparent may not change.

    Args:
        path: the mask's file, as large as the picture.
        picture: the picture's file.

    Returns:
        Levels from 0 to 255, as large as the picture when it is read.

    Raises:
        ValueError: a mask that cannot be read, of another size, or black everywhere.
    """
    try:
        with open_image(path) as file:
            mask = eight_bits(plain(on_black(file), "L"))
    except UNREADABLE as error:
        raise ValueError(f"mask: {os.fspath(path)}: not an image that can be read ({error})") from error
    with open_image(picture) as file:
        height, width = upright_size(file)
        smaller = reduction(file)
    wanted = (width, height)
    if mask.size != wanted and (
        smaller == 1
        or any(abs(side - smaller * small) > smaller for side, small in zip(mask.size, wanted, strict=True))
    ):
        sizes = f"{width * smaller}x{height * smaller}", f"{mask.width}x{mask.height}"
        raise ValueError(f"mask: expected the size of {os.path.basename(picture)}, {sizes[0]}, got {sizes[1]}")
    levels = np.asarray(mask)
    values = np.unique(levels)
    if not values[-1]:
        raise ValueError(
            f"mask: {os.fspath(path)}: expected bright pixels where the picture may change, got only black or "
            "transparent ones; paint that part white"
        )
    if len(values) > 2 or (len(values) == 2 and values[0]):
        return mask if mask.size == wanted else mask.resize(wanted, Image.Resampling.BOX)
    hard = Image.fromarray(((levels > 0) * 255).astype(np.uint8))
    hard = hard if hard.size == wanted else hard.resize(wanted, Image.Resampling.NEAREST)
    share = torch.from_numpy(np.asarray(hard) / np.float32(255.0))[None, None]
    soft = soft_edge(share, max(1.0, EDGE * min(wanted)))
    return Image.fromarray((soft[0, 0] * 255.0).round().byte().numpy())


def on_black(picture: Image.Image) -> Image.Image:
    """Return a picture without transparency: black where it is transparent."""
    if picture.mode.startswith(("I", "F")) or not picture.has_transparency_data:
        return picture
    clear = picture.convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", clear.size, "black"), clear).convert("RGB")
    opaque.info = clear.info  # says how the picture is turned upright
    return opaque


def keep_outside(picture: str | os.PathLike[str], result: Image.Image, mask: Image.Image) -> Image.Image:
    """Return a result with the picture's own pixels where the mask is 0, mixed where it is grey.

    Args:
        picture: the picture's file.
        result: what was made of it, as large as it is, with 8 bits a channel.
        mask: see `read_mask`.

    Raises:
        ValueError: a result of another size or depth.
    """
    if result.mode not in ("L", "RGB") or result.size != mask.size:
        raise ValueError(
            f"mask: expected a result with 8 bits and the picture's size, {mask.width}x{mask.height}, got "
            f"{result.width}x{result.height} in mode {result.mode}; use neither --no-paste nor --enlarge, and pictures "
            "with 8 bits"
        )
    with open_image(picture) as file:
        own = eight_bits(plain(file, result.mode))
    mixed = Image.composite(result, own, mask)
    mixed.info = dict(result.info)  # the picture's own profile may be of other channels
    return mixed
