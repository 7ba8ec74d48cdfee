"""A training that ends when its time is up: the learning rate follows the clock, however fast the card is."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from gpu_job import Job
from lightning.pytorch import Callback, LightningModule, Trainer

from labelvae.data.image_data import ImageData
from labelvae.training.base import Task
from labelvae.training.optimizers import learning_rate_factor
from labelvae.training.options import Optimization

WARM_UP = 3
"""First steps, which compile and are not on the clock."""
SPOKEN = 5.0
"""Seconds between lines."""
FEW = 2
"""Steps on the clock in a rehearsal."""


class OnTheClock(Callback):
    """Ends a training after so many seconds on the clock.

    What share of them is gone stands for the share of the steps: in the schedule of the learning rates, and in the
    task's own count, which warms the objective up. Where the host runs ahead of the card, it waits when it logs.

    Args:
        job: whose lines it prints.
        name: of what is trained.
        seconds: for everything but the looks. The clock begins after the first `WARM_UP` steps, with what they left.
        most: steps on the clock at most; None for as many as there is time for.
        look: called after an epoch, at most once a second; its time is not counted. What it returns is kept with the
            seconds gone.
    """

    def __init__(
        self, job: Job, name: str, seconds: float, most: int | None = None, look: Callable[[], float] | None = None
    ) -> None:
        self.job, self.name, self.seconds, self.most, self.look = job, name, seconds, most, look
        self.begun = self.spoken = time.perf_counter()
        self.warm_up = self.gone = 0.0
        self.steps = 0
        self.seen: list[tuple[float, float]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Sets the learning rates by the clock."""
        assert isinstance(pl_module, Task)
        if trainer.global_step == WARM_UP:
            synchronize(pl_module.device)
            self.warm_up = time.perf_counter() - self.begun
            self.seconds = max(self.seconds - self.warm_up, 0.2 * self.seconds)
            self.begun = time.perf_counter()
        self.gone = time.perf_counter() - self.begun if trainer.global_step >= WARM_UP else 0.0
        share = min(1.0, max(self.gone / self.seconds, 1e-6 * (1 + trainer.global_step)))
        pl_module.steps = max(1, round(trainer.global_step / share))
        factor = learning_rate_factor(round(1e6 * share), 10**6, pl_module.schedule)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * group["initial_lr"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ends, and speaks every few seconds."""
        self.steps = trainer.global_step - WARM_UP
        if time.perf_counter() - self.spoken > SPOKEN:
            self.spoken = time.perf_counter()
            shown = "".join(f", {name} {value:.4g}" for name, value in getattr(pl_module, "shown", {}).items())
            self.job.say(f"{self.name}: step {trainer.global_step}, {self.gone:.0f} of {self.seconds:.0f} s{shown}")
        if self.steps > 0 and (self.gone >= self.seconds or self.steps == self.most or self.job.left() < 1.0):
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks."""
        synchronize(pl_module.device)
        now = time.perf_counter()
        self.gone = now - self.begun
        if self.look is not None and (not self.seen or self.gone - self.seen[-1][0] >= 1.0 or trainer.should_stop):
            self.seen.append((round(self.gone, 2), self.look()))
            self.begun += time.perf_counter() - now


def synchronize(device: torch.device) -> None:
    """Waits for the card."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def fit(
    job: Job,
    name: str,
    task: Task,
    data: ImageData,
    optimization: Optimization,
    seconds: float,
    look: Callable[[], float] | None = None,
    most: int | None = None,
    others: tuple[Callback, ...] = (),
) -> dict[str, Any]:
    """Trains a task for so many seconds, or for two steps in a rehearsal.

    Returns:
        Seconds on the clock and of the first steps, steps, epochs, images a second, what was seen and the most memory.
    """
    quiet()
    device = device_of()
    batch_size = 8 if job.rehearse else optimization.batch_size
    train = data.loader("train", batch_size, device, shuffle=True, drop_last=True, seed=optimization.seed)
    clock = OnTheClock(job, name, seconds, FEW if job.rehearse else most, look)
    trainer = Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        precision=precision_of(device),
        max_epochs=100_000,
        logger=False,
        callbacks=[clock, *others],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        log_every_n_steps=20,
        default_root_dir=job.scratch,
    )
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer.fit(task, train)
    task.to(device)
    row: dict[str, Any] = {
        "seconds": round(clock.gone, 2),
        "first steps, seconds": round(clock.warm_up, 2),
        "steps": clock.steps,
        "batch": batch_size,
        "epochs": round(clock.steps * batch_size / len(data.splits["train"]), 2),
        "images a second": round(clock.steps * batch_size / max(clock.gone, 1e-6)),
    }
    if clock.seen:
        row["seen"] = clock.seen
    if device.type == "cuda":
        row["peak memory, GB"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return row


def device_of() -> torch.device:
    """The card, or the CPU where there is none."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def precision_of(device: torch.device) -> Any:
    """Lightning's name for bfloat16 on the card, float32 on a CPU."""
    return "bf16-mixed" if device.type == "cuda" else "32-true"


def quiet() -> None:
    """Leaves out what Lightning says of itself."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (".*LeafSpec.*", "You defined a `validation_step`.*", "The .* does not have many workers"):
        warnings.filterwarnings("ignore", message=message)
