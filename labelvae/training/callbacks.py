"""What watches a training: its progress bar, its last checkpoint, and what goes wrong in silence."""

from __future__ import annotations

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
from labelvae.inputs.checks import check_number
from labelvae.system.whole_files import write_whole
from labelvae.training.base import Task
from labelvae.training.tasks import VAETraining

SELDOM = 4
"""Steps between those whose weights enter a moving average on a GPU."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, beside where it goes; Lightning's own way leads through /tmp."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes; what stood there stays until then.

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
    """Lightning's progress bar, drawn every 20 steps, with the loss as it was last logged."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=20)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the loss, and what was logged for the bar."""
        return super().get_metrics(trainer, pl_module) | (pl_module.shown if isinstance(pl_module, Task) else {})


class LastCheckpoint(Checkpoint):
    """Keeps the state at the end of the last whole epoch in one file, with the random numbers of CPU and CUDA.

    The file is replaced only by a complete one. A run of one process that is resumed from it goes the way of
    one never stopped.

    Args:
        path: the file.
        every_n_epochs: how often; the last epoch is always kept.
    """

    def __init__(self, path: Path, every_n_epochs: int = 1) -> None:
        self.path = Path(path).absolute()
        self.every_n_epochs = every_n_epochs
        self._random_states: dict[str, Any] = {}

    @property
    def last_model_path(self) -> str:
        """The file, if there is one; Lightning's own callback has the same name for it."""
        return str(self.path) if self.path.is_file() else ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See to whole files."""
        trainer.strategy.checkpoint_io = WholeCheckpointIO()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every_n_epochs and epoch != trainer.max_epochs:
            return
        trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the random number generators."""
        states: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            states["cuda"] = torch.cuda.get_rng_state_all()
        return states

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until training starts."""
        self._random_states = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the random number generators to where the checkpoint left them."""
        if "cpu" in self._random_states:
            torch.set_rng_state(self._random_states["cpu"].cpu())
        if "cuda" in self._random_states and torch.cuda.is_available():
            for device, state in enumerate(self._random_states["cuda"][: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(state.cpu(), device)


class MovingAverage(WeightAveraging):
    """Keeps a moving average of a task's weights, which are the task's in validation and after the training.

    Over the first steps it forgets faster, min(decay, (1 + n) / (10 + n)) after n of them, so that a short training
    does not keep where it began. It is part of a checkpoint. Put it last of the callbacks: all that look after an epoch
    then see the average. On a GPU, where the host waits for it, it takes every fourth step's weights.

    Args:
        decay: how much of the average is kept at a step, in (0, 1).

    Raises:
        ValueError: a decay out of range.
    """

    def __init__(self, decay: float) -> None:
        check_number("decay", decay, above=0, below=1)
        super().__init__(multi_avg_fn=self._average)
        self.decay = decay
        self._every = 1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin the average."""
        super().setup(trainer, pl_module, stage)
        self._every = 1 if trainer.strategy.root_device.type == "cpu" else SELDOM

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Say whether this step's weights are taken."""
        return step_idx is not None and step_idx % self._every == 0

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the task, also where a finished training was resumed and no step was made."""
        self._copy_average_to_current(pl_module)

    def _average(self, averages: Any, now: Any, _: Tensor) -> None:
        if not averages[0].is_floating_point():  # counts of batches
            for average, value in zip(averages, now, strict=True):
                average.copy_(value)
            return
        steps = self._latest_update_step  # as the tensor that torch counts them in, which would have to be read
        kept = min(self.decay, (1 + steps) / (10 + steps)) ** self._every
        torch._foreach_lerp_(averages, now, 1 - kept)  # what is frozen stays as it is, to the last bit


class Diagnosed(Callback):
    """After each validation: whether the label is followed, the code says something and the guide knows anything.

    The measures are logged; what is wrong is said once in words, from the middle of the training on.

    Args:
        images: held-out images `(N, C, H, W)` in [0, 1], of several labels.
        labels: their labels `(N,)`.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
        self._said: set[str] = set()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, log and warn."""
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
