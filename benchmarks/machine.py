"""What the machine can, and how much of it a step uses."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import models
import torch
import ways
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from labelvae import VAETraining
from labelvae.runs.machine import machine_of


def counted_flops(task: VAETraining, images: Tensor, labels: Tensor) -> int:
    """Floating-point operations of a step, forward and backward, in convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        task.step(images, labels, 1.0)["total"].backward()
    total: int = counter.get_total_flops()
    return total


def best_rate(run: Callable[[], Any], work: float, device: torch.device, seconds: float = 1.0) -> float:
    """`work` a second of the fastest of many calls."""
    for _ in range(3):
        run()
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        ways.synchronize(device)
        start = time.perf_counter()
        run()
        ways.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return work / best


def peaks(device: torch.device, seconds: float = 1.0) -> dict[str, float]:
    """The machine's own rates, each tried for so long: convolutions and products in GFLOP/s, copying in GB/s."""
    found, large = {}, device.type == "cuda"
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        maps = torch.randn(512 if large else 128, 64, 28, 28, device=device, dtype=kind)
        maps = maps.to(memory_format=torch.channels_last)
        weight = torch.randn(64, 64, 3, 3, device=device, dtype=kind).to(memory_format=torch.channels_last)
        work = 2.0 * maps.numel() * 64 * 9
        convolve = partial(F.conv2d, maps, weight, padding=1)
        found[f"convolution {name}, GFLOP/s"] = best_rate(convolve, work, device, seconds) / 1e9
        size = 8192 if large else 1024
        left = torch.randn(size, size, device=device, dtype=kind)
        multiply = partial(torch.matmul, left, left)
        found[f"matrix product {name}, GFLOP/s"] = best_rate(multiply, 2.0 * size**3, device, seconds) / 1e9
    source = torch.zeros((1 << 30) if large else (1 << 26), device=device)
    target = torch.empty_like(source)
    copy = best_rate(lambda: target.copy_(source), 2.0 * source.nbytes, device, seconds)
    found["copy, GB/s"] = copy / 1e9
    return {name: round(value, 1) for name, value in found.items()}


def arithmetic(
    seconds: dict[str, Any], found: dict[str, float], images: Tensor, labels: Tensor, device: torch.device
) -> list[dict[str, Any]]:
    """Counted operations of the convolutional model against what convolutions and matrix products reach here."""
    some, own = images[:128].to(device).float() / 255.0, labels[:128].to(device)
    flops = counted_flops(models.preset_task(device), some, own)
    table = []
    for name, values in seconds["options"].items():
        kind = "bfloat16" if "bf16" in name else "float32"
        rate = flops / statistics.median(values) / 1e9
        products = 1e9 * found[f"matrix product {kind}, GFLOP/s"]
        table.append(
            {
                "way": name,
                "GFLOP an image": round(flops / 128e9, 4),
                "GFLOP/s": round(rate, 1),
                "share of the convolution peak": round(rate / found[f"convolution {kind}, GFLOP/s"], 3),
                "at the rate of matrix products, images a second": round(products / (flops / 128)),
            }
        )
    return table


def machine_line(*packages: str) -> str:
    """The processor or GPU, its instructions, the threads, and the versions, as one line for the head of a table.

    Args:
        packages: further packages whose versions are of interest.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    facts = machine_of(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    versions = [f"{package} {installed(package)}" for package in ("labelvae", "torch", "lightning", *packages)]
    return (
        f"{processor or platform.machine()} ({facts.instructions}), {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads, Python {platform.python_version()}, {', '.join(versions)}"
    )


def installed(package: str) -> str:
    """The version of a package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
