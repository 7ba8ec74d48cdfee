"""Where a forward pass spends its time, layer by layer, and what three ways to double a resolution cost.

    python benchmarks/layers.py --out runs/layers

A layer is wasteful where its share of the time is far above its share of the arithmetic. Ways are measured in turn,
round after round, forward and backward; their ratios are medians over the rounds.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from torch import Tensor, nn

from labelvae import ConditionalVAE
from labelvae.cli.parser import DashParser
from labelvae.models.networks import Unfold
from labelvae.runs.building import new_vae
from labelvae.runs.presets import CIFAR10_SMALL, MNIST
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.whole_files import write_whole

BATCH, ROUNDS = 128, 15


def main(out: Path = Path("runs/layers")) -> None:
    """Measures and writes `layers.md`.

    Args:
        out: folder of the tables.
    """
    keep_freed_memory()
    torch.manual_seed(0)
    models = {
        "MNIST preset": new_vae(MNIST.vae, (1, 28, 28), 10),
        "CIFAR10 preset for two cores": new_vae(CIFAR10_SMALL.vae, (3, 32, 32), 10),
    }
    text = "".join(f"#### Layers: {name}\n\n{layer_table(vae)}\n\n" for name, vae in models.items())
    text += f"#### Doubling 64 maps of 14x14 to 32 of 28x28, batch {BATCH}\n\n{doubling_table()}\n"
    write_whole(out / "layers.md", text)
    print(text)


def layer_table(vae: ConditionalVAE) -> str:
    """Shares of time and of arithmetic of the layers that take at least a twentieth of either."""
    images, labels = torch.rand(BATCH, *vae.image_shape), torch.arange(BATCH) % vae.num_classes
    seconds: dict[str, list[float]] = {}
    work: dict[str, float] = {}
    for name, layer in vae.named_modules():
        if not list(layer.children()):
            seconds[name] = []
            layer.register_forward_pre_hook(partial(begin, seconds[name]))
            layer.register_forward_hook(partial(finish, seconds[name], work, name))
    with torch.no_grad():
        for _ in range(ROUNDS):
            vae(images, labels)
    times = {name: statistics.median(values) for name, values in seconds.items() if values}
    whole_time, whole_work = sum(times.values()), sum(work.values())
    shares = [(name, times[name] / whole_time, work[name] / whole_work) for name in times]
    rows = [f"| {name} | {spent:.1%} | {done:.1%} |" for name, spent, done in shares if max(spent, done) >= 0.05]
    wasteful = [name for name, spent, done in shares if spent >= 0.08 and done <= 0.01 and done > 0]
    said = f"Layers with 8 % of the time for 1 % of the arithmetic: {', '.join(wasteful) or 'none'}."
    return "\n".join(["| layer | of the time | of the arithmetic |", "| --- | ---: | ---: |", *rows, "", said])


def begin(times: list[float], *_: Any) -> None:
    """Starts a layer's time."""
    times.append(-time.perf_counter())


def finish(times: list[float], work: dict[str, float], name: str, layer: nn.Module, _: Any, made: Tensor) -> None:
    """Ends it, and counts the layer's multiplications."""
    times[-1] += time.perf_counter()
    weights = layer.weight.numel() if isinstance(layer, nn.Conv2d | nn.Linear) else 0
    places = made.shape[2] * made.shape[3] if isinstance(layer, nn.Conv2d) else 1
    work[name] = float(weights * places * len(made))


def doubling_table() -> str:
    """Three ways from the same maps to the same shape, forward and backward."""
    ways: dict[str, nn.Module] = {
        "subpixel: 3x3 convolution to 4 x 32, unfolded": nn.Sequential(
            nn.Conv2d(64, 128, 3, padding=1), Unfold((28, 28))
        ),
        "transposed 4x4 convolution, stride 2": nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        "nearest: pixels repeated, 3x3 convolution": nn.Sequential(
            nn.Upsample((28, 28)), nn.Conv2d(64, 32, 3, padding=1)
        ),
    }
    maps = torch.rand(BATCH, 64, 14, 14, requires_grad=True)
    rounds = [{name: there_and_back(way, maps) for name, way in ways.items()} for _ in range(ROUNDS)]
    first = next(iter(ways))
    lines = ["| way | time, over the first | ms |", "| --- | ---: | ---: |"]
    for name in ways:
        ratio = statistics.median(each[name] / each[first] for each in rounds)
        milliseconds = 1e3 * statistics.median(each[name] for each in rounds)
        lines.append(f"| {name} | {ratio:.2f} | {milliseconds:.1f} |")
    return "\n".join(lines)


def there_and_back(way: nn.Module, maps: Tensor) -> float:
    """Seconds of one pass, forward and backward, the best of three."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        way(maps).sum().backward()
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
