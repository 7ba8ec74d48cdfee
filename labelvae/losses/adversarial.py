"""The adversarial terms: how the discriminator scores counterfactuals, and what the discriminator learns from."""

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
    augmentation: Augmentation,
) -> dict[str, Tensor]:
    """Compute the two terms of a discriminator.

    The first term trains the model: it is minus the discriminator's score of each counterfactual. Its gradient leaves
    the discriminator alone. The second term trains the discriminator: it is the hinge loss of real images against
    counterfactuals. Its gradient leaves the model alone.

    Args:
        discriminator: the discriminator D.
        guide: the classifier whose maps the discriminator sees. Used only if `discriminator.beside` is not empty.
        images: the real images, `(B, C, H, W)` in [0, 1].
        labels: their own labels, int64 `(B,)`.
        counterfactual: the counterfactuals, `(B, C, H, W)` in [0, 1].
        wrong: the labels asked of the counterfactuals, int64 `(B,)`.
        augmentation: the random changes made to the images before D sees them. An image and its counterfactual get the
            same change.

    Returns:
        "adversarial", `-D(x', y')`, and "discriminator", the hinge loss. Each is `(B,)`. A score has no unit.
    """
    own, asked = (F.one_hot(y, discriminator.num_classes).to(images.dtype) for y in (labels, wrong))
    drawn = draw_change(images, augmentation)
    images, counterfactual = (change(each, drawn, augmentation) for each in (images, counterfactual))
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
    """Make sure that the guide has the maps that a discriminator was made to see.

    Raises:
        ValueError: the discriminator was made for maps of other channels.
    """
    there = () if guide is None else tuple(guide.map_widths)
    if discriminator is not None and there[: len(discriminator.beside)] != tuple(discriminator.beside):
        raise ValueError(
            f"discriminator: sees maps of {discriminator.beside} channels, the guide has {there or 'none'}; "
            "pass Discriminator(..., beside=guide.map_widths)"
        )
