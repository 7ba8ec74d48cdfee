"""The form that all images of a data set are brought to: grey or RGB, one size, one range of levels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from labelvae.data.depth import SIXTEEN_BITS, UNIT, Levels, common_levels, is_deep, is_float, range_of, stated_levels
from labelvae.data.pixels import GREY, UNREADABLE, eight_bits, fit, is_animated, open_image, plain, upright_size
from labelvae.inputs.checks import in_words
from labelvae.inputs.class_names import printable
from labelvae.inputs.tensors import ImageShape
from labelvae.system.errors import first_line

DEFAULT_SIZE = 64
"""Height and width of images that differ in size, if no size is asked for."""

LARGEST_OWN_SIZE = 128
"""Larger images keep their own size only if it is asked for."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Form:
    """The form that every image of a data set is brought to.

    Attributes:
        mode: "L" for grey, "RGB" for colour.
        size: `(H, W)`.
        integers: the range of integer levels with more than 8 bits, if a file does not state its own.
        floats: the range of floating-point levels.
    """

    mode: str
    size: tuple[int, int]
    integers: Levels = SIXTEEN_BITS
    floats: Levels = UNIT

    @property
    def image_shape(self) -> ImageShape:
        """`(C, H, W)` of the images."""
        return (1 if self.mode == "L" else 3, *self.size)

    def levels(self, image: Image.Image) -> Levels:
        """Return the range of levels for an image that has more than 8 bits."""
        return self.floats if is_float(image) else self.integers


def decode(path: str | os.PathLike[str], form: Form) -> Tensor:
    """Read an image file.

    Args:
        path: the file.
        form: the form to bring the image to. It is scaled, and cropped at the centre.

    Returns:
        The pixels, uint8 `(C, H, W)`.

    Raises:
        ValueError: a file that cannot be read as an image.
    """
    try:
        with open_image(path) as file:
            picture = eight_bits(plain(file, form.mode, form.levels(file)))
    except UNREADABLE as error:
        raise ValueError(first_line(error)) from error
    pixels = torch.from_numpy(np.array(fit(picture, form.size)))
    return pixels[None] if form.mode == "L" else pixels.permute(2, 0, 1)


def common_form(paths: Sequence[str], image_size: tuple[int, int] | None = None) -> tuple[Form, dict[int, str]]:
    """Find the form that suits all images. One warning names what is unusual about them.

    Only headers are read. Pixels are read of images with more than 8 bits whose files do not say how many are meant.

    Args:
        paths: the files.
        image_size: `(H, W)`. By default the images' own size, if all have the same and it is at most 128x128; else
            64x64.

    Returns:
        The form, and the reason why a file cannot be read, by its place in `paths`.
    """
    grey, sizes, broken, animated = True, set[tuple[int, int]](), dict[int, str](), list[str]()
    ranges: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for place, path in enumerate(progress(paths, "looking at images")):
        try:
            with open_image(path) as image:
                size = upright_size(image)
                if is_deep(image) and stated_levels(image) is None:
                    _widen(ranges[is_float(image)], range_of(image))
                grey = grey and image.mode in GREY
                sizes |= {size} if len(sizes) < 2 else set()
                animated += [path] if is_animated(image) else []
        except UNREADABLE as error:
            broken[place] = first_line(error)
    if animated:
        several = in_words(len(animated), "animated image", "animated images")
        warnings.warn(f"{animated[0]}: the first frame is taken of {several}", stacklevel=3)
    size = image_size or (sizes.pop() if len(sizes) == 1 else (DEFAULT_SIZE, DEFAULT_SIZE))
    if image_size is None and max(size) > LARGEST_OWN_SIZE:
        size = (DEFAULT_SIZE, DEFAULT_SIZE)
    found = {floats: common_levels(some, floats) for floats, some in ranges.items() if some}
    _say_levels(found)
    form = Form("L" if grey else "RGB", size)
    return Form(form.mode, size, found.get(False, form.integers), found.get(True, form.floats)), broken


def refuse(broken: Mapping[str, str]) -> None:
    """Raise `ValueError` if there are files that cannot be read.

    Args:
        broken: the reasons, by file.
    """
    if broken:
        named = "; ".join(f"{printable(path)} ({reason})" for path, reason in list(broken.items())[:5])
        more = f"; and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise ValueError(
            f"{in_words(len(broken), 'image', 'images')} cannot be read: {named}{more}; repair them, or go on without "
            "them: skip_unreadable=True, --skip-unreadable, of a run --data.skip-unreadable"
        )


def say_skipped(broken: Mapping[str, str]) -> None:
    """Warn once of files that cannot be read and are left out."""
    if broken:
        path, reason = next(iter(broken.items()))
        several = in_words(len(broken), "image cannot be read and is", "images cannot be read and are")
        warnings.warn(f"{several} left out, such as {printable(path)} ({reason})", stacklevel=3)


def progress(paths: Iterable[Item], title: str) -> tqdm[Item]:
    """Show a progress bar over items, from the second second on.

    Returns:
        The items, one by one.
    """
    return tqdm(paths, desc=title, unit="image", leave=False, delay=2)


def _widen(ranges: list[tuple[float, float]], found: tuple[float, float]) -> None:
    """Widen the one range in the list to hold another."""
    ranges[:] = [(min(low for low, _ in (*ranges, found)), max(high for _, high in (*ranges, found)))]


def _say_levels(found: Mapping[bool, Levels]) -> None:
    for floats, levels in found.items():
        if levels not in (SIXTEEN_BITS, UNIT) and levels.high != 255:
            kind = "floating-point images" if floats else "images of more than 8 bits"
            warnings.warn(
                f"{kind}: levels {levels.low:g} to {levels.high:g} of these files become 0 to 255", stacklevel=4
            )
