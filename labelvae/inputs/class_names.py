"""The names of the classes: `classes.json` in a saved model's folder, so that labels can be given by name."""

from __future__ import annotations

import json
import os
import unicodedata
import warnings
from collections.abc import Iterator, KeysView, Mapping, Sequence, ValuesView
from numbers import Integral
from pathlib import Path
from typing import Any

from labelvae.system.whole_files import write_whole

EVERY = ("all", "*")
"""Words for every class. A class of that name comes first."""

LONGEST = 80
"""Longest part of a file's name that is a class's name, in bytes."""

_UNSEEN = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))
"""Signs without width: the places where a word may or may not be broken, and the mark of byte order."""


def check_names(name: str, names: Sequence[str], count: int | None = None) -> list[str]:
    """Return names as a list of different strings. Whole numbers become text.

    Args:
        name: the name of the argument in errors.
        names: the names, as a sequence, a generator, an array or a column of a table; or a dict from each index to its
            name, or from each name to its index.
        count: the number of names; None for any.

    Raises:
        ValueError: one string; no sequence; another number of names; a name that is empty or there twice.

    >>> check_names("class_names", ("cat", "dog"), 2), check_names("class_names", [0, 1])
    (['cat', 'dog'], ['0', '1'])
    """
    names = _by_index(names) if isinstance(names, Mapping) else names
    ways = ("tolist", "to_list", "to_pylist")  # of an array or a column of a table
    way = next((each for each in ways if hasattr(names, each) and getattr(names, "ndim", None) != 0), None)
    names = getattr(names, way)() if way else names
    ordered = isinstance(names, Sequence | Iterator | KeysView | ValuesView)
    if isinstance(names, str | bytes) or not ordered:
        raise ValueError(f"{name}: expected a list of names such as ['cat', 'dog'], got {names!r:.80}")
    given = list(names)
    if any(not isinstance(each, str | Integral) for each in given):
        raise ValueError(f"{name}: expected names as text, got {given!r:.80}")
    found = [str.__str__(each) if isinstance(each, str) else str(each) for each in given]  # also of an Enum
    if count is not None and len(found) != count:
        raise ValueError(f"{name}: expected {count} names, one a class, got {len(found)}")
    empty = next((place for place, each in enumerate(found) if not each.strip()), None)
    if empty is not None:
        raise ValueError(f"{name}: expected a name for each class, got {found[empty]!r} for class {empty}")
    twice = next((each for place, each in enumerate(found) if each in found[:place]), None)
    if twice is not None:
        raise ValueError(f"{name}: expected different names, got {twice!r} twice")
    return found


def _by_index(names: Mapping[Any, Any]) -> Any:
    """Return the names of a dict in the order of their indices; the dict itself if it lacks an index from 0 on."""
    for indices, words in ((names.keys(), names.values()), (names.values(), names.keys())):
        numbers = [int(each) if isinstance(each, str) and each.isdecimal() else each for each in indices]
        found = dict(zip(numbers, words, strict=True)) if all(isinstance(each, Integral) for each in numbers) else {}
        if found.keys() == {*range(len(names))} and all(isinstance(each, str) for each in found.values()):
            return [found[index] for index in range(len(names))]
    return names


def check_order(name: str, names: Sequence[str] | None, known: Sequence[str] | None, whose: str) -> None:
    """Raise `ValueError` if a class that both lists name has another index in each. Lists that are None fit any.

    Args:
        name: what has `names`, for the error.
        names: the name of each class.
        known: those of something else.
        whose: what has them, such as "the model".

    >>> check_order("judge", ["cat", "dog"], ["cat", "a dog"], "the model")
    """
    if not names or not known or names == known:
        return
    places = {each: place for place, each in enumerate(known)}
    for place, each in enumerate(names):
        if places.get(each, place) != place:
            raise ValueError(
                f"{name}: {each!r} is class {place} of {', '.join(names)}, but class {places[each]} of {whose}, "
                f"{', '.join(known)}; give both the same classes in the same order"
            )


def write_classes(folder: str | Path, names: Sequence[str]) -> None:
    """Write the names, in the order of the labels, as a JSON list to `classes.json` in `folder`."""
    readable = all(name.isprintable() for name in names)  # bytes that are no UTF-8 are escaped
    write_whole(Path(folder) / "classes.json", json.dumps(list(names), ensure_ascii=not readable) + "\n")


def read_classes(folder: str | Path, num_classes: int) -> list[str]:
    """Return the name of each class: those in `classes.json` in `folder`, or the indices as text if it is missing.

    Raises:
        ValueError: a file that cannot be read, or is not a JSON list of `num_classes` names.
    """
    path = Path(folder) / "classes.json"
    if not os.path.isfile(path):
        return [str(label) for label in range(num_classes)]
    try:
        names = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); it names the classes") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON ({error}); delete it to go by class indices") from error
    if not isinstance(names, list) or len(names) != num_classes or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: expected a list of {num_classes} names; delete it to go by class indices")
    return names


def label_of(word: str, names: Sequence[str]) -> int:
    """Return the label that a user's word means: the name of a class, or else its index.

    A name may differ in upper and lower case, in spaces around it, and in how its letters are composed, if only one
    class fits. If the classes are called by other numbers, an index could be a name. It is then accepted with a warning
    that names its class.

    Raises:
        ValueError: a word that means no class, or several.

    >>> label_of("dog", ["cat", "dog"]), label_of("Dog ", ["cat", "dog"]), label_of("0", ["cat", "dog"])
    (1, 1, 0)
    """
    if word in names:
        return list(names).index(word)
    for alike in (composed, folded):
        found = [label for label, name in enumerate(names) if alike(name) == alike(word)]
        if len(found) == 1:
            return found[0]
        if found:
            meant = ", ".join(repr(printable(names[label])) for label in found)
            raise ValueError(f"label: {printable(word)!r} can be {meant}; write it as the class is called")
    number = folded(word)
    counted = all(int(name) == label for label, name in enumerate(names) if name.isdecimal())
    if number.isdecimal() and len(number) < 10 and int(number) < len(names):
        if not counted:
            warnings.warn(
                f"label: no class is called {printable(word)!r}; it is taken as an index, counted from 0, which is the "
                f"class {printable(names[int(number)])!r}",
                stacklevel=2,
            )
        return int(number)
    known = ", ".join(map(printable, names))
    raise ValueError(f"label: expected one of {known} (or 0 to {len(names) - 1}), got {printable(word)!r}")


def labels_of(word: str, names: Sequence[str]) -> list[int]:
    """Return the labels that a word means: that of one class, or those of all classes for "all" and "*".

    >>> labels_of("all", ["cat", "dog"]), labels_of("all", ["all", "none"]), labels_of("*", ["all", "none"])
    ([0, 1], [0], [0, 1])
    """
    return list(range(len(names))) if word in EVERY and word not in names else [label_of(word, names)]


def printable(name: str) -> str:
    r"""Return a name in one line that any terminal, file or picture can show.

    >>> printable("two\nlines"), printable("caf\udce9")
    ('two\\nlines', 'caf\\xe9')
    """
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in name)


def file_names(names: Sequence[str]) -> list[str]:
    """Return each name as a part of a file's name. All are different, also where upper and lower case are the same.

    Letters of any script and signs stay. Characters that a file system does not allow become "_". Names that are then
    alike are numbered, in their order.

    >>> file_names(["T-shirt/top", "(", ")", "a", "A"])
    ['T-shirt_top', '(', ')', 'a', 'A-2']
    """
    taken: set[str] = set()
    found = []
    for name in names:
        clean = shortened("".join(_allowed(letter) for letter in name), LONGEST)
        clean = "_" + clean[1:] if clean.startswith(".") else clean
        numbered, count = clean, 1
        while folded(numbered) in taken:
            count += 1
            numbered = f"{clean}-{count}"
        taken.add(folded(numbered))
        found.append(numbered)
    return found


def shortened(text: str, most: int) -> str:
    """Return a text with at most `most` bytes in UTF-8. No letter is cut in two."""
    return os.fsencode(text)[:most].decode("utf-8", "ignore") if len(os.fsencode(text)) > most else text


def composed(word: str) -> str:
    """Return a word without the spaces around it and signs without width, and with each accent in its letter."""
    return unicodedata.normalize("NFC", word.translate(_UNSEEN)).strip()


def folded(word: str) -> str:
    r"""Return a word in the form in which words that people take for the same are equal.

    >>> folded(" New\u00a0York") == folded("new york"), folded("cafe\u0301") == folded("caf\u00e9")
    (True, True)
    """
    return unicodedata.normalize("NFKC", word.translate(_UNSEEN)).casefold().strip()


def _allowed(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":
        return f"%{ord(letter) - 0xDC00:02X}"
    return "_" if letter in '<>:"/\\|?*' or letter.isspace() or not letter.isprintable() else letter


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()
