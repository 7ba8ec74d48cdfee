"""Which folders hold the splits of a data set: train, validation and test, under any of their usual names."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Literal

from labelvae.data.image_files import inside
from labelvae.inputs.class_names import composed

SplitName = Literal["train", "validation", "test"]

SPLITS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The split that a folder's name, in lower case, stands for."""

_RARER: dict[str, SplitName] = {"trn": "train", "dev": "validation", "validate": "validation", "tst": "test"}
_RARER |= dict.fromkeys(("eval", "evaluation"), "validation")
_AROUND = re.compile(r"^seg_|([ _-]?(data|images|set))+$")
"""What may stand before or after the name of a split, as in `seg_train` and `test_set`."""

_BOTH = re.compile(r"(training|train|trn|validation|valid|val|testing|test|tst)[ ._-]?(.+)", re.IGNORECASE)
"""A split and a class in one name, as in `trainA`."""

MOST_LOOKED_AT = 100
"""Number of folders whose folders are compared."""


def split_folders(root: str) -> dict[SplitName, str]:
    """Return the folder of each split. Without such folders, the root itself is for training.

    Args:
        root: the folder.

    Raises:
        ValueError: two folders for one split; splits without train; splits beside folders of classes; splits and
            classes in one name.
    """
    found: dict[SplitName, str] = {}
    names = inside(root)[1]
    exact = {SPLITS.get(name.lower()) for name in names}
    others = []
    for name in names:
        split = (SPLITS | _RARER).get(_AROUND.sub("", name.lower()))
        if split is None or (split in exact and name.lower() not in SPLITS):
            others.append(name)
        elif split in found:
            raise ValueError(f"{root}: has {os.path.basename(found[split])} and {name} for one split; take one away")
        else:
            found[split] = _stepped_into(root, name)
    if "train" not in found and found and not others:
        raise ValueError(f"{root}: has {_names(found)} but no train; add the training images in train/CLASS")
    if "train" not in found or (others and not inside(found["train"])[1]):  # a class may be called train
        _refuse_classes_beside(root, found.values(), others)
        if len(found) > 1:
            raise ValueError(
                f"{root}: has {', '.join(others[:5])} beside {_names(found)}, which are names of splits; move the "
                "folders of the training images to train/CLASS, or give those folders other names if they are classes"
            )
        _refuse_both(root, names)
        _say_splits(root, names)
        return {"train": root}
    if others:
        warnings.warn(f"{root}: {', '.join(others)} beside {_names(found)}: passed over", stacklevel=4)
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


def _stepped_into(root: str, name: str) -> str:
    """Return a split's folder; the one inside it if that has the same name, folders of its own and nothing beside."""
    folder = os.path.join(root, name)
    files, folders = inside(folder)
    inner = os.path.join(folder, *folders[:1])
    return inner if not files and folders == [name] and inside(inner)[1] else folder


def _refuse_classes_beside(root: str, splits: Iterable[str], classes: Sequence[str]) -> None:
    """Refuse a folder of classes in which a split lies too: it would be taken for a class."""
    known = {composed(name).lower() for name in classes}
    for split in splits:
        held = [name for name in inside(split)[1] if composed(name).lower() in known]
        if held:
            raise ValueError(
                f"{root}: has {', '.join(classes[:5])} and also {', '.join(held[:5])} in {os.path.basename(split)}; "
                "move the folders of the training images to train/CLASS"
            )


def _refuse_both(root: str, names: Sequence[str]) -> None:
    """Refuse folders that are each named by a split and a class, such as trainA, trainB, testA and testB."""
    parts = [(found[1].lower(), found[2]) for name in names if (found := _BOTH.fullmatch(name))]
    classes = {kind for _, kind in parts}
    if len(parts) == len(names) and len(parts) > len(classes) > 1:
        split, kind = parts[0]
        raise ValueError(
            f"{root}: {', '.join(names[:5])} name a split and a class at once; move the images to folders such as "
            f"{split}/{kind}"
        )


def _say_splits(root: str, names: Sequence[str]) -> None:
    """Warn if the folders that are taken for classes hold the same folders: they may be splits under other names."""
    held = {tuple(inside(os.path.join(root, name))[1]) for name in names[:MOST_LOOKED_AT]}
    if len(held) != 1 or len(names) < 2 or len(within := held.pop()) < 2:
        return
    if all(name.lower() in SPLITS for name in within):
        hint = f"; their images are split anew: to keep those splits, move the folders to {within[0]}/{names[0]}, ..."
    else:
        hint = "; if those are the classes, call the folders above them train, val and test"
    warnings.warn(
        f"{root}: {', '.join(names[:5])} are taken for classes, although all hold {', '.join(within[:5])}{hint}",
        stacklevel=5,
    )


def _names(found: dict[SplitName, str]) -> str:
    return ", ".join(os.path.basename(folder) for folder in found.values())
