"""Tables of labels: `labels.csv` with one row for each image and one column for each attribute."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labelvae.attributes.choices import NO, YES, Binary, Category
from labelvae.attributes.continuous import Continuous
from labelvae.attributes.kind import Kind
from labelvae.attributes.kinds import kind_of
from labelvae.attributes.rows import Attributes
from labelvae.data.cells import MARKS, has_decimal_commas, measured, refuse_constant, refuse_several, tidied
from labelvae.data.doubtful_columns import say_doubtful
from labelvae.data.image_files import has_image_name
from labelvae.data.table_text import is_index, read_text
from labelvae.inputs.class_names import composed, folded
from labelvae.inputs.conversions import described

MOST_CLASSES = 20
"""Largest number of different whole numbers in a column that still count as names of classes."""

FEWEST = 5
"""Smallest number of rows for each word of a column with more than `MOST_CLASSES` words."""

SHEET_ERRORS = ("#ref!", "#div/0!", "#value!", "#name?", "#num!", "#null!")
"""What spreadsheets write in the place of a value, in lower case."""

COUNTERS = ("id", "index", "idx", "row", "number", "no", "nr", "#", "image_id", "imageid")
"""Names of columns that may only count the rows."""

IDENTIFIER = re.compile(r"(.*[ _-])?(id|uid|uuid|idx|index)", re.IGNORECASE)
"""Names of columns that may only name the images."""


def inferred_attributes(columns: Mapping[str, Sequence[Any]]) -> Attributes:
    """Infer the kind of each column: a yes or no, a number, or a category.

    Words for yes and no, 0 and 1, or -1 and 1, are `Binary`. Numbers that are not all whole, or have more than
    `MOST_CLASSES` different values, are `Continuous` from the smallest to the largest. They may all have the same unit,
    such as "3.5 px". Everything else is a `Category` of the values, sorted. An angle looks like other numbers: declare
    it. The index of a data frame that was saved is left out, see `table_text.is_index`.

    Args:
        columns: the values by name. None, NaN and the words in `cells.UNKNOWN` are unknown values.

    Returns:
        The attributes, by column.

    Raises:
        ValueError: a column with fewer than two different values, of numbers and words, of several units, of words of
            which most are rare, of image files, that counts the rows, or that marks unknown values by a number such as
            -999; an error of a spreadsheet.

    >>> inferred_attributes({"kind": ["cat", "dog"], "age": [1.5, 3.0], "old": ["no", "yes"]})["age"].expected
    'numbers from 1.5 to 3'
    """
    return declared_attributes(columns)


def declared_attributes(
    columns: Mapping[str, Sequence[Any]], given: Any = None, lines: Sequence[int] | None = None
) -> Attributes:
    """Return what columns are: as they are declared, or inferred.

    Args:
        columns: name to values, see `inferred_attributes`.
        given: name to kind; None in the place of a kind infers that column, and columns that are not named are left
            out. None infers all columns.
        lines: the number of each row, for errors. By default they count from 0.

    Raises:
        ValueError: see `inferred_attributes` and `Attributes`; a name to infer that no column has.
    """
    if given is None:
        given = dict.fromkeys(name for name in columns if not is_index(str(name)))
    if not isinstance(given, Mapping):
        return Attributes(given)
    unnamed = [name for name, kind in given.items() if kind is None]
    lost = next((name for name in unnamed if name not in columns), None)
    if lost is not None:
        raise ValueError(f"columns: expected {lost}, got {', '.join(columns)}; {lost} is missing")
    inferred = {name: _inferred(name, tidied(name, columns[name], lines), lines) for name in unnamed}
    return Attributes({name: inferred[name] if kind is None else kind for name, kind in given.items()})


def _inferred(name: str, values: list[Any], lines: Sequence[int] | None) -> Kind:
    known = [(place if lines is None else lines[place], each) for place, each in enumerate(values) if each is not None]
    refuse_several(name, known)
    endless = next((row for row, each in known if isinstance(each, float) and math.isinf(each)), None)
    if endless is not None:
        raise ValueError(f"row {endless}, column {name}: expected a finite number, got infinity")
    words = {folded(str(each)) for _, each in known}
    files = [each for each in words if has_image_name(each)]
    if 2 * len(files) > len(words) > 1:
        raise ValueError(
            f"column {name}: names image files, such as {min(files)!r}, and is no attribute; leave the column out"
        )
    refuse_constant(name, words, len(known) < len(values))
    if words <= {*YES, *NO} and (words & {*YES}) and (words & {*NO}):
        return Binary()
    numbers = [_Number(row, each, *found) for row, each in known if (found := measured(each)) is not None]
    different = {number.value for number in numbers}
    many = len(different) > MOST_CLASSES or any(value != round(value) for value in different)
    if len(numbers) == len(known):
        _check_numbers(name, numbers, many)
        if different in ({0.0, 1.0}, {-1.0, 1.0}):
            return Binary()
        if many:
            return _span(name, min(different), max(different), numbers[0].unit)
        return Category(_number_names(numbers))
    if many and 2 * len(numbers) > len(known):
        row, odd = next((row, each) for row, each in known if measured(each) is None)
        raise ValueError(
            f"row {row}, column {name}: expected a number as in most rows, got {described(odd)}; correct it, or leave "
            "the cell empty if it is unknown"
        )
    broken = next(((row, each) for row, each in known if folded(str(each)) in SHEET_ERRORS), None)
    if broken is not None:
        raise ValueError(
            f"row {broken[0]}, column {name}: {broken[1]!r} is an error of a spreadsheet; correct it, or leave the "
            "cell empty if it is unknown"
        )
    names = sorted({composed(str(each)) for _, each in known})
    if len(names) > max(MOST_CLASSES, len(known) // FEWEST):
        raise ValueError(
            f"column {name}: {len(names)} different words in {len(known)} rows, such as {names[0]!r}, are no classes; "
            "leave the column out, or write numbers with a decimal point"
        )
    spelled: dict[str, str] = {}
    for each in names:
        other = spelled.setdefault(folded(each), each)
        if other != each:
            way = "upper and lower case" if other.casefold() == each.casefold() else "how their letters are stored"
            raise ValueError(f"column {name}: {other!r} and {each!r} differ only in {way}; write one of them")
    return Category(names)


def _span(name: str, low: float, high: float, unit: str) -> Continuous:
    try:
        return Continuous(low, high, unit)
    except ValueError as error:
        raise ValueError(
            f"column {name}: numbers from {low:.12g} to {high:.12g} are too close together for their size, as dates in "
            f"seconds are; subtract {low:.12g} from each, or leave the column out"
        ) from error


@dataclass(frozen=True)
class _Number:
    """A number in a table: its row, the cell, its value and its unit."""

    row: int
    cell: Any
    value: float
    unit: str


def _check_numbers(name: str, numbers: Sequence[_Number], many: bool) -> None:
    """Refuse numbers that cannot be an attribute, by row and column."""
    values = [number.value for number in numbers]
    mark = next((number for number in numbers if number.value in MARKS), None)
    if mark is not None and all(value >= 0 or value in MARKS for value in values):
        raise ValueError(
            f"row {mark.row}, column {name}: {described(mark.cell)} looks like a mark for an unknown value; leave the "
            "cell empty, or declare the column"
        )
    other = next((number for number in numbers if number.unit != numbers[0].unit), None)
    if many and other is not None:
        expected = f"the unit {numbers[0].unit!r}" if numbers[0].unit else "no unit"
        raise ValueError(
            f"row {other.row}, column {name}: expected {expected} as in row {numbers[0].row}, got {other.cell!r}"
        )
    counting = values == [values[0] + row for row in range(len(values))]
    if many and counting and name.casefold() in COUNTERS:
        raise ValueError(f"column {name}: only counts the rows; leave the column out, or declare it")
    named = len({*values}) == len(values) and all(value == round(value) for value in values)
    if many and named and IDENTIFIER.fullmatch(name):
        raise ValueError(
            f"column {name}: a number of its own for each image is no attribute; leave it out, or declare it"
        )


def _number_names(numbers: Sequence[_Number]) -> list[str]:
    """Return the names of whole numbers as they are written, such as "007" or "10x", in order."""
    spelled: dict[float, set[str]] = {}
    for number in numbers:
        whole = isinstance(number.cell, int | float) or (not number.unit and set(number.cell) & set(".eE"))
        spelled.setdefault(number.value, set()).add(f"{int(number.value)}" if whole else str(number.cell).strip())
    plain = any(len(ways) > 1 for ways in spelled.values())
    if plain and all(not number.unit for number in numbers):
        return [f"{int(value)}" for value in sorted(spelled)]
    return [way for value in sorted(spelled) for way in sorted(spelled[value])]


def table_rows(
    columns: Mapping[str, Sequence[Any]], attributes: Attributes, lines: Sequence[int] | None = None
) -> Tensor:
    """Return the columns of a table as rows `(N, A)`. NaN is an unknown value.

    Args:
        columns: the values by name.
        attributes: the kinds of the columns. Other columns are left out.
        lines: the number of each row, for errors. By default they count from 0.

    Raises:
        ValueError: a missing column; a value of another kind or range, named by its row and column.
    """
    missing = [name for name in attributes if name not in columns]
    if missing:
        there = ", ".join(columns)
        raise ValueError(f"columns: expected {', '.join(attributes)}, got {there}; {missing[0]} is missing")
    found = []
    for name, kind in attributes.items():
        column = tidied(name, columns[name], lines, names=getattr(kind, "names", ()))
        if isinstance(kind, Binary) and {(-1.0, ""), (0.0, "")} <= {measured(value) for value in column}:
            raise ValueError(f"column {name}: expected {kind.expected}, or -1 and 1, got both 0 and -1")
        words = [(type(value), str(value)) for value in column]
        numbers = {word: _number(kind, value) for word, value in dict(zip(words, column, strict=True)).items()}
        for row, value in enumerate(column):
            if value is not None and numbers[words[row]] is None:
                where = f"row {row if lines is None else lines[row]}, column {name}"
                raise ValueError(f"{where}: expected {kind.expected}, got {described(value)}")
        found.append([numbers[word] for word in words])
    return torch.tensor([[math.nan if each is None else each for each in column] for column in found]).T.contiguous()


def _number(kind: Kind, value: Any) -> float | None:
    """Return a cell as a number of a kind; None if it is no value of it."""
    if value is None or (isinstance(value, float) and math.isinf(value)):
        return None
    plain = measured(value)
    if isinstance(kind, Continuous):
        fits = plain is not None and plain[1] in ("", kind.unit)
        return kind.number(plain[0] if fits and plain else value)
    if isinstance(kind, Category):
        if isinstance(value, str) and value.strip() in kind.names:
            return kind.number(value.strip())
        whole = plain is not None and not plain[1] and plain[0] == round(plain[0])
        named = f"{int(plain[0])}" if whole and plain else ""  # the number is its name
        if named and kind.named_by_numbers:
            value = int(named)  # as text it could be an index
        return kind.number(named if named in kind.names else value)
    if plain is None or plain[1]:
        return kind.number(value)
    return kind.number(0.0 if plain[0] == -1 else plain[0])


def read_labels(path: Path, attributes: Mapping[str, Any] | None = None) -> tuple[list[str], Attributes, Tensor]:
    """Read `labels.csv`.

    Args:
        path: a table with a line of names, of which one is "file", see `table_text.read_text`.
        attributes: what the columns are, see `declared_attributes`.

    Returns:
        The files, the attributes, and the rows, `(N, A)`.

    Raises:
        ValueError: a missing or broken table, named by its row (the line of names is row 1) and column.
    """
    table = read_label_table(path, attributes)
    return table.files, table.attributes, table.rows


def _names(attributes: Mapping[str, Any] | None, name: str) -> Sequence[str]:
    """Return the names of a column's classes, if they are declared."""
    kind = attributes.get(name) if isinstance(attributes, Mapping) else None
    return () if kind is None else getattr(kind_of(name, kind), "names", ())


@dataclass(frozen=True)
class LabelTable:
    """A table of labels.

    Attributes:
        files: what the table calls each image.
        attributes: the kinds of its other columns.
        rows: the labels, `(N, A)`.
        lines: the number of each row in the table. The line of names is row 1.
        file_column: the name of the column of files.
    """

    files: list[str]
    attributes: Attributes
    rows: Tensor
    lines: list[int]
    file_column: str


def read_label_table(path: Path, attributes: Mapping[str, Any] | None = None) -> LabelTable:
    """Read `labels.csv`, and where each row stands; see `read_labels`."""
    declared = attributes if isinstance(attributes, Mapping) else None
    text = read_text(path, declared or ())
    semicolons = text.separator == ";"
    commas = semicolons and has_decimal_commas(text.columns.values())
    try:
        columns = {
            name: tidied(name, column, text.rows, semicolons, _names(attributes, name), commas)
            if declared is None or name in declared
            else column
            for name, column in text.columns.items()
        }
        found = declared_attributes(columns, attributes, text.rows)
        rows = table_rows(columns, found, text.rows)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    say_doubtful(text.columns, found, attributes)
    return LabelTable(text.files, found, rows, text.rows, text.file_column)
