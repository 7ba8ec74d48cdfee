"""Callbacks of a training: its progress bar, its last checkpoint, an average of its weights, and a diagnosis."""

from __future__ import annotations

import math
import sys
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, TQDMProgressBar, WeightAveraging
from torch import Tensor

from labelvae.evaluation.diagnosis import diagnose
from labelvae.inputs.checks import check_count, check_number
from labelvae.system.whole_files import write_whole
from labelvae.training.base import Task
from labelvae.training.tasks import VAETraining

SELDOM = 4
"""On a GPU, the weights of every fourth step enter a moving average."""

DIRECTIONS = ("weight.0._u", "weight.0._v")
"""How torch's spectral normalization names its unit vectors."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint whole or not at all, next to its place. (Lightning's own writer uses /tmp.)"""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint. An existing file is replaced only by a complete one.

        Raises:
            OSError: the disk is full, or the file cannot be written for another reason.
        """
        buffer = BytesIO()
        torch.save(checkpoint, buffer)
        try:
            write_whole(path, buffer.getvalue())
        except OSError as error:
            kept = "the one before is kept" if Path(path).is_file() else "there is none before it"
            raise OSError(
                f"{path}: the checkpoint could not be written ({error}); {kept}, make room and resume"
            ) from error


class Bar(TQDMProgressBar):
    """Lightning's progress bar, drawn every 20 steps, with the loss that was logged last.

    In a file or a pipe, where every drawing would be kept, ten lines tell of a training instead.
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=20)
        if not (sys.stdout.isatty() or "ipykernel" in sys.modules):
            self.disable()

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the loss, and what was logged for the bar."""
        return super().get_metrics(trainer, pl_module) | (pl_module.shown if isinstance(pl_module, Task) else {})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the epoch's end, or print its line."""
        super().on_train_epoch_end(trainer, pl_module)
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or -1
        if self.is_disabled and (epochs < 0 or epoch % math.ceil(epochs / 10) == 0 or epoch == epochs):
            shown = pl_module.shown if isinstance(pl_module, Task) else {}
            loss = "".join(f", {name} {value:.4g}" for name, value in shown.items())
            print(f"epoch {epoch}{f' of {epochs}' if epochs > 0 else ''}{loss}", flush=True)


class LastCheckpoint(Checkpoint):
    """Keep the state at the end of the last whole epoch in one file, with the random numbers of CPU and CUDA.

    The file is replaced only by a complete one. A run of one process that resumes from it goes on exactly as if it had
    never stopped.

    Args:
        path: the file.
        every_n_epochs: the number of epochs between checkpoints. The last epoch is always kept, whatever
            ends the training.

    Raises:
        ValueError: `every_n_epochs` below 1.
    """

    def __init__(self, path: Path, every_n_epochs: int = 1) -> None:
        self.path = Path(path).absolute()
        self.every_n_epochs = check_count("every_n_epochs", every_n_epochs)
        self._random_states: dict[str, Any] = {}

    @property
    def last_model_path(self) -> str:
        """The file, or an empty string. (Lightning's own callback has the same attribute.)"""
        return str(self.path) if self.path.is_file() else ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the trainer write checkpoints whole."""
        trainer.strategy.checkpoint_io = WholeCheckpointIO()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint."""
        epoch = trainer.current_epoch + 1
        last = epoch == trainer.max_epochs or trainer.should_stop or 0 < trainer.max_steps <= trainer.global_step
        if epoch % self.every_n_epochs and not last:
            return
        trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the random number generators."""
        states: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            states["cuda"] = torch.cuda.get_rng_state_all()
        return states

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a checkpoint's random states until training starts."""
        self._random_states = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the random number generators to the checkpoint's states."""
        if "cpu" in self._random_states:
            torch.set_rng_state(self._random_states["cpu"].cpu())
        if "cuda" in self._random_states and torch.cuda.is_available():
            for device, state in enumerate(self._random_states["cuda"][: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(state.cpu(), device)


class MovingAverage(WeightAveraging):
    """Keep a moving average of a task's weights, and use it in validation and after the training.

    After n steps the decay is min(decay, (1 + n) / (10 + n)): the average forgets faster at first, so that a short
    training does not keep its beginning. The average is part of a checkpoint. Put this callback last, so that all
    others see the average at the end of an epoch. On a GPU, where each update makes the host wait, only every fourth
    step is averaged. Directions of a spectral normalization are taken as they are: the mean of unit vectors is none.

    Args:
        decay: the share of the average that is kept at a step, in (0, 1).

    Raises:
        ValueError: a decay out of range.
    """

    def __init__(self, decay: float) -> None:
        check_number("decay", decay, above=0, below=1)
        super().__init__(multi_avg_fn=self._average)
        self.decay = decay
        self._every = 1
        self._directions: list[tuple[Tensor, Tensor]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin the average."""
        super().setup(trainer, pl_module, stage)
        self._every = 1 if trainer.strategy.root_device.type == "cpu" else SELDOM
        if self._average_model is not None:
            now = dict(pl_module.named_buffers())
            averages = self._average_model.module.named_buffers()
            self._directions = [(value, now[name]) for name, value in averages if name.endswith(DIRECTIONS)]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Let this step's weights enter the average."""
        super().on_train_batch_end(trainer, pl_module, *args, **kwargs)
        for average, now in self._directions if self._latest_update_step == trainer.global_step else ():
            average.copy_(now)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether this step's weights enter the average."""
        return step_idx is not None and step_idx % self._every == 0

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the average to the task, also if a finished training was resumed and no step was made."""
        self._copy_average_to_current(pl_module)

    def _average(self, averages: Any, now: Any, _: Tensor) -> None:
        if not averages[0].is_floating_point():  # counts of batches
            for average, value in zip(averages, now, strict=True):
                average.copy_(value)
            return
        # With precision bf16-true, the types differ.
        now = [value.to(average.dtype) for average, value in zip(averages, now, strict=True)]
        steps = self._latest_update_step  # as the tensor that torch counts them in, which would have to be read
        kept = min(self.decay, (1 + steps) / (10 + steps)) ** self._every
        torch._foreach_lerp_(averages, now, 1 - kept)  # what is frozen stays as it is, to the last bit


class Diagnosed(Callback):
    """Check after each validation: is the label followed, is the code used, does the guide know the labels?

    The measures are logged. From the middle of the training on, each problem is said once, in a warning.

    Args:
        images: held-out images of several labels, `(N, C, H, W)` in [0, 1].
        labels: their labels, int64 `(N,)`.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
        self._said: set[str] = set()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, log and warn."""
        if not isinstance(pl_module, VAETraining) or trainer.sanity_checking or not trainer.is_global_zero:
            return
        diagnosis = diagnose(pl_module.vae, self.images, self.labels, pl_module.loss.guide)
        for name in ("label_change", "kl", "asked_agreement", "guide_accuracy"):
            pl_module.log(f"{pl_module.prefix}diagnosis/{name}", getattr(diagnosis, name), rank_zero_only=True)
        if 2 * trainer.global_step < pl_module.steps or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        for name, words in diagnosis.warnings().items():
            if name not in self._said:
                warnings.warn(f"{name}: {words}", stacklevel=2)
        self._said |= set(diagnosis.warnings())
