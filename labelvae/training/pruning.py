"""Pruning of weights beside a frozen guide."""

from __future__ import annotations

from collections.abc import Iterable

from lightning.pytorch import Callback
from torch import nn


def check_pruning(callbacks: Iterable[Callback], frozen: nn.Module | None) -> None:
    """Make sure that no callback prunes the frozen guide.

    Args:
        callbacks: the callbacks of a trainer.
        frozen: the guides; None if there are none.

    Raises:
        ValueError: a `ModelPruning` of the guide's weights.
    """
    parts = set() if frozen is None else set(frozen.modules())
    for callback in callbacks:
        if any(part in parts for part, _ in getattr(callback, "_parameters_to_prune", None) or ()):
            raise ValueError(
                "callbacks: ModelPruning would prune the frozen guide as well; pass it "
                "parameters_to_prune=[(layer, 'weight'), ...] with layers of the task's vae"
            )
