"""Maps of a network that was not made here: which of its layers gives the map of each resolution."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelvae.inputs.tensors import ImageShape


@contextmanager
def maps_seen(
    network: nn.Module, names: set[str] | None = None
) -> Iterator[tuple[nn.Module, OrderedDict[str, Tensor]]]:
    """Yield a network whose layers are watched, and the maps `(B, C, h, w)` that they give, by name, in their order.

    Args:
        network: the caller's own copy; hooks are put into it.
        names: layers to watch; None watches all.
    """
    seen = OrderedDict[str, Tensor]()

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                seen.pop(name, None)
                seen[name] = output

        return look

    hooks = [
        part.register_forward_hook(watch(name))
        for name, part in network.named_modules()
        if name and (names is None or name in names) and not isinstance(part, torch.jit.ScriptModule)
    ]
    try:
        yield network, seen
    finally:
        for hook in hooks:
            hook.remove()


def octaves(maps: Mapping[str, Tensor], size: tuple[int, int], image_shape: ImageShape) -> list[tuple[str, int]]:
    """Choose a layer for each halving of the resolution, finest first: the last one of that resolution.

    A network without padding gives maps a little smaller than a half or a quarter; the nearest halving counts. One that
    leaves out a halving gives the next finer map there, or else the next coarser one. Maps of one pixel, which are
    pooled over the image, count for nothing.

    Args:
        maps: maps `(B, C, h, w)` by the name of their layer, in the order of the layers.
        size: `(H, W)` of the images that the network takes.
        image_shape: `(C, H, W)` of the images of the model, which can be halved so often.

    Returns:
        The layer's name and its channels for each halving; empty for a network without maps.
    """
    last: dict[int, tuple[str, int]] = {}
    for name, seen in maps.items():
        height, width = seen.shape[2:]
        halvings = {round(math.log2(whole / part)) for whole, part in zip(size, (height, width), strict=True)}
        if len(halvings) == 1 and min(height, width) > 1 and min(halvings) >= 0:
            last[halvings.pop()] = (name, seen.shape[1])
    if not last:
        return []
    most = max(1, math.floor(math.log2(min(image_shape[1:]))) - 1)
    found = range(1, min(max(1, *last), most) + 1)
    return [last[max((each for each in last if each <= k), default=min(last))] for k in found]


def fitted(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps `(B, C, h, w)` of a size, by the means of areas."""
    return maps if tuple(maps.shape[2:]) == tuple(size) else F.adaptive_avg_pool2d(maps, size)
