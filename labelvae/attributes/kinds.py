"""The kinds of attributes: one of several names, yes or no, and a number, which may go round like an angle.

A kind says how its values enter a network (*weights*), what a classifier's head says of it (*outputs*), and how both are
read. Values are floats `(B,)`: an index, 0 or 1, or a number in its own unit. NaN is a value that is not known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from labelvae.attributes.likelihoods import binary_nll, category_nll, normal_nll, von_mises_nll
from labelvae.inputs.checks import LARGEST_SIZE, check_flag, check_number, plain_number
from labelvae.inputs.class_names import check_names, label_of
from labelvae.inputs.conversions import described

YES, NO = ("yes", "true", "y", "1", "on"), ("no", "false", "n", "0", "off")


@dataclass(frozen=True)
class Kind:
    """What all kinds share.

    Attributes:
        entries: numbers in a row of weights.
        outputs: numbers that a classifier's head gives.
    """

    word: ClassVar[str] = "kind"

    @property
    def entries(self) -> int:
        """Numbers by which the attribute enters a network."""
        return 1

    @property
    def outputs(self) -> int:
        """Numbers that a classifier's head gives."""
        return 1

    @property
    def expected(self) -> str:
        """What values are expected, in words."""
        raise NotImplementedError

    def weights(self, values: Tensor) -> Tensor:
        """Return values `(B,)` as they enter a network, `(B, entries)`; an unknown value lies in the middle."""
        raise NotImplementedError

    def values(self, weights: Tensor) -> Tensor:
        """Return the values `(B,)` that weights `(B, entries)` are nearest to."""
        raise NotImplementedError

    def reading(self, outputs: Tensor) -> Tensor:
        """Return the most likely values `(B,)` under a head's outputs `(B, outputs)`."""
        raise NotImplementedError

    def nll(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Return the negative log-likelihood of known values `(B,)` under a head's outputs, `(B,)`, in nats."""
        raise NotImplementedError

    def distance(self, values: Tensor, others: Tensor) -> Tensor:
        """Return how far values `(B,)` are from others: 0 or 1, or a number in the attribute's unit."""
        return (values != others).float()

    def number(self, value: Any) -> float | None:
        """Return one value as a user writes it as a number; None where it is no value of this kind."""
        raise NotImplementedError

    def fits(self, values: Tensor) -> Tensor:
        """Return which of known values `(B,)` may be."""
        raise NotImplementedError

    def text(self, value: float) -> str:
        """Return a value as people read it."""
        raise NotImplementedError

    def plain(self) -> dict[str, Any]:
        """Return the kind as plain values, for JSON; `kind_of` reads them."""
        raise NotImplementedError


@dataclass(frozen=True, init=False)
class Category(Kind):
    """One of several classes.

    Args:
        names: the name of each class, or how many there are, at least 2.

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
        return f"one of {shown} (or an index from 0 to {len(self.names) - 1})"

    def weights(self, values: Tensor) -> Tensor:
        """One-hot rows; an unknown class has equal weights."""
        hot = (values[:, None] == torch.arange(self.entries, device=values.device)).float()
        return torch.where(values.isnan()[:, None], torch.full_like(hot, 1.0 / self.entries), hot)

    def values(self, weights: Tensor) -> Tensor:
        """The heaviest class."""
        return weights.argmax(dim=1).float()

    def reading(self, outputs: Tensor) -> Tensor:
        """The most likely class."""
        return outputs.argmax(dim=1).float()

    def nll(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Cross-entropy."""
        return category_nll(outputs, values)

    def number(self, value: Any) -> float | None:
        """The index that a name or a whole number means."""
        value = plain_number(value)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, str):
            with suppress(ValueError):
                return float(label_of(value, list(self.names)))
            return None
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value == round(value)
        return float(value) if whole and 0 <= value < self.entries else None

    def fits(self, values: Tensor) -> Tensor:
        """Whole numbers below the number of classes."""
        return (values == values.round()) & (values >= 0) & (values < self.entries)

    def text(self, value: float) -> str:
        """The name."""
        return self.names[round(value)]

    def plain(self) -> dict[str, Any]:
        """Its names."""
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
        """1 for yes, -1 for no, 0 for unknown."""
        return torch.nan_to_num(2.0 * values - 1.0, nan=0.0)[:, None]

    def values(self, weights: Tensor) -> Tensor:
        """1 above the middle, else 0."""
        return (weights[:, 0] > 0).float()

    def reading(self, outputs: Tensor) -> Tensor:
        """The likelier of both."""
        return (outputs[:, 0] > 0).float()

    def nll(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Binary cross-entropy."""
        return binary_nll(outputs, values)

    def number(self, value: Any) -> float | None:
        """1 for yes, 0 for no."""
        value = plain_number(value)
        if isinstance(value, str):
            word = value.strip().casefold()
            return 1.0 if word in YES else 0.0 if word in NO else None
        return float(value) if isinstance(value, int | float) and value in (0, 1) else None

    def fits(self, values: Tensor) -> Tensor:
        """0 and 1."""
        return (values == 0) | (values == 1)

    def text(self, value: float) -> str:
        """Yes or no."""
        return "yes" if value else "no"

    def plain(self) -> dict[str, Any]:
        """Its kind."""
        return {"kind": self.word}


@dataclass(frozen=True)
class Continuous(Kind):
    """A number.

    It enters a network scaled to [-1, 1]. A periodic one enters as sine and cosine, so that 359 and 1 degrees are
    neighbours, and may be given as any number: 361 degrees are 1 degree.

    Args:
        low: smallest value.
        high: largest value; of a periodic one, where it begins again.
        unit: for people, such as "degrees".
        periodic: whether `high` is `low` again.

    Raises:
        ValueError: bounds that are not finite numbers, or `high` not above `low`.

    >>> Continuous(0, 10).weights(torch.tensor([0.0, 5.0, 10.0])).flatten()
    tensor([-1.,  0.,  1.])
    >>> Continuous(0, 360, "degrees", periodic=True).distance(torch.tensor([359.0]), torch.tensor([1.0]))
    tensor([2.])
    """

    low: float
    high: float
    unit: str = ""
    periodic: bool = False
    word: ClassVar[str] = "continuous"

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", float(check_number("low", self.low)))
        object.__setattr__(self, "high", float(check_number("high", self.high)))
        object.__setattr__(self, "periodic", check_flag("periodic", self.periodic))
        if not isinstance(self.unit, str):
            raise ValueError(f"unit: expected text such as 'degrees', got {described(self.unit)}")
        if not self.span > 1e-6 * max(abs(self.low), abs(self.high)):
            raise ValueError(f"high: expected a number above low={self.low:g}, got {self.high:g}")

    @property
    def span(self) -> float:
        """From the smallest value to the largest; of a periodic one, a whole turn."""
        return self.high - self.low

    @property
    def entries(self) -> int:
        """One, or sine and cosine."""
        return 2 if self.periodic else 1

    @property
    def outputs(self) -> int:
        """Mean and log scale; of a periodic one, the natural parameters of a von Mises distribution."""
        return 2

    @property
    def expected(self) -> str:
        """The range, or any number."""
        unit = f" {self.unit}" if self.unit else ""
        if self.periodic:
            return f"finite numbers, a turn from {self.low:g} to {self.high:g}{unit}"
        return f"numbers from {self.low:g} to {self.high:g}{unit}"

    def scaled(self, values: Tensor) -> Tensor:
        """Values as [-1, 1]; of a periodic one, as radians from `low` on."""
        share = (values - self.low) / self.span
        return share * (2.0 * math.pi) if self.periodic else 2.0 * share - 1.0

    def unscaled(self, scaled: Tensor) -> Tensor:
        """The inverse of `scaled`; whole turns are taken off."""
        if not self.periodic:
            return self.low + self.span * 0.5 * (scaled + 1.0)
        return self.low + self.span * torch.remainder(scaled / (2.0 * math.pi), 1.0)

    def weights(self, values: Tensor) -> Tensor:
        """The scaled number, or its sine and cosine; an unknown one is 0, or both are."""
        scaled = self.scaled(values)
        parts = [torch.sin(scaled), torch.cos(scaled)] if self.periodic else [scaled]
        return torch.nan_to_num(torch.stack(parts, dim=1), nan=0.0)

    def values(self, weights: Tensor) -> Tensor:
        """The number, in its unit."""
        return self.unscaled(torch.atan2(weights[:, 0], weights[:, 1]) if self.periodic else weights[:, 0])

    def reading(self, outputs: Tensor) -> Tensor:
        """The mean of the head's distribution, held within the range."""
        if self.periodic:
            return self.unscaled(torch.atan2(outputs[:, 1], outputs[:, 0]))
        return self.unscaled(outputs[:, 0].clamp(-1.0, 1.0))

    def nll(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Normal, of the scaled number; of a periodic one, von Mises, of the angle in radians."""
        return (von_mises_nll if self.periodic else normal_nll)(outputs, self.scaled(values))

    def distance(self, values: Tensor, others: Tensor) -> Tensor:
        """The absolute difference; of a periodic one, the shorter way round."""
        difference = (values - others).abs()
        if not self.periodic:
            return difference
        difference = torch.remainder(difference, self.span)
        return torch.minimum(difference, self.span - difference)

    def number(self, value: Any) -> float | None:
        """A finite number within the range; text that spells one too."""
        value = plain_number(value)
        if isinstance(value, str):
            with suppress(ValueError):
                value = float(value)
        if not isinstance(value, int | float | np.number) or isinstance(value, bool) or not math.isfinite(value):
            return None
        return float(value) if self.periodic or self._inside(float(value)) else None

    def _inside(self, value: float) -> bool:
        rounding = 1e-6 * self.span
        return self.low - rounding <= value <= self.high + rounding

    def fits(self, values: Tensor) -> Tensor:
        """Numbers within the range, or any finite ones where it goes round."""
        rounding = 1e-6 * max(self.span, abs(self.low), abs(self.high))
        inside = (values >= self.low - rounding) & (values <= self.high + rounding)
        return values.isfinite() if self.periodic else inside

    def text(self, value: float) -> str:
        """The number and its unit."""
        return f"{value:.4g} {self.unit}".strip()

    def plain(self) -> dict[str, Any]:
        """Its arguments."""
        return {
            "kind": self.word,
            "low": self.low,
            "high": self.high,
            "unit": self.unit,
            "periodic": self.periodic,
        }


KINDS: dict[str, type[Kind]] = {kind.word: kind for kind in (Category, Binary, Continuous)}


def kind_of(name: str, given: Any) -> Kind:
    """Return a kind that is given as one or as plain values.

    Raises:
        ValueError: anything else; a kind of that name that cannot be made.

    >>> kind_of("angle", {"kind": "continuous", "low": 0, "high": 360, "periodic": True}).entries
    2
    """
    if isinstance(given, Kind) and type(given) is not Kind:
        return given
    wanted = "Category(...), Binary() or Continuous(low, high)"
    if not isinstance(given, Mapping) or given.get("kind") not in KINDS:
        raise ValueError(f"attributes: {name}: expected {wanted}, got {described(given)}")
    try:
        return KINDS[given["kind"]](**{key: value for key, value in given.items() if key != "kind"})
    except (TypeError, ValueError) as error:
        raise ValueError(f"attributes: {name}: {error}") from error
