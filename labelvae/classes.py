"""The names of the classes: `classes.json` beside a saved model, so that a label can be asked for by its name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

from labelvae.whole_files import write_whole


def check_names(name: str, names: Sequence[str], count: int | None = None) -> list[str]:
    """Return the names as a list of `count` different strings; whole numbers become text.

    Raises:
        ValueError: one string, no sequence, another number of names, or a name that is there twice.

    >>> check_names("class_names", ("cat", "dog"), 2), check_names("class_names", [0, 1])
    (['cat', 'dog'], ['0', '1'])
    """
    if hasattr(names, "tolist"):  # an array or a column of a table
        names = names.tolist()
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise ValueError(f"{name}: expected a list of names such as ['cat', 'dog'], got {names!r:.80}")
    if any(not isinstance(each, str | Integral) for each in names):
        raise ValueError(f"{name}: expected names as text, got {names!r:.80}")
    found = [str(each) for each in names]
    if count is not None and len(found) != count:
        raise ValueError(f"{name}: expected {count} names, one a class, got {len(found)}")
    twice = next((each for place, each in enumerate(found) if each in found[:place]), None)
    if twice is not None:
        raise ValueError(f"{name}: expected different names, got {twice!r} twice")
    return found


def write_classes(folder: str | Path, names: Sequence[str]) -> None:
    """Writes the names, in the order of the labels, as a JSON list under `folder`."""
    write_whole(Path(folder) / "classes.json", json.dumps(list(names), ensure_ascii=False) + "\n")


def read_classes(folder: str | Path, num_classes: int) -> list[str]:
    """The name of each label: those under `folder`, or the indices as text where it has none.

    Raises:
        ValueError: a file that is no JSON list of `num_classes` names.
    """
    path = Path(folder) / "classes.json"
    if not path.is_file():
        return [str(label) for label in range(num_classes)]
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON ({error}); delete it to go by class indices") from error
    if not isinstance(names, list) or len(names) != num_classes or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: expected a list of {num_classes} names; delete it to go by class indices")
    return names


def label_of(word: str, names: Sequence[str]) -> int:
    """The label that a user's word means: the name of a class, or else its index.

    Raises:
        ValueError: a word that is neither.

    >>> label_of("dog", ["cat", "dog"]), label_of("0", ["cat", "dog"])
    (1, 0)
    """
    if word in names:
        return list(names).index(word)
    if word.isdecimal() and int(word) < len(names):
        return int(word)
    raise ValueError(f"label: expected one of {', '.join(names)} (or 0 to {len(names) - 1}), got {word!r}")
