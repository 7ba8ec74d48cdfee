"""Ways to train the same model on the same images, each a function from a number of steps to seconds.

The model, the loss and the clipping of gradients are the library's in all of them; what differs is who drives them.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from labelvae import VAETraining
from labelvae.data.image_sets import ImageSet
from labelvae.data.loaders import ImageLoader
from labelvae.training.callbacks import Bar
from labelvae.training.optimizers import CLIP_NORM, clip_gradients

Way = Callable[[int], float]
SKIPPED = 3
"""First steps of every run that are not timed."""


def synchronize(device: torch.device) -> None:
    """Waits for an accelerator."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def optimizer_of(task: VAETraining, fused: bool) -> torch.optim.Optimizer:
    """AdamW as shipped, or torch's default implementation of Adam."""
    groups = task.parameter_groups()
    if fused:
        return torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    return torch.optim.Adam(groups, lr=2e-3, betas=(0.9, 0.99))


def loop(
    task: VAETraining,
    batches: Any,
    device: torch.device,
    *,
    fused: bool = True,
    bfloat16: bool = False,
    compiled: bool = False,
) -> Way:
    """A bare loop: step, backward, clip, optimizer; no schedule, no log."""
    optimizer = optimizer_of(task, fused)
    step = torch.compile(task.step) if compiled else task.step
    done = torch.full((), 1.0, device=device) if compiled else 1.0
    if task.channels_last:
        task.to(memory_format=torch.channels_last)

    def one(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        if task.channels_last:
            images = images.to(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            total = step(images, labels, done)["total"]
        total.backward()
        for group in optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], CLIP_NORM)
        optimizer.step()

    def run(steps: int) -> float:
        source = _endless(batches)
        for images, labels in islice(source, SKIPPED):
            one(images, labels)
        synchronize(device)
        start = time.perf_counter()
        for images, labels in islice(source, steps):
            one(images, labels)
        synchronize(device)
        return time.perf_counter() - start

    return run


def _endless(batches: Any) -> Iterator[Any]:
    while True:
        yield from batches


class Clock(Callback):
    """Seconds from the start of batch `SKIPPED` to the end of the last."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.start, self.seconds = device, 0.0, 0.0

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Starts."""
        if batch_idx == SKIPPED:
            synchronize(self.device)
            self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Stops."""
        synchronize(self.device)
        self.seconds = time.perf_counter() - self.start


def fit(task: LightningModule, batches: Any, device: torch.device, everyday: bool = False) -> Way:
    """`Trainer.fit` with a logger and a progress bar, as the examples have it; start-up is not timed."""

    def run(steps: int) -> float:
        clock = Clock(device)
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                accelerator="gpu" if device.type == "cuda" else "cpu",
                devices=1,
                max_epochs=1,
                limit_train_batches=steps + SKIPPED,
                logger=CSVLogger(folder),
                log_every_n_steps=50 if everyday else 20,
                callbacks=[clock, TQDMProgressBar(refresh_rate=1) if everyday else Bar()],
                enable_checkpointing=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )
            trainer.fit(task, Looped(batches, steps + SKIPPED))
        task.to(device)
        return clock.seconds

    return run


class Looped:
    """`steps` batches of a loader, begun anew where it ends."""

    def __init__(self, batches: Any, steps: int) -> None:
        self.batches, self.steps = batches, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        return islice(_endless(self.batches), self.steps)


class SameAdam(VAETraining):
    """The shipped task with torch's default Adam, as pythae has it."""

    def configure_optimizers(self) -> Any:
        """Adam."""
        return optimizer_of(self, fused=False)


class Several(VAETraining):
    """Several optimizer steps in one step of Lightning: a batch is a list of batches, see `Grouped`.

    Loss, clipping, schedule and the terms for the log are those of `VAETraining`, at every step. The trainer counts
    every step, but its hooks run once a list: callbacks, the moving average and the check of `max_steps` among them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False

    def training_step(self, batch: list[tuple[Tensor, Tensor]], batch_idx: int) -> None:
        """Makes a step for every batch of the list."""
        optimizer, schedule = self.optimizers().optimizer, self.lr_schedulers()  # type: ignore[union-attr]
        steps = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for images, labels in batch:
            optimizer.zero_grad()
            terms = self.step(images, labels, min(1.0, self.global_step / self.steps))
            terms["total"].backward()
            clip_gradients(optimizer)
            optimizer.step()
            schedule.step()  # type: ignore[union-attr]
            self.log_terms({name: value.detach() for name, value in terms.items()})
            steps.increment_by(1)


class Grouped:
    """A loader's batches, `count` to a list.

    Args:
        batches: the loader.
        count: batches of a list.
        size: images of a batch, if the loader's batches are `count` times as large and are only to be cut; or None.
    """

    def __init__(self, batches: Any, count: int, size: int | None = None) -> None:
        self.batches, self.count, self.size = batches, count, size

    def __iter__(self) -> Iterator[Any]:
        if self.size is not None:
            for images, labels in self.batches:
                yield list(zip(images.split(self.size), labels.split(self.size), strict=True))
            return
        source = iter(self.batches)
        while some := list(islice(source, self.count)):
            yield some


class Everyday(LightningModule):
    """A step as PyTorch-VAE writes it: Adam, and three values logged at every step and shown in the bar."""

    def __init__(self, task: VAETraining) -> None:
        super().__init__()
        self.task = task

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Logs the loss and its parts, read on the host."""
        terms = self.task.step(*batch, 1.0)
        self.log_dict({name: value.item() for name, value in terms.items()}, prog_bar=True)
        return terms["total"]

    def configure_optimizers(self) -> Any:
        """Adam."""
        return optimizer_of(self.task, fused=False)


def resident(images: Tensor, labels: Tensor, batch_size: int, device: torch.device) -> ImageLoader:
    """The library's loader."""
    return ImageLoader(ImageSet(images, labels), batch_size, device, shuffle=True, drop_last=True)


def fixed_order(images: Tensor, labels: Tensor, batch_size: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Batches made beforehand: nothing is indexed, converted or shuffled."""
    full = len(images) - len(images) % batch_size
    pairs = zip(images[:full].split(batch_size), labels[:full].split(batch_size), strict=True)
    return [(some.to(device).float() / 255.0, own.to(device)) for some, own in pairs]


def transformed(images: Tensor, labels: Tensor, batch_size: int, device: torch.device) -> Any:
    """Torchvision's way: PIL images, ToTensor, a shuffling DataLoader in this process."""
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms
    from torchvision.transforms.functional import to_pil_image

    pictures, to_tensor = [to_pil_image(image) for image in images], transforms.ToTensor()

    class Pictures(Dataset[tuple[Tensor, int]]):
        def __len__(self) -> int:
            return len(pictures)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return to_tensor(pictures[index]), int(labels[index])

    loader = DataLoader(Pictures(), batch_size, shuffle=True, drop_last=True)
    if device.type == "cpu":
        return loader

    class Moved:
        def __iter__(self) -> Iterator[Any]:
            return ((some.to(device), own.to(device)) for some, own in loader)

    return Moved()


def pythae_trainer(task: VAETraining, images: Tensor, labels: Tensor, batch_size: int, steps: int) -> Way:
    """Pythae's trainer on the same networks and the same loss; always so many `steps`.

    Raises:
        ImportError: pythae is not installed, or does not import here.
    """
    chosen = torch.tensor(list(islice(cycle(range(len(images))), batch_size * steps)))
    one_epoch = pythae_epochs(task, images[chosen].float() / 255.0, labels[chosen], batch_size)

    def run(_: int) -> float:
        device = next(task.parameters()).device
        synchronize(device)
        start = time.perf_counter()
        one_epoch(1)
        synchronize(device)
        return time.perf_counter() - start

    return run


def pythae_epochs(task: VAETraining, images: Tensor, labels: Tensor, batch_size: int) -> Callable[[int], Any]:
    """One epoch of pythae's trainer, with its Adam and its data loader, as a function of the epoch's number from 1.

    Raises:
        ImportError: pythae is not installed, or does not import here.
    """
    import logging

    from pythae.data.datasets import BaseDataset
    from pythae.models.base import BaseAE, BaseAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.getLogger("pythae").setLevel(logging.ERROR)

    class Wrapped(BaseAE):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(BaseAEConfig(input_dim=tuple(images.shape[1:]), latent_dim=task.vae.latent_dim))
            self.vae, self.loss = task.vae, task.loss

        def forward(self, inputs: Any, **_: Any) -> Any:
            terms = self.loss(self.vae, inputs["data"], inputs["labels"].long())  # it makes them floats
            return ModelOutput(loss=terms.total, recon_loss=terms.reconstruction.mean(), reg_loss=terms.kl.mean())

    data = BaseDataset(images, labels)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        how = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=batch_size,
            num_epochs=1,
            learning_rate=2e-3,
            optimizer_params={"betas": (0.9, 0.99)},
            no_cuda=next(task.parameters()).device.type == "cpu",
        )
        trainer = BaseTrainer(Wrapped(), data, training_config=how)
        trainer.prepare_training()
    one_epoch: Callable[[int], Any] = trainer.train_step
    return one_epoch
