"""The layers of a network of your own: which gives the map of each resolution, and what its last layer is given."""

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
from labelvae.models.inference import shallow_copy


@contextmanager
def maps_seen(
    network: nn.Module, names: set[str] | None = None
) -> Iterator[tuple[nn.Module, OrderedDict[str, Tensor]]]:
    """Yield a network whose layers are watched, and their maps `(B, C, h, w)` by name, in the order of the layers.

    Args:
        network: the caller's own copy of the network. It gets hooks.
        names: the names of the layers to watch. None watches all.
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


@contextmanager
def linear_inputs(network: nn.Module) -> Iterator[tuple[nn.Module, OrderedDict[str, Tensor]]]:
    """Yield a copy of a network, with the same tensors, and the inputs of its fully connected layers, by name.

    The copy is the caller's own, so threads do not see each other's images.
    """
    copied, seen = shallow_copy(network), OrderedDict[str, Tensor]()

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def look(_: nn.Module, given: tuple[Any, ...]) -> None:
            if given and isinstance(given[0], Tensor) and given[0].ndim == 2:
                seen.pop(name, None)
                seen[name] = given[0]

        return look

    for name, part in copied.named_modules():
        if isinstance(part, nn.Linear):
            part.register_forward_pre_hook(watch(name))
    yield copied, seen


def octaves(maps: Mapping[str, Tensor], size: tuple[int, int], image_shape: ImageShape) -> list[tuple[str, int]]:
    """Choose a layer for each halving of the resolution, finest first: the last layer of that resolution.

    In a network without padding, maps are a little smaller than a half or a quarter; the nearest halving counts. If a
    network skips a halving, the next finer map stands in, or else the next coarser one. Maps of one pixel, which are
    pooled over the image, do not count.

    Args:
        maps: the maps, `(B, C, h, w)`, by the name of their layer, in the order of the layers.
        size: `(H, W)` of the network's input.
        image_shape: `(C, H, W)` of the model's images. Their size limits the number of halvings.

    Returns:
        For each halving, the layer's name and its channels; empty for a network without maps.
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
    """Return maps `(B, C, h, w)` resized to a size, each pixel the mean of an area."""
    return maps if tuple(maps.shape[2:]) == tuple(size) else F.adaptive_avg_pool2d(maps, size)
