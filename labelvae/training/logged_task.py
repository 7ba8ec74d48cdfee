"""A Lightning task that logs the terms of its steps without making the host wait, and stops if they are not finite."""

from __future__ import annotations

import torch
from torch import Tensor

from labelvae.training.checkpoints import Rebuildable
from labelvae.training.term_window import MOST_UNREAD, TermWindow


class LoggedTask(Rebuildable):
    """The base class of a task whose steps give terms.

    Args:
        prefix: the beginning of the names in the log, for example "guide/".

    Attributes:
        shown: the values in `callbacks.Bar`, read every `log_every_n_steps`.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix
        self.shown: dict[str, float] = {}
        self._window = TermWindow()

    def log_terms(self, terms: dict[str, Tensor]) -> None:
        """Keep a step's scalars, and send their means to the loggers every `log_every_n_steps`.

        At these steps, before a validation and at the end of the epoch, `trainer.callback_metrics` gets the means over
        the epoch so far, such as "train/total".

        Raises:
            FloatingPointError: a scalar is not finite.
        """
        self._window.add(self.global_step, terms)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # 0 for never
        full = len(self._window) >= every > 0
        if full or self.trainer.is_last_batch or len(self._window.unread) >= MOST_UNREAD:
            self._read_window()
        if full:
            # Not through self.log: Lightning reads what is for its bar at every step.
            values = self._shared(self._window.take())
            self.shown = {"loss": values["total"]}
            for logger in self.loggers:
                named = {f"{self.prefix}train/{name}": value for name, value in values.items()}
                logger.log_metrics(named, step=self.global_step)

    def on_train_epoch_start(self) -> None:
        """Begin the means of another epoch."""
        self._window.start_epoch()

    def on_validation_epoch_start(self) -> None:
        """Make sure that the weights are finite, before they are validated."""
        self.check_finite()

    def on_train_epoch_end(self) -> None:
        """Make sure that the weights are finite, before a checkpoint is written."""
        self.check_finite()

    def check_finite(self) -> None:
        """Raise `FloatingPointError` if a term or a weight is not finite. The host waits for the device."""
        if self._window.unread:
            self._read_window()
        super().check_finite()

    def _read_window(self) -> None:
        """Read the terms of the last steps, and show their means to callbacks. The host waits here, once."""
        wrong = self._window.read()
        if wrong is not None:
            step, name = wrong
            self._stop(f"{name} is not finite at step {step}")
        for name, value in self._shared(self._window.epoch_means()).items():
            self.trainer.callback_metrics[f"{self.prefix}train/{name}"] = torch.tensor(value)

    def _shared(self, means: list[float]) -> dict[str, float]:
        """Return means over all processes, by name."""
        if self.trainer.world_size > 1:
            means = self.trainer.strategy.reduce(torch.tensor(means, device=self.device), reduce_op="mean").tolist()
        return dict(zip(self._window.names, means, strict=True))

    def _stop(self, what: str) -> None:
        """Raise `FloatingPointError` that says what is not finite, with the prefix of the log."""
        super()._stop(f"{self.prefix}{what}")
