"""The log of a run: looked at before the run's folder changes, and opened after that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from lightning.pytorch.loggers import Logger

from labelvae.data.image_data import ImageData
from labelvae.runs.machine import Choice
from labelvae.runs.run_folder import plain
from labelvae.runs.settings import Settings
from labelvae.system.process import environment
from labelvae.training import loggers


def check_log(settings: Settings) -> None:
    """Make sure that the log of a run can be opened, without writing anything.

    Raises:
        ValueError: a library that is not installed; no account where one is needed; an unknown `WANDB_MODE`; a key or a
            name in the environment that Weights & Biases refuses.
    """
    if settings.fast_dev_run:
        return
    if settings.log == "tensorboard" and not any(map(_is_installed, ("tensorboard", "tensorboardX"))):
        extra = "install it with `pip install 'labelvae[tensorboard]'`"
        raise ValueError(f"log: tensorboard is not installed; {extra}, or use --log csv or none")
    mode = loggers.wandb_mode(settings.wandb) if settings.log == "wandb" else "disabled"
    if mode != "disabled" and not _is_installed("wandb"):
        raise ValueError("log: wandb is not installed; install it, or use --log csv or none")
    if mode != "disabled":
        with _mode_is_said(settings):
            loggers.check_wandb(mode)


def open_log(settings: Settings, out: Path, data: ImageData, runs_as: Choice) -> Logger | None:
    """Open the log of a run, with what its results depend on. A trial with `fast_dev_run` has no log.

    Args:
        settings: the settings of the run.
        out: the folder of the run.
        data: the images.
        runs_as: how the machine is used.

    Raises:
        ValueError: a log that cannot be opened.
    """
    if settings.fast_dev_run:
        return None
    facts = {
        **plain(asdict(settings)),
        "fingerprint": data.fingerprint(),
        "classes": data.class_names if data.attributes is None else data.attributes.plain(),
        "code": loggers.code_version(),
        "runs_as": asdict(runs_as),
    }
    with _mode_is_said(settings):
        return loggers.make_logger(settings.log, settings.wandb, out, facts)


@contextmanager
def _mode_is_said(settings: Settings) -> Iterator[None]:
    """Fill in an empty `WANDB_MODE` in this context. wandb refuses an empty one."""
    with environment(WANDB_MODE=loggers.wandb_mode(settings.wandb) if os.environ.get("WANDB_MODE") == "" else None):
        yield


def _is_installed(library: str) -> bool:
    return find_spec(library) is not None
