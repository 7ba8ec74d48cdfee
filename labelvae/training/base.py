"""The base of the Lightning tasks: the optimizer and its schedule, and a step that does not make the host wait.

Each task has one optimizer, whose learning rate is warmed up and then taken down. The terms of a step stay on the
device, and are read and logged every `log_every_n_steps`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from typing import Any, get_args

import torch
from torch import Tensor

from labelvae.attributes.rows import Attributes
from labelvae.inputs.checks import check_choice, check_flag, check_kind, check_number
from labelvae.inputs.tensors import check_images
from labelvae.system.compiling import compiled_or_eager
from labelvae.system.process import environment
from labelvae.training.batches import check_batch_labels, skip_one_image, take_names, unpack
from labelvae.training.graphs import GraphedStep
from labelvae.training.logged_task import LoggedTask
from labelvae.training.optimizers import ScheduledRate, clip_gradients, lay_out_like_weights, scheduled_adamw
from labelvae.training.options import Schedule
from labelvae.training.overfitting import KeptOrder
from labelvae.training.steps import accumulates, close_epoch, planned_steps, skip_seen_batches
from labelvae.training.term_window import TermWindow


class Task(LoggedTask):
    """The base class of both tasks: the schedule, the clipping, and logging without waiting.

    Args:
        learning_rate: the largest step size of AdamW.
        weight_decay: the weight decay of AdamW.
        schedule: how the learning rate moves, see `learning_rate_factor`.
        prefix: the beginning of the names in the log, for example "guide/".
        channels_last: keep the channels of a pixel next to each other in memory.
        compiled: compile the training step. (The model is not compiled, so its names stay as they are.)
        graphed: record the training step as a CUDA graph.
    """

    def __init__(
        self,
        learning_rate: float,
        weight_decay: float,
        schedule: Schedule,
        prefix: str,
        channels_last: bool,
        compiled: bool,
        graphed: bool = False,
    ) -> None:
        learning_rate = check_number("learning_rate", learning_rate, above=0)
        weight_decay = check_number("weight_decay", weight_decay, at_least=0)
        check_choice("schedule", schedule, get_args(Schedule))
        check_flag("channels_last", channels_last)
        check_flag("compiled", compiled)
        check_flag("graphed", graphed)
        check_kind("prefix", prefix, str)
        super().__init__(prefix)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.channels_last = channels_last
        self.compiled = compiled
        self.graphed = graphed
        self.steps = 1
        self._epochs: int | None = None
        self._configured_rate = learning_rate
        self._step: Callable[..., dict[str, Tensor]] = self.step
        self._graph: GraphedStep | None = None
        self._to_check = True
        self._quiet = ExitStack()

    def hyperparameters(self) -> dict[str, Any]:
        """Return the arguments that every task has, as plain values."""
        names = ("learning_rate", "weight_decay", "schedule", "prefix", "channels_last", "compiled", "graphed")
        return {name: getattr(self, name) for name in names}

    @property
    def network(self) -> Any:
        """The network that is trained, with its `image_shape` and `num_classes`."""
        raise NotImplementedError

    @property
    def label_form(self) -> int | Attributes:
        """The form of a label: the number of classes K, or the attributes."""
        return self.network.num_classes  # type: ignore[no-any-return]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the trained weights, in the form that AdamW accepts."""
        raise NotImplementedError

    def step(self, images: Tensor, labels: Tensor, progress: float | Tensor) -> dict[str, Tensor]:
        """Compute the scalars of a training step.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1].
            labels: their own labels, int64 `(B,)`.
            progress: the share of the training that is done, in [0, 1].

        Returns:
            The scalars by name, in nats per image. "total" is minimized.
        """
        raise NotImplementedError

    def held_out_terms(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the scalars of held-out images that are logged, by name."""
        raise NotImplementedError

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Make a step, and keep its scalars for the log.

        Args:
            batch: images and labels, in a form that `batches.unpack` reads.
            batch_idx: the number of the batch in its epoch.

        Returns:
            The weighted objective, a scalar, in nats per image. None skips a last batch of one image.

        Raises:
            ValueError: a batch of another form, or of one image that is not the last of several; no weight to train.
        """
        images, labels = unpack(batch, self.label_form)
        if len(images) == 1:
            skip_one_image(last=batch_idx > 0 and self.trainer.is_last_batch)
            return None
        if self._to_check:  # on an accelerator, once: the host waits
            weights = [weight for group in self.parameter_groups() for weight in group["params"]]
            if not any(weight.requires_grad for weight in weights):
                raise ValueError("weights: all are frozen, none can be trained; call requires_grad_() on the network")
            with torch.no_grad():
                check_images(images, self.network.image_shape)
                check_batch_labels(labels, self.label_form, len(images))
            self._to_check = False
        progress = min(1.0, self.global_step / self.steps)
        if self.channels_last and images.ndim == 4:
            images = images.to(memory_format=torch.channels_last)
        if self._graph and self.trainer.accumulate_grad_batches > 1:  # a replay writes over the gradients of the last
            self._step, self._graph = self._graph.step, None
        done = torch.full((), progress, device=images.device) if self.compiled or self._graph else progress
        try:
            terms = self._step(images, labels, done)
        except ValueError:
            self.check_finite()  # weights that are no numbers make images that are none
            raise
        self.log_terms({name: value.detach() for name, value in terms.items()})
        return terms["total"]

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Log `held_out_terms` as `val/...`. With several loaders, Lightning adds the loader's number."""
        self._log_held_out("val", batch)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Log `held_out_terms` as `test/...`."""
        self._log_held_out("test", batch)

    def _log_held_out(self, split: str, batch: Any) -> None:
        images, labels = unpack(batch, self.label_form)
        terms = self.held_out_terms(images, labels)
        if not (self._trainer and self._trainer.barebones):
            values = {f"{self.prefix}{split}/{name}": value for name, value in terms.items()}
            self.log_dict(values, batch_size=len(images), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW with its schedule, in the form that Lightning accepts.

        Raises:
            ValueError: a trainer without an end or without batches, or with half precision.
        """
        if self.trainer.precision in ("16-mixed", "16-true"):
            raise ValueError(
                f"precision: expected 32-true or bf16-mixed, got {self.trainer.precision}, in which gradients "
                "of sums over pixels and their squares overflow; use bf16-mixed"
            )
        self._epochs, self._configured_rate = self.trainer.max_epochs, self.learning_rate
        self.steps = planned_steps(self.trainer, self._epochs)
        groups = self.parameter_groups()
        return scheduled_adamw(groups, self.learning_rate, self.weight_decay, self.steps, self.schedule)

    def on_fit_start(self) -> None:
        """Take up training mode, but for a frozen guide, and the names of the classes of a `datamodule`."""
        self.train()
        self._to_check = True
        self._window = TermWindow()
        take_names(self.network, self.trainer.datamodule)  # type: ignore[attr-defined]

    def on_train_end(self) -> None:
        """Hide a warning about the frozen guide until the next training starts, for example after a range test."""
        self._quiet.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="Found .* in eval mode at the start of training")

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step as Lightning does. On a CPU, keep AdamW from looking for NVIDIA's library each time."""
        with environment(PYTORCH_NVML_BASED_CUDA_CHECK="0" if self.device.type == "cpu" else None):
            super().optimizer_step(*args, **kwargs)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Clear the last step's gradients, unless a graph has just written the new ones over them."""
        if not (self._graph and self._graph.replayed):
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute the gradients, unless a graph has done so."""
        if not (self._graph and self._graph.replayed):
            super().backward(loss, *args, **kwargs)

    def setup(self, stage: str) -> None:
        """Lay the weights out in memory, and prepare the compiled or recorded step. The first step compiles or records.

        Raises:
            ValueError: what `CheckedTask` refuses.
        """
        super().setup(stage)
        self._epochs = None
        if self.channels_last:
            self.to(memory_format=torch.channels_last)
        self.on_train_end()  # before callbacks that train in on_fit_start
        self._step = compiled_or_eager(self.step) if self.compiled and stage == "fit" else self.step
        self._graph = None
        if stage == "fit":
            KeptOrder.attach(self.trainer)
        alone = self.trainer.world_size == 1 and not accumulates(self.trainer)
        if self.graphed and alone and stage == "fit" and self.trainer.strategy.root_device.type == "cuda":
            self._step = self._graph = GraphedStep(self._step, self)

    def teardown(self, stage: str) -> None:
        """Let go of the compiled or recorded step."""
        self._step, self._graph = self.step, None
        self._quiet.close()

    def on_train_start(self) -> None:
        """Lay a resumed optimizer's state out like the weights, and give each process noise of its own."""
        self._quiet.close()
        for optimizer in self.trainer.optimizers:
            lay_out_like_weights(optimizer)
        if self.trainer.world_size > 1:
            torch.manual_seed(torch.initial_seed() + self.global_rank)
        close_epoch(self.trainer)
        skip_seen_batches(self.trainer)
        self._plan_again()

    def _plan_again(self) -> None:
        """Follow what changed since the optimizer was made: the batches and the rate by a callback, or a resumption.

        Also count the steps for an optimizer of your own, because the terms are warmed up over a share of them.
        """
        configured = self.trainer.lr_scheduler_configs
        ours = [each.scheduler for each in configured if isinstance(each.scheduler, ScheduledRate)]
        steps = self.steps if ours else 1  # a training without an end, with an optimizer of your own
        with nullcontext() if ours else suppress(ValueError):
            steps = planned_steps(self.trainer, self.trainer.max_epochs if self._epochs is None else self._epochs)
        sought = self.learning_rate != self._configured_rate
        rates = [group.get("lr", self.learning_rate) for group in self.parameter_groups()] if sought else None
        for scheduler in ours if sought or steps != self.steps else ():
            scheduler.plan(steps, self.schedule, rates)
        self.steps, self._configured_rate = steps, self.learning_rate

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip each parameter group on its own, see `clip_gradients`."""
        clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
