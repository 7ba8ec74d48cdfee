"""Tables of labels: `labels.csv` with one row for each image and one column for each attribute."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labelvae.attributes.choices import NO, YES, Binary, Category
from labelvae.attributes.continuous import Continuous
from labelvae.attributes.kind import Kind
from labelvae.attributes.rows import Attributes
from labelvae.inputs.checks import plain_number
from labelvae.inputs.conversions import described

MOST_CLASSES = 20
"""Largest number of different whole numbers in a column that still count as names of classes."""

UNKNOWN = ("", "nan", "na", "n/a", "none", "null", "?")
"""Words for an unknown value, in upper or lower case."""


def inferred_attributes(columns: Mapping[str, Sequence[Any]]) -> Attributes:
    """Infer the kind of each column: a yes or no, a number, or a category.

    Words for yes and no, or 0 and 1, are `Binary`. Numbers that are not all whole, or have more than `MOST_CLASSES`
    different values, are `Continuous` from the smallest to the largest. Everything else is a `Category` of the values,
    sorted. An angle looks like other numbers: declare it.

    Args:
        columns: the values by name. None, NaN and the words in `UNKNOWN` are unknown values.

    Returns:
        The attributes, by column.

    Raises:
        ValueError: a column with fewer than two different values, or with words of which most are there once.

    >>> inferred_attributes({"kind": ["cat", "dog"], "age": [1.5, 3.0], "old": ["no", "yes"]})["age"].expected
    'numbers from 1.5 to 3'
    """
    return Attributes({name: _inferred(name, [cell(value) for value in values]) for name, values in columns.items()})


def declared_attributes(columns: Mapping[str, Sequence[Any]], given: Any = None) -> Attributes:
    """Return what columns are: as they are declared, or inferred.

    Args:
        columns: name to values, see `inferred_attributes`.
        given: name to kind; None in the place of a kind infers that column, and columns that are not named are left
            out. None infers all columns.

    Raises:
        ValueError: see `inferred_attributes` and `Attributes`; a name to infer that no column has.
    """
    if given is None:
        return inferred_attributes(columns)
    if not isinstance(given, Mapping):
        return Attributes(given)
    unnamed = [name for name, kind in given.items() if kind is None]
    lost = next((name for name in unnamed if name not in columns), None)
    if lost is not None:
        raise ValueError(f"columns: expected {lost}, got {', '.join(columns)}; {lost} is missing")
    inferred = inferred_attributes({name: columns[name] for name in unnamed}) if unnamed else {}
    return Attributes({name: inferred[name] if kind is None else kind for name, kind in given.items()})


def _inferred(name: str, values: list[Any]) -> Kind:
    known = [value for value in values if value is not None]
    numbers = [_as_number(value) for value in known]
    words = {str(value).strip().casefold() for value in known}
    if len(words) < 2:
        got = f"{next(iter(words))!r} everywhere" if words else "no value"
        raise ValueError(f"{name}: expected at least two different values, got {got}; leave the column out")
    if words <= {*YES, *NO} and (words & {*YES}) and (words & {*NO}):
        return Binary()
    found = [number for number in numbers if number is not None]
    if len(found) == len(known):
        whole = all(number == round(number) for number in found)
        if not whole or len(set(found)) > MOST_CLASSES:
            return Continuous(min(found), max(found))
        return Category([str(int(number)) for number in sorted(set(found))])
    names = sorted({str(value).strip() for value in known})
    if len(names) > max(MOST_CLASSES, len(known) // 2):
        raise ValueError(
            f"{name}: {len(names)} different words in {len(known)} rows, such as {names[0]!r}, are no classes; leave "
            "the column out, or write numbers with a decimal point"
        )
    return Category(names)


def cell(value: Any) -> Any:
    """Return a value of a table; None if it is unknown."""
    value = plain_number(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return None if isinstance(value, str) and value.strip().casefold() in UNKNOWN else value


def _as_number(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    with suppress(ValueError, TypeError):
        number = float(value)
        return number if math.isfinite(number) and not isinstance(value, bool) else None
    return None


def table_rows(columns: Mapping[str, Sequence[Any]], attributes: Attributes, place: str = "row {}") -> Tensor:
    """Return the columns of a table as rows `(N, A)`. NaN is an unknown value.

    Args:
        columns: the values by name.
        attributes: the kinds of the columns. Other columns are left out.
        place: how an error names a row, with its number from 0.

    Raises:
        ValueError: a missing column; a value of another kind or range, named by its row and column.
    """
    missing = [name for name in attributes if name not in columns]
    if missing:
        there = ", ".join(columns)
        raise ValueError(f"columns: expected {', '.join(attributes)}, got {there}; {missing[0]} is missing")
    found = torch.full((len(columns[next(iter(attributes))]), len(attributes)), math.nan)
    for column, (name, kind) in enumerate(attributes.items()):
        for row, value in enumerate(map(cell, columns[name])):
            if value is None:
                continue
            named = kind.names if isinstance(kind, Category) else ()
            whole = isinstance(value, int | float) and not isinstance(value, bool)
            given = f"{value:g}" if whole and f"{value:g}" in named else value  # the number is its name
            number = kind.number(given)
            if number is None:
                where = place.format(row)
                raise ValueError(f"{where}, column {name}: expected {kind.expected}, got {described(value)}")
            found[row, column] = number
    return found


def read_labels(path: Path, attributes: Mapping[str, Any] | None = None) -> tuple[list[str], Attributes, Tensor]:
    """Read `labels.csv`.

    Args:
        path: a table with a line of names, of which the first column is "file".
        attributes: what the columns are, see `declared_attributes`.

    Returns:
        The files, the attributes, and the rows, `(N, A)`.

    Raises:
        ValueError: a missing or broken table, named by its row (the line of names is row 1) and column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(number, line) for number, line in enumerate(csv.reader(file), start=1) if any(line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a table as comma-separated text in UTF-8 ({error})") from error
    if len(lines) < 2:
        raise ValueError(f"{path}: expected a line of names and a row for each image, got {len(lines)} lines")
    names = [name.strip() for name in lines[0][1]]
    if names[0].casefold() not in ("file", "filename", "path", "image") or len(names) < 2:
        raise ValueError(f"{path}: expected the columns file, and one an attribute, got {', '.join(names)}")
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise ValueError(f"{path}: expected different columns, got {twice!r} twice")
    for number, line in lines[1:]:
        if len(line) != len(names):
            raise ValueError(f"{path}: row {number}: expected {len(names)} cells, got {len(line)}")
    numbers = [number for number, _ in lines[1:]]
    files = [line[0].strip() for _, line in lines[1:]]
    first: dict[str, int] = {}
    for number, name in zip(numbers, files, strict=True):
        if name in first:
            where = f"{path}: row {number}, column {names[0]}"
            raise ValueError(f"{where}: {name!r} is there twice, also in row {first[name]}")
        first[name] = number
    columns = {name: [line[place] for _, line in lines[1:]] for place, name in enumerate(names) if place}
    try:
        found = declared_attributes(columns, attributes)
        rows = [
            table_rows({name: [values[row]] for name, values in columns.items()}, found, f"row {number}")
            for row, number in enumerate(numbers)
        ]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return files, found, torch.cat(rows)
