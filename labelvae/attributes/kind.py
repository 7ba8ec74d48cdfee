"""What every kind of attribute says of itself.

A kind says how its values enter a network (*weights*), what a classifier's head says of it (*outputs*), and how both
are read. Values are floats `(B,)`: an index, 0 or 1, or a number in its own unit. NaN is a value that is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor


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

    def examples(self, count: int) -> Tensor:
        """Return values `(count,)` that images may well have: of choices each in turn, of a number its middle."""
        raise NotImplementedError

    def text(self, value: float) -> str:
        """Return a value as people read it."""
        raise NotImplementedError

    def plain(self) -> dict[str, Any]:
        """Return the kind as plain values, for JSON; `kind_of` reads them."""
        raise NotImplementedError
