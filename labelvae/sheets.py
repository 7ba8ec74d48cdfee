"""What a model does to fixed images, as the sheets of pictures that every run and report shows."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from labelvae.figures import reconstructions_grid, samples_grid, style_transfer_grid, wrong_labels_grid
from labelvae.inputs import wrong_labels
from labelvae.vae import ConditionalVAE

MOST_CLASSES = 20


def sheets(vae: ConditionalVAE, images: Tensor, labels: Tensor, class_names: list[str]) -> dict[str, Image.Image]:
    """The sheets by name: wrong_labels (25), reconstructions (40), every_class (10), samples, where labels decide them.

    Args:
        vae: the model.
        images: `(N, C, H, W)` in [0, 1], best one of each class in turn; the first are taken.
        labels: their labels, `(N,)`.
        class_names: name of each label.
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
