"""The folder of a run: settings.yaml says how the run was made, and only the same run may continue in the folder."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Collection
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningModule

from labelvae.data.image_data import ImageData
from labelvae.inputs.class_names import printable
from labelvae.models.vae import ConditionalVAE
from labelvae.runs.settings import Settings
from labelvae.system.errors import first_line
from labelvae.system.whole_files import sweep, write_whole

_MODELS = ("guide", "judge", "vae", "unguided")
_MADE = (*_MODELS, "progress", "checkpoints", "csv", "tensorboard")
_PICTURES = ("wrong_labels", "reconstructions", "every_class", "samples", "failures", "attributes", "learning_rate")
_SPEED = ("accelerator", "precision", "channels_last", "compile", "threads", "keep_memory")
_MAY_CHANGE = ("resume", "overwrite", "out", "data_dir", "log", "wandb", "epochs", "more_guides", *_SPEED)
"""Settings that may differ between a run and its resumption.

The epochs may only grow, and those of the guide stay once a model has learned from it. An earlier version had
`more_guides`.
"""


def folder_of(settings: Settings) -> Path:
    """Return the folder of a run, wherever the program goes next. A trial has a folder of its own in it."""
    aside = "fast-dev-run" if settings.fast_dev_run else "learning-rate" if settings.find_learning_rate else ""
    return Path(os.path.abspath(settings.out)) / aside


def claim_folder(out: Path, how: Settings, data: ImageData, runs_as: str) -> None:
    """Write settings.yaml, unless the folder holds a run that these settings must not touch.

    Args:
        out: the folder.
        how: the settings.
        data: the images.
        runs_as: a line that says how the machine is used, for the head of the file.

    Raises:
        ValueError: the folder holds a run of other settings or images; it holds a run, and neither `resume` nor
            `overwrite` is set; it holds checkpoints or models without a settings.yaml, or the settings.yaml of another
            program.
    """
    path = out / "settings.yaml"
    folders = {name: os.path.abspath(getattr(how, name)) for name in ("out", "data_dir")}  # wherever they are read
    now = plain(asdict(replace(how, resume=False, overwrite=False, find_learning_rate=False))) | folders
    images = data.fingerprint()
    if path.is_file() and how.resume:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        try:
            before = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as error:
            said = " ".join(str(error).split())
            raise ValueError(f"resume: {path} is broken ({said}); choose another --out") from error
        found = re.search("fingerprint ([0-9a-f]{16})", text)
        if not isinstance(before, dict) or found is None or not data.is_of(found[1]):
            raise ValueError(f"resume: {path} is of other images, or broken; choose another --out")
        fixed = ("guide.optimization.epochs",) if (out / "checkpoints" / "vae.ckpt").is_file() else ()
        _check_same(before, now, plain(asdict(Settings())), path, fixed=fixed)
    elif path.is_file() and not (how.overwrite or how.fast_dev_run):
        raise ValueError(
            f"out: {out} holds a run already; --resume goes on with it, --overwrite starts anew over it, "
            "or choose another --out"
        )
    elif path.is_file():  # a killed new run must not be taken for what the old one left
        if not re.search("^# images: .*fingerprint [0-9a-f]{16}", path.read_text("utf-8", "surrogateescape"), re.M):
            raise ValueError(f"out: {path} is not the settings of a run, so nothing is deleted; choose another --out")
        for folder in _made(out):
            shutil.rmtree(folder, ignore_errors=True)
        pictures = (out / f"{name}.png" for name in _PICTURES)  # not others, which somebody drew from the models
        for file in (out / "scores.json", out / "wandb" / "run-id", *pictures):
            file.unlink(missing_ok=True)
    elif (out / "checkpoints").exists():
        raise ValueError(
            f"out: {out} holds checkpoints, but no settings.yaml that says of what; choose another --out, or move them"
        )
    elif saved := next((each for name in _MODELS if (each := out / name / "model.safetensors").exists()), None):
        raise ValueError(
            f"out: {saved} would be written over, and no settings.yaml says of which run it is; choose another --out, "
            "or move it"
        )
    sweep(out, out / "first_look", out / "wandb", *_made(out))
    split = ", ".join(f"{len(images)} {name}" for name, images in data.splits.items())
    what, names = ("classes", data.class_names) if data.attributes is None else ("attributes", list(data.attributes))
    packages = ("labelvae", "torch", "torchvision", "torchmetrics", "lightning")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    header = (
        f"# made by: {printable(shlex.join(sys.argv))}\n# run it again: --config {printable(str(path))}\n"
        f"# images: {split}, fingerprint {images}, {what}: {', '.join(map(printable, names))}\n"
        f"# with: {versions}, Python {platform.python_version()}\n"
        f"# {runs_as}\n"
    )
    write_whole(path, header + yaml.safe_dump(now, sort_keys=False))


def _made(out: Path) -> list[Path]:
    """Return the folders that a run makes in its own."""
    return [*(out / name for name in _MADE), *out.glob("guide-[0-9]*")]


def claim_plainly(out: Path, settings: dict[str, Any], resume: bool) -> None:
    """Write the settings of a program of your own to `settings.json` in a folder, unless the folder holds a run.

    Args:
        out: the folder.
        settings: what decides the results, as plain values by name, such as a seed or `MaskedImages.fingerprint()`.
        resume: go on with the run in the folder, if there is one. It must have the same settings.

    Raises:
        ValueError: the folder holds a run of other settings; it holds a run, and `resume` is not set.
    """
    path = out / "settings.json"
    if path.is_file() and not resume:
        raise ValueError(f"out: {out} holds a run already; --resume goes on with it, or choose another --out")
    if path.is_file():
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"resume: {path} is broken ({error}); choose another --out") from error
        _check_same(before, plain(settings), {}, path, advice="go on with the same")
    write_whole(path, json.dumps(plain(settings), indent=2) + "\n")


def class_order(out: Path) -> list[str] | None:
    """Return the class names, in the order of the labels, of the run in `out`; None if there is no run.

    The names of folders were once sorted as text, "10" before "2". Such a run keeps its labels.
    """
    for path in sorted(out.glob("*/classes.json")):
        try:
            names = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    try:
        with (out / "settings.yaml").open(encoding="utf-8", errors="surrogateescape") as file:
            head = [next(file, "") for _ in range(4)]
    except OSError:
        return None
    said = next((line.partition(", classes: ")[2] for line in head if line.startswith("# images: ")), "")
    return said.rstrip("\n").split(", ") if said else None


def plain(value: Any) -> Any:
    """Return nested settings as values that YAML and JSON know."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def _check_same(
    before: dict[str, Any],
    now: dict[str, Any],
    defaults: dict[str, Any],
    path: Path,
    where: str = "",
    advice: str = "",
    fixed: Collection[str] = (),
) -> None:
    for key in sorted(set(before) | set(now)):
        old, new = before.get(key, defaults.get(key)), now.get(key)  # one that an older version did not know
        if isinstance(old, dict) and isinstance(new, dict):
            _check_same(old, new, defaults.get(key) or {}, path, f"{where}{key}.", advice, fixed)
        elif key == "epochs" and isinstance(old, int) and isinstance(new, int) and new < old:
            raise ValueError(
                f"resume: {where}{key}: the run in {path} has {old} epochs already, got epochs={new}; "
                "epochs may only grow"
            )
        elif old != new and (key not in _MAY_CHANGE or f"{where}{key}" in fixed):
            raise ValueError(
                f"resume: {where}{key} is {new!r}, but the run in {path} has {old!r}; "
                f"{advice or f'resume with --config {path}'}, or choose another --out"
            )


def checked_checkpoint(path: Path, epochs: int, task: LightningModule) -> Path:
    """Make sure that a file is a whole checkpoint of a task.

    Args:
        path: the file.
        epochs: the number of epochs that the training is to have.
        task: the task that continues from the checkpoint.

    Returns:
        The path.

    Raises:
        ValueError: no whole checkpoint; one of another network, or with more epochs.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        done, weights = checkpoint["epoch"] + 1, checkpoint["state_dict"]
        shapes = {name: value.shape for name, value in weights.items()}
    except Exception as error:  # whatever a broken file makes the reader raise
        raise ValueError(
            f"{path}: is no whole checkpoint ({first_line(error)}); delete it to train this step anew"
        ) from error
    if shapes != {name: value.shape for name, value in task.state_dict().items()}:
        raise ValueError(f"{path}: is a checkpoint of another network or version; delete it to train this step anew")
    if done > epochs:
        raise ValueError(f"resume: {path} has {done} epochs already, got epochs={epochs}; epochs may only grow")
    return path


def keep_prior(vae: ConditionalVAE, folder: Path) -> None:
    """Give a model the prior of the model in a folder that has the same weights. Otherwise, say that the prior is lost.

    Args:
        vae: the model that will be saved in the folder.
        folder: the folder, which may be missing.
    """
    try:
        before = ConditionalVAE.from_pretrained(folder)
    except (ValueError, OSError):  # there is none
        return
    if before.prior is None:
        return
    weights, saved = vae.state_dict(), before.state_dict()
    if weights.keys() == saved.keys() and all(torch.equal(value, weights[key].cpu()) for key, value in saved.items()):
        vae.prior = before.prior
    else:
        print(f"{folder.name}: the prior was fitted to other weights and is dropped; labelvae prior fits another")
