"""What frozen classifiers say about an image: the label loss, its weight, and the comparison of maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from labelvae.data.augmentation import augment
from labelvae.inputs.tensors import ImageShape
from labelvae.losses.objective import Objective
from labelvae.losses.terms import binary_label_loss, label_loss, perceptual_loss
from labelvae.models.frozen import Classifier
from labelvae.models.wrapped import adopted, check_differentiable

CONSTRAINT_RATE, LARGEST_LOG_CHANGE = 0.002, math.log(1e3)
"""How fast a learned lambda moves, in e-folds for each step and nat, and the farthest it moves from its start, as a
logarithm.
"""


class Guidance(nn.Module):
    """The guides, frozen, and lambda, the weight of their label loss.

    Args:
        guide: a pretrained classifier. A plain network from images to logits is also accepted: `adopt` then says what
            images and classes it has.
        more_guides: further classifiers, frozen too. The label loss is the mean over all guides. Maps are those of
            `guide`.
        objective: the weights, and the random changes made to an image before a guide sees it.

    Raises:
        ValueError: `perceptual_weight` above 0 with a guide that has no maps.
    """

    def __init__(self, guide: nn.Module, more_guides: Sequence[nn.Module], objective: Objective) -> None:
        super().__init__()
        if isinstance(guide, Classifier):
            _check_maps(objective, guide)
        self.members = nn.ModuleList(
            each.freeze() if isinstance(each, Classifier) else each for each in (guide, *more_guides)
        )
        for place, each in enumerate(self.members):
            if isinstance(each, Classifier):
                check_differentiable(_named(place), each)
        self.objective = objective
        self.log_change: Tensor
        classes = guide.num_classes if isinstance(guide, Classifier) else 0
        self.register_buffer("log_change", torch.zeros(classes), persistent=objective.label_constraint)

    def adopt(self, image_shape: ImageShape, num_classes: int) -> None:
        """Wrap the networks that were given as they are, for the images and the classes of the model.

        Args:
            image_shape: `(C, H, W)` of the images.
            num_classes: K.

        Raises:
            ValueError: a network that does not answer such images with logits `(B, K)`.
        """
        for place, each in enumerate(self.members):
            if not isinstance(each, Classifier):
                found = adopted(_named(place), each, image_shape, num_classes).freeze()
                check_differentiable(_named(place), found)
                self.members[place] = found
                if place == 0:
                    _check_maps(self.objective, found)
        if not len(self.log_change):
            self.log_change = torch.zeros(num_classes, device=self.log_change.device)

    @property
    def guides(self) -> list[Classifier]:
        """All guides. The first is the guide, the others are those of `more_guides`."""
        return [cast("Classifier", each) for each in self.members]

    @property
    def label_weight(self) -> Tensor:
        """The present lambda of each asked class, `(K,)`, without unit."""
        return self.objective.label_weight * self.log_change.exp()

    def label_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute the cross-entropy of the guides on randomly changed images.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1].
            labels: the labels that are asked for, int64 `(B,)`.

        Returns:
            The mean over the guides, `(B,)`, in nats.
        """
        objective = self.objective
        loss = label_loss if objective.label_loss == "categorical" else binary_label_loss
        seen = augment(images, objective.guide_augmentation)
        return torch.stack([loss(each(seen), labels, objective.label_smoothing) for each in self.guides]).mean(dim=0)

    def on_reconstructions(self, images: Tensor, reconstructed: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the terms of reconstructions: "own_label" and "perceptual".

        Args:
            images: the images, `(B, C, H, W)` in [0, 1].
            reconstructed: their reconstructions, `(B, C, H, W)` in [0, 1].
            labels: their own labels, int64 `(B,)`.

        Returns:
            The terms whose weight is above 0, by name, each `(B,)`, in nats.
        """
        terms = {}
        if self.objective.own_label_weight > 0:
            terms["own_label"] = self.label_loss(reconstructed, labels)
        if self.objective.perceptual_weight > 0:
            with torch.no_grad():
                target = self.guides[0].coarse_maps(images, 1)[0]
            terms["perceptual"] = perceptual_loss(self.guides[0].coarse_maps(reconstructed, 1)[0], target)
        return terms

    def move_label_weight(
        self, images: Tensor, labels: Tensor, asked: Tensor, loss: Tensor, warm_up: float | Tensor
    ) -> None:
        """Move the lambda of each asked class by one step, if lambda is learned.

        The step is one of dual ascent on the constraint mean(loss) <= mean(loss of real images), for each asked class
        (Rezende & Viola, 2018, "Taming VAEs", arXiv 1810.00597; for counterfactuals, De Sousa Ribeiro et al., 2023,
        arXiv 2306.15764). The mean of real images is taken over a quarter of the batch, of all classes. The warm-up
        slows the step down: lambda must not grow while the label loss does not count yet.

        Args:
            images: the real images, `(B, C, H, W)` in [0, 1].
            labels: their own labels, int64 `(B,)`.
            asked: the labels asked of the counterfactuals, int64 `(B,)`.
            loss: the label loss of the counterfactuals, `(B,)`, in nats.
            warm_up: the factor of the warm-up, in [0, 1].
        """
        if not (self.objective.label_constraint and self.training):
            return
        quarter = math.ceil(len(images) / 4)
        real = self.label_loss(images[:quarter], labels[:quarter])  # needs no gradient: the guides are frozen
        with torch.no_grad():
            none = torch.zeros_like(self.log_change)
            excess = (loss - real.mean()).to(none.dtype)
            mean = none.index_add(0, asked, excess) / none.index_add(0, asked, torch.ones_like(excess)).clamp_min(1.0)
            moved = self.log_change + CONSTRAINT_RATE * warm_up * mean.clamp(-1.0, 1.0)
            self.log_change.copy_(moved.clamp(-LARGEST_LOG_CHANGE, LARGEST_LOG_CHANGE))


def _named(place: int) -> str:
    """Return the name of the argument that a guide was given as."""
    return f"more_guides[{place - 1}]" if place else "guide"


def _check_maps(objective: Objective, guide: Classifier) -> None:
    """Raise `ValueError` if the guide's maps are to be compared and the guide has none."""
    if objective.perceptual_weight > 0 and not guide.map_widths:
        raise ValueError(
            "perceptual_weight: the guide's maps are compared, this one has none; "
            "take a convolutional or pooled guide, or set it to 0"
        )
