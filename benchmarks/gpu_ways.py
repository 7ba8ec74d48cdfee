"""Ways to run a step or a relabelling, by name: words such as "channels-last + bf16 + graph"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from ways import optimizer_of

from labelvae import VAETraining
from labelvae.training.optimizers import CLIP_NORM

WARMED = 3
"""Calls before a graph is captured."""


def training(way: str, task: VAETraining, batch: tuple[Tensor, Tensor]) -> Callable[[], Any]:
    """A whole step: forward, backward, clipping and optimizer, as the trainer makes it, but without its schedule."""
    images, labels = batch
    if "channels-last" in way:
        task.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = optimizer_of(task, fused=True)
    if "graph" in way:
        for group in optimizer.param_groups:
            group["capturable"] = True
    step = torch.compile(task.step) if "compile" in way and images.is_cuda else task.step
    done = torch.full((), 1.0, device=images.device)

    def run() -> None:
        optimizer.zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled="bf16" in way):
            total = step(images, labels, done)["total"]
        total.backward()
        for group in optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], CLIP_NORM)
        optimizer.step()

    return captured(run) if "graph" in way and images.is_cuda else run


def relabelling(way: str, task: VAETraining, batch: tuple[Tensor, Tensor]) -> Callable[[], Any]:
    """Relabelling one batch that lies on the card: `ConditionalVAE.relabel`, or in a graph both of its halves alone.

    A graph holds no checks, which read values; what is left is what the networks cost.
    """
    images, labels = batch
    vae = task.vae.eval()
    if "channels-last" in way:
        vae.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    if "compile" in way and images.is_cuda:
        vae.compile()
    weights = F.one_hot(labels, vae.num_classes).float()

    @torch.no_grad()
    def halves() -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled="bf16" in way):
            made: Tensor = torch.sigmoid(vae.decoder(vae.encoder(images).mean, weights)).float()
        return made

    def relabel() -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled="bf16" in way):
            return vae.relabel(images, labels, chunk_size=len(images))

    if "graph" not in way:
        return relabel
    return captured(halves) if images.is_cuda else halves


def captured(run: Callable[[], Any]) -> Callable[[], None]:
    """`run` as a CUDA graph: its kernels are launched as one."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMED):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


class Moved(TorchDispatchMode):
    """Counts operations and the bytes of their operands and results; views move nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Counts one."""
        out = func(*args, **(kwargs or {}))
        if getattr(func, "is_view", False) or "view" in str(func) or "detach" in str(func):
            return out
        self.operations += 1
        for value in (*args, *(out if isinstance(out, tuple | list) else [out])):
            for tensor in value if isinstance(value, tuple | list) else [value]:
                if isinstance(tensor, Tensor):
                    self.bytes += tensor.nbytes
        return out
