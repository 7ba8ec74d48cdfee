"""The adversarial terms: what a discriminator says of counterfactuals, and what it learns from them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from labelvae.data.augmentation import change, draw_change
from labelvae.data.settings import Augmentation
from labelvae.losses.terms import hinge_loss
from labelvae.models.discriminator import Discriminator
from labelvae.models.frozen import Classifier


def adversarial_terms(
    discriminator: Discriminator,
    guide: Classifier | None,
    images: Tensor,
    labels: Tensor,
    counterfactual: Tensor,
    wrong: Tensor,
    how: Augmentation,
) -> dict[str, Tensor]:
    """Return the discriminator's score of counterfactuals, negated, and its own hinge loss, by name, each `(B,)`.

    Args:
        discriminator: the discriminator.
        guide: the classifier whose maps it sees beside the pixels, where it was made to see any.
        images: `(B, C, H, W)` in [0, 1].
        labels: their own labels, `(B,)`.
        counterfactual: `(B, C, H, W)` in [0, 1].
        wrong: the labels asked of the counterfactuals, `(B,)`.
        how: changes put on an image and on its counterfactual, alike.
    """
    own, asked = (F.one_hot(y, discriminator.num_classes).to(images.dtype) for y in (labels, wrong))
    drawn = draw_change(images, how)
    images, counterfactual = (change(each, drawn, how) for each in (images, counterfactual))
    fixed = {name: value.detach() for name, value in discriminator.named_parameters()}
    fake: list[Tensor] = []
    real: list[Tensor] = []
    if guide is not None and discriminator.beside:
        seen = len(discriminator.beside)
        fake = guide.coarse_maps(counterfactual, seen)
        with torch.no_grad():
            real = guide.coarse_maps(images, seen)
    score = functional_call(discriminator, fixed, (counterfactual, asked, fake)).float()
    beside = [torch.cat([maps, others.detach()]) for maps, others in zip(real, fake, strict=True)]
    both = discriminator(torch.cat([images, counterfactual.detach()]), torch.cat([own, asked]), beside).float()
    return {"adversarial": -score, "discriminator": hinge_loss(*both.chunk(2))}


def check_maps(discriminator: Discriminator | None, guide: Classifier | None) -> None:
    """Make sure that a discriminator sees maps that the guide has.

    Raises:
        ValueError: it was made for others.
    """
    there = () if guide is None else tuple(guide.map_widths)
    if discriminator is not None and there[: len(discriminator.beside)] != tuple(discriminator.beside):
        raise ValueError(
            f"discriminator: sees maps of {discriminator.beside} channels, the guide has {there or 'none'}; "
            "pass Discriminator(..., beside=guide.map_widths)"
        )
