"""How soon the pixels of a counterfactual take an image over to the asked label."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from labelvae.inputs.checks import check_count
from labelvae.inputs.tensors import check_labels, check_rows
from labelvae.models.frozen import Classifier
from labelvae.models.inference import evaluation_mode

CHUNK = 1024
"""Images that a classifier sees at a time."""


def counterfactual_transition(
    classifier: Classifier,
    images: Tensor,
    counterfactuals: Tensor,
    said: Tensor,
    asked: Tensor,
    steps: int = 50,
) -> Tensor:
    """Measure how soon a counterfactual's pixels take an image over to its label (COUT), in [-1, 1]; higher is better.

    The pixels of the counterfactual are put into the image, those that change most first, in `steps` equal parts. The
    result is the area under the curve of the classifier's probability of the asked label, minus that of the label it
    says of the image (Khorram & Fuxin, 2022, arXiv 2203.15064).

    Args:
        classifier: the classifier.
        images: `(B, C, H, W)` in [0, 1].
        counterfactuals: the images as the asked labels, of the same shape.
        said: what the classifier says of the images, `(B,)`.
        asked: the asked labels, `(B,)`.
        steps: parts; at most the pixels of an image.

    Returns:
        `(B,)`.

    Raises:
        ValueError: tensors of another shape or type; a number out of range.
    """
    check_rows("images", images, *classifier.image_shape)
    check_rows("counterfactuals", counterfactuals, *classifier.image_shape, batch=len(images))
    said = check_labels(said, classifier.num_classes, len(images), "said")
    asked = check_labels(asked, classifier.num_classes, len(images), "asked")
    images, counterfactuals, said, asked = (each.cpu() for each in (images, counterfactuals, said, asked))
    pixels = math.prod(classifier.image_shape[1:])
    steps = min(check_count("steps", steps), pixels)
    change = (counterfactuals - images).abs().sum(dim=1).flatten(1)
    rank = change.argsort(dim=1, descending=True, stable=True).argsort(dim=1).unflatten(1, images.shape[2:])[:, None]
    curve, rows = [], torch.arange(len(images), device="cpu")
    counts = [round(pixels * step / steps) for step in range(steps + 1)]
    for count in counts:
        mixed = torch.where(rank < count, counterfactuals, images)
        chances = logits_of(classifier, mixed).softmax(dim=1)
        curve.append(chances[rows, asked] - chances[rows, said])
    return torch.trapezoid(torch.stack(curve), torch.tensor(counts, device="cpu") / pixels, dim=0)


def logits_of(classifier: Classifier, images: Tensor, name: str = "classifier") -> Tensor:
    """Return the logits `(B, K)` of images `(B, C, H, W)` in [0, 1], on the CPU; errors call the classifier by a name.

    Raises:
        ValueError: NaN among them.
    """
    with evaluation_mode(classifier) as network:
        found = torch.cat([network(some.to(classifier.device)).float().cpu() for some in images.split(CHUNK)])
    return check_known(name, found)


def check_known(name: str, logits: Tensor) -> Tensor:
    """Return logits `(B, K)`, checked; errors call the classifier by a name.

    Raises:
        ValueError: NaN among them.
    """
    broken = int(logits.isnan().any(dim=1).sum())
    if broken:
        raise ValueError(f"{name}: expected logits, got NaN for {broken} of {len(logits)} images; look at its weights")
    return logits
