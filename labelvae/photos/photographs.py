"""Relabel what a photograph shows, and get the photograph back.

A picture of any size goes in; the same picture comes out, in which one thing is changed:

- A model of pen strokes gets the written digits (`labelvae.photos.reading`). The new digits are written in the old
  ones' places, with the same ink on the same paper (`labelvae.photos.pasting`).
- Any other model gets the middle of the picture. The result goes back there, blended at its edge.

An image of the model's own size is taken as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor, nn

from labelvae.data.depth import Levels
from labelvae.data.pixels import GREY, UNREADABLE, eight_bits, plain, upright_size
from labelvae.inputs.checks import check_choice
from labelvae.models.inference import evaluation_mode
from labelvae.models.vae import ConditionalVAE
from labelvae.photos.fits import draws_strokes, is_bright_at_its_edge, usual_fit
from labelvae.photos.found import Found, PassedOver
from labelvae.photos.pasting import paste, paste_crop
from labelvae.photos.reading import PhotoReading, Reading, UnreadError, read_digits
from labelvae.photos.scans import FITS, Fit, Picture, as_picture, check_fit, fit_scan, frame_box, on_contrast
from labelvae.photos.seen import seen_sheet
from labelvae.photos.strokes import find_writing, ink_maps
from labelvae.visual.grids import to_picture

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels."""

AUTO = "auto"
"""The fit that suits the model and the picture; see `usual_fit`."""

LONGEST_SIDE = 480
"""Longest side of a photograph on the picture of what was seen, in pixels."""

FINER = 2
"""How much larger a cell may be when an image is put into it."""


@dataclass(frozen=True)
class Photograph:
    """A photograph as a model sees it, and where relabelled images go back.

    Attributes:
        picture: the photograph in RGB, upright, and turned as it was read.
        images: what the model sees, `(N, C, H, W)` in [0, 1]: each digit that is not doubted, or one crop.
        places: where each image goes back: strokes, or a box in pixels of the photograph.
        readings: every digit with its confidence; none without a guide, and none for a crop.
        inverted: Whether dark and bright were swapped for the model.
        turn: degrees by which the photograph was turned counterclockwise to be read: 0, 90 or 270.
        mode: the mode of what comes back, "RGB" or "L".
        passed_over: what was seen and taken for no digit.
    """

    picture: Image.Image
    images: Tensor
    places: tuple[Found | Box, ...]
    readings: tuple[Reading, ...] = ()
    inverted: bool = False
    turn: int = 0
    mode: str = "RGB"
    passed_over: PassedOver = field(default_factory=PassedOver)

    @property
    def labels(self) -> Tensor | None:
        """What each image was read as, `(N,)`; None where no guide said so."""
        sure = [one.label for one in self.readings if not one.doubted]
        return torch.tensor(sure) if sure else None

    def paste(self, images: Tensor) -> Image.Image:
        """Return the photograph with other images in the places of those that the model saw.

        Args:
            images: `(N, C, H, W)` in [0, 1], relabelled from `images`.

        Returns:
            The photograph at its own size, upright, and on its side again if it was turned to be read.
        """
        result = self.picture
        for place, image in zip(self.places, images, strict=True):
            result = self._put(result, place, image)
        if self.turn:
            back = Image.Transpose.ROTATE_270 if self.turn == 90 else Image.Transpose.ROTATE_90
            result = result.transpose(back)
        result = result.convert(self.mode)
        if self.mode == "L":
            result.info.pop("icc_profile", None)  # it is of colours
        return result

    def cells(self, images: Tensor, size: tuple[int, int]) -> list[list[Image.Image]]:
        """Return what is around each place: as it is, and with other images in it.

        Args:
            images: `(K, N, C, H, W)` in [0, 1], each image as K labels.
            size: width and height of a cell, in pixels.

        Returns:
            A row of `K + 1` pictures for each of the N places.
        """
        rows = []
        for index, place in enumerate(self.places):
            view, there = self._around(place, (FINER * size[0], FINER * size[1]))
            row = [view, *(self._put(view, there, image) for image in images[:, index])]
            rows.append([_centred(picture, size) for picture in row])
        return rows

    def said(self, names: Sequence[str]) -> str:
        """Return in one line what was seen: dark or bright ink, each digit with its confidence, what is left out."""
        parts = ["dark on bright: inverted"] if self.inverted else []
        if any(isinstance(place, Found) and place.bright for place in self.places):
            parts = ["bright on dark"]
        if self.turn:
            parts.append(f"on its side: read turned by {self.turn} degrees")
        if self.readings:
            listed = ", ".join(_named(one, names) for one in self.readings)
            parts.append(f"{_counted(len(self.readings))} found: {listed}")
        elif isinstance(self.places[0], Found):
            parts.append(f"{_counted(len(self.places))} found, not read: there is no guide beside the model")
        return "; ".join([*parts, *filter(None, [self.passed_over.said()])])

    def seen(self, names: Sequence[str]) -> Image.Image:
        """Draw what the model sees: each digit with its place and its confidence, or the crop."""
        if self.readings:
            return seen_sheet(PhotoReading(self.picture, list(self.readings), self.turn), list(names))
        seen = [to_picture(image) for image in self.images]
        boxes = [place.box if isinstance(place, Found) else place for place in self.places]
        return _stacked([_boxed(self.picture, boxes), *seen])

    def _put(self, picture: Image.Image, place: Found | Box, image: Tensor) -> Image.Image:
        if isinstance(place, Found):
            return paste(picture, place, image)
        return paste_crop(picture, place, 1.0 - image if self.inverted else image)

    def _around(self, place: Found | Box, size: tuple[int, int]) -> tuple[Image.Image, Found | Box]:
        """Return the surroundings of a place, scaled into `size`, and the place in them."""
        box = place.box if isinstance(place, Found) else place
        side = round(1.6 * max(box[2] - box[0], box[3] - box[1])) if isinstance(place, Found) else 0
        spans = []
        for low, high, most in ((box[0], box[2], self.picture.width), (box[1], box[3], self.picture.height)):
            length = min(most, max(side, high - low))
            start = min(max(0, round((low + high - length) / 2)), most - length)
            spans.append((start, start + length))
        (left, right), (top, bottom) = spans
        factor = min(1.0, size[0] / (right - left), size[1] / (bottom - top))
        scaled = (max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor)))
        view = self.picture.crop((left, top, right, bottom)).resize(scaled, Image.Resampling.BICUBIC, reducing_gap=3.0)
        moved: Box = tuple(  # type: ignore[assignment]
            round((edge - start) * factor) for edge, start in zip(box, (left, top, left, top), strict=True)
        )
        return view, replace(place, box=moved, scale=place.scale * factor) if isinstance(place, Found) else moved


def relabel_photo(
    vae: ConditionalVAE,
    guide: nn.Module | None,
    picture: Picture,
    label: int | str,
    own_label: int | str | None = None,
) -> Image.Image:
    """Relabel what a photograph shows: every written digit, or the middle of the picture.

    Args:
        vae: the model.
        guide: a classifier of the model's images, from images `(B, C, H, W)` in [0, 1] to logits `(B, K)`. With it,
            digits are read, and what is no digit is refused. A model that draws no strokes does not need it.
        picture: a photograph of any size, as `fit_scan` takes it.
        label: what it is asked to be: an index, or a name of `vae.class_names`.
        own_label: what it is; only a model whose encoder sees the label needs it, unless the guide reads it.

    Returns:
        The picture at its own size and in its own colours, upright by its EXIF.

    Raises:
        ValueError: No digit is found, or what is found is doubted; no picture; a label that is not known.

    >>> vae = ConditionalVAE((3, 32, 32), 2)
    >>> relabel_photo(vae, None, Image.new("RGB", (400, 300)), 1).size
    (400, 300)
    """
    photo = read_photo(picture, vae, guide)
    own = photo.labels if own_label is None else own_label
    return photo.paste(vae.relabel(photo.images, label, own))


def read_photo(
    picture: Picture,
    vae: ConditionalVAE,
    guide: nn.Module | None = None,
    *,
    fit: str = AUTO,
    invert: bool | None = None,
    levels: Levels | None = None,
) -> Photograph:
    """Find in a photograph what a model can relabel.

    Args:
        picture: a photograph of any size, as `fit_scan` takes it.
        vae: the model.
        guide: a classifier of the model's images, which reads digits; without it they are not read.
        fit: how the picture comes into the model's frame: `usual_fit`'s choice, or one of `fit_scan`'s.
        invert: Whether ink is dark on bright paper; None finds out, for a model of strokes.
        levels: what is black and white in a picture with more than 8 bits; by default the picture's own range.

    Raises:
        UnreadError: No digit is found, or what is found is doubted; a ValueError that says what was seen.
        ValueError: No picture; a fit that the model cannot take.
    """
    check_choice("fit", fit, (AUTO, *FITS))
    drawn = as_picture(picture)
    size = upright_size(drawn)
    chosen: Fit = usual_fit(vae, size) if fit == AUTO else fit  # type: ignore[assignment]
    image_shape, _ = check_fit(vae.image_shape, chosen)
    kept = drawn.info.get("icc_profile") if drawn.mode in ("RGB", "RGBA", "P") else None
    grey = drawn.mode in GREY
    try:
        photo = eight_bits(plain(on_contrast(drawn) if chosen == "strokes" else drawn, "RGB", levels))
    except UNREADABLE as error:
        raise ValueError(f"picture: cannot be read as an image ({error})") from error
    photo.info = {"icc_profile": kept} if kept else {}
    if chosen == "strokes":
        return replace(_strokes(photo, vae, guide, invert), mode="L" if grey else "RGB")
    image = fit_scan(photo, image_shape, fit=chosen)
    if invert is None:
        invert = is_bright_at_its_edge(image) and draws_strokes(vae)
    own_size = size == image_shape[1:]
    box = frame_box((photo.width, photo.height), image_shape, chosen)
    mode = "L" if grey or (own_size and image_shape[0] == 1) else "RGB"
    return Photograph(photo, (1.0 - image if invert else image)[None], (box,), inverted=invert, mode=mode)


def unread_picture(picture: Picture, error: UnreadError, names: Sequence[str]) -> Image.Image:
    """Draw what was seen in a photograph that could not be read: the doubted digits, or dark and bright ink."""
    if error.reading is not None:
        return seen_sheet(error.reading, list(names))
    photo = eight_bits(plain(on_contrast(as_picture(picture)), "RGB"))
    photo.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    inks = ink_maps(np.asarray(photo, dtype=np.float32) / 255.0)
    return _stacked([photo, *(to_picture(torch.from_numpy(ink)[None], LONGEST_SIDE) for ink in inks)])


def _strokes(photo: Image.Image, vae: ConditionalVAE, guide: nn.Module | None, invert: bool | None) -> Photograph:
    bright = None if invert is None else not invert
    if guide is None or not vae.decoder_sees_label:
        try:
            found, _, passed_over = find_writing(photo, bright)
        except ValueError as error:
            raise UnreadError(str(error)) from error
        images = torch.stack([one.fit(*vae.image_shape[1:]) for one in found])
        return Photograph(photo, images, tuple(found), inverted=not found[0].bright, passed_over=passed_over)
    with evaluation_mode(guide) as reader:
        reading = read_digits(photo, reader, vae, bright)
    sure = [one for one in reading.readings if not one.doubted]
    return Photograph(
        reading.photo,
        torch.stack([one.image for one in sure]),
        tuple(one.found for one in sure),
        tuple(reading.readings),
        not sure[0].found.bright,
        reading.turn,
        passed_over=reading.passed_over,
    )


def _named(one: Reading, names: Sequence[str]) -> str:
    doubt = ", doubted: left as it is" if one.doubted else ""
    return f"{names[one.label]} ({one.confidence:.2f}{doubt})"


def _counted(count: int) -> str:
    return f"{count} digit{'s' if count > 1 else ''}"


def _boxed(photo: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    """Return a small copy of a photograph with its places drawn round."""
    small = photo.copy()
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    draw = ImageDraw.Draw(small)
    for box in boxes:
        draw.rectangle([edge * small.width / photo.width for edge in box], outline="red", width=2)
    return small


def _stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return pictures one below the other, on white."""
    sheet = Image.new("RGB", (max(each.width for each in pictures), sum(each.height + 4 for each in pictures)), "white")
    top = 0
    for each in pictures:
        sheet.paste(each, (0, top))
        top += each.height + 4
    return sheet


def _centred(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a picture, scaled as a whole, in the middle of a white cell of `size`."""
    fitted = ImageOps.contain(picture, size, Image.Resampling.BICUBIC)
    cell = Image.new("RGB", size, "white")
    cell.paste(fitted, ((size[0] - fitted.width) // 2, (size[1] - fitted.height) // 2))
    return cell
