"""The text of `labels.csv`: how its letters are written, what separates its cells, and which column names the files."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labelvae.data.image_files import has_image_name
from labelvae.inputs.checks import in_words

FILE_WORDS = {"file", "files", "filename", "filepath", "path"}
FILE_WORDS |= {f"{kind}{each}" for kind in ("image", "img") for each in (*FILE_WORDS - {"files"}, "name")}
"""Names of the column of files, without blanks, `_` and `-`, in lower case."""

FILE_COLUMNS = FILE_WORDS | {"image", "images", "img", "imageid", "picture", "photo"}
"""The same, with names that other columns may have too."""

TABLE_ENDINGS = (".csv", ".tsv")
"""Endings of tables of labels."""

SEPARATORS = ",;\t|"
"""What may separate the cells of a row."""

_OTHERS = {
    rb"PK\x03\x04|\xd0\xcf\x11\xe0": "a spreadsheet's own file or an archive; save the table in it as CSV in UTF-8",
    rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd": "an archive; unpack it first",
    rb"PAR1|ARROW1": "a table of Parquet or Arrow; save it as CSV, as a data frame's to_csv does",
    rb"(\xef\xbb\xbf)?\s*[\[{]": "JSON; save it as CSV: pandas.read_json(path, lines=True).to_csv('labels.csv', "
    "index=False) if each line is a record, else without lines=True",
}
"""What a file is that is no table as text, by its first bytes, and what to do."""

_INDEX = re.compile(r"unnamed: \d+(\.\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class TableText:
    """A table as it is written.

    Attributes:
        file_column: the name of the column of files.
        files: the file of each row.
        columns: the cells of the other columns, by name.
        rows: the number of each row in the table. The line of names is row 1.
        separator: what separates the cells.
    """

    file_column: str
    files: list[str]
    columns: dict[str, list[str]]
    rows: list[int]
    separator: str


def read_text(path: Path, declared: Collection[str] = ()) -> TableText:
    """Read a table as it is written.

    Cells are separated by commas, semicolons, tabs or `|`. The text is UTF-8, or UTF-16 that says so in its first
    bytes. A first line `sep=;` is skipped, as are empty rows, columns without name and cells, a first column without
    name that counts the rows, and columns that hold the index of a data frame, see `is_index`.

    A column of files has one of the names in `FILE_COLUMNS`, or else cells of which most end as image files do. If
    several columns may be that of files, it is the only one whose cells end as image files do. If none do, it is the
    only one whose name says that it holds files.

    Args:
        path: the table.
        declared: names of columns that are kept even if they look like an index.

    Raises:
        ValueError: a table that is missing, in another form, or has no column of files or several, a column twice, a
            row of another length, or a file with two different rows.
    """
    lines, separator = _lines(path)
    if len(lines) < 2:
        raise ValueError(
            f"{path}: expected a line of names and a row for each image, got {in_words(len(lines), 'line', 'lines')}"
        )
    (_, head), body = lines[0], lines[1:]
    width = len(head)
    for number, line in body:
        if len(line) != width and width == 1:
            raise ValueError(
                f"{path}: row {lines[0][0]}: expected a line of names such as file{separator}kind, got {head[0]!r:.60}"
            )
        if len(line) != width:
            raise ValueError(f"{path}: row {number}: expected {width} cells, got {len(line)}")
    cells = {place: [line[place].strip() for _, line in body] for place in range(width)}
    kept = [place for place in range(width) if head[place] or not _nothing(cells[place], place)]
    kept = [place for place in kept if head[place] in declared or not is_index(head[place])]
    names = [head[place] or "(no name)" for place in kept]
    here = _file_columns([place for place in kept if head[place]], head, cells, declared)
    if len(here) > 1:
        several = " and ".join(head[place] for place in here)
        raise ValueError(f"{path}: expected one column of files, got {several}; take one away, or rename it")
    if len(here) != 1 or len(kept) < 2:
        hint = "" if here else "; rename the column that names the images to file"
        hint = "; separate the cells of a row by commas" if width == 1 else hint
        hint = "; the first line names the columns" if any(map(has_image_name, names)) else hint
        raise ValueError(f"{path}: expected the columns file, and one an attribute, got {', '.join(names)}{hint}")
    nameless = next((place for place in kept if not head[place]), None)
    if nameless is not None:
        raise ValueError(f"{path}: row 1: expected a name for each column, got none for column {nameless + 1}")
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise ValueError(f"{path}: expected different columns, got {twice!r} twice")
    first: dict[str, int] = {}
    chosen = []
    for place, name in enumerate(cells[here[0]]):
        if name not in first:
            first[name] = place
            chosen.append(place)
        elif [body[place][1][other] for other in kept] != [body[first[name]][1][other] for other in kept]:
            raise ValueError(
                f"{path}: row {body[place][0]}, column {head[here[0]]}: {name!r} is there twice, also in row "
                f"{body[first[name]][0]}, with other values"
            )
    columns = {head[place]: [cells[place][row] for row in chosen] for place in kept if place != here[0]}
    files, rows = [cells[here[0]][row] for row in chosen], [body[row][0] for row in chosen]
    return TableText(head[here[0]], files, columns, rows, separator)


def is_index(name: str) -> bool:
    """Return whether pandas gave a column its name, as it does with the index of a data frame that was saved.

    >>> is_index("Unnamed: 0"), is_index("unnamed: 0.1"), is_index("unnamed")
    (True, True, False)
    """
    return _INDEX.fullmatch(name) is not None


def _file_columns(
    named: Sequence[int], head: Sequence[str], cells: Mapping[int, Sequence[str]], declared: Collection[str]
) -> list[int]:
    """Return the columns that are the likeliest to hold the files, of those with a name. At best it is one."""
    here = [place for place in named if _plain(head[place]) in FILE_COLUMNS]
    others = [place for place in named if head[place] not in declared and "mask" not in head[place].casefold()]
    if not here and not any(map(has_image_name, head)):  # or there is no line of names
        return [place for place in others if _names_images(cells[place])]
    ended = [place for place in here if _names_images(cells[place])]
    said = [place for place in here if _plain(head[place]) in FILE_WORDS]
    return here if len(here) < 2 else ended or said or here


def _names_images(cells: Sequence[str]) -> bool:
    """Return whether most cells end as image files do."""
    return 2 * sum(map(has_image_name, cells)) > len(cells)


def _lines(path: Path) -> tuple[list[tuple[int, list[str]]], str]:
    """Return the rows that hold anything, with their numbers; and what separates their cells."""
    try:
        data = path.read_bytes()
        said = next((words for start, words in _OTHERS.items() if re.match(start, data)), None)
        if said is not None:
            raise ValueError(f"{path}: expected a table as text, got {said}")
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: this table cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected a table as text in UTF-8 ({error}); save it as CSV in UTF-8") from error
    if "\0" in text:
        raise ValueError(f"{path}: holds zero bytes, as UTF-16 without its first mark does; save it as CSV in UTF-8")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first, _, rest = text.partition("\n")
    skipped = first.strip().strip('"').casefold().startswith("sep=")
    text = rest if skipped else text
    separator = _separator(text.partition("\n")[0])
    read: list[list[str]] = []
    cells = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        read.extend(cells)
    except csv.Error as error:
        raise ValueError(
            f"{path}: row {len(read) + 1 + skipped}: expected cells separated by {separator!r} ({error}); look for a "
            "quote that is not closed"
        ) from error
    lines = [(number, line) for number, line in enumerate(read, start=1 + skipped) if any(map(str.strip, line))]
    if lines:
        lines[0] = (lines[0][0], [name.strip() for name in lines[0][1]])
    return lines, separator


def _separator(head: str) -> str:
    """Return the separator by which most names are in a line of names, if possible one of the column of files."""
    parts = {each: next(csv.reader([head], delimiter=each, skipinitialspace=True), []) for each in SEPARATORS}
    good = [each for each in SEPARATORS if any(_plain(name) in FILE_COLUMNS for name in parts[each])]
    return max(good or SEPARATORS, key=lambda each: len(parts[each]))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in " _-")


def _nothing(cells: list[str], place: int) -> bool:
    """Return whether a column without a name says nothing: it is empty, or is the first and counts the rows."""
    return not any(cells) or (place == 0 and _counts(cells))


def _counts(cells: list[str]) -> bool:
    return any(cells == [str(row + start) for row in range(len(cells))] for start in (0, 1))
