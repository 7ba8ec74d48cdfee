"""Columns of a table that may mean something else than they are taken for: one warning for each."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from labelvae.attributes.choices import Category
from labelvae.attributes.rows import Attributes
from labelvae.data.split_folders import SPLITS
from labelvae.inputs.class_names import folded

UNKNOWN_OR_NAMES = ("none", "na", "null")
"""Words for an unknown value that people also call a class."""

SPLIT_COLUMNS = {"split", "splits", "partition", "fold", "folds", "istrain", "isval", "isvalid", "istest"}
"""Names of columns, without blanks, `_` and `-`, in lower case, that say which split an image belongs to."""

_BETWEEN = re.compile(r"\s*[|;,]\s*")
"""What stands between the names of several classes in one cell."""


def say_doubtful(columns: Mapping[str, Sequence[Any]], attributes: Attributes, given: Any) -> None:
    """Warn of columns that were inferred and may be something else.

    They may name the splits, or several classes in one cell. Or a word for an unknown value may be the name of a class.

    Args:
        columns: the values by name, as the table has them.
        attributes: the kinds of the columns.
        given: what was declared, name to kind. None in the place of a kind, or of all, infers it.
    """
    declared = given if isinstance(given, Mapping) else {}
    for name, kind in attributes.items():
        if given is None:
            _say_splits(name, getattr(kind, "names", ()))
        if isinstance(kind, Category) and declared.get(name) is None:
            _say_joined(name, kind.names)
            _say_unknown(name, kind.names, columns[name])


def _say_splits(name: str, names: Sequence[str]) -> None:
    split = names and {folded(each) for each in names} <= {*SPLITS}
    if split or re.sub(r"[ _-]", "", name.casefold()) in SPLIT_COLUMNS:
        what = f"{', '.join(names)} are names of splits, but are" if split else "seems to say the splits, but is"
        _warn(
            f"column {name}: {what} taken for an attribute, and the images are split anew; leave the column out, or "
            "name the other columns with attributes="
        )


def _say_joined(name: str, names: Sequence[str]) -> None:
    joined = next((each for each in names if each.startswith("[") and each.endswith("]")), None)
    joined = joined or next((each for each in names if {*_BETWEEN.split(each)} & {*names} - {each}), None)
    if joined is not None:
        _warn(
            f"column {name}: {joined!r} is taken for a class of its own; if it names several classes of an image, give "
            "each class a column of yes and no"
        )


def _say_unknown(name: str, names: Sequence[str], values: Sequence[Any]) -> None:
    words = [each for each in values if isinstance(each, str) and folded(each) in UNKNOWN_OR_NAMES]
    if words and folded(words[0]) not in map(folded, names):
        _warn(
            f"column {name}: {words[0]!r} is taken for an unknown value; if it is a class, declare the column: "
            f'{{"{name}": {{"kind": "category", "names": [...]}}}}'
        )


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=5)
