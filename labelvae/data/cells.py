"""The cells of a table of labels: values that are unknown, and numbers as people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

from labelvae.inputs.checks import is_finite, plain_number

UNKNOWN = ("", "nan", "na", "n/a", "n.a.", "#n/a", "<na>", "k.a.", "none", "null", "?", "-", "--", ".")
"""Words for an unknown value, in upper or lower case."""

MARKS = (-99, -999, -9999)
"""Numbers that people write for an unknown value."""

_NUMBER = r"[+-]?(?:\d+(?:\.(?![^\W\d_])\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_MEASURE = re.compile(rf"({_NUMBER})\s*([^\s\d.,;+-]{{0,16}})")
_COMMA = re.compile(r"[+-]?(\d+),(\d+)")
_POINT = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}(?!\d)")
_SPACED = re.compile(r"[+-]?\d{1,3}(?:[ \u00a0\u2009\u202f'\u2019]\d{3})+(?:[.,]\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:(?:\.\d{3})+,\d+|(?:,\d{3})+\.\d+|(?:,\d{3}){2,}|(?:\.\d{3}){2,})")


def cell(value: Any, unknown: Sequence[str] = UNKNOWN) -> Any:
    """Return a value of a table as text or Python's own number; None if it is unknown."""
    value = plain_number(value)
    if isinstance(value, Decimal | Fraction):
        value = float(value)
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if value is None or (isinstance(value, float) and math.isnan(value)) or str(value) in ("<NA>", "NaT"):  # pandas'
        return None
    if isinstance(value, Enum) and not isinstance(value, str | int):
        value = value.name
    if not isinstance(value, str | int | float | complex | Iterable):  # a date, an interval
        value = str(value)
    return None if isinstance(value, str) and value.strip().casefold() in unknown else value


def measured(value: Any) -> tuple[float, str] | None:
    """Return the number that a value is, and its unit; None if it is no number.

    >>> measured("3.5 px"), measured("40%"), measured(7), measured("12:30"), measured("a1")
    ((3.5, 'px'), (40.0, '%'), (7.0, ''), None, None)
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (float(value), "") if is_finite(value) else None
    found = _MEASURE.fullmatch(value.strip().replace("\u2212", "-")) if isinstance(value, str) else None
    return (float(found[1]), found[2]) if found and math.isfinite(float(found[1])) else None


def has_decimal_commas(columns: Iterable[Sequence[Any]]) -> bool:
    """Tell whether a number such as 2,5 stands in a table whose cells semicolons separate.

    >>> has_decimal_commas([["a", "b"], ["2,5", "3"]]), has_decimal_commas([["2.5", "3"]])
    (True, False)
    """
    return any(isinstance(each, str) and _COMMA.fullmatch(each.strip()) for column in columns for each in column)


def tidied(
    name: str,
    values: Sequence[Any],
    lines: Sequence[int] | None = None,
    semicolons: bool = False,
    names: Sequence[str] = (),
    decimal_commas: bool = False,
) -> list[Any]:
    """Return the values of a column. Unknown ones become None, and decimal commas become points.

    Commas are decimal if most cells that are text are then numbers. Cells that are none stay as they are. A comma
    before three digits may separate thousands as well. It is decimal in a table whose cells semicolons separate, or if
    another cell of the column shows it.

    Args:
        name: the column, for the error.
        values: the cells.
        lines: the number of each row, for errors. By default they count from 0.
        semicolons: semicolons separate the cells of the table.
        names: the names of a category that is declared. A name such as "none" is then known, and "2,5" no number.
        decimal_commas: a column of the table has decimal commas. A point before three digits may then separate
            thousands.

    Raises:
        ValueError: commas or points that can be decimal or separate thousands; numbers with both, or some with commas
            and some with points.

    >>> tidied("size", ["2,5", "n.a.", "3"]), tidied("size", ["2,5", "3,5", "ca. 4,2"])
    (['2.5', None, '3'], ['2.5', '3.5', 'ca. 4,2'])
    """
    signs = any(isinstance(value, str) and value.strip() == "+" for value in values)
    kept = {*(each.strip().casefold() for each in names), *(["-"] if signs else [])}
    unknown = [word for word in UNKNOWN if word not in kept]
    cells = [cell(value, unknown) for value in values]
    texts = {place: each for place, each in enumerate(cells) if isinstance(each, str)}
    large = next((place for place, text in texts.items() if _THOUSANDS.fullmatch(text.strip())), None)
    spaced = [place for place, text in texts.items() if _SPACED.fullmatch(text.strip())]
    if spaced and all(place in spaced or measured(text.replace(",", ".")) for place, text in texts.items()):
        large = spaced[0] if large is None else large
    if large is not None:
        raise ValueError(
            f"{_where(name, large, lines)}: expected numbers without a separator for thousands, got {cells[large]!r}"
        )
    plain = {place: text for place, text in texts.items() if text.strip().casefold() not in kept}
    numbers = {place: text for place, text in plain.items() if measured(text.replace(",", "."))}
    points = {place: text for place, text in numbers.items() if "." in text}
    if decimal_commas and points and all(_POINT.match(text.strip()) for text in points.values()):
        place, number = next(iter(points.items()))
        raise ValueError(
            f"{_where(name, place, lines)}: {number!r} can be {number.replace('.', '')} or {number}, as numbers of "
            "this table have decimal commas; write all numbers with a decimal point, and thousands without a sign"
        )
    commas = {place: found for place, text in numbers.items() if (found := _COMMA.match(text.strip()))}
    if not commas or 2 * len(numbers) <= len(texts):
        return cells
    if points:
        comma, point = next(iter(commas)), next(iter(points))
        odd, sign, other = (comma, "point", point) if len(commas) <= len(points) else (point, "comma", comma)
        raise ValueError(
            f"{_where(name, odd, lines)}: expected a decimal {sign} as in {cells[other]!r} of row "
            f"{other if lines is None else lines[other]}, got {cells[odd]!r}; write all numbers with a decimal point, "
            "and thousands without a sign"
        )
    if not semicolons and all(len(found[2]) == 3 and found[1].strip("0") for found in commas.values()):
        place, number = next(iter(commas)), next(iter(commas.values()))[0]
        raise ValueError(
            f"{_where(name, place, lines)}: {number!r} can be {number.replace(',', '')} or {number.replace(',', '.')}; "
            "write numbers with a decimal point, and thousands without a comma"
        )
    return [each.replace(",", ".") if place in numbers else each for place, each in enumerate(cells)]


def refuse_several(name: str, cells: Sequence[tuple[int, Any]]) -> None:
    """Raise `ValueError` if the first cell, after its row, holds several values."""
    for row, first in cells[:1]:
        if isinstance(first, Iterable) and not isinstance(first, str):
            raise ValueError(
                f"row {row}, column {name}: expected one value, got {type(first).__name__}; give each part a column of "
                "its own, or leave it out"
            )


def refuse_constant(name: str, words: Collection[str], gaps: bool) -> None:
    """Raise `ValueError` for a column of fewer than two different words. Some of its cells may be empty."""
    if len(words) < 2:
        (word,) = words or ("no value",)
        got = f"{word!r} everywhere" if words else word
        hint = "leave the column out"
        if words and gaps:
            got, hint = f"{word!r} or nothing", f"write yes and no, or {hint}"
        raise ValueError(f"column {name}: expected at least two different values, got {got}; {hint}")


def _where(name: str, place: int, lines: Sequence[int] | None) -> str:
    return f"row {place if lines is None else lines[place]}, column {name}"
