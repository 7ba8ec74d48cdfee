"""Measures of natural images that a guided model cannot flatter, since no label was in them or only real images test.

A guide, a judge and a critic know labels, and a model that was trained on one of them pleases the others too. A
network that was only asked how far an image is turned (Gidaris et al., 2018, arXiv 1803.07728) does not know them; and
a classifier that has seen nothing but counterfactuals is right on real images only if they look like their labels
(Ravuri & Vinyals, 2019, "Classification Accuracy Score", arXiv 1905.10887).
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from labelvae import LabelClassifier
from labelvae.data.image_sets import ImageSet
from labelvae.data.settings import Augmentation
from labelvae.evaluation.evaluator import Relabeller
from labelvae.inputs.tensors import wrong_labels
from labelvae.models.inference import evaluation_mode
from labelvae.runs.experiment import Experiment
from labelvae.runs.settings import ClassifierSettings
from labelvae.training.options import Optimization

TURNS = ("0", "90", "180", "270")
ROTATION = ClassifierSettings(
    widths=(32, 64, 128),
    blocks=1,
    feature_dim=128,
    augmentation=Augmentation(shift=0.125, interpolation="nearest"),
    optimization=Optimization(epochs=5, batch_size=256, learning_rate=3e-3, weight_decay=0.05, seed=6),
)
STUDENT = ClassifierSettings(
    widths=(32, 64, 128),
    blocks=1,
    feature_dim=128,
    augmentation=Augmentation(shift=0.125, flip=True, interpolation="nearest"),
    optimization=Optimization(epochs=10, batch_size=256, learning_rate=3e-3, weight_decay=0.05, seed=7),
)


def rotation_network(experiment: Experiment) -> tuple[LabelClassifier, float]:
    """A network trained to tell how far an image is turned, and its accuracy on the test images, all four turns."""
    turned = copy(experiment)
    turned.data = copy(experiment.data)
    turned.data.class_names, turned.data.num_classes = list(TURNS), len(TURNS)
    turned.data.splits = {name: _turned(split.load()) for name, split in experiment.data.splits.items()}
    network = turned.classifier("rotation", ROTATION)
    return network, _accuracy(turned, network)


def taught(experiment: Experiment, model: Relabeller, name: str) -> float:
    """Accuracy on real test images of a classifier trained on counterfactuals, over that of one trained on real images.

    As many of both: every training image is relabelled once, as a wrong label drawn by seed.
    """
    train = experiment.data.splits["train"].load()
    asked = wrong_labels(train.labels, experiment.data.num_classes, torch.Generator().manual_seed(0))
    parts = zip(train.images.split(1000), asked.split(1000), train.labels.split(1000), strict=True)
    made = torch.cat([_bytes(model.relabel(images / 255.0, labels, own)) for images, labels, own in parts])
    accuracies = []
    for key, images in (("real", train), (name, ImageSet(made, asked))):
        student = copy(experiment)
        student.data = copy(experiment.data)
        student.data.splits = experiment.data.splits | {"train": images}
        accuracies.append(_accuracy(experiment, student.classifier(f"taught-by-{key}", STUDENT)))
    return accuracies[1] / accuracies[0]


def _turned(images: ImageSet) -> ImageSet:
    every = torch.cat([images.images.rot90(turn, (2, 3)) for turn in range(len(TURNS))])
    labels = torch.arange(len(TURNS)).repeat_interleave(len(images))
    return replace(images, images=every, labels=labels)


def _bytes(images: Tensor) -> Tensor:
    return (images.cpu() * 255.0).round().byte()


def _accuracy(experiment: Experiment, classifier: LabelClassifier) -> float:
    right = []
    with evaluation_mode(classifier) as network:
        for images, labels in experiment.data.loader("test", device=experiment.device):
            right.append((network(images).argmax(dim=1) == labels).cpu())
    return float(torch.cat(right).float().mean())
