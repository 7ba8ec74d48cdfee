"""Trains a classifier of small colour images on the CPU, and tests it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import nn

from labelvae import ClassifierTraining, ImageData, LabelClassifier
from labelvae.data.image_data import Split
from labelvae.data.loaders import ImageLoader
from labelvae.data.settings import Augmentation
from labelvae.inputs.tensors import ImageShape
from labelvae.runs.machine import machine_of
from labelvae.runs.run_folder import checked_checkpoint
from labelvae.training.callbacks import Bar, LastCheckpoint


def learned(
    network: nn.Module,
    images: Any,
    data: ImageData,
    epochs: int,
    out: Path,
    learning_rate: float = 3e-3,
    bfloat16: bool = True,
) -> nn.Module:
    """Train on images that are shifted by up to an eighth and mirrored, and write the network.

    Args:
        network: from images `(B, C, H, W)` in [0, 1] to logits `(B, K)`.
        images: the set of training images.
        data: the data whose shape and classes they have.
        epochs: times that each image is seen.
        out: the file of the network, .pt2. The checkpoint beside it, .ckpt, lets the same call go on after a stop.
        learning_rate: the highest one.
        bfloat16: compute in it where the processor has instructions for it. Convolutions of one channel are slower so.

    Returns:
        The network, trained and in evaluation mode.
    """
    classifier = LabelClassifier.wrap(network, data.image_shape, data.num_classes)
    placed = Augmentation(shift=0.125, flip=True, interpolation="nearest")
    task = ClassifierTraining(classifier, placed, learning_rate=learning_rate, weight_decay=0.05, channels_last=True)
    last = out.with_suffix(".ckpt")
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        precision="bf16-mixed" if bfloat16 and machine_of(torch.device("cpu")).bfloat16 else "32-true",
        logger=False,
        callbacks=[LastCheckpoint(last), Bar()],
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(
        task,
        ImageLoader(images, 128, shuffle=True, drop_last=True),
        data.loader("validation", 250),
        ckpt_path=checked_checkpoint(last, epochs, task) if last.is_file() else None,
        weights_only=True,
    )
    network = classifier.network.eval()
    written(network, data.image_shape, out)
    return network


def written(network: nn.Module, shape: ImageShape, out: Path) -> None:
    """Write a network in evaluation mode as a .pt2 file, for batches of 1 to 4,096 images."""
    network.to(memory_format=torch.contiguous_format)  # other strides of weights are not kept
    some, sizes = torch.rand(2, *shape), ({0: torch.export.Dim("batch", min=1, max=4096)},)
    torch.export.save(torch.export.export(network, (some,), dynamic_shapes=sizes), out)


def accuracies(network: nn.Module, data: ImageData, split: Split) -> list[float]:
    """Return the accuracy on the images of a split, and then that of each class."""
    with torch.inference_mode():
        right = torch.cat([network(images).argmax(dim=1) == labels for images, labels in data.loader(split, 50)])
    truth = data.splits[split].labels
    return [float(part.float().mean()) for part in (right, *(right[truth == each] for each in range(data.num_classes)))]
