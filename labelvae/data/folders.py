"""A folder of images as a data set: its splits, its classes, and the files of each. No pixel is read."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from labelvae.data.copies import say_copies_of_training, say_same_files
from labelvae.data.image_files import file_size, inside, is_image, walk
from labelvae.data.image_sets import Names
from labelvae.data.split_folders import SplitName, split_folders
from labelvae.data.table_text import TABLE_ENDINGS
from labelvae.inputs.checks import in_words
from labelvae.inputs.class_names import check_names, composed, printable

MOST_LEVELS = 10
"""Number of folders in each other that are looked into for the folders of classes."""


@dataclass(frozen=True)
class Listing:
    """The image files of a data set.

    Attributes:
        class_names: the name of each class.
        paths: the files of all splits.
        labels: the label of each file, int64 `(N,)`.
        splits: the places in `paths` of each split's files, int64 `(M,)`. A split that the folder does not have is
            missing.
    """

    class_names: list[str]
    paths: Sequence[str]
    labels: Tensor
    splits: dict[SplitName, Tensor]

    def fingerprint(self, root: str | Path) -> str:
        """Return a hash, in hexadecimal, of the files' names under `root`, their sizes and labels. No file is read."""
        digest = hashlib.sha256()
        for path, label in zip(self.paths, self.labels.tolist(), strict=True):
            name = os.path.relpath(path, os.path.expanduser(root))
            digest.update(os.fsencode(name) + b"\0%d\0%d\0" % (file_size(path), label))
        return digest.hexdigest()


@dataclass
class _Seen:
    """The files that were found: images, and others that are skipped."""

    others: int = 0
    example: str = ""
    paths: list[str] = field(default_factory=list)


def list_folder(root: str | Path, class_names: Sequence[str] | None = None) -> Listing:
    """List the images under a folder by split and class.

    The folder holds either one folder for each class, or the folders `train` (or `training`) and, optionally, `val` (or
    `valid`, `validation`) and `test` (or `testing`), in upper or lower case, with the classes inside. `train_set`,
    `test_data` and `test_set/test_set` are splits too. Images in sub-folders of a class belong to the class. Other
    files are skipped, and counted in one warning. So are images beside the folders of classes. Another warning names an
    image that is in two classes.

    Args:
        root: the folder.
        class_names: the order of the classes, if a model has one already. It is passed over, with a warning, unless the
            folder has the same classes. By default names are sorted, with the numbers in them by value.

    Returns:
        The files, by split and class.

    Raises:
        ValueError: no such folder; fewer than two classes; two classes whose names look the same; a training class
            without images; a class that the training images do not have; splits beside folders of classes.
    """
    root = os.path.expanduser(root)
    if os.path.isfile(root):
        raise ValueError(f"{root}: is a file, expected a folder of images; unpack an archive first")
    if not os.path.isdir(root):
        raise ValueError(f"{root}: no such folder; expected train/CLASS/*.png (or .jpg) or CLASS/*.png inside it")
    order = None if class_names is None else check_names("class_names", class_names)
    folders = split_folders(root)
    train = folders["train"]
    names = _classes(root, train, order)
    seen = _Seen()
    labels: list[int] = []
    splits: dict[SplitName, Tensor] = {}
    for split, folder in folders.items():
        start = len(labels)
        for label, name in enumerate(_known_classes(folder, train, names)):
            labels += [label] * _list_class(os.path.join(folder, name), (root, folder), seen) if name else []
            if split == "train" and (not labels or labels[-1] != label):
                _refuse_empty(os.path.join(folder, name), name)
        if len(labels) > start:
            splits[split] = torch.arange(start, len(labels))
            _say_loose(folder)
        elif split != "train":
            _say_unlabelled(folder, split)
    if seen.others:
        known = ", ".join(ending for ending in (".png", ".jpg", ".gif", ".webp", ".bmp", ".tif", ".pgm", ".avif"))
        several = in_words(
            seen.others, "such is passed over, it is no image", "such are passed over, they are no images"
        )
        warnings.warn(f"{seen.example}: {several}; {known} are read", stacklevel=3)
    listing = Listing(names, Names(seen.paths), torch.tensor(labels), splits)
    spans: dict[str, range] = {split: range(int(places[0]), int(places[-1]) + 1) for split, places in splits.items()}
    for split in splits:
        if split != "train" and say_copies_of_training(listing.paths, spans[split], train, folders[split]):
            del spans[split]
    say_same_files(seen.paths, labels, spans)
    return listing


def natural(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a sort key that sorts names with the numbers in them by value.

    >>> sorted(["10", "b2", "1", "b10", "2"], key=natural)
    ['1', '2', '10', 'b2', 'b10']
    """
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), name


def _classes(root: str, train: str, order: Sequence[str] | None) -> list[str]:
    files, names = inside(train)
    lost = [name for name in files if os.path.islink(path := os.path.join(train, name)) and not os.path.exists(path)]
    if len(names) < 2:
        folder, within = _branching(train)
        hint = "sort the images into folders named after their class"
        if lost:
            hint = f"{lost[0]!r} is a link that leads nowhere"
        elif len(within) > 1:
            hint += f", or give {folder} if {', '.join(within[:5])} in it are the classes or splits"
        elif table := _table_in(train) or _table_in(root):
            hint += f"; if {table} says their labels, read it: `labelvae train table`, or ImageData('table', {table!r})"
        raise ValueError(f"{train}: expected one folder of images a class, at least 2, got {names or 'none'}; {hint}")
    if lost:
        warnings.warn(f"{train}: {lost[0]!r} is a link that leads nowhere: passed over", stacklevel=4)
    found = sorted(_by_name(train), key=natural)
    if order is None or sorted(map(composed, order)) == sorted(found):
        return found if order is None else list(order)
    warnings.warn(
        f"class_names: passed over, {_few(order)} are not the classes of {train}, {_few(found)}; give the names of the "
        "folders, in the order of the labels",
        stacklevel=4,
    )
    return found


def _table_in(folder: str) -> str:
    """Return a table of labels in a folder; "" if there is none."""
    tables = [name for name in inside(folder)[0] if name.lower().endswith(TABLE_ENDINGS)]
    return os.path.join(folder, tables[0]) if tables else ""


def _branching(folder: str) -> tuple[str, list[str]]:
    """Return the first folder that holds not just one folder, and the folders in it."""
    within = inside(folder)[1]
    for _ in range(MOST_LEVELS):
        if len(within) == 1:
            folder = os.path.join(folder, within[0])
            within = inside(folder)[1]
    return folder, within


def _few(names: Sequence[str]) -> str:
    return (", ".join(map(printable, names[:8])) or "none") + (", ..." if len(names) > 8 else "")


def _known_classes(folder: str, train: str, names: list[str]) -> Iterator[str]:
    """Yield the folder of each class in a split, in the order of the labels; "" for a class that is missing there."""
    there = _by_name(folder)
    unknown = sorted(there.keys() - {*map(composed, names)})
    if unknown:
        raise ValueError(
            f"{folder}: has classes that {train} does not: {', '.join(map(printable, unknown))}; add training images "
            "of them, or take them away"
        )
    yield from (there.get(composed(name), "") for name in names)


def _by_name(folder: str) -> dict[str, str]:
    """Return the folders in a folder by the names of their classes: all systems then have the same letters."""
    found: dict[str, str] = {}
    for name in inside(folder)[1]:
        if found.setdefault(composed(name), name) != name:
            raise ValueError(
                f"{folder}: has two folders whose names look the same, {found[composed(name)]!a} and {name!a}; put "
                "their images in one"
            )
    return found


def _list_class(folder: str, above: Sequence[str], seen: _Seen) -> int:
    count = 0
    for name in walk(folder, above):
        path = os.path.join(folder, name)
        if is_image(path):
            seen.paths.append(path)
            count += 1
        else:
            seen.others += 1
            seen.example = seen.example or path
    return count


def _refuse_empty(folder: str, name: str) -> None:
    other = next((path for path in walk(folder, [os.path.dirname(folder)])), None)
    hint = f", but other files such as {other}; save them as PNG or JPEG" if other else "; add some, or take it away"
    if other and not os.path.exists(os.path.join(folder, other)):
        hint = f", but links that lead nowhere such as {other}; let them name whole paths"
    raise ValueError(f"{folder}: the class {name!r} has no images{hint}")


def _say_loose(folder: str) -> None:
    """Warn of images that are in no folder of a class, but beside those folders."""
    loose = [path for name in inside(folder)[0] if is_image(path := os.path.join(folder, name))]
    if loose:
        where = "beside the folders of classes"
        several = in_words(len(loose), f"such image {where} is", f"such images {where} are")
        warnings.warn(f"{loose[0]}: {several} passed over; put each in the folder of its class", stacklevel=4)


def _say_unlabelled(folder: str, split: SplitName) -> None:
    count = sum(is_image(os.path.join(folder, name)) for name in walk(folder))
    several = in_words(count, "image is", "images are")
    warnings.warn(
        f"{folder}: left out, its {several} in no folders of classes; images for {split} are taken from the training "
        "images",
        stacklevel=4,
    )
