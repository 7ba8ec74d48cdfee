"""Labels of several attributes as rows: one number an attribute, `(B, A)`, NaN where a value is not known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelvae.attributes.choices import Category
from labelvae.attributes.kind import Kind
from labelvae.attributes.kinds import kind_of
from labelvae.inputs.conversions import described, imported, plain_tensor
from labelvae.inputs.labels import is_missing
from labelvae.inputs.peeking import readable
from labelvae.inputs.tensors import moved


class Attributes(Mapping[str, Kind]):
    """The named attributes that a label is made of, in order.

    A label is then a *row* of values, one an attribute. Rows `(B, A)` are floats: the index of a category, 0 or 1, or
    a number in its own unit, and NaN where a value is not known. Networks see *weights* `(B, L)`: one-hot, plus or
    minus 1, a scaled number, or the sine and cosine of an angle.

    Args:
        kinds: name to `Category`, `Binary` or `Continuous`.

    Raises:
        ValueError: no attribute, a name that is no plain text, or another kind.

    >>> from labelvae.attributes.continuous import Continuous
    >>> labels = Attributes({"object": Category(3), "angle": Continuous(0, 360, "degrees", periodic=True)})
    >>> labels.rows({"object": 2, "angle": [0, 90]})
    tensor([[ 2.,  0.],
            [ 2., 90.]])
    >>> labels.weights(labels.rows({"object": 2, "angle": 0}))
    tensor([[0., 0., 1., 0., 1.]])
    """

    def __init__(self, kinds: Mapping[str, Any]) -> None:
        if isinstance(kinds, Attributes):
            kinds = dict(kinds)
        if not isinstance(kinds, Mapping) or not kinds:
            got = "none" if isinstance(kinds, Mapping) else described(kinds)
            raise ValueError(f"attributes: expected a dict such as {{'angle': Continuous(0, 360)}}, got {got}")
        for name in kinds:
            if not isinstance(name, str) or not name.strip() or not name.isprintable() or set(name) & set("=,/"):
                raise ValueError(f"attributes: expected names of plain text without '=', ',' or '/', got {name!r}")
        self._kinds = {name: kind_of(name, kind) for name, kind in kinds.items()}

    def __getitem__(self, name: str) -> Kind:
        return self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def __eq__(self, other: object) -> bool:
        """Return whether the same attributes come in the same order, which the columns of rows follow."""
        return isinstance(other, Mapping) and list(self.items()) == list(other.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Attributes({self._kinds})"

    @property
    def entries(self) -> int:
        """L, numbers in a row of weights."""
        return sum(kind.entries for kind in self.values())

    @property
    def outputs(self) -> int:
        """Numbers that a classifier gives for all attributes."""
        return sum(kind.outputs for kind in self.values())

    @property
    def one_class(self) -> Category | None:
        """The category, where a label is one class and nothing else."""
        only = next(iter(self.values()))
        return only if len(self) == 1 and isinstance(only, Category) else None

    def plain(self) -> dict[str, Any]:
        """Return the attributes as plain values, for JSON. `Attributes(plain)` reads them."""
        return {name: kind.plain() for name, kind in self.items()}

    def rows(self, given: Any, batch: int | None = None, name: str = "labels") -> Tensor:
        """Return labels in any form that people have them as rows `(B, A)`.

        Args:
            given: a dict or a table (a data frame) from names to values, one for all images or B; a list of B dicts; or
                rows `(B, A)` themselves, or one row for all images; for one attribute, also its values. Values of a
                category are indices or names. An attribute that is left out, None and NaN are unknown.
            batch: B; None counts them.
            name: of the argument, for the error.

        Raises:
            ValueError: an attribute that there is not, a value of another kind or range, or another number of them.
        """
        if isinstance(given, list | tuple) and given and all(isinstance(each, Mapping) for each in given):
            names = dict.fromkeys(key for row in given for key in row)
            given = {each: [row.get(each) for row in given] for each in names}
        if isinstance(given, Mapping) or (hasattr(given, "columns") and hasattr(given, "__getitem__")):
            return self._from_columns(given, batch, name)
        if isinstance(given, Tensor):
            return self._from_tensor(given, batch, name)
        given = imported(given)
        if len(self) == 1:
            return self._from_columns({next(iter(self)): given}, batch, name)
        if isinstance(given, np.ndarray) or (isinstance(given, Sequence) and not isinstance(given, str | bytes)):
            try:
                array = np.asarray(given, dtype=np.float32)
            except (TypeError, ValueError):
                raise ValueError(f"{name}: {self._wanted()}, got {described(given)} of other values") from None
            return self._from_tensor(torch.from_numpy(array), batch, name)
        raise ValueError(f"{name}: {self._wanted()}, got {described(given)}")

    def _wanted(self) -> str:
        shown = ", ".join(f"{each!r}: {kind.expected}" for each, kind in list(self.items())[:4])
        shown += ", ..." if len(self) > 4 else ""
        return f"expected a dict such as {{{shown}}}, or rows (B, {len(self)})"

    def _from_tensor(self, given: Tensor, batch: int | None, name: str) -> Tensor:
        rows = plain_tensor(given)
        if rows.is_complex() or rows.dtype == torch.bool or rows.ndim == 0:
            raise ValueError(f"{name}: {self._wanted()}, got {described(given)}")
        if rows.ndim == 1:
            rows = rows[:, None] if len(self) == 1 else rows[None]
        if batch is not None and rows.ndim == 2 and rows.shape[0] != batch and rows.shape[0] == 1:
            rows = rows.repeat(batch, 1)
        if rows.ndim != 2 or rows.shape[1] != len(self) or (batch is not None and rows.shape[0] != batch):
            expected = f"({'B' if batch is None else batch}, {len(self)})"
            raise ValueError(
                f"{name}: expected a row of {', '.join(self)} an image, shape {expected}, got {tuple(given.shape)}"
            )
        rows = rows.float()
        if readable(rows):
            self._check(rows, name)
        return rows

    def _check(self, rows: Tensor, name: str) -> None:
        for (each, kind), column in zip(self.items(), rows.unbind(dim=1), strict=True):
            wrong = ~(kind.fits(column) | column.isnan())
            if bool(wrong.any()):
                place = int(wrong.nonzero()[0])
                raise ValueError(
                    f"{name}: {each}: expected {kind.expected}, got {float(column[place]):g} in row {place}"
                )

    def _from_columns(self, given: Any, batch: int | None, name: str) -> Tensor:
        there = list(given if isinstance(given, Mapping) else given.columns)
        unknown = [each for each in there if each not in self]
        if unknown or not there:
            what = repr(unknown[0]) if unknown else "none"
            raise ValueError(f"{name}: expected attributes among {', '.join(self)}, got {what}")
        columns = {each: _column(given[each], f"{name}: {each}") for each in there}
        counts = {each: len(column) for each, column in columns.items() if column is not None and len(column) != 1}
        count = batch if batch is not None else max(counts.values(), default=1)
        wrong = next((each for each, found in counts.items() if found != count), None)
        if wrong is not None:
            raise ValueError(f"{name}: {wrong}: expected one value, or {count}, one an image, got {counts[wrong]}")
        rows = torch.full((count, len(self)), math.nan, device="cpu")
        for place, (each, kind) in enumerate(self.items()):
            if each in columns:
                rows[:, place] = torch.tensor(
                    [_number(kind, value, f"{name}: {each}", row) for row, value in enumerate(columns[each])],
                    device="cpu",
                )
        return rows

    def known(self, rows: Tensor, name: str = "labels") -> Tensor:
        """Return rows, of which each value is known.

        Raises:
            ValueError: one that is not.
        """
        if readable(rows):
            for each, column in zip(self, rows.unbind(dim=1), strict=True):
                if bool(column.isnan().any()):
                    place = int(column.isnan().nonzero()[0])
                    raise ValueError(f"{name}: {each}: expected {self[each].expected}, got none in row {place}")
        return rows

    def split(self, weights: Tensor) -> dict[str, Tensor]:
        """Return the part of weights `(B, L)` of each attribute."""
        parts = weights.split([kind.entries for kind in self.values()], dim=1)
        return dict(zip(self, parts, strict=True))

    def heads(self, outputs: Tensor) -> dict[str, Tensor]:
        """Return the part of a classifier's outputs of each attribute."""
        return dict(zip(self, outputs.split([kind.outputs for kind in self.values()], dim=1), strict=True))

    def weights(self, rows: Tensor) -> Tensor:
        """Return rows `(B, A)` as weights `(B, L)`, as networks see them. An unknown value lies in the middle."""
        columns = rows.unbind(dim=1)
        parts = [kind.weights(column) for kind, column in zip(self.values(), columns, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def decoded(self, weights: Tensor) -> Tensor:
        """Return the rows `(B, A)` that weights `(B, L)` are nearest to."""
        return torch.stack([self[name].values(part) for name, part in self.split(weights).items()], dim=1)

    def table(self, rows: Tensor) -> dict[str, Tensor]:
        """Return rows as columns `(B,)` by name; those of categories and of yes or no as integers, if all are known."""
        columns = dict(zip(self, rows.unbind(dim=1), strict=True))
        whole = {n: not hasattr(self[n], "unit") and not bool(column.isnan().any()) for n, column in columns.items()}
        return {name: column.long() if whole[name] else column for name, column in columns.items()}

    def examples(self, count: int) -> Tensor:
        """Return rows `(count, A)` that images may well have: choices in turn, numbers in the middle."""
        return torch.stack([kind.examples(count) for kind in self.values()], dim=1)

    def text(self, row: Sequence[float] | Tensor) -> str:
        """Return one row as people read it: "object=3, angle=90 degrees"."""
        values = zip(self.items(), row, strict=True)
        return ", ".join(f"{name}={'?' if math.isnan(v) else kind.text(float(v))}" for (name, kind), v in values)

    def readings(self, outputs: Tensor) -> Tensor:
        """Return the most likely rows `(B, A)` under a classifier's outputs."""
        return torch.stack([self[name].reading(head) for name, head in self.heads(outputs).items()], dim=1)

    def nll(self, outputs: Tensor, rows: Tensor) -> dict[str, Tensor]:
        """Return the negative log-likelihood of rows under a classifier's outputs, by name, `(B,)`, in nats.

        That of an unknown value is 0. No value is read on the host.
        """
        found = {}
        for (name, head), column in zip(self.heads(outputs).items(), rows.unbind(dim=1), strict=True):
            unknown = column.isnan()
            nll = self[name].nll(head, torch.where(unknown, self._somewhere(name), column))
            found[name] = torch.where(unknown, torch.zeros_like(nll), nll)
        return found

    def _somewhere(self, name: str) -> float:
        return float(getattr(self[name], "low", 0.0))


def asked_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Draw other labels to ask for: some attributes, or all, take the value of another image of the batch.

    Each attribute of each image changes with probability 1/2, at least one of an image; each attribute is shuffled by
    itself, so that attributes that travel together in the data do not in what is asked. An unknown value is not asked.

    Args:
        rows: `(B, A)`.

    Returns:
        The asked rows `(B, A)`, and which values were drawn, `(B, A)`.
    """
    count = rows.shape[1]
    order = torch.rand(rows.shape, device=rows.device).argsort(dim=0)
    drawn = rows.gather(0, order)
    one = torch.rand(rows.shape, device=rows.device).argsort(dim=1) == 0
    changed = (one | (torch.rand(rows.shape, device=rows.device) < 0.5)) if count > 1 else torch.ones_like(one)
    changed = changed & ~drawn.isnan()
    return torch.where(changed, drawn, rows), changed


def _column(values: Any, name: str) -> list[Any]:
    """Return the values of one attribute as a list; a single one alone."""
    values = imported(values)
    if isinstance(values, Tensor):
        values = moved(values.detach(), "cpu", name)
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        return [values]
    return [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values]


def _number(kind: Kind, value: Any, name: str, row: int) -> float:
    if is_missing(value):
        return math.nan
    number = kind.number(value)
    if number is None:
        raise ValueError(f"{name}: expected {kind.expected}, got {described(value)} in row {row}")
    return number
