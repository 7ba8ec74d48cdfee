"""Attributes that are chosen: one of several names, and yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from labelvae.attributes.kind import Kind
from labelvae.attributes.likelihoods import binary_nll, category_nll
from labelvae.inputs.checks import LARGEST_SIZE, plain_number
from labelvae.inputs.class_names import check_names, label_of

YES, NO = ("yes", "true", "y", "1", "on"), ("no", "false", "n", "0", "off")


@dataclass(frozen=True, init=False)
class Category(Kind):
    """One of several classes.

    Args:
        names: the name of each class, or how many there are, at least 2. A number means the class of that index; but
            if the names themselves are whole numbers, such as 1 to 5 stars, the class of that name.

    Raises:
        ValueError: fewer than 2 classes, or a name that is there twice.

    >>> Category(["cat", "dog"]).weights(torch.tensor([1.0, float("nan")]))
    tensor([[0.0000, 1.0000],
            [0.5000, 0.5000]])
    """

    names: tuple[str, ...]
    word: ClassVar[str] = "category"

    def __init__(self, names: Sequence[str] | int) -> None:
        count = plain_number(names)
        if isinstance(count, int) and not isinstance(count, bool):
            if not 2 <= count <= LARGEST_SIZE:
                raise ValueError(f"names: expected 2 to {LARGEST_SIZE:,} classes, got {count}")
            found = [str(index) for index in range(count)]
        else:
            found = check_names("names", names)  # type: ignore[arg-type]
            if not 2 <= len(found) <= LARGEST_SIZE:
                raise ValueError(f"names: expected at least 2 classes, got {found}")
        object.__setattr__(self, "names", tuple(found))

    @property
    def entries(self) -> int:
        """As many as there are classes."""
        return len(self.names)

    @property
    def outputs(self) -> int:
        """As many as there are classes."""
        return len(self.names)

    @property
    def expected(self) -> str:
        """The names, the first of many."""
        shown = ", ".join(self.names[:8]) + (", ..." if len(self.names) > 8 else "")
        return f"one of {shown}" + ("" if self.named_by_numbers else f" (or an index from 0 to {self.entries - 1})")

    def weights(self, values: Tensor) -> Tensor:
        """Return one-hot rows; an unknown class has equal weights."""
        hot = (values[:, None] == torch.arange(self.entries, device=values.device)).float()
        return torch.where(values.isnan()[:, None], torch.full_like(hot, 1.0 / self.entries), hot)

    def values(self, weights: Tensor) -> Tensor:
        """Return the class with the largest weight."""
        return weights.argmax(dim=1).float()

    def reading(self, outputs: Tensor) -> Tensor:
        """Return the most likely class."""
        return outputs.argmax(dim=1).float()

    def nll(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Return the cross-entropy, `(B,)`, in nats."""
        return category_nll(outputs, values)

    def number(self, value: Any) -> float | None:
        """Return the index that a name or a whole number means."""
        value = plain_number(value)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, str):
            with suppress(ValueError):
                return float(label_of(value, list(self.names)))
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or value != round(value):
            return None
        if self.named_by_numbers:
            return float(self.names.index(str(int(value)))) if str(int(value)) in self.names else None
        return float(value) if 0 <= value < self.entries else None

    @property
    def named_by_numbers(self) -> bool:
        """Whether the names are whole numbers, other than the indices in their order: a number then is a name."""
        numbers = [name for name in self.names if name.removeprefix("-").isdecimal()]
        return len(numbers) == self.entries and numbers != [str(index) for index in range(self.entries)]

    def fits(self, values: Tensor) -> Tensor:
        """Return which values are whole numbers below the number of classes."""
        return (values == values.round()) & (values >= 0) & (values < self.entries)

    def examples(self, count: int) -> Tensor:
        """Return each class in turn."""
        return torch.arange(count) % self.entries * 1.0

    def text(self, value: float) -> str:
        """Return the name."""
        return self.names[round(value)]

    def plain(self) -> dict[str, Any]:
        """Return the kind and its names as plain values."""
        return {"kind": self.word, "names": list(self.names)}


@dataclass(frozen=True)
class Binary(Kind):
    """Yes or no: True or False, 1 or 0, "yes" or "no"."""

    word: ClassVar[str] = "binary"

    @property
    def expected(self) -> str:
        """Both words."""
        return "True or False (also 1 or 0, yes or no)"

    def weights(self, values: Tensor) -> Tensor:
        """Return 1 for yes, -1 for no, 0 for unknown."""
        return torch.nan_to_num(2.0 * values - 1.0, nan=0.0)[:, None]

    def values(self, weights: Tensor) -> Tensor:
        """Return 1 above the middle, else 0."""
        return (weights[:, 0] > 0).float()

    def reading(self, outputs: Tensor) -> Tensor:
        """Return the likelier value, 1 or 0."""
        return (outputs[:, 0] > 0).float()

    def nll(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Return the binary cross-entropy, `(B,)`, in nats."""
        return binary_nll(outputs, values)

    def number(self, value: Any) -> float | None:
        """Return 1 for yes, 0 for no."""
        value = plain_number(value)
        if isinstance(value, str):
            word = value.strip().casefold()
            return 1.0 if word in YES else 0.0 if word in NO else None
        return float(value) if isinstance(value, int | float) and value in (0, 1) else None

    def fits(self, values: Tensor) -> Tensor:
        """Return which values are 0 or 1."""
        return (values == 0) | (values == 1)

    def examples(self, count: int) -> Tensor:
        """Return no and yes in turn."""
        return torch.arange(count) % 2 * 1.0

    def text(self, value: float) -> str:
        """Return "yes" or "no"."""
        return "yes" if value else "no"

    def plain(self) -> dict[str, Any]:
        """Return the kind as plain values."""
        return {"kind": self.word}
