"""Where a model comes from: a folder, the models that come with the package, or the Hugging Face Hub.

huggingface_hub (the `hub` extra) is imported only if a name is not found on this machine.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from labelvae.models.articles import with_article
from labelvae.system.whole_files import user_path

PACKAGED = Path(__file__).parents[1] / "pretrained"
PARTS = {"ConditionalVAE": "vae", "LabelClassifier": "guide", "AttributeClassifier": "guide", "UNet": "unet"}
"""The folder of each kind of model in a run."""

LARGEST_CONFIGURATION = 2**20
"""Bytes of config.json; one that is larger was not written here."""

FILES = ["config.json", "model.safetensors", "classes.json"]
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def locate(name: str | Path, kind: str) -> Path:
    """Resolve a model's name or path to a folder. A plain path is returned even if it does not exist.

    A folder comes first: that of a model, that of its run, or the weights file itself. Next is a packaged model, by its
    run ("mnist") or by its part ("mnist/guide"). Last is the Hub, for a name like "user/name", from its cache if the
    model was loaded before.

    Args:
        name: a folder or a name.
        kind: the class of the model, "ConditionalVAE" or "LabelClassifier".

    Returns:
        The folder.

    Raises:
        ValueError: neither a path nor a name; a name for the Hub without such a model, without a network, or without
            huggingface_hub.
    """
    if isinstance(name, os.PathLike) and isinstance(os.fspath(name), str):
        name = Path(name)
    if not isinstance(name, str | Path):
        raise ValueError(f"folder: expected a path or a name, got {name!r}")
    folder = user_path(name)
    if not str(name) or folder.is_file():
        if folder.name == "model.safetensors":
            return folder.parent
        wanted = f"the folder of {with_article(kind)}, or a name such as 'mnist'"
        raise ValueError(f"folder: expected {wanted}, got {str(name)!r}")
    part = PARTS.get(kind, "")
    for inside in (folder, folder / part):  # a model, or the run that it is from
        if (inside / "model.safetensors").is_file():
            return inside
    if isinstance(name, Path):
        return folder
    for packaged in (PACKAGED / name / part, PACKAGED / name, PACKAGED / name.lower() / part, PACKAGED / name.lower()):
        if (packaged / "model.safetensors").is_file():
            return packaged
    if _NAME.fullmatch(name) and not any(parent.exists() for parent in (folder.parent, (PACKAGED / name).parent)):
        return _download(name)
    return folder


def part_of_run(name: str, part: str) -> str:
    """Return the folder of a part, such as "judge", where `name` is the folder of a run that has it; else `name`."""
    folder = user_path(name) / part
    return str(folder) if (folder / "model.safetensors").is_file() else name


def guide_folder(name: str | Path) -> Path | None:
    """Return the folder of the guide of the run that a model is from; None where it is not there.

    Args:
        name: the folder of a model or of a run, or the name of a model; see `locate`.

    Raises:
        ValueError: a name that cannot be found.
    """
    folder = locate(name, "ConditionalVAE").parent / PARTS["LabelClassifier"]
    return folder if (folder / "model.safetensors").is_file() else None


def saved_kind(folder: str | Path) -> str | None:
    """Return which model lies in a folder, such as "AttributeClassifier"; None where its config.json does not say."""
    try:
        with (Path(folder) / "config.json").open("rb") as file:
            header = json.loads(file.read(LARGEST_CONFIGURATION))
    except (OSError, ValueError, RecursionError):
        return None
    kind = header.get("model") if isinstance(header, dict) else None
    return kind if isinstance(kind, str) else None


def is_pointer(path: Path) -> bool:
    """Return whether a file is a pointer of Git LFS, which stands for a file that was not fetched."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(24).startswith(b"version https://git-lfs")
    return False


def _download(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ValueError(
            f"{name}: no such folder; to look for it on the Hugging Face Hub, pip install 'labelvae[hub]'"
        ) from error
    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # whatever the network makes it raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{name}: no such folder, and not to be had from the Hugging Face Hub ({first})") from error


def upload(folder: Path, repository: str, private: bool) -> None:
    """Send the files in a folder to the Hub as the repository "user/name". The repository is made if it is missing.

    Raises:
        ValueError: a name of another form; no huggingface_hub, network or permission.
    """
    if not _NAME.fullmatch(repository):
        raise ValueError(f"repository: expected 'user/name', got {repository!r}")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ValueError(f"{repository}: sharing needs the extra; pip install 'labelvae[hub]'") from error
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repository, commit_message="labelvae model")
    except Exception as error:  # whatever the network makes it raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{repository}: could not be sent ({first}); log in with `hf auth login`") from error
