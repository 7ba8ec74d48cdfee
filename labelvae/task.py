"""What every Lightning task here shares: its optimizer and schedule, and a step that never makes the host wait.

One optimizer each, its learning rate warmed up and taken down again. Terms are kept on the device, and every
`log_every_n_steps` looked at and logged.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from typing import Any, get_args

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from labelvae.checks import check_choice, check_flag, check_number
from labelvae.compiling import compiled_or_eager
from labelvae.settings import Schedule

CLIP_NORM = 200.0
"""Largest norm of the gradient of a parameter group; losses are sums over pixels, so gradients are large."""


def learning_rate_factor(step: int, steps: int, schedule: Schedule = "cosine") -> float:
    """What the learning rate is multiplied by at a step of `steps`, in [0, 1].

    cosine: linear from 0 to 1 over the first tenth, then a cosine down to 0 (Loshchilov & Hutter, 2017, arXiv
    1608.03983). one-cycle: a cosine up from 1/25 over the first 30 %, then down to 0 (Smith & Topin, 2018, arXiv
    1708.07120). Both depend on the step alone, so that a run can be resumed to more epochs.

    >>> [round(learning_rate_factor(step, 100), 2) for step in (0, 5, 10, 55, 100)]
    [0.09, 0.55, 1.0, 0.5, 0.0]
    >>> [round(learning_rate_factor(step, 100, "one-cycle"), 2) for step in (0, 15, 30, 65, 100)]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """
    warm_up = (0.1 if schedule == "cosine" else 0.3) * steps
    if step >= warm_up:
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1.0, steps - warm_up))))
    if schedule == "cosine":
        return (step + 1.0) / (warm_up + 1.0)
    return 1.0 - 0.96 * 0.5 * (1.0 + math.cos(math.pi * step / warm_up))


class Task(LightningModule):
    """What both tasks share: the schedule, clipping, and logging without waiting.

    Args:
        learning_rate: largest step size of AdamW.
        weight_decay: of AdamW.
        schedule: how the learning rate moves, see `learning_rate_factor`.
        prefix: of the names in the log, for example "guide/".
        channels_last: keep the channels of a pixel beside each other in memory.
        compiled: compile the training step (not the model: its names stay as they are).

    Attributes:
        shown: what `callbacks.Bar` shows, read every `log_every_n_steps`.
    """

    def __init__(
        self,
        learning_rate: float,
        weight_decay: float,
        schedule: Schedule,
        prefix: str,
        channels_last: bool,
        compiled: bool,
    ) -> None:
        learning_rate = check_number("learning_rate", learning_rate, above=0)
        weight_decay = check_number("weight_decay", weight_decay, at_least=0)
        check_choice("schedule", schedule, get_args(Schedule))
        check_flag("channels_last", channels_last)
        check_flag("compiled", compiled)
        super().__init__()
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.prefix = prefix
        self.channels_last = channels_last
        self.compiled = compiled
        self.steps = 1
        self._step: Callable[..., dict[str, Tensor]] = self.step
        self.shown: dict[str, float] = {}
        self._names: list[str] = []
        self._window: list[Tensor] = []

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is optimized."""
        raise NotImplementedError

    def step(self, images: Tensor, labels: Tensor, progress: float | Tensor) -> dict[str, Tensor]:
        """The scalars of a training step by name, in nats per image; "total" is what is minimized.

        Args:
            images: `(B, C, H, W)` in [0, 1].
            labels: `(B,)`.
            progress: share of the training that is done, in [0, 1].
        """
        raise NotImplementedError

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The weighted objective, in nats per image."""
        images, labels = batch
        progress = self.global_step / self.steps
        if self.channels_last:
            images = images.to(memory_format=torch.channels_last)
        # A number would be compiled in.
        done = torch.full((), progress, device=images.device) if self.compiled else progress
        try:
            terms = self._step(images, labels, done)
        except ValueError as error:
            if "more than 1 value per channel" in str(error):
                raise ValueError(
                    "batch_size: batch normalization learns from at least 2 images a step, got 1; take larger batches, "
                    "and drop a last batch of one image (drop_last)"
                ) from error
            self.check_finite()  # weights that are no numbers make images that are none
            raise
        self.log_terms({name: value.detach() for name, value in terms.items()})
        return terms["total"]

    def configure_optimizers(self) -> Any:
        """AdamW with its schedule.

        Raises:
            ValueError: a trainer without an end, or one of half precision, whose scaled gradients are clipped wrongly.
        """
        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            raise ValueError("max_epochs: expected a number for the learning rate's schedule, got -1 (without end)")
        if self.trainer.precision == "16-mixed":
            raise ValueError("precision: expected 32-true or bf16-mixed, got 16-mixed; use bf16-mixed")
        self.steps = steps = max(1, int(steps))
        optimizer = torch.optim.AdamW(
            self.parameter_groups(),
            lr=self.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=self.weight_decay,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, steps, self.schedule)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Training mode, which a model that was loaded or used is not in; a frozen guide keeps its own."""
        if self.device.type == "cpu":  # Lightning sets this to 1: AdamW then looks for NVIDIA's library at each step
            os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
        self.train()
        warnings.filterwarnings("ignore", message="Found .* in eval mode at the start of training")  # the guide's

    def setup(self, stage: str) -> None:
        """Lays the weights out, and makes the compiled step ready; the first step compiles it."""
        if self.channels_last:
            self.to(memory_format=torch.channels_last)
        self._step = compiled_or_eager(self.step) if self.compiled and stage == "fit" else self.step

    def teardown(self, stage: str) -> None:
        """Lets go of what was compiled."""
        self._step = self.step

    def on_train_start(self) -> None:
        """Lays a resumed optimizer's state out like the weights, and lets each process draw its own noise."""
        for optimizer in self.trainer.optimizers:
            for parameter, state in optimizer.state.items():
                for name in ("exp_avg", "exp_avg_sq"):  # the fused AdamW walks through all of them side by side
                    state[name] = torch.empty_like(parameter).copy_(state[name])
        if self.trainer.world_size > 1:
            torch.manual_seed(torch.initial_seed() + self.global_rank)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the norm of each parameter group by itself: a discriminator must not shrink the model's steps."""
        for group in optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], gradient_clip_val or CLIP_NORM)

    def log_terms(self, terms: dict[str, Tensor]) -> None:
        """Keeps a step's scalars, and sends their means to the loggers every `log_every_n_steps`.

        Raises:
            FloatingPointError: one of them is not finite.
        """
        self._names = list(terms)
        self._window.append(torch.stack([*terms.values()]))
        if len(self._window) >= self.trainer.log_every_n_steps:  # type: ignore[attr-defined]
            window = self._finite_window()
            means = [sum(column) / len(window) for column in zip(*window, strict=True)]
            if self.trainer.world_size > 1:
                shared = torch.tensor(means, device=self.device)
                means = self.trainer.strategy.reduce(shared, reduce_op="mean").tolist()
            # Not through self.log: Lightning reads what is for its bar at every step.
            values = dict(zip(self._names, means, strict=True))
            self.shown = {"loss": values["total"]}
            for logger in self.loggers:
                named = {f"{self.prefix}train/{name}": value for name, value in values.items()}
                logger.log_metrics(named, step=self.global_step)
            self._window = []

    def on_validation_epoch_start(self) -> None:
        """As at the end of an epoch: from weights that are no numbers nothing can be validated."""
        self.check_finite()

    def on_train_epoch_end(self) -> None:
        """Makes sure, before a checkpoint is written, that it holds numbers."""
        self.check_finite()

    def check_finite(self) -> None:
        """Makes sure that the last terms and the weights are numbers; the host waits.

        Raises:
            FloatingPointError: one of them is not finite.
        """
        if self._window:
            self._finite_window()
        weights = {name: value for name, value in self.state_dict().items() if value.is_floating_point()}
        finite = torch.stack([torch.isfinite(value).all() for value in weights.values()])
        if not bool(finite.all()):
            first = next(name for name, good in zip(weights, finite.tolist(), strict=True) if not good)
            self._stop(f"the weights {first} are not finite after step {self.global_step - 1}")

    def _finite_window(self) -> list[list[float]]:
        """The terms of the last steps, a row a step, if they are finite; the host waits here, once."""
        window: list[list[float]] = torch.stack(self._window).tolist()
        for row, values in enumerate(window):
            terms = [name for name, value in zip(self._names, values, strict=True) if not math.isfinite(value)]
            if terms:
                step = self.trainer.fit_loop.epoch_loop.total_batch_idx - len(window) + 1 + row
                self._stop(f"{([name for name in terms if name != 'total'] or terms)[0]} is not finite at step {step}")
        return window

    def _stop(self, what: str) -> None:
        callbacks = self.trainer.checkpoint_callbacks
        kept = next((path for each in callbacks if (path := getattr(each, "last_model_path", ""))), "none")
        raise FloatingPointError(
            f"training: {self.prefix}{what}, the last good checkpoint is {kept}; "
            "lower the learning rate or the weights of the objective, or use precision 32-true"
        )
