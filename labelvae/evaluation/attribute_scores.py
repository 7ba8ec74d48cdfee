"""Scores of a model of several attributes: are the asked values followed, and are the other values kept?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from labelvae.attributes.continuous import Continuous
from labelvae.attributes.rows import Attributes
from labelvae.inputs.tensors import Images, as_images
from labelvae.models.attribute_classifier import AttributeClassifier
from labelvae.models.vae import ConditionalVAE


def label_scores(attributes: Attributes, found: Tensor, truth: Tensor) -> dict[str, dict[str, float]]:
    """Compare rows of attributes with the true rows.

    Args:
        attributes: the attributes of the rows.
        found: the rows to score, `(N, A)`.
        truth: the true rows, `(N, A)`. NaN is an unknown value, and is left out.

    Returns:
        The scores by attribute: `accuracy` and `balanced_accuracy` (the mean over the classes) of a category or a yes
        or no; `mean_absolute_error` of a number, in its unit, and the shorter way round for an angle. NaN if no value
        is known.
    """
    scores: dict[str, dict[str, float]] = {}
    for place, (name, kind) in enumerate(attributes.items()):
        known = ~truth[:, place].isnan()
        ours, true = found[known, place], truth[known, place]
        away = kind.distance(ours, true)
        if isinstance(kind, Continuous):
            scores[name] = {"mean_absolute_error": float(away.mean())}
        else:
            recalls = [1.0 - away[true == value].mean() for value in true.unique()]
            balanced = float(torch.stack(recalls).mean()) if recalls else float("nan")
            scores[name] = {"accuracy": float(1.0 - away.mean()), "balanced_accuracy": balanced}
    return scores


def attribute_scores(
    vae: ConditionalVAE,
    judge: AttributeClassifier,
    images: Images,
    labels: Any,
    generator: torch.Generator | None = None,
) -> dict[str, dict[str, float]]:
    """Score how a model follows each attribute, and how it keeps the others.

    Each attribute in turn is asked to have the value of another image, drawn from these images. The judge then reads
    the relabelled images.

    Args:
        vae: the model.
        judge: a classifier of the same attributes that was in no loss.
        images: the images, in any form that `ConditionalVAE.relabel` accepts.
        labels: their own labels, in any form that `Attributes.rows` accepts. Each value must be known.
        generator: the random number generator of the asked values.

    Returns:
        By attribute, the scores of `label_scores` if it is the asked one, and as `kept_...` if another one is.

    Raises:
        ValueError: a model or a judge of one class, or of other attributes; images or labels of another form.
    """
    attributes = judge.attributes
    if vae.attributes != attributes:
        raise ValueError(f"judge: reads {', '.join(attributes)}, expected the model's attributes and ranges")
    found = as_images(images, vae.image_shape)
    rows = attributes.known(attributes.rows(labels, len(found))).cpu()
    followed: dict[str, dict[str, float]] = {}
    kept: dict[str, list[Tensor]] = {name: [] for name in attributes}
    for place, name in enumerate(attributes):
        asked = rows.clone()
        asked[:, place] = rows[torch.randperm(len(rows), generator=generator), place]
        read = judge.rows(vae.relabel(found, asked, own_labels=rows)).cpu()
        followed[name] = label_scores(attributes, read, asked)[name]
        for other in attributes:
            if other != name:
                kept[other].append(read)
    for name, reads in kept.items():
        if reads:
            scores = label_scores(attributes, torch.cat(reads), rows.repeat(len(reads), 1))[name]
            followed[name] |= {f"kept_{score}": value for score, value in scores.items()}
    return followed
