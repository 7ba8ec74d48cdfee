"""Failures that happen in silence: a label that is ignored, a code that says nothing, a guide that knows nothing.

None of them shows in a falling loss. A model with a rich code can copy the image, whatever label it is asked for. A
model with too poor a code returns the mean of the class (posterior collapse: Bowman et al., 2016, arXiv 1511.06349).
And a guide that guesses teaches guesses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labelvae.evaluation.arguments import as_classifier
from labelvae.inputs.tensors import check_images, check_labels, wrong_labels
from labelvae.models.inference import evaluation_mode
from labelvae.models.vae import ConditionalVAE

LEAST_LABEL_CHANGE = 0.05
"""Smallest `label_change` of a model that follows the label. Below it, counterfactuals are copies."""

LEAST_KL = 1.0
"""Smallest KL divergence, in nats, of a code that says something. Fewer nats tell fewer than three images apart."""


def label_change(reconstructions: Tensor, counterfactuals: Tensor) -> float:
    """Measure how far relabelling moves an image, as a share of the distance between two images.

    Args:
        reconstructions: images under their own labels, `(B, C, H, W)`.
        counterfactuals: the same images under other labels, `(B, C, H, W)`.

    Returns:
        The mean absolute difference of the two, over that of each reconstruction and the next one. 0 if nothing moves.

    >>> label_change(torch.eye(4).view(4, 1, 2, 2), torch.eye(4).view(4, 1, 2, 2))
    0.0
    """
    moved = float((counterfactuals - reconstructions).abs().double().mean())
    apart = float((reconstructions - reconstructions.roll(1, dims=0)).abs().double().mean())
    return moved / apart if apart > 0 else math.inf if moved > 0 else 0.0


def agreement(logits: Tensor, labels: Tensor) -> float:
    """Measure how often a classifier agrees with labels.

    Args:
        logits: the classifier's logits, `(B, K)`.
        labels: the labels, int64 `(B,)`.

    Returns:
        The share of images whose largest logit is that of the label, in [0, 1].
    """
    return float((logits.argmax(dim=1) == labels).double().mean())


def beats_chance(share: float, chance: float, count: int) -> bool:
    """Return whether a share of right answers is above chance.

    It must be above chance by three standard errors. With few answers, half of the way from chance to 1 is enough.

    Args:
        share: the share of right answers, in [0, 1].
        chance: the probability that a guess is right.
        count: the number of answers.

    >>> beats_chance(0.12, chance=0.1, count=300), beats_chance(0.9, chance=0.1, count=300)
    (False, True)
    """
    error = math.sqrt(chance * (1.0 - chance) / count)
    return share > min(chance + 3.0 * error, 0.5 * (1.0 + chance))


@dataclass(frozen=True)
class Diagnosis:
    """The measures of a model on held-out images.

    Attributes:
        images: the number of images.
        label_change: how far relabelling moves an image, see `label_change`.
        kl: the mean divergence of the posterior from the prior, in nats per image.
        asked_agreement: the share of counterfactuals that the guide takes for the asked label; NaN without a guide.
        asked_chance: the same share for guessing.
        guide_accuracy: the guide's accuracy on the images themselves; NaN without a guide.
        commonest: the share of the most common label. Always answering this label scores so much.
    """

    images: int
    label_change: float
    kl: float
    asked_agreement: float
    asked_chance: float
    guide_accuracy: float
    commonest: float

    def warnings(self) -> dict[str, str]:
        """Return the problems by name, each in words: the measure, and what to try. Empty if all is well."""
        found = {}
        guided = not math.isnan(self.guide_accuracy)
        if guided and self.commonest < 1 and not beats_chance(self.guide_accuracy, self.commonest, self.images):
            found["guide at chance"] = (
                f"the guide is right on {self.guide_accuracy:.0%} of {self.images} held-out images, and always "
                f"answering the commonest label on {self.commonest:.0%}, so its label loss teaches nothing; look at "
                "the labels, or train the guide longer or with wider layers (guide.optimization, guide.widths)"
            )
        if self.kl < LEAST_KL:
            found["code collapsed"] = (
                f"the code holds {self.kl:.2f} nats per image, below {LEAST_KL:g}, so every image of a label comes "
                "out alike; lower vae.objective.beta or scale, raise warm_up_share, or give it free_bits"
            )
        if self.label_change < LEAST_LABEL_CHANGE:
            found["label ignored"] = (
                f"relabelling moves an image by {self.label_change:.3f} of what two images differ by, below "
                f"{LEAST_LABEL_CHANGE:g}, so the counterfactual is a copy; raise vae.objective.label_weight, or "
                "leave the code less room (a smaller latent_dim, a larger scale or beta)"
            )
        elif (
            guided
            and "guide at chance" not in found
            and not beats_chance(self.asked_agreement, self.asked_chance, self.images)
        ):
            found["label ignored"] = (
                f"the guide takes {self.asked_agreement:.0%} of {self.images} counterfactuals for the asked label, "
                f"no more than chance ({self.asked_chance:.0%}); raise vae.objective.label_weight, train longer, "
                "or leave the code less room (a smaller latent_dim, a larger scale or beta)"
            )
        return found


def diagnose(
    vae: ConditionalVAE, images: Tensor, labels: Tensor, guide: nn.Module | None = None, seed: int = 0
) -> Diagnosis:
    """Look for an ignored label, a collapsed code and a guide that guesses.

    Args:
        vae: the model.
        images: held-out images of several labels, `(B, C, H, W)` in [0, 1], at least 2. A few hundred are enough.
        labels: their labels, int64 `(B,)`.
        guide: the classifier in the loss, or any network from the model's images to logits. None leaves its measures
            out.
        seed: the seed of the wrong labels.

    Returns:
        The measures. `warnings()` puts them into words.

    Raises:
        ValueError: images or labels of another shape, type or range; a guide that does not return logits `(B, K)`.

    >>> vae = ConditionalVAE(image_shape=(1, 8, 8), num_classes=3)
    >>> diagnose(vae, torch.rand(6, 1, 8, 8), torch.arange(6) % 3).images
    6
    """
    check_images(images, vae.image_shape)
    labels = check_labels(labels, vae.num_classes, len(images)).cpu()
    if len(images) < 2:
        raise ValueError(f"images: expected at least 2 to compare, got {len(images)}")
    asked = wrong_labels(labels, vae.num_classes, torch.Generator().manual_seed(seed))
    reconstructions, counterfactuals = vae.reconstruct(images, labels), vae.relabel(images, asked, labels)
    with evaluation_mode(vae) as model:
        kl = float(model.encode(images.to(vae.device), labels.to(vae.device)).kl().mean())
    accuracy = followed = math.nan
    if guide is not None:
        network = as_classifier("guide", guide, vae.image_shape, vae.num_classes)
        with evaluation_mode(network) as classifier:
            accuracy = agreement(classifier(images.to(network.device)).cpu(), labels)
            followed = agreement(classifier(counterfactuals.to(network.device)).cpu(), asked)
    return Diagnosis(
        images=len(images),
        label_change=label_change(reconstructions, counterfactuals),
        kl=kl,
        asked_agreement=followed,
        asked_chance=1.0 / vae.num_classes,
        guide_accuracy=accuracy,
        commonest=float(torch.bincount(labels).max()) / len(labels),
    )
