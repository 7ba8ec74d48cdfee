"""Scores of a model of several attributes: are the asked values followed, and are the other values kept?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_recall

from labelvae.attributes.choices import Category
from labelvae.attributes.continuous import Continuous
from labelvae.attributes.rows import Attributes
from labelvae.evaluation.image_metrics import Composition
from labelvae.inputs.conversions import described
from labelvae.inputs.tensors import Images, as_images
from labelvae.models.vae import ConditionalVAE

CHUNK = 500
"""Images whose reconstructions are compared at a time."""

LEAST_VARIANCE = 1e-8
"""Of scaled numbers. Below it a correlation means nothing."""


class Reader(Protocol):
    """What judges: an `AttributeClassifier`, or anything of your own that measures attributes."""

    attributes: Attributes

    def rows(self, images: Tensor) -> Tensor:
        """Return the rows `(B, A)` of images `(B, C, H, W)` in [0, 1]."""


@dataclass(frozen=True)
class AttributeScores:
    """What a model of several attributes scores.

    Attributes:
        name: the name of the model.
        images: how many test images there were; each is relabelled once for each attribute.
        psnr: the PSNR of own-label reconstructions, in dB, mean over images.
        ssim: the SSIM of own-label reconstructions, mean over images.
        l1: of the same, in [0, 1].
        followed: by attribute, see `attribute_scores`.
        judge: by attribute, how well the judge reads the real images, see `label_scores`.
        recognized: by attribute that is no number, and by class: how many real images of the class the judge reads as
            it, and how many there are.
    """

    name: str
    images: int
    psnr: float
    ssim: float
    l1: float
    followed: dict[str, dict[str, float]] = field(default_factory=dict)
    judge: dict[str, dict[str, float]] = field(default_factory=dict)
    recognized: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Return the scores as one flat row, such as `width_correlation`; None for what does not apply."""
        row = {name: value for name, value in vars(self).items() if not isinstance(value, dict)}
        for attribute, scores in self.followed.items():
            row |= {f"{attribute}_{score}": value for score, value in scores.items()}
        for attribute, scores in self.judge.items():
            row |= {f"{attribute}_real_{score}": value for score, value in scores.items()}
        return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()}


def label_scores(attributes: Attributes, found: Tensor, truth: Tensor) -> dict[str, dict[str, float]]:
    """Compare rows of attributes with the true rows.

    Args:
        attributes: the attributes of the rows.
        found: the rows to score, `(N, A)`.
        truth: the true rows, `(N, A)`. NaN is an unknown value, and is left out.

    Returns:
        By attribute, NaN where no value is known:

        - of a category: `accuracy`, `balanced_accuracy` and `f1`, the means of recall and of F1 over its classes;
        - of yes or no: `accuracy`, `balanced_accuracy`, and `f1` of yes;
        - of a number, in its unit: `mean_absolute_error`, and `mean_error`, which is above 0 where values are too
          large. Both go the shorter way round an angle. And the `correlation`; of an angle, that of sine and cosine.
    """
    scores: dict[str, dict[str, float]] = {}
    for place, (name, kind) in enumerate(attributes.items()):
        known = ~truth[:, place].isnan()
        ours, true = found[known, place], truth[known, place]
        if isinstance(kind, Continuous):
            error = kind.difference(ours, true)
            scores[name] = {
                "mean_absolute_error": float(error.abs().mean()),
                "mean_error": float(error.mean()),
                "correlation": _correlation(kind, ours, true),
            }
        else:
            chosen = isinstance(kind, Category)
            count, there = len(kind.names) if isinstance(kind, Category) else 2, true.unique().long()
            scores[name] = {
                "accuracy": float((ours == true).float().mean()),
                "balanced_accuracy": _of_classes(multiclass_recall, ours, true, count, there),
                "f1": _of_classes(multiclass_f1_score, ours, true, count, there if chosen else torch.tensor([1])),
            }
    return scores


def _of_classes(score: Any, ours: Tensor, true: Tensor, count: int, classes: Tensor) -> float:
    """Return the mean of a score over some classes."""
    if not len(true):
        return math.nan
    return float(score(ours.long(), true.long(), count, average="none")[classes].mean())


def _correlation(kind: Continuous, ours: Tensor, true: Tensor) -> float:
    """Return Pearson's correlation; of an angle, over its sine and cosine, each with its own mean."""
    if len(true) < 2:
        return math.nan
    columns = [kind.weights(values.double()).reshape(len(values), -1) for values in (ours, true)]
    one, other = (values - values.mean(dim=0) for values in columns)
    if min(float(values.square().mean()) for values in (one, other)) < LEAST_VARIANCE:
        return math.nan
    return float((one * other).sum() / (one.square().sum() * other.square().sum()).sqrt())


def recognized_classes(attributes: Attributes, found: Tensor, truth: Tensor) -> dict[str, dict[str, tuple[int, int]]]:
    """Count the rows of each class that are right.

    Args:
        attributes: the attributes of the rows.
        found: the rows to count, `(N, A)`.
        truth: the true rows, `(N, A)`. NaN is an unknown value, and is left out.

    Returns:
        By attribute that is no number, and by class that there is: how many of its rows are right, and how many it has.

    >>> labels = Attributes({"pet": Category(["cat", "dog"])})
    >>> recognized_classes(labels, torch.tensor([[0.0], [0.0]]), torch.tensor([[0.0], [1.0]]))
    {'pet': {'cat': (1, 1), 'dog': (0, 1)}}
    """
    counts: dict[str, dict[str, tuple[int, int]]] = {}
    for place, (name, kind) in enumerate(attributes.items()):
        if not isinstance(kind, Continuous):
            true = truth[:, place]
            right = found[:, place] == true
            classes = true[~true.isnan()].unique(sorted=True).tolist()
            counts[name] = {
                kind.text(each): (int(right[true == each].sum()), int((true == each).sum())) for each in classes
            }
    return counts


def attribute_scores(
    vae: ConditionalVAE,
    judge: Reader,
    images: Images,
    labels: Any,
    generator: torch.Generator | None = None,
) -> dict[str, dict[str, float]]:
    """Score how a model follows each attribute, and how it keeps the others.

    Each attribute in turn is asked to have the value of another image, drawn from these images. The judge then reads
    the relabelled images.

    Args:
        vae: the model.
        judge: an `AttributeClassifier` of the same attributes that was in no loss; or a `Reader` of your own, which
            measures them.
        images: in any form that `ConditionalVAE.relabel` takes.
        labels: what they are, in any form that `Attributes.rows` takes. A value that is not known is kept as the judge
            reads it, and not scored.
        generator: draws the values that are asked.

    Returns:
        By attribute, the scores of `label_scores` where it is asked for, against what was asked; and where another one
        is asked for, against what the image was, as `kept_...`.

    Raises:
        ValueError: a model or a judge of one class, or of other attributes; images or labels of another form.
    """
    attributes = vae.attributes
    said = getattr(judge, "attributes", None)
    if attributes is None or said is None or not callable(getattr(judge, "rows", None)):
        raise ValueError(
            "judge: expected an AttributeClassifier, or an object with attributes and rows(images), of the model's "
            f"attributes, got {described(judge)} and a model of {'one class' if attributes is None else 'attributes'}"
        )
    if attributes != Attributes(said):
        raise ValueError(f"judge: reads {', '.join(said)}, expected the model's attributes and ranges")
    found = as_images(images, vae.image_shape)
    rows = attributes.rows(labels, len(found)).cpu()
    own = torch.where(rows.isnan(), judge.rows(found).cpu(), rows) if bool(rows.isnan().any()) else rows
    followed: dict[str, dict[str, float]] = {}
    kept: dict[str, list[Tensor]] = {name: [] for name in attributes}
    for place, name in enumerate(attributes):
        asked = own.clone()
        asked[:, place] = _shuffled(rows[:, place], name, generator)
        read = judge.rows(vae.relabel(found, asked, own_labels=own)).cpu()
        followed[name] = label_scores(attributes, read, asked)[name]
        for other in attributes:
            if other != name:
                kept[other].append(read)
    for name, reads in kept.items():
        if reads:
            scores = label_scores(attributes, torch.cat(reads), rows.repeat(len(reads), 1))[name]
            followed[name] |= {f"kept_{score}": value for score, value in scores.items()}
    return followed


def evaluate_attributes(
    vae: ConditionalVAE, judge: Reader, images: Images, labels: Any, name: str = "model", seed: int = 0
) -> AttributeScores:
    """Score a model of several attributes on held-out images.

    Args:
        vae: the model.
        judge: see `attribute_scores`.
        images: in any form that `ConditionalVAE.relabel` takes.
        labels: what they are; see `attribute_scores`.
        name: the name of the model, for the table.
        seed: the seed of the values that are asked.

    Returns:
        The scores.

    Raises:
        ValueError: see `attribute_scores`.
    """
    followed = attribute_scores(vae, judge, images, labels, torch.Generator().manual_seed(seed))
    found = as_images(images, vae.image_shape)
    rows, read = judge.attributes.rows(labels, len(found)).cpu(), judge.rows(found).cpu()
    composition, own = Composition(), torch.where(rows.isnan(), read, rows)
    for some, theirs in zip(found.split(CHUNK), own.split(CHUNK), strict=True):  # SSIM takes 100 times their memory
        composition.update(some.cpu().float(), vae.reconstruct(some, theirs).cpu().float())
    psnr, ssim, l1 = composition.compute().tolist()
    judged, recognized = label_scores(judge.attributes, read, rows), recognized_classes(judge.attributes, read, rows)
    return AttributeScores(name, len(found), psnr, ssim, l1, followed, judged, recognized)


def _shuffled(values: Tensor, name: str, generator: torch.Generator | None) -> Tensor:
    """Return the known values in another order; again from the first where some are not known."""
    known = values[~values.isnan()]
    if not len(known):
        raise ValueError(f"labels: {name}: expected a value that is known, got none")
    shuffled = known[torch.randperm(len(known), generator=generator)]
    return shuffled.repeat(math.ceil(len(values) / len(known)))[: len(values)]
