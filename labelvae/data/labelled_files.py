"""Images in files, with a class by folder, a table of labels, or CelebA's lists: read into memory, or left in files."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelvae.attributes.choices import Binary
from labelvae.attributes.rows import Attributes
from labelvae.data.folders import list_folder
from labelvae.data.forms import Form, common_form, decode, progress, refuse, say_skipped
from labelvae.data.image_files import file_size, inside
from labelvae.data.image_sets import FileImages, ImageSet, Names, StoredImages
from labelvae.data.named_files import find_files
from labelvae.data.table_text import TABLE_ENDINGS
from labelvae.data.tables import read_label_table
from labelvae.system.memory import fits

CELEBA_SPLITS = ("train", "validation", "test")
"""What 0, 1 and 2 mean in CelebA's list of splits."""


@dataclass(frozen=True)
class Source:
    """The images and labels that were read.

    Attributes:
        train: the training images.
        test: the test images, if the data set has its own.
        class_names: the name of each class.
        validation: the images for choosing settings, if the data set has its own.
        files: a hash of the files; empty for images that are identified by their pixels.
    """

    train: StoredImages
    test: StoredImages | None
    class_names: list[str]
    validation: StoredImages | None = None
    files: str = ""


def read_folder(
    root: str | Path,
    image_size: tuple[int, int] | None = None,
    class_names: Sequence[str] | None = None,
    skip_unreadable: bool = False,
    memory_share: float = 0.5,
) -> Source:
    """Read a folder of images: `root/CLASS/*`, or `root/train/CLASS/*`, `root/val/CLASS/*` and `root/test/CLASS/*`.

    Images are turned upright, put on white where they are transparent, made grey if all of them are grey and else RGB,
    and scaled and cropped at the centre to one size. They are held in memory if they fit. Otherwise they stay in their
    files, and are decoded whenever a batch needs them. The pixels are the same.

    Args:
        root: the folder; `list_folder` says how it is read.
        image_size: `(H, W)`. By default the images' own size, if all have the same and it is at most 128x128; else
            64x64.
        class_names: the order of the classes, if a model has one already.
        skip_unreadable: leave out files that cannot be read, with a warning.
        memory_share: the largest share of the free memory that the images may take.

    Returns:
        The images and labels of each split that the folder has.

    Raises:
        ValueError: no such folder; classes that are missing or empty; images that cannot be read (named).
    """
    listing = list_folder(root, class_names)
    files = listing.fingerprint(root)
    sets, broken = _stored(listing.paths, listing.labels, listing.splits, image_size, skip_unreadable, memory_share)
    say_skipped(broken)
    return Source(sets["train"], sets.get("test"), listing.class_names, sets.get("validation"), files)


def read_table_folder(
    root: Path,
    image_size: tuple[int, int] | None = None,
    attributes: Mapping[str, Any] | None = None,
    skip_unreadable: bool = False,
    memory_share: float = 0.5,
) -> tuple[Source, Attributes]:
    """Read a folder of images with `labels.csv`. They stay in their files if they do not fit in memory.

    Args:
        root: the folder; or the table in it, if that has another name.
        image_size: `(H, W)`, see `read_folder`.
        attributes: the kinds of the columns. None infers them.
        skip_unreadable: leave out files that are missing or cannot be read, with a warning.
        memory_share: the largest share of the free memory that the images may take.

    Returns:
        The images with rows `(N, A)` as labels, without a test split; and the attributes.

    Raises:
        ValueError: no such table, or a broken one; a file that is missing or no image.
    """
    named = os.path.isfile(root) or (root.suffix.lower() in TABLE_ENDINGS and not os.path.isdir(root))
    table = root if named else root / "labels.csv"
    if not os.path.isfile(table):
        there = inside(str(root))[0] if os.path.isdir(root) else []
        other = next((name for name in there if name.lower().endswith(TABLE_ENDINGS)), None)
        hint = f"; if it is {other}, give {root / other}" if other else ""
        raise ValueError(f"{table}: no such file; expected a table with the columns file, and one an attribute{hint}")
    root = table.parent
    read = read_label_table(table, attributes)
    try:
        files = find_files(root, read.files, read.lines, read.file_column, skip_unreadable)
    except ValueError as error:
        raise ValueError(f"{table}: {error}") from None
    found = [place for place, file in enumerate(files) if file]
    files, whole = [files[place] for place in found], {"train": torch.arange(len(found))}
    return _with_rows(root, files, read.rows[found], whole, image_size, skip_unreadable, memory_share), read.attributes


def read_celeba(
    root: Path,
    image_size: tuple[int, int] | None = None,
    attributes: Mapping[str, Any] | None = None,
    skip_unreadable: bool = False,
    memory_share: float = 0.5,
) -> tuple[Source, Attributes]:
    """Read CelebA's aligned faces (Liu et al., 2015) with attributes chosen by name, in its authors' three splits.

    Args:
        root: the folder of `img_align_celeba`, `list_attr_celeba.txt` and `list_eval_partition.txt`, or the folder that
            holds it as `celeba`, as torchvision keeps it. The lists may be `.csv`, as Kaggle has them, and the images
            PNG.
        image_size: `(H, W)`, see `read_folder`. By default 64x64.
        attributes: the names of attributes, as keys, such as `{"Smiling": None}`. None takes all forty.
        skip_unreadable: leave out files that cannot be read, with a warning.
        memory_share: the largest share of the free memory that the images may take.

    Returns:
        The images of each split with rows `(N, A)` of 0 and 1 as labels; and the attributes, all `Binary`.

    Raises:
        ValueError: files that are missing, cannot be read or are of another form; an attribute that CelebA does not
            have.
    """
    root = root / "celeba" if os.path.isdir(root / "celeba") else root
    if os.path.isdir(root):
        inside(str(root))  # says so if it cannot be read
    there = os.path.exists
    lists = [root / "list_attr_celeba.txt", root / "list_eval_partition.txt"]
    lists = [path.with_suffix(".csv") if there(path.with_suffix(".csv")) > there(path) else path for path in lists]
    lost = next((path for path in (*lists, root / "img_align_celeba") if not there(path)), None)
    if lost is not None:
        raise ValueError(
            f"{lost}: no such file or folder; expected img_align_celeba with the images, list_attr_celeba.txt and "
            "list_eval_partition.txt; torchvision.datasets.CelebA(folder, download=True) brings them"
        )
    names, files, values = _numbers(lists[0], heads=2)
    _, parted, parts = _numbers(lists[1], heads=0)
    if files != parted:
        raise ValueError(f"{lists[1]}: expected the {len(files)} files of {lists[0].name}, in its order")
    given: Any = names if attributes is None else attributes
    given = [given] if isinstance(given, str) else sorted(given) if isinstance(given, Set) else given
    asked = list(dict.fromkeys(given))
    unknown = next((name for name in asked if name not in names), None)
    if unknown is not None:
        raise ValueError(f"attributes: expected some of {', '.join(names)}, got {unknown!r}")
    rows = torch.from_numpy(values[:, [names.index(name) for name in asked]] > 0).float()
    places = {name: torch.from_numpy((parts[:, 0] == part).nonzero()[0]) for part, name in enumerate(CELEBA_SPLITS)}
    splits = {name: index for name, index in places.items() if len(index)}
    if "train" not in splits or sum(map(len, splits.values())) != len(files):
        got = ", ".join(map(str, np.unique(parts[:, 0])))
        raise ValueError(f"{lists[1]}: expected 0 for training images, 1 and 2 for the others, got {got}")
    images = root / "img_align_celeba"
    images = images / images.name if os.path.isdir(images / images.name) else images
    if not there(images / files[0]) and there((images / files[0]).with_suffix(".png")):  # the lists name JPEGs
        files = [f"{os.path.splitext(file)[0]}.png" for file in files]
    return _with_rows(images, files, rows, splits, image_size, skip_unreadable, memory_share), Attributes(
        dict.fromkeys(asked, Binary())
    )


def _numbers(path: Path, heads: int) -> tuple[list[str], list[str], np.ndarray]:
    """Return the names in the last of `heads` lines; of each later line the first word, and the numbers `(N, A)`."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise ValueError(f"{path}: this list cannot be read ({error.strerror})") from error
    if path.suffix == ".csv":
        heads, lines = 1, [line.replace(",", " ") for line in lines]
        lines[:1] = [line.partition(" ")[2] for line in lines[:1]]  # without the name of the files
    names = lines[heads - 1].split() if heads and len(lines) >= heads else []
    cells = [line.split() for line in lines[heads:] if line.strip()]
    wide = {len(line) for line in cells}
    try:
        if len(wide) != 1 or (names and wide != {len(names) + 1}):
            raise ValueError(f"lines of {sorted(wide)} words")
        return names, [line[0] for line in cells], np.array([line[1:] for line in cells], dtype=np.int8)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: expected a file and whole numbers in each line ({error})") from error


def _with_rows(
    root: Path,
    files: Sequence[str],
    rows: Tensor,
    splits: Mapping[str, Tensor],
    image_size: tuple[int, int] | None,
    skip_unreadable: bool,
    memory_share: float,
) -> Source:
    """Read the files under `root`, whose labels are rows. Their fingerprint is of their names and sizes."""
    paths = Names([str(root / file) for file in files])
    digest = hashlib.sha256()
    for path, file in zip(paths, files, strict=True):
        digest.update(os.fsencode(file) + b"\0%d\0" % file_size(path))
    sets, broken = _stored(paths, rows, splits, image_size, skip_unreadable, memory_share)
    say_skipped(broken)
    return Source(sets["train"], sets.get("test"), [], sets.get("validation"), digest.hexdigest())


def _stored(
    paths: Sequence[str],
    labels: Tensor,
    splits: Mapping[Any, Tensor],
    image_size: tuple[int, int] | None,
    skip_unreadable: bool,
    memory_share: float,
) -> tuple[dict[str, StoredImages], dict[str, str]]:
    """Return the images of each split, in memory if they fit; and what cannot be read, by path."""
    form, unreadable = common_form(paths, image_size)
    broken = {paths[place]: reason for place, reason in unreadable.items()}
    if not skip_unreadable:
        refuse(broken)
    size, cpu = math.prod(form.image_shape), torch.device("cpu")
    if not fits(size, cpu, 0.9):
        raise ValueError(
            f"image_size: an image of {form.size[0]}x{form.size[1]} needs {size / 1e9:,.0f} GB of memory, more than "
            "there is; ask for smaller ones with --data.image-size"
        )
    sound = torch.ones(len(paths), dtype=torch.bool)
    if fits(2 * len(paths) * size, cpu, memory_share):  # splits copy
        images = _read(paths, form, broken, skip_unreadable)
        if broken:
            sound[[place for place, path in enumerate(paths) if path in broken]] = False
        kept = {name: index[sound[index]] for name, index in splits.items()}
        return {name: ImageSet(images[index], labels[index]) for name, index in kept.items()}, broken
    sound[list(unreadable)] = False
    kept = {name: index[sound[index]] for name, index in splits.items()}
    read = partial(decode, form=form)
    return {
        name: FileImages(paths, read, form.image_shape, index, labels[index], skip_unreadable)
        for name, index in kept.items()
    }, broken


def _read(paths: Sequence[str], form: Form, broken: dict[str, str], skip_unreadable: bool) -> Tensor:
    """Read all images. Unreadable ones are added to `broken`, and refused unless they may be skipped."""
    images = torch.empty(len(paths), *form.image_shape, dtype=torch.uint8)
    for place, path in enumerate(progress(paths, "reading images")):
        if path not in broken:
            try:
                images[place] = decode(path, form)
            except ValueError as error:
                broken[path] = str(error)
    if not skip_unreadable:
        refuse(broken)
    return images
