"""The terms of training steps, kept on their device and read rarely: each reading makes the host wait."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

MOST_UNREAD = 1000
"""Largest number of steps that are kept unread."""


@dataclass
class TermWindow:
    """Keep the scalars of each step, and read many steps at a time.

    Attributes:
        names: the names of the terms, in the order of the values.
        unread: the step and the values of each step that was not read yet.
        rows: the values of each step that was read since the last `take`.
        sums: the sum of each term over the steps that were read since `start_epoch`.
        count: the number of those steps.
    """

    names: list[str] = field(default_factory=list)
    unread: list[tuple[int, Tensor]] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)
    count: int = 0

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Keep the terms of a step. Nothing is read."""
        self.names = list(terms)
        self.unread.append((step, torch.stack([*terms.values()])))

    def read(self) -> tuple[int, str] | None:
        """Read the unread steps. The host waits once.

        Returns:
            The step and the name of the first term that is not finite; None if all are finite.
        """
        if not self.unread:
            return None
        steps, values = zip(*self.unread, strict=True)
        self.unread = []
        rows: list[list[float]] = torch.stack(values).tolist()
        for step, row in zip(steps, rows, strict=True):
            wrong = [name for name, value in zip(self.names, row, strict=True) if not math.isfinite(value)]
            if wrong:
                return step, next((name for name in wrong if name != "total"), wrong[0])
        self.rows += rows
        self.sums = [sum(column) for column in zip(*([self.sums] if self.sums else []), *rows, strict=True)]
        self.count += len(rows)
        return None

    def take(self) -> list[float]:
        """Return the mean of each term over the steps read since the last call, and forget those steps."""
        means = [sum(column) / len(self.rows) for column in zip(*self.rows, strict=True)]
        self.rows = []
        return means

    def epoch_means(self) -> list[float]:
        """Return the mean of each term over the steps read since `start_epoch`; empty if there are none."""
        return [value / self.count for value in self.sums] if self.count else []

    def start_epoch(self) -> None:
        """Begin the means of another epoch."""
        self.sums, self.count = [], 0

    def __len__(self) -> int:
        return len(self.rows) + len(self.unread)
