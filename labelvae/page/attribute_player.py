"""What the page asks for of a model of several attributes, without the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from labelvae.inputs.tensors import Images, as_images
from labelvae.models.attribute_classifier import AttributeClassifier
from labelvae.models.vae import ConditionalVAE
from labelvae.page.player import MOST_PICTURES
from labelvae.photos.scans import Fit, fit_scan


@dataclass(frozen=True, eq=False)
class AttributeWish:
    """What one person wants to see of an image; an image to relabel where nothing is asked yet.

    Attributes:
        image: `(C, H, W)` in [0, 1].
        own: what it is, a row `(A,)`.
        asked: what it is asked to be, a row `(A,)`; None for what it is.
        said: what a person should know about the reading; may be empty.
    """

    image: Tensor
    own: Tensor
    asked: Tensor | None = None
    said: str = ""


class AttributePlayer:
    """Answers what the page asks of a model of several attributes.

    Args:
        vae: the model.
        reader: a classifier that reads the attributes, best an independent one; without it sent images are taken for
            ones in the middle of every range, and nothing is read from results.
        pictures: images to pick from, in a form of `Images`; None takes samples of the model.
        who: what the classifier is called on the page.

    Raises:
        ValueError: a model of one class, or that shows no other label; a reader of other images or attributes;
            pictures of another size.
    """

    def __init__(
        self,
        vae: ConditionalVAE,
        reader: AttributeClassifier | None = None,
        pictures: Images | None = None,
        who: str = "judge",
    ) -> None:
        if vae.attributes is None:
            raise ValueError("vae: expected a model of attributes, got one of one class; use Player")
        if not vae.decoder_sees_label:
            raise ValueError(f"model: a decoder with decoder_label={vae.decoder_label!r} shows no other label here")
        if reader is not None and (reader.attributes, reader.image_shape) != (vae.attributes, vae.image_shape):
            raise ValueError(
                f"judge: reads {', '.join(reader.attributes)} from images {reader.image_shape}, the model has "
                f"{', '.join(vae.attributes)} and images {vae.image_shape}; give a judge for the same data"
            )
        self.vae, self.reader, self.who = vae, reader, who
        self.attributes = vae.attributes
        rows = self.attributes.examples(MOST_PICTURES)
        if pictures is None:
            pictures = vae.sample(rows, torch.Generator().manual_seed(0)).cpu()
        self.pictures = as_images(pictures, vae.image_shape, "pictures")[:MOST_PICTURES].cpu()
        self.rows = self.reading(self.pictures, rows[: len(self.pictures)])

    def reading(self, images: Tensor, otherwise: Tensor) -> Tensor:
        """Return what images `(B, C, H, W)` are read as, rows `(B, A)`; other rows without a reader."""
        return otherwise if self.reader is None else self.reader.rows(images).cpu()

    def picked(self, index: int) -> AttributeWish:
        """Return one of the pictures to pick from."""
        return AttributeWish(self.pictures[index], self.rows[index])

    def read(self, picture: Image.Image, fit: Fit, invert: bool = False) -> AttributeWish:
        """Bring a picture of any size and mode into the model's frame, and read it.

        Raises:
            ValueError: what cannot be read.
        """
        image = fit_scan(picture, self.vae.image_shape, invert=invert, fit=fit)
        own = self.reading(image[None], self.attributes.examples(1))[0]
        read = f"Read as {self.attributes.text(own)}." if self.reader is not None else ""
        return AttributeWish(image, own, said=read)

    def answer(self, wishes: Sequence[AttributeWish]) -> list[tuple[Tensor, Tensor | None]]:
        """Return each wish's image `(C, H, W)`, and the row that is read from it, with one pass for all."""
        own = torch.stack([wish.own for wish in wishes])
        asked = torch.stack([wish.own if wish.asked is None else wish.asked for wish in wishes])
        made = self.vae.relabel(torch.stack([wish.image for wish in wishes]), asked, own)
        read = [None] * len(made) if self.reader is None else list(self.reader.rows(made).cpu())
        return list(zip(made, read, strict=True))
