"""Files of a data set that are there twice: training images in another split, and one image in two classes."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from labelvae.data.image_files import file_size
from labelvae.inputs.checks import in_words
from labelvae.inputs.class_names import printable

LOOKED_AT = 100
"""Number of test files that are compared with the training files."""

MOST_OPENED, MOST_READ = 50_000, 2_000
"""Most files of equal size of which a part is read; most of these whose parts are equal and that are read whole."""

REPEATED = 0.01
"""Share of a split's images up to which copies of training images are not said: it may hold some by chance."""

PART = 4096
"""Bytes that are read in the middle and at the end of a file."""


def say_copies_of_training(paths: Sequence[str], places: Sequence[int], train: str, folder: str) -> bool:
    """Warn if most files of a split are also among the training files, with the same name and class.

    Args:
        paths: the files of the whole data set.
        places: the places in `paths` of the split's files.
        train: the folder of the training images.
        folder: the folder of the split.

    Returns:
        Whether it was said.
    """
    some = places[:: max(1, len(places) // LOOKED_AT)][:LOOKED_AT]
    twins = [(paths[place], os.path.join(train, os.path.relpath(paths[place], folder))) for place in some]
    same = sum(_same_bytes(*pair) for pair in twins)
    if same > len(some) / 2:
        warnings.warn(
            f"{folder}: {same} of {len(some)} files that were looked at are in {train} too; scores on images that were "
            "trained on say little",
            stacklevel=4,
        )
    return same > len(some) / 2


def say_same_files(paths: Sequence[str], labels: Sequence[int], splits: Mapping[str, range]) -> None:
    """Warn of files of the same bytes: in different classes, or in the training images and another split.

    Args:
        paths: the files of the whole data set. The training files come first.
        labels: the class of each file.
        splits: the places in `paths` of the training files, and of each split's files that are compared with them.
    """
    groups = same_files(paths, labels)
    twice = in_two_classes(groups, labels)
    if twice:
        one, other = (printable(paths[place]) for place in twice[0])
        warnings.warn(
            f"{one} is the same file as {other}, in another class; {in_words(len(twice), 'image is', 'images are')} in "
            "several classes; leave each in one",
            stacklevel=4,
        )
    same = [some for some in groups if len({labels[place] for place in some}) == 1 and some[0] in splits["train"]]
    for split, places in splits.items():
        copies = [(first, place) for first, *others in same for place in others if place in places]
        if split != "train" and len(copies) > REPEATED * len(places):
            one, other = (printable(paths[place]) for place in copies[0])
            warnings.warn(
                f"{other} is the same file as {one}; {len(copies)} of {len(places)} files for {split} are training "
                "images too; scores on images that were trained on say little",
                stacklevel=4,
            )


def same_files(paths: Sequence[str], labels: Sequence[int]) -> list[list[int]]:
    """Return the places of files with the same bytes, in groups.

    Only files of equal size are opened, at most `MOST_OPENED`. In a larger data set not every image is found. Those of
    several classes come first.

    Args:
        paths: the files of the whole data set.
        labels: the class of each file.
    """
    groups = [list(range(len(paths)))]
    for key, most in ((file_size, len(paths)), (_parts, MOST_OPENED), (_whole, MOST_READ)):
        urgent = sorted(groups, key=lambda some: (len({labels[place] for place in some}) == 1, len(some)))
        groups = [some for group in _at_most(most, urgent) for some in _alike(group, paths, key)]
    return sorted(groups)


def in_two_classes(groups: Sequence[Sequence[int]], labels: Sequence[int]) -> list[tuple[int, int]]:
    """Return two places with different labels of each group of `same_files` that has several."""
    others = [(some[0], [place for place in some if labels[place] != labels[some[0]]]) for some in groups]
    return [(first, places[0]) for first, places in others if places]


def _alike(group: Sequence[int], paths: Sequence[str], key: Callable[[str], object]) -> list[list[int]]:
    """Return the places of files that have the same key. Files that are empty or cannot be read are left out."""
    found = defaultdict(list)
    for place in group:
        try:
            found[key(paths[place])].append(place)
        except OSError:
            continue
    return [some for same, some in found.items() if same not in (0, -1) and len(some) > 1]


def _at_most(most: int, groups: list[list[int]]) -> list[list[int]]:
    """Return the first groups, with at most so many places. Of the last one some are taken."""
    kept: list[list[int]] = []
    for group in groups:
        if most < 2:
            break
        kept.append(group[:: math.ceil(len(group) / most)])
        most -= len(kept[-1])
    return kept


def _parts(path: str) -> bytes:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size // 2 - PART))
        middle = file.read(PART)
        file.seek(max(0, size - PART))
        return hashlib.sha256(middle + file.read(PART)).digest()


def _whole(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _same_bytes(one: str, other: str) -> bool:
    try:
        if os.path.getsize(one) != os.path.getsize(other):
            return False
        with open(one, "rb") as first, open(other, "rb") as second:
            return first.read() == second.read()
    except OSError:
        return False
