"""The steps of a run whose label is several attributes: guide, judge and model; scores; a picture."""

from __future__ import annotations

from typing import Any

import torch

from labelvae.attributes.rows import Attributes
from labelvae.data.image_sets import StoredImages
from labelvae.evaluation.attribute_scores import AttributeScores, evaluate_attributes
from labelvae.evaluation.references import UnchangedImages
from labelvae.evaluation.scores import save_scores, scores_table
from labelvae.evaluation.weaknesses import advice
from labelvae.inputs.class_names import printable
from labelvae.photos.picture_files import save_picture
from labelvae.visual.attribute_sheets import attribute_sheet

FEW = 100
"""Test images that are scored to see that a run runs."""


def attribute_steps(experiment: Any) -> list[AttributeScores]:
    """Train guide, judge and model of an `Experiment` on a table of attributes, score the model and draw it."""
    settings, data = experiment.settings, experiment.data
    print(attribute_lines(data.attributes), flush=True)
    guide = experiment.classifier("guide", settings.guide)
    if settings.find_learning_rate:
        experiment.find_learning_rate(settings.vae, guide)
        return []
    judge = experiment.classifier("judge", settings.judge)
    vae = experiment.vae("vae", settings.vae, guide, judge, main=True)
    images, rows = whole(data.splits["test"])
    if settings.fast_dev_run:
        images, rows = images[:FEW], rows[:FEW]
    unchanged: Any = UnchangedImages(vae.attributes, vae.image_shape)
    scores = [
        evaluate_attributes(model, judge, images, rows, name)
        for name, model in (("labelvae", vae), ("image itself", unchanged))
    ]
    save_scores(scores, experiment.out / "scores.json")
    print(f"\n{scores_table(scores)}\n")
    experiment.wrong |= {} if settings.fast_dev_run else advice(scores[0])
    known = torch.where(rows.isnan(), judge.rows(images), rows)
    save_picture(attribute_sheet(vae, images, known), experiment.out / "attributes.png")
    experiment.finish(scores)
    return scores


def attribute_lines(attributes: Attributes) -> str:
    """Return what each attribute is, a line each, for people."""
    return "\n".join(f"{printable(name)}: {printable(kind.expected)}" for name, kind in attributes.items())


def whole(split: StoredImages) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all images of a split as floats in [0, 1] and their rows."""
    held = split.load()
    return held.images.float() / 255.0, held.labels
