"""Where a run's curves and pictures go: Weights & Biases, TensorBoard or CSV, all through Lightning's loggers.

Nothing here asks a question, and each library is imported only where it is used.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from labelvae.settings import LogKind, WandbMode
from labelvae.whole_files import write_whole


def make_logger(kind: LogKind, mode: WandbMode, out: Path, facts: Mapping[str, Any]) -> Logger | None:
    """The logger of a run under `out`, with `facts` as its configuration; None where nothing is logged.

    Args:
        kind: which; "wandb" with `mode` "disabled" is nothing, too.
        mode: of Weights & Biases.
        out: the run's folder.
        facts: plain values: settings, the fingerprint of the data, the version of the code.

    Raises:
        ValueError: a library that is not installed, or no account where one is needed.
    """
    if kind == "none" or (kind == "wandb" and mode == "disabled"):
        return None
    try:
        if kind == "wandb":
            return _wandb(mode, out, facts)
        logger: Logger
        if kind == "tensorboard":
            logger = TensorBoardLogger(out, name="tensorboard", version="", default_hp_metric=False)
        else:
            logger = _csv(out)
    except ImportError as error:
        extra = " with `pip install 'labelvae[tensorboard]'`" if kind == "tensorboard" else ""
        raise ValueError(f"log: {kind} is not installed; install it{extra}, or use --log csv or none") from error
    logger.log_hyperparams(dict(facts))
    return logger


def _csv(out: Path) -> Logger:
    number = 0
    while (out / "csv" / (str(number) if number else "")).exists():  # Lightning's logger would delete what is there
        number += 1
    return CSVLogger(out, name="csv", version=str(number) if number else "")


def _wandb(mode: WandbMode, out: Path, facts: Mapping[str, Any]) -> Logger:
    import wandb
    from wandb.errors import Error, UsageError

    if mode == "online" and not wandb.api.api_key:  # it would ask
        raise ValueError("wandb: there is no account here; log in with `wandb login`, or use --wandb offline")
    known = out / "wandb" / "run-id"  # a resumed run goes on with the curves it has
    if not known.is_file():
        write_whole(known, uuid4().hex[:8])
    run_id = known.read_text().strip()
    try:  # made here: Lightning would pass a setting that wandb warns of
        run = wandb.init(project="labelvae", name=out.name, dir=out, id=run_id, resume="allow", mode=mode)
        config: Any = run.config
        config.update(dict(facts), allow_val_change=True)
    except (Error, UsageError) as error:
        raise ValueError(f"wandb: {error}; log in with `wandb login`, or use --wandb offline") from error
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    for name, best in (("relabel/effectiveness", "max"), ("val/total", "min")):
        run.define_metric(name, step_metric="trainer/global_step", step_sync=True, summary=f"{best},last")
    return WandbLogger(experiment=run, save_dir=out, log_model=False)


def shows_pictures(logger: Logger) -> bool:
    """Whether pictures go anywhere in this log."""
    return isinstance(logger, WandbLogger | TensorBoardLogger)


def log_picture(loggers: Iterable[Logger], key: str, picture: Image.Image, step: int | None = None) -> None:
    """Sends a picture to the loggers that show pictures.

    As a PIL image: wandb casts float tensors to 8 bits without scaling, which makes them black.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key, [picture])
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(key, np.asarray(picture), step or 0, dataformats="HWC")


def close_logger(logger: Logger, scores: Mapping[str, Any], diagnosis: str, model: Path, name: str) -> None:
    """Ends a log: scores and diagnosis as its summary and, on Weights & Biases, the folder `model` as an artifact."""
    summary = {f"scores/{key}": value for key, value in scores.items() if value is not None}
    if isinstance(logger, WandbLogger):
        import wandb

        logger.experiment.summary.update(summary | {"diagnosis": diagnosis})
        artifact = wandb.Artifact(f"{name}-vae", type="model", metadata=summary)
        artifact.add_dir(str(model))
        logger.experiment.log_artifact(artifact)
        logger.experiment.finish()
        return
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text("diagnosis", diagnosis)
    logger.log_metrics({key: value for key, value in summary.items() if isinstance(value, int | float)})
    logger.finalize("success")


def code_version() -> dict[str, str]:
    """The versions of this package and of what it computes with, and the commit of a source tree that is one."""
    versions = {}
    for package in ("labelvae", "torch", "lightning"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "source"
    # Installed into somebody's own source tree, the package is in that tree and not of it.
    home, asked = Path(__file__).parent, (["ls-files", "--error-unmatch", "logs.py"], ["rev-parse", "HEAD"])
    try:
        of_it, commit = (
            subprocess.run(["git", *words], capture_output=True, text=True, timeout=10, check=False, cwd=home)
            for words in asked
        )
    except (OSError, subprocess.TimeoutExpired):
        return versions
    return versions | ({"commit": commit.stdout.strip()} if of_it.returncode == commit.returncode == 0 else {})
