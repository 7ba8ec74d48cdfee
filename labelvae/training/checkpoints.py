"""Checkpoints that describe a task in plain values, so that it can be rebuilt from the file alone."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import IO, Any, Self

import fsspec
import torch
from lightning.pytorch import LightningModule

from labelvae.system.errors import first_line
from labelvae.training.checked_task import CheckedTask
from labelvae.training.descriptions import SavedLoss, built
from labelvae.training.descriptions import plain_loss as plain_loss  # noqa: PLC0414  where they were before
from labelvae.training.descriptions import plain_network as plain_network  # noqa: PLC0414

KEPT = ("learning_rate", "weight_decay", "discriminator_learning_rate")
"""Settings of the optimizer. A resumed one has those of the checkpoint."""


class Rebuildable(CheckedTask):
    """A Lightning task whose checkpoint holds the task's arguments, with networks as their configurations."""

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values; see `plain_network` and `plain_loss`."""
        raise NotImplementedError

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add `hyperparameters`. Values that a subclass saved by `save_hyperparameters` replace them."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = self.hyperparameters() | dict(self.hparams)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Compare the task with the saved one, see `compare`. Warn of settings that a resumption does not take."""
        said = _arguments(checkpoint)
        self.compare(said)
        if self._trainer is None or self._trainer.state.fn != "fit":
            return
        for name in KEPT:
            if isinstance(said.get(name), int | float) and said[name] != getattr(self, name, said[name]):
                warnings.warn(
                    f"{name}: the checkpoint was made with {said[name]:g}, now {getattr(self, name):g}; a resumed "
                    f"training keeps {said[name]:g}; for another, load_from_checkpoint(path, {name}=...) and fit "
                    "without ckpt_path",
                    stacklevel=2,
                )

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights as torch does.

        Raises:
            ValueError: a trainer resumes from a checkpoint of other networks.
            RuntimeError: weights of other networks, without a trainer.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            if self._trainer is None:
                raise
            raise ValueError(
                f"ckpt_path: the checkpoint's weights are not those of this {type(self).__name__} ({_last(error)}); "
                "give the task the networks and the loss that the checkpoint was made with, or choose another file"
            ) from error

    def compare(self, hyperparameters: Mapping[str, Any]) -> None:
        """Warn of the parts that a checkpoint was made with and this task lacks."""

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        **arguments: Any,
    ) -> Self:
        """Rebuild the task, its networks and its loss from a checkpoint.

        Args:
            checkpoint_path: the file.
            map_location: the device of the weights, see `torch.load`.
            hparams_file: a file with other arguments, see Lightning.
            strict: whether all weights must be there.
            weights_only: refuse a file that holds more than weights and plain values.
            **arguments: arguments of the constructor, in place of those in the checkpoint. Networks and losses of your
                own classes must be passed. If the loss had a guide or terms of your own, pass `guide`, the network, and
                `terms`, their functions by name: the rest of the loss is in the file, also the weights of the terms.

        Returns:
            The task.

        Raises:
            ValueError: a file that is no checkpoint of this task; a network that cannot be rebuilt and was not passed;
                an argument of another name.
        """
        _check_names(cls, arguments)
        checkpoint = _read(checkpoint_path, weights_only)
        known = _arguments(checkpoint)
        said = dict(known)
        own = {name: arguments.pop(name) for name in ("guide", "terms") if name in arguments}
        if own and "loss" in arguments:
            raise ValueError(f"{' and '.join(own)}: give them to the loss that is passed, GuidedELBO(...)")
        if own:
            loss = SavedLoss.read(known.get("loss"))
            loss = loss.with_guide(own["guide"]) if "guide" in own else loss
            known["loss"] = loss.with_functions(own["terms"]) if "terms" in own else loss
        if hparams_file is None and "_instantiator" not in known:  # that of LightningCLI makes everything itself
            known |= arguments
            parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
            needed = [each.name for each in parameters if each.default is each.empty and each.kind != each.VAR_KEYWORD]
            missing = [name for name in needed if name not in known]
            if missing:
                raise ValueError(
                    f"{checkpoint_path}: does not say what its {' and '.join(missing)} was, as checkpoints of older "
                    f"versions and of other tasks do not; pass {', '.join(f'{name}=...' for name in missing)}"
                )
            arguments |= {
                name: built(name, value) for name, value in known.items() if isinstance(value, Mapping | SavedLoss)
            }
        try:
            task: Self = super().load_from_checkpoint(
                checkpoint_path, map_location, hparams_file, strict, weights_only, **arguments
            )
        except RuntimeError as error:
            raise ValueError(
                f"{checkpoint_path}: its weights are not those of this {cls.__name__} ({_last(error)}); "
                "pass the networks that it was saved with"
            ) from error
        task.compare(said)  # Lightning has put the arguments in the place of what the file says
        return task


def _check_names(task: type[Rebuildable], arguments: Mapping[str, Any]) -> None:
    """Raise `ValueError` for an argument that the task does not have. (Lightning would leave it out.)"""
    parameters = inspect.signature(task.__init__).parameters.values()
    known = [each.name for each in parameters][1:]
    if any(each.kind == each.VAR_KEYWORD for each in parameters):
        return
    if wrong := [name for name in arguments if name not in (*known, "guide", "terms")]:
        raise ValueError(f"{', '.join(wrong)}: {task.__name__} has no such argument, only {', '.join(known)}")


def _arguments(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a checkpoint says; none, if it says something else."""
    said = checkpoint.get(LightningModule.CHECKPOINT_HYPER_PARAMS_KEY)
    return dict(said) if isinstance(said, Mapping) else {}


def _last(error: Exception) -> str:
    """Return the last line of an error of torch, shortened."""
    return shorten(str(error).strip().splitlines()[-1], 240)


def _read(path: str | Path | IO[bytes], weights_only: bool | None) -> dict[str, Any]:
    """Return a checkpoint without the values of its weights."""
    try:
        if isinstance(path, str | Path):
            with fsspec.open(str(path), "rb") as file:
                checkpoint = torch.load(file, map_location="meta", weights_only=weights_only)
        else:
            checkpoint = torch.load(path, map_location="meta", weights_only=weights_only)
            path.seek(0)
        if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), Mapping):
            raise ValueError("it has no weights of a task")
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such checkpoint") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: is a folder; give the path of a checkpoint in it, such as last.ckpt") from None
    except Exception as error:  # torch raises anything on the bytes of a broken file
        raise ValueError(
            f"{path}: is no checkpoint that can be read ({first_line(error)}); of a file you trust, "
            "weights_only=False reads anything"
        ) from error
    return checkpoint
