"""The image files that the rows of a table name."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from labelvae.data.image_files import has_image_name, inside, walk
from labelvae.inputs.checks import in_words
from labelvae.inputs.class_names import folded, printable


def find_files(root: Path, names: Sequence[str], rows: Sequence[int], column: str, skip: bool = False) -> list[str]:
    r"""Return the file under a folder that each name means.

    A name is a path under the folder. It may also have `\` for `/`, other upper and lower case, letters composed in
    another way, no ending, or begin above or below the folder (`photos/a.png`, or `a.png` for `images/a.png`), if only
    one image fits.

    Args:
        root: the folder.
        names: what the table calls the files.
        rows: the number of each row, for errors.
        column: the name of the column, for errors.
        skip: return "" for a file that is missing, with a warning. Otherwise it is refused.

    Returns:
        The path of each file, relative to `root`.

    Raises:
        ValueError: a name that no image, or more than one, fits; two names for one image.
    """
    places: _Places | None = None
    found, missing = [], []
    for name, row in zip(names, rows, strict=True):
        if name and os.path.isfile(root / name):  # False for names that are too long
            found.append(name)
            continue
        places = places or _Places(root)
        fitting = places.fitting(name)
        if len(fitting) > 1:
            few = " or ".join(repr(printable(each)) for each in fitting[:2])
            raise ValueError(f"row {row}, column {column}: {printable(name)!r} can be {few}; write its folder too")
        if not fitting:
            missing.append((name, row))
        found.append(fitting[0] if fitting else "")
    if missing:
        name, row = missing[0]
        more = f", and {len(missing) - 1} more are missing" if len(missing) > 1 else ""
        if not skip or len(missing) == len(names):
            near = (places.fitting(os.path.splitext(name)[0]) or places.with_zeros(name)) if places else []
            hint = f"; there is {printable(near[0])!r}" if near else ""
            raise ValueError(f"row {row}, column {column}: there is no {printable(name)!r} under {root}{more}{hint}")
        several = in_words(len(missing), "row without its image is", "rows without their image are")
        warnings.warn(f"{several} left out, such as row {row}", stacklevel=3)
    first: dict[str, int] = {}
    for name, row in zip(found, rows, strict=True):
        path = os.path.normpath(name)
        if name and first.setdefault(path, row) != row:
            raise ValueError(f"row {row}, column {column}: {printable(name)!r} is also the file of row {first[path]}")
    _say_unnamed(root, {path for path in first if not os.path.isabs(path)})
    return found


class _Places:
    """The images under a folder, by every way to name them."""

    def __init__(self, root: Path) -> None:
        self.whole: dict[str, list[str]] = defaultdict(list)
        self.ends: dict[str, list[str]] = defaultdict(list)
        for path in filter(has_image_name, walk(str(root))):
            plain = _plain(path)
            for way in (plain, os.path.splitext(plain)[0]):
                self.whole[way].append(path)
                parts = way.split("/")
                for start in range(len(parts)):
                    self.ends["/".join(parts[start:])].append(path)

    def fitting(self, name: str) -> list[str]:
        """Return the images that a name can mean."""
        parts = [part for part in _plain(name).split("/") if part not in ("", ".")]
        ways = ["/".join(parts[start:]) for start in range(len(parts))]
        if not ways:
            return []
        if self.whole.get(ways[0]) or self.ends.get(ways[0]):
            return self.whole.get(ways[0]) or self.ends[ways[0]]
        return next((self.whole[way] for way in ways[1:] if self.whole.get(way)), [])

    def with_zeros(self, name: str) -> list[str]:
        """Return the images whose names differ in zeros before a number, which programs leave out."""
        stem = _stem(name)
        if not stem.isdecimal():
            return []
        ways = [way for way in self.whole if _stem(way).isdecimal() and int(_stem(way)) == int(stem)]
        return [path for way in ways for path in self.whole[way]]


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(_plain(path)))[0]


def _plain(path: str) -> str:
    return folded(path.replace("\\", "/"))


def _say_unnamed(root: Path, named: set[str]) -> None:
    """Warn once of images beside the named ones that the table does not name."""
    there = set()
    for folder in {os.path.dirname(path) for path in named}:
        names, _ = inside(os.path.join(root, folder))
        there |= {os.path.normpath(os.path.join(folder, name)) for name in filter(has_image_name, names)}
    lost = sorted(there - named)
    if lost:
        several = in_words(len(lost), "image has no row in the table and is", "images have no row in the table and are")
        warnings.warn(f"{root}: {several} left out, such as {printable(lost[0])}", stacklevel=3)
