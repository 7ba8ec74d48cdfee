"""Attributes that are numbers, some of which go round like an angle."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from labelvae.attributes.kind import Kind
from labelvae.attributes.likelihoods import normal_nll, von_mises_nll
from labelvae.inputs.checks import check_flag, check_number, is_finite, plain_number
from labelvae.inputs.conversions import described


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
        """Return values scaled to [-1, 1]; of a periodic number, the angle in radians from `low` on."""
        share = (values - self.low) / self.span
        return share * (2.0 * math.pi) if self.periodic else 2.0 * share - 1.0

    def unscaled(self, scaled: Tensor) -> Tensor:
        """Invert `scaled`; whole turns are taken off."""
        if not self.periodic:
            return self.low + self.span * 0.5 * (scaled + 1.0)
        return self.low + self.span * torch.remainder(scaled / (2.0 * math.pi), 1.0)

    def weights(self, values: Tensor) -> Tensor:
        """Return the scaled number, or its sine and cosine; all are 0 for an unknown one."""
        scaled = self.scaled(values)
        parts = [torch.sin(scaled), torch.cos(scaled)] if self.periodic else [scaled]
        return torch.nan_to_num(torch.stack(parts, dim=1), nan=0.0)

    def values(self, weights: Tensor) -> Tensor:
        """Return the number, in its unit."""
        return self.unscaled(torch.atan2(weights[:, 0], weights[:, 1]) if self.periodic else weights[:, 0])

    def reading(self, outputs: Tensor) -> Tensor:
        """Return the mean of the head's distribution, held within the range."""
        if self.periodic:
            return self.unscaled(torch.atan2(outputs[:, 1], outputs[:, 0]))
        return self.unscaled(outputs[:, 0].clamp(-1.0, 1.0))

    def nll(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Return that of a normal distribution of the scaled number; if periodic, of a von Mises one of the angle."""
        return (von_mises_nll if self.periodic else normal_nll)(outputs, self.scaled(values))

    def difference(self, values: Tensor, others: Tensor) -> Tensor:
        """Return values `(B,)` less others; of a periodic one, the shorter way round."""
        difference = values - others
        if not self.periodic:
            return difference
        return torch.remainder(difference + 0.5 * self.span, self.span) - 0.5 * self.span

    def distance(self, values: Tensor, others: Tensor) -> Tensor:
        """Return the absolute difference; of a periodic one, the shorter way round."""
        return self.difference(values, others).abs()

    def number(self, value: Any) -> float | None:
        """Return a finite number within the range, also from text that spells one."""
        value = plain_number(value)
        if isinstance(value, str):
            with suppress(ValueError):
                value = float(value)
        if not isinstance(value, int | float | np.number) or isinstance(value, bool) or not is_finite(value):
            return None
        return float(value) if self.periodic or self._inside(float(value)) else None

    def _inside(self, value: float) -> bool:
        rounding = 1e-6 * self.span
        return self.low - rounding <= value <= self.high + rounding

    def fits(self, values: Tensor) -> Tensor:
        """Return which values are in the range; of a periodic number, which are finite."""
        rounding = 1e-6 * max(self.span, abs(self.low), abs(self.high))
        inside = (values >= self.low - rounding) & (values <= self.high + rounding)
        return values.isfinite() if self.periodic else inside

    def examples(self, count: int) -> Tensor:
        """Return the middle of the range."""
        return torch.full((count,), 0.5 * (self.low + self.high))

    def text(self, value: float) -> str:
        """Return the number, rounded to about a thousandth of the range, and its unit."""
        return f"{self.rounded(value):.15g} {self.unit}".strip()

    def rounded(self, value: float) -> float:
        """Round a number to about a thousandth of the range, without leaving the range.

        >>> Continuous(0, 360).rounded(123.18395)
        123.2
        """
        places = max(0, 3 - math.floor(math.log10(self.span)))
        near = round(value, places) + 0.0  # not -0.0
        return near if self.periodic else min(max(near, self.low), self.high)

    def plain(self) -> dict[str, Any]:
        """Return the kind and its arguments as plain values."""
        return {
            "kind": self.word,
            "low": self.low,
            "high": self.high,
            "unit": self.unit,
            "periodic": self.periodic,
        }
