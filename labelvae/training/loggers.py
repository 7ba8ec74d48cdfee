"""Where a run's curves and pictures go: Weights & Biases, TensorBoard or CSV, all through Lightning's loggers.

Nothing here asks a question. Each library is imported only when it is used.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from labelvae.system.whole_files import write_whole
from labelvae.training.options import LogKind, WandbMode


def make_logger(kind: LogKind, mode: WandbMode, out: Path, facts: Mapping[str, Any]) -> Logger | None:
    """Make the logger of a run.

    Args:
        kind: the kind of log. "none", and "wandb" with the mode "disabled", log nothing.
        mode: the mode of Weights & Biases. "auto" takes `WANDB_MODE` or `WANDB_DISABLED` of the environment, or else
            offline.
        out: the folder of the run.
        facts: the configuration to log, as plain values: settings, the fingerprint of the data, the version of the
            code.

    Returns:
        The logger, or None if nothing is logged.

    Raises:
        ValueError: a library that is not installed; no account where one is needed.
    """
    asked = wandb_mode(mode) if kind == "wandb" else ""
    if kind == "none" or asked == "disabled":
        return None
    try:
        if kind == "wandb":
            return _wandb(asked, out, facts)
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


def wandb_mode(mode: WandbMode) -> str:
    """Return the mode of Weights & Biases: the one asked for, else the environment's, else offline.

    Raises:
        ValueError: an unknown value of `WANDB_MODE`.
    """
    if mode != "auto":
        return mode
    if os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes"):
        return "disabled"
    known = {"": "offline", "dryrun": "offline", "run": "online"} | {
        name: name for name in ("online", "offline", "disabled", "shared")
    }
    given = os.environ.get("WANDB_MODE", "").lower()
    if given not in known:
        raise ValueError(f"WANDB_MODE: expected online, offline or disabled, got {given!r}; unset it, or use --wandb")
    return known[given]


def _wandb(mode: Any, out: Path, facts: Mapping[str, Any]) -> Logger:
    """Return a logger with a run of its own. A run that is open in this process stays open and current."""
    import wandb

    check_wandb(mode)
    try:
        str(out).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"out: wandb cannot write to {str(out)!r}, whose name is not UTF-8; use --log csv") from error
    known = {
        name: os.environ.get(f"WANDB_{name.upper()}") or None for name in ("project", "name", "dir", "entity", "notes")
    }
    silent: dict[str, Any] = {} if os.environ.get("WANDB_SILENT") else {"silent": True}
    with _refused_in_words():
        wandb.Artifact(artifact_name(out.name), type="model")
        run = wandb.init(  # the environment is read here: wandb reads it once in a process
            project=known["project"] or "labelvae",
            name=known["name"] or run_name(out),
            dir=known["dir"] or str(out),
            entity=known["entity"],
            notes=known["notes"],
            group=os.environ.get("WANDB_RUN_GROUP") or None,
            tags=_tags() or None,
            id=_run_id(out),
            resume="allow",
            mode=mode,
            reinit="create_new",
            settings=wandb.Settings(**silent),
        )
        config: Any = run.config
        config.update(dict(facts), allow_val_change=True)
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        for name, best in (("relabel/effectiveness", "max"), ("val/total", "min")):
            run.define_metric(name, step_metric="trainer/global_step", step_sync=True, summary=f"{best},last")
    return WandbLogger(experiment=run, save_dir=out, log_model=False)


def check_wandb(mode: str) -> None:
    """Make sure that Weights & Biases takes the key and the names of the environment. Nothing is written or sent.

    Args:
        mode: the mode, as `wandb_mode` returns it.

    Raises:
        ValueError: no account where one is needed; a key, a project, a run or a tag that Weights & Biases refuses.
    """
    import wandb

    with _refused_in_words():
        known = mode not in ("online", "shared") or has_account()  # without an account it would ask
        names = {"project": os.environ.get("WANDB_PROJECT"), "run_id": os.environ.get("WANDB_RUN_ID", "").strip()}
        given: dict[str, Any] = {name: value for name, value in names.items() if value}
        wandb.Settings(**given, run_tags=tuple(_tags()))
    if not known:
        raise ValueError("wandb: there is no account here; log in with `wandb login`, or use --wandb offline")


@contextmanager
def _refused_in_words() -> Iterator[None]:
    """Turn the errors of Weights & Biases into a `ValueError` of one line in this context."""
    try:
        yield
    except Exception as error:  # its own errors have no common class
        raise ValueError(
            f"wandb: {' '.join(str(error).split()) or type(error).__name__}; look at `wandb login` and the variables "
            "WANDB_..., or use --wandb offline or --log csv"
        ) from error


def _tags() -> list[str]:
    return [tag for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag]


def has_account() -> bool:
    """Return whether Weights & Biases has a key here, without asking for one."""
    import wandb

    if "prompt" in inspect.signature(wandb.login).parameters:
        return bool(wandb.login(prompt=False, verify=False))
    return bool(wandb.api.api_key)  # before wandb 0.31


def _run_id(out: Path) -> str:
    """Return `WANDB_RUN_ID`, unless an open run has it; else the id of the run in this folder; else a new one."""
    import wandb

    known = out / "wandb" / "run-id"  # a resumed run goes on with the curves it has
    before = known.read_text().strip() if known.is_file() else ""
    given = os.environ.get("WANDB_RUN_ID", "").strip()
    taken = wandb.run is not None and wandb.run.id == given
    run_id = given if given and not taken else before or uuid4().hex[:8]
    if run_id != before:
        write_whole(known, run_id)
    return run_id


def run_name(folder: str | Path) -> str:
    """Return a run's name on Weights & Biases: the name of its folder, on one line."""
    name = os.path.basename(os.path.abspath(folder)).encode("utf-8", "replace").decode()
    return " ".join(name.split())[:128].strip() or "run"


def artifact_name(name: str) -> str:
    """Return an artifact's name for a run: at most 100 ASCII letters, digits, `_`, `.` and `-`.

    >>> artifact_name("Grüße 1")
    'Grue-1-vae'
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return f"{re.sub(r'[^A-Za-z0-9_.]+', '-', plain).strip('.-')[:96].strip('.-') or 'run'}-vae"


@contextmanager
def only_warned(what: str) -> Iterator[None]:
    """Turn the errors of a log into warnings in this context: a run is worth more than its log."""
    try:
        yield
    except Exception as error:  # whatever a logging library, a network or a disk make of it
        said = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(f"log: {what} could not be logged ({said}); the run goes on without", stacklevel=3)


def shows_pictures(logger: Logger) -> bool:
    """Return whether a logger shows pictures."""
    return isinstance(logger, WandbLogger | TensorBoardLogger)


def log_picture(loggers: Iterable[Logger], key: str, picture: Image.Image, step: int | None = None) -> None:
    """Send a picture to those loggers that show pictures."""
    for logger in loggers:
        with only_warned(key):
            if isinstance(logger, WandbLogger):
                logger.log_image(key, [picture])
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(key, np.asarray(picture), step or 0, dataformats="HWC")


def close_logger(logger: Logger, scores: Mapping[str, Any], diagnosis: str, model: Path, name: str) -> None:
    """Close a log with the scores and the diagnosis as its summary.

    On Weights & Biases the model is also sent, as an artifact. Errors become warnings: the scores and the model are in
    files.

    Args:
        logger: the logger.
        scores: the scores by name. None values are left out.
        diagnosis: the problems of the run, in words.
        model: the folder of the model.
        name: the name of the run.
    """
    summary = {f"scores/{key}": value for key, value in scores.items() if value is not None}
    with only_warned("the end of the run"):
        if isinstance(logger, WandbLogger):
            _close_wandb(logger, summary, diagnosis, model, name)
            return
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text("diagnosis", diagnosis)
        logger.log_metrics({key: value for key, value in summary.items() if isinstance(value, int | float)})
        logger.finalize("success")


def _close_wandb(logger: WandbLogger, summary: dict[str, Any], diagnosis: str, model: Path, name: str) -> None:
    import wandb

    run = logger.experiment
    try:
        run.summary.update(summary | {"diagnosis": diagnosis})
        with only_warned("the model"):
            artifact = wandb.Artifact(artifact_name(name), type="model", metadata=summary)
            for file in sorted(path for path in model.rglob("*") if path.is_file()):  # add_dir would print
                artifact.add_file(str(file), name=file.relative_to(model).as_posix())
            run.log_artifact(artifact)
    finally:
        run.finish()


def code_version() -> dict[str, str]:
    """Return the versions of this package, torch and lightning, and the commit of a source tree, by name."""
    versions = {}
    for package in ("labelvae", "torch", "lightning"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "source"
    # Installed into somebody's own source tree, the package is in that tree and not of it.
    home, asked = Path(__file__).parent, (["ls-files", "--error-unmatch", "loggers.py"], ["rev-parse", "HEAD"])
    try:
        of_it, commit = (
            subprocess.run(["git", *words], capture_output=True, text=True, timeout=10, check=False, cwd=home)
            for words in asked
        )
    except (OSError, subprocess.TimeoutExpired):
        return versions
    return versions | ({"commit": commit.stdout.strip()} if of_it.returncode == commit.returncode == 0 else {})
