"""Tables of labels in the forms that people have them: dicts, data frames, Arrow's tables, records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from labelvae.inputs.checks import as_list
from labelvae.inputs.conversions import described, imported


def columns_of(table: Any, count: int) -> dict[str, list[Any]]:
    """Return the columns of a table as lists, by name.

    Args:
        table: a dict from names to values; a data frame, or a table of Arrow; an array with named fields; or a list of
            dicts, one an image.
        count: the number of images, and of rows.

    Raises:
        ValueError: another form; a name that is there twice; a column with another number of values, or without order.

    >>> columns_of([{"kind": "cat"}, {"kind": "dog"}], 2), columns_of({"age": (1.5, 2.0)}, 2)
    ({'kind': ['cat', 'dog']}, {'age': [1.5, 2.0]})
    """
    if isinstance(table, list | tuple) and table and all(isinstance(row, Mapping) for row in table):
        table = {name: [row.get(name) for row in table] for name in dict.fromkeys(key for row in table for key in row)}
    given = _names(table)
    names = [str(each) for each in given]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise ValueError(f"table: expected different columns, got {twice!r} twice")
    return {name: _values(name, table[each], count) for name, each in zip(names, given, strict=True)}


def _names(table: Any) -> Sequence[Any]:
    """Return the names of a table's columns, as the table itself takes them."""
    if isinstance(table, Mapping):
        return list(table)
    if hasattr(table, "collect"):  # of polars, read only when it is asked for
        raise ValueError(f"table: expected a data frame, got {described(table)}; its collect() returns one")
    fields = getattr(getattr(table, "dtype", None), "names", None)
    names = fields or getattr(table, "column_names", getattr(table, "columns", None))
    if names is None:
        raise ValueError(
            "table: expected a dict from names to values, a data frame, or a list of dicts, got "
            f"{described(table)}; pandas.read_csv reads a file, and a folder with labels.csv needs no table"
        )
    return list(names)


def _values(name: str, column: Any, count: int) -> list[Any]:
    """Return the values of a column."""
    values = as_list(imported(column))
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise ValueError(f"column {name}: expected {count} values, one an image, got {described(values)}")
    values = list(values)
    if len(values) != count:
        raise ValueError(f"column {name}: expected {count} values, one an image, got {len(values)}")
    alone = all(isinstance(each, list) and len(each) == 1 for each in values)  # an array (N, 1)
    return [each[0] for each in values] if alone else values
