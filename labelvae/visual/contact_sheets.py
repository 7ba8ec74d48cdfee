"""What a model does to fixed images, as the sheets of pictures in every run and report."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from labelvae.data.given_data import Batches, batches_of, checked_pair
from labelvae.inputs.tensors import wrong_labels
from labelvae.losses.refinement import Refined
from labelvae.models.classifier import LabelClassifier
from labelvae.models.inference import evaluation_mode
from labelvae.models.vae import ConditionalVAE
from labelvae.visual.grids import reconstructions_grid, samples_grid, style_transfer_grid, wrong_labels_grid

MOST_CLASSES = 20


def sheets(
    vae: ConditionalVAE | Refined, images: Tensor, labels: Tensor, class_names: list[str]
) -> dict[str, Image.Image]:
    """Draw the sheets of pictures that every run shows.

    Args:
        vae: the model, or the model with its guide.
        images: the images, `(N, C, H, W)` in [0, 1], ideally one of each class in turn. The first ones are used.
        labels: their labels, int64 `(N,)`.
        class_names: the name of each class.

    Returns:
        The sheets by name: "wrong_labels" (25 images), "reconstructions" (40 images), "every_class" (10 images), and
        "samples" if the decoder sees the label.
    """
    names, generator = class_names[:MOST_CLASSES], torch.Generator().manual_seed(0)
    asked = wrong_labels(labels, len(class_names), generator)
    few = slice(0, 25)
    changed = vae.relabel(images[few], asked[few], labels[few])
    pictures = {"wrong_labels": wrong_labels_grid(images[few], changed, labels[few], asked[few], class_names)}
    few = slice(0, 40)
    pictures["reconstructions"] = reconstructions_grid(images[few], vae.reconstruct(images[few], labels[few]))
    few = slice(0, 10)
    every = [vae.relabel(images[few], label, labels[few]) for label in range(len(names))]
    pictures["every_class"] = style_transfer_grid(images[few], torch.stack(every, dim=1), names)
    if vae.decoder_sees_label:
        asked = torch.arange(len(names)).repeat_interleave(10)
        pictures["samples"] = samples_grid(vae.sample(asked, generator).unflatten(0, (len(names), 10)), names)
    return pictures


def failures(
    vae: ConditionalVAE | Refined,
    judge: LabelClassifier,
    batches: Batches,
    class_names: list[str],
) -> Image.Image:
    """Draw the 25 worst counterfactuals by the judge's opinion, next to their originals.

    The worst have the lowest probability of the asked label. The wrong labels are the first that `evaluate` draws with
    its default seed.

    Args:
        vae: the model.
        judge: a classifier that was in no loss.
        batches: images `(B, C, H, W)` in [0, 1] and labels `(B,)`, in a fixed order and a form of `data.given_data`.
        class_names: the name of each class.

    Returns:
        The sheet.

    Raises:
        ValueError: no batches.
    """
    generator, worst = torch.Generator().manual_seed(0), list[Tensor]()
    for batch in batches_of("batches", batches):
        images, labels = checked_pair(batch, vae.image_shape, len(class_names), class_names)
        asked = wrong_labels(labels, len(class_names), generator)
        changed = vae.relabel(images, asked, labels)
        with evaluation_mode(judge) as classifier:
            chance = classifier(changed.to(judge.device)).cpu().log_softmax(dim=1)[torch.arange(len(asked)), asked]
        found = [chance, images, changed, labels, asked]
        if worst:
            found = [torch.cat(pair) for pair in zip(worst, found, strict=True)]
        few = found[0].argsort(stable=True)[:25]
        worst = [each[few] for each in found]
    if not worst:
        raise ValueError("batches: expected at least one batch of images, got none")
    _, images, changed, labels, asked = worst
    return wrong_labels_grid(images, changed, labels, asked, class_names)
