"""From a picture's file to what a model sees in it, and from the model's images to the picture that comes back."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor, nn

from labelvae.data.depth import Levels, is_deep, is_float, stated_levels
from labelvae.data.forms import Form
from labelvae.data.pixels import GREY, open_image, reduction, upright_size
from labelvae.models.vae import ConditionalVAE
from labelvae.photos.fits import draws_strokes, is_bright_at_its_edge
from labelvae.photos.photographs import AUTO, Photograph, read_photo
from labelvae.photos.picture_files import exact_picture
from labelvae.photos.scans import Fit, read_scan
from labelvae.visual.grids import to_picture

SEEN_SIDE = 280
"""Pixels that the longer side of a photograph's result is enlarged to where it has the model's size."""


@dataclass(frozen=True)
class Input:
    """A picture that was read.

    Attributes:
        images: what the model sees, `(N, C, H, W)` in [0, 1].
        white: the level that is white in the result.
        own_size: Whether the picture has the model's size.
        inverted: Whether dark and bright were swapped for the model.
        photo: where results go back to.
        smaller: by how much a large photograph is smaller than its file.
    """

    images: Tensor
    white: int = 255
    own_size: bool = True
    inverted: bool = False
    photo: Photograph | None = None
    smaller: int = 1

    @property
    def labels(self) -> Tensor | None:
        """What the images were read as, `(N,)`; None where nobody read them."""
        return self.photo.labels if self.photo is not None else None


@dataclass(frozen=True)
class PictureReader:
    """How a picture is read for a model, and how it comes back.

    Attributes:
        vae: the model.
        guide: a classifier of the model's images, which reads the digits in photographs.
        invert: swap dark and bright first; otherwise a model of strokes finds it out.
        fit: how pictures come into the frame: "auto", see `usual_fit`, or one of `fit_scan`'s.
        paste: put what is relabelled back into its picture, but for grey pictures with more than 8 bits: results keep
            their bits, and have the model's size.
        enlarge: pixels for each pixel of a result that is not put back; None makes those of photographs large
            enough to be seen.
    """

    vae: ConditionalVAE
    guide: nn.Module | None = None
    invert: bool = False
    fit: str = AUTO
    paste: bool = True
    enlarge: int | None = None

    @cached_property
    def strokes(self) -> bool:
        """Whether the model draws pen strokes."""
        return draws_strokes(self.vae)

    def read(self, path: str, form: Form) -> Input:
        """Read the picture in a file.

        Args:
            path: the file.
            form: what the pictures have in common, for the range of those with more than 8 bits.

        Raises:
            ValueError: A file that cannot be read as a picture; a photograph without a digit, or with one in doubt.
        """
        with open_image(path) as image:
            own_size = upright_size(image) == self.vae.image_shape[1:]
            deep, smaller = is_deep(image), reduction(image)
            keeps_bits = deep and image.mode in GREY and self.vae.image_shape[0] == 1
            fit = self._fit(own_size)
            if fit == "strokes" or not (own_size or keeps_bits or not self.paste):
                stated = (stated_levels(image) or form.levels(image)) if deep else None
                if deep and not keeps_bits:
                    _say_colours()
                found_out = fit == "strokes" or self.strokes
                invert = True if self.invert else (None if found_out else False)
                photo = read_photo(image, self.vae, self.guide, fit=fit, invert=invert, levels=stated)
                white = _depth(path, form)[1] if keeps_bits else 255
                return Input(photo.images, white, own_size, photo.inverted, photo, smaller)
        levels, white = _depth(path, form)
        picture = read_scan(path, self.vae.image_shape, invert=self.invert, fit=fit, levels=levels)
        found_out = self.strokes and not self.invert and is_bright_at_its_edge(picture)
        picture = 1.0 - picture if found_out else picture
        if white > 255 and len(picture) == 3:
            _say_colours()
            white = 255
        return Input(picture[None], white, own_size, self.invert or found_out)

    def said(self, read: Input, names: list[str]) -> str:
        """Return in one line what was found out about a picture; nothing where it was taken as it is."""
        if read.photo is not None:
            box = read.photo.places[0]
            part = ""
            if isinstance(box, tuple) and min(box[:2]) >= 0 < max(box[:2]):
                part = f"its middle of {box[2] - box[0]}x{box[3] - box[1]} pixels"
            size = f"read and written at 1/{read.smaller} of its size" if read.smaller > 1 else ""
            return "; ".join(said for said in (part, read.photo.said(names), size) if said)
        return "dark on bright: inverted" if read.inverted and not self.invert else ""

    def result(self, read: Input, images: Tensor, white: int) -> Image.Image:
        """Return the picture of relabelled images `(N, C, H, W)`: put back into theirs, or side by side."""
        if self._is_put_back(read):
            assert read.photo is not None
            return read.photo.paste(images)
        side_by_side = torch.cat(list(images), dim=2)
        if read.inverted and read.own_size and self.paste:
            side_by_side = 1.0 - side_by_side
        factor = 1 if read.own_size else -(-SEEN_SIDE // max(self.vae.image_shape[1:]))
        return exact_picture(side_by_side, self.enlarge or factor, white)

    def rows(self, read: Input, images: Tensor, cell: int) -> list[list[Image.Image]]:
        """Return what stands on a sheet for a picture.

        Args:
            read: the picture.
            images: `(K, N, C, H, W)`, each of its images as K labels.
            cell: pixels of the longer side of each picture, about.

        Returns:
            For each of the N images: itself, and itself as each label.
        """
        if self._is_put_back(read):
            assert read.photo is not None
            return read.photo.cells(images, to_picture(read.images[0], cell).size)
        return [
            [to_picture(image, cell) for image in (mine, *others)]
            for mine, others in zip(read.images, images.transpose(0, 1), strict=True)
        ]

    def _is_put_back(self, read: Input) -> bool:
        return read.photo is not None and self.paste and read.white == 255

    def _fit(self, own_size: bool) -> Fit:
        if self.fit != AUTO:
            return self.fit  # type: ignore[return-value]
        return "pad" if own_size else ("strokes" if self.strokes else "crop")


def _depth(path: str, form: Form) -> tuple[Levels | None, int]:
    """Return the range of a picture with more than 8 bits, and the level that is white in its result."""
    with open_image(path) as image:
        if not is_deep(image):
            return None, 255
        stated, common = stated_levels(image), form.levels(image)
        if is_float(image):
            return common, 65535
        range_ = stated or common
        white = _largest_of_pgm(image) or (65535 if range_.low else range_.high)
        return range_, int(white) if 255 < white <= 65535 else 65535


def _largest_of_pgm(image: Image.Image) -> int | None:
    """Return the largest value that the head of a PGM names, which Pillow scales to 65535."""
    tile = getattr(image, "tile", None) if image.format == "PPM" else None
    args = tile[0][3] if tile else None
    return (
        args[1] if isinstance(args, tuple) and len(args) == 2 and isinstance(args[1], int) and args[1] > 255 else None
    )


def _say_colours() -> None:
    warnings.warn(
        "results in colour have 8 bits, although the pictures have more: Pillow writes no others", stacklevel=2
    )
