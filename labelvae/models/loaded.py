"""Weights and values that are there: a tensor on the meta device has a shape, and no values."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def check_loaded(name: str, network: Any) -> None:
    """Raise `ValueError` for a network on the meta device, which has no weights."""
    if network.device.type == "meta":
        raise ValueError(f"{name}: expected weights, got a network on the meta device, which has none; load it first")


def check_both(network: nn.Module, name: str, values: Tensor) -> None:
    """Make sure that the weights of a network and what it is given are both there.

    If both are on the meta device, the network computes shapes.

    Args:
        network: the network.
        name: the name of the argument in errors.
        values: what the network is given.

    Raises:
        ValueError: one of them is on the meta device, and the other is not.
    """
    weight = next(network.parameters(), None)
    if weight is None or weight.device.type == values.device.type:
        return
    if weight.device.type == "meta":
        raise ValueError("model: expected weights, got a network on the meta device, which has none; load it first")
    if values.device.type == "meta":
        raise ValueError(f"{name}: expected values, got a tensor of the meta device, which has none")
