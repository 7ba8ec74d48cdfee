"""Seconds of training to a quality, on a GPU and real images."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from labelvae import ClassifierTraining, ImageData, VAETraining
from labelvae.runs import presets
from labelvae.runs.building import classifier_task, new_classifier, new_vae, vae_task
from labelvae.runs.machine import choose, machine_of


class Until(Callback):
    """Stops at an accuracy on the test images, looked at after every epoch; the looking is not timed."""

    def __init__(self, loader: Any, accuracy: float | None) -> None:
        self.loader, self.accuracy = loader, accuracy
        self.seconds, self.best, self.start = 0.0, 0.0, 0.0

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Starts the clock."""
        torch.cuda.synchronize()
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Stops the clock and looks."""
        torch.cuda.synchronize()
        self.seconds += time.perf_counter() - self.start
        if self.accuracy is None or not isinstance(module, ClassifierTraining):
            return
        module.eval()
        with torch.no_grad():
            right = [(module.classifier(images).argmax(1) == labels).float() for images, labels in self.loader]
        module.train()
        self.best = max(self.best, torch.cat(right).mean().item())
        trainer.should_stop = self.best >= self.accuracy


def seconds_to(name: str, part: str, accuracy: float | None, data_dir: Path) -> dict[str, Any]:
    """Trains the guide or the model of a preset; the model of CIFAR10 for 100 epochs.

    Raises:
        ValueError: images that are not there.
    """
    settings = presets.MNIST if name == "mnist" else presets.CIFAR10
    data, device = ImageData(data_dir=data_dir, **asdict(settings.data)), torch.device("cuda")
    seed_everything(0, verbose=False)
    shape, classes = data.image_shape, data.num_classes
    choice = choose(settings, shape, machine_of(device))
    speed: dict[str, Any] = {
        "channels_last": choice.channels_last,
        "compiled": choice.compiled,
        "graphed": choice.graphed,
    }
    guide = new_classifier(settings.guide, shape, classes)
    task: ClassifierTraining | VAETraining
    if part == "guide":
        made = settings.guide.optimization
        optimization = replace(made, epochs=5 * made.epochs)  # until the aim, within reason
        task = classifier_task(settings.guide, guide, **speed)
    else:
        made = settings.vae.optimization
        optimization = replace(made, epochs=100) if name == "cifar10" else made
        task = vae_task(settings.vae, new_vae(settings.vae, shape, classes), guide, **speed)
    until = Until(data.loader("test", 1000, device), accuracy)
    trainer = Trainer(
        accelerator="gpu",
        devices=1,
        precision=choice.precision,
        max_epochs=optimization.epochs,
        logger=False,
        callbacks=[until],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    start = time.perf_counter()
    trainer.fit(task, data.loader("train", optimization.batch_size, device, shuffle=True, drop_last=True))
    row = {"seconds": round(until.seconds, 1), "with start and looking": round(time.perf_counter() - start, 1)}
    if accuracy is not None:
        row |= {"best accuracy": round(until.best, 4), "reached": until.best >= accuracy}
    return row
