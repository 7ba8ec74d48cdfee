"""A Lightning task that refuses what cannot be trained, and keeps broken weights out of checkpoints."""

from __future__ import annotations

from itertools import chain
from typing import Any, Self

import torch
from lightning.pytorch import LightningModule
from torch import Tensor


class CheckedTask(LightningModule):
    """The base class of all tasks: it checks the weights before a training, and before they are saved."""

    def setup(self, stage: str) -> None:
        """Make sure that the weights have values, and that a training can have gradients.

        Raises:
            ValueError: weights or the default device on "meta"; a training, or weights, made inside
                `torch.inference_mode`.
        """
        if stage == "fit" and torch.is_inference_mode_enabled():
            raise ValueError("inference_mode: there are no gradients inside torch.inference_mode; train outside of it")
        if torch.get_default_device().type == "meta":
            raise ValueError("device: the default is meta, which holds no values; call torch.set_default_device('cpu')")
        if (name := self._without_values()) is not None:
            raise ValueError(
                f"weights: {name} is on the device meta and has no values; make the networks on another device, or "
                "load them with from_pretrained"
            )
        made = next((name for name, value in self.named_parameters() if value.is_inference()), None)
        if stage == "fit" and made is not None:
            raise ValueError(
                f"weights: {made} was made inside torch.inference_mode and has no gradient; make or load it outside"
            )

    def cpu(self) -> Self:
        """Move to the CPU, as Lightning does after an error too. Weights without values stay where they are."""
        return self if self._without_values() is not None else super().cpu()

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute the gradients.

        Raises:
            ValueError: all weights are frozen.
        """
        if not loss.requires_grad:
            raise ValueError("weights: all are frozen, none can be trained; call requires_grad_() on the network")
        super().backward(loss, *args, **kwargs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make sure that the weights are finite, before a checkpoint of a training takes the place of a good one."""
        if self._trainer is not None and self._trainer.training and not self._trainer.interrupted:
            self.check_finite()

    def check_finite(self) -> None:
        """Raise `FloatingPointError` if a weight is not finite. The host waits for the device."""
        weights = {name: value for name, value in self.state_dict().items() if value.is_floating_point()}
        finite = torch.stack([torch.isfinite(value).all() for value in weights.values()])
        if not bool(finite.all()):
            first = next(name for name, good in zip(weights, finite.tolist(), strict=True) if not good)
            self._stop(f"the weights {first} are not finite after step {self.global_step - 1}")

    def _stop(self, what: str) -> None:
        """Raise `FloatingPointError` that says what is not finite, and which checkpoint is good."""
        names, callbacks = ("last_model_path", "best_model_path"), self.trainer.checkpoint_callbacks
        kept = next(filter(None, (getattr(each, name, "") for name in names for each in callbacks)), "none")
        raise FloatingPointError(
            f"training: {what}, the last good checkpoint is {kept}; "
            "lower the learning rate or the weights of the objective, or use precision 32-true"
        )

    def _without_values(self) -> str | None:
        """Return the name of a weight on "meta"; None if there is none."""
        values = chain(self.named_parameters(), self.named_buffers())
        return next((name for name, value in values if value.is_meta), None)
