"""What training costs: ratios, interleaved in one run, median and spread.

    python benchmarks/speed.py --data-dir DIR --out DIR        on the CPU, about 12 minutes on 2 cores
    python benchmarks/speed.py --colour --out DIR               CIFAR10's preset alone
    python benchmarks/speed.py --device cuda --data-dir DIR --out DIR

Without --data-dir the images are made up, of MNIST's shape. Writes speed.md and speed.json under --out. Rows whose
library or device is missing read "not measured".
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import torch
import ways
from machine import arithmetic, installed, peaks
from torch import Tensor

from labelvae import VAETraining

NOT_MEASURED = "not measured"


def images_of(data_dir: Path | None) -> tuple[Tensor, Tensor, str]:
    """10,000 training images of MNIST, or made-up ones."""
    if data_dir is None:
        torch.manual_seed(0)
        return torch.randint(256, (10000, 1, 28, 28), dtype=torch.uint8), torch.randint(10, (10000,)), "made up"
    from labelvae import ImageData

    train = ImageData("mnist", data_dir).splits["train"].load()
    return train.images[:10000], train.labels[:10000], "MNIST"


def interleaved(measured: dict[str, ways.Way], steps: int, repeats: int) -> dict[str, list[float]]:
    """Seconds a step, `repeats` times each, one way after the other; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in measured}
    for repeat in range(repeats + 1):
        for name, way in measured.items():
            value = way(steps) / steps
            if repeat:
                seconds[name].append(value)
    return seconds


def rows(seconds: dict[str, list[float]], reference: str, batch_size: int) -> list[dict[str, Any]]:
    """Ratio to the reference of the same round (median, least, most), milliseconds a step, images a second."""
    table = []
    for name, values in seconds.items():
        ratios = sorted(base / own for base, own in zip(seconds[reference], values, strict=True))
        median = statistics.median(values)
        table.append(
            {
                "way": name,
                "ratio": round(statistics.median(ratios), 3),
                "least": round(ratios[0], 3),
                "most": round(ratios[-1], 3),
                "ms a step": round(1e3 * median, 3),
                "images a second": round(batch_size / median),
            }
        )
    return table


def peak_kilobytes() -> int:
    """Most memory this process held; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def worker(how: str, batch_size: int, steps: int) -> dict[str, float]:
    """In a process of its own: seconds, page faults and peak memory of the convolutional model's step."""
    if "allocator" in how:
        from labelvae.system.allocator import keep_freed_memory

        keep_freed_memory()
    device = torch.device("cpu")
    task = models.preset_task(device, channels_last="channels-last" in how)
    batches = [(torch.rand(batch_size, 1, 28, 28), torch.randint(10, (batch_size,)))]
    run = ways.loop(task, batches, device, bfloat16="bf16" in how, compiled="compile" in how, fused=how != "default")
    run(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    seconds = run(steps)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": seconds / steps,
        "page faults": (after.ru_minflt - before) / (steps + ways.SKIPPED),
        "peak MB": peak_kilobytes() / 1024,  # ru_maxrss begins at the parent's
    }


def in_processes(kinds: list[str], batch_size: int, steps: int, repeats: int) -> list[dict[str, Any]]:
    """Each kind of worker `repeats` times, one after the other."""
    results: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for kind in kinds:
            command = [sys.executable, __file__, "--worker", kind, "--batch-size", str(batch_size)]
            command += ["--steps", str(steps)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                results[kind].append(json.loads(done.stdout.splitlines()[-1]))
    table = []
    for kind, values in results.items():
        if len(values) < repeats or len(results[kinds[0]]) < repeats:
            table.append({"way": kind, "ratio": NOT_MEASURED})
            continue
        seconds = {"base": [v["seconds"] for v in results[kinds[0]]], kind: [v["seconds"] for v in values]}
        row = rows(seconds, "base", batch_size)[1]
        row["page faults a step"] = round(statistics.median(v["page faults"] for v in values))
        row["peak memory, MB"] = round(max(v["peak MB"] for v in values))
        table.append(row)
    return table


def time_to_quality(device: torch.device, data_dir: Path | None) -> list[dict[str, Any]]:
    """Seconds to a quality, on a GPU and real images."""
    aims = [
        ("MNIST guide to 99.5 %", "mnist", "guide", 0.995),
        ("MNIST CVAE preset", "mnist", "vae", None),
        ("CIFAR10 guide to 94 %", "cifar10", "guide", 0.94),
        ("100 epochs of the CIFAR10 CVAE", "cifar10", "vae", None),
    ]
    if device.type != "cuda" or data_dir is None:
        return [{"aim": aim, "seconds": NOT_MEASURED} for aim, *_ in aims]
    from quality import seconds_to

    table = []
    for aim, name, part, accuracy in aims:
        try:
            table.append({"aim": aim, **seconds_to(name, part, accuracy, data_dir)})
        except ValueError as error:  # the images are not there
            table.append({"aim": aim, "seconds": f"{NOT_MEASURED}: {error}"})
    return table


def trainers(images: Tensor, labels: Tensor, device: torch.device, steps: int, repeats: int, small: bool) -> Any:
    """Who drives the steps."""
    make, batch = (models.small_task if small else models.preset_task), 128
    fixed = ways.fixed_order(images, labels, batch, device)
    loader = ways.resident(images, labels, batch, device)
    pictures = ways.transformed(images, labels, batch, device)
    same = make(device)
    same = ways.SameAdam(same.vae, same.loss)
    measured = {
        "bare loop": ways.loop(make(device), fixed, device),
        "bare loop, resident loader": ways.loop(make(device), loader, device),
        "bare loop, PIL + ToTensor + DataLoader": ways.loop(make(device), pictures, device),
        "Trainer.fit as shipped": ways.fit(make(device), loader, device),
        "Trainer.fit, default Adam": ways.fit(same, loader, device),
        "PyTorch-VAE style": ways.fit(ways.Everyday(make(device)), pictures, device, everyday=True),
    }
    missing = []
    try:
        measured["pythae's trainer"] = ways.pythae_trainer(make(device), images, labels, batch, steps)
    except Exception as error:  # whatever its import or its start raise here
        missing = [{"way": "pythae's trainer", "ratio": f"{NOT_MEASURED}: {type(error).__name__}"}]
    seconds = interleaved(measured, steps, repeats)
    return rows(seconds, "bare loop", batch) + missing, seconds


def options(
    make: Callable[..., VAETraining], images: Tensor, labels: Tensor, batch: int, steps: int, repeats: int
) -> Any:
    """Each option alone and together, in a bare loop of a model on the images' device."""
    torch.compiler.reset()  # what was compiled for other sizes would be compiled for any
    device = images.device
    fixed = ways.fixed_order(images, labels, batch, device)
    kinds: dict[str, dict[str, bool]] = {
        "default: float32, default Adam": {"fused": False},
        "fused Adam": {},
        "channels-last": {"channels_last": True},
        "bf16": {"bfloat16": True},
        "compile": {"compiled": True},
        "channels-last + bf16": {"channels_last": True, "bfloat16": True},
        "channels-last + bf16 + compile": {"channels_last": True, "bfloat16": True, "compiled": True},
    }
    measured, missing = {}, []
    for name, kind in kinds.items():
        how = {"fused": True, **kind}
        task = make(device, channels_last=how.pop("channels_last", False))
        way = ways.loop(task, fixed, device, **how)
        try:
            way(1)  # compiles
            measured[name] = way
        except Exception as error:
            missing.append({"way": name, "ratio": f"{NOT_MEASURED}: {type(error).__name__}"})
    seconds = interleaved(measured, steps, repeats)
    return rows(seconds, next(iter(measured)), batch) + missing, seconds


def markdown(tables: dict[str, list[dict[str, Any]]], head: str) -> str:
    """The tables, and how they were made."""
    parts = [head]
    for title, table in tables.items():
        names = list(dict.fromkeys(name for row in table for name in row))
        lines = [names, ["---"] * len(names), *([str(row.get(name, "")) for name in names] for row in table)]
        parts += [f"### {title}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join(parts) + "\n"


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="where MNIST's files are; made-up images without it")
    parser.add_argument("--out", type=Path, default=Path("runs/speed"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--colour", action="store_true", help="the table of CIFAR10's preset alone")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of every comparison")
    parser.add_argument("--steps", type=int, default=0, help="steps a round of the small model; 0 chooses")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--batch-size", type=int, default=512, help="of the comparison of allocators")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no NVIDIA GPU here; use --device cpu")
    return args


def main() -> None:
    """Measures everything and writes it down."""
    args = arguments()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if args.worker:
        print(json.dumps(worker(args.worker, args.batch_size, args.steps)))
        return
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0" if args.device == "cpu" else "1"
    started, device = time.perf_counter(), torch.device(args.device)
    images, labels, source = images_of(None if args.colour else args.data_dir)
    on_gpu = device.type == "cuda"
    many, few = args.steps or (200 if on_gpu else 60), max(2, (args.steps or 100) // 10) * (10 if on_gpu else 1)
    seconds: dict[str, Any] = {}
    tables: dict[str, list[dict[str, Any]]] = {}
    if args.colour:
        batch = models.colour_preset(device).vae.optimization.batch_size
        colours = torch.randint(256, (4 * batch, 3, 32, 32), dtype=torch.uint8, device=device)
        classes = torch.randint(10, (len(colours),), device=device)
        name = f"Options: the preset of CIFAR10, batch {batch}"
        tables[name], seconds["colour"] = options(models.colour_task, colours, classes, batch, few, args.repeats)
    else:
        title = "Who drives the steps: {} conditional VAE, batch 128"
        for kind, small, steps in (("small fully connected", True, many), ("convolutional", False, few)):
            tables[title.format(kind)], seconds[kind] = trainers(images, labels, device, steps, args.repeats, small)
        name = "Options: convolutional, batch 128"
        tables[name], seconds["options"] = options(
            models.preset_task, images.to(device), labels.to(device), 128, few, args.repeats
        )
        tables["Processes"] = [{"way": "allocator", "ratio": NOT_MEASURED}]
        if not on_gpu and sys.platform.startswith("linux"):
            kinds = ["default", "allocator", "allocator + channels-last + bf16 + fused"]
            together = [kinds[0], kinds[2], f"{kinds[2]} + compile"]
            del tables["Processes"]
            tables[f"Allocator: processes of their own, batch {args.batch_size}"] = in_processes(
                kinds, args.batch_size, 3, 3
            )
            tables["All options against the default: processes of their own, batch 128"] = in_processes(
                together, 128, 8, 3
            )
        found = peaks(device)
        tables["The machine"] = [{"rate": rate, "value": value} for rate, value in found.items()]
        tables["Arithmetic"] = arithmetic(seconds, found, images, labels, device)
        if on_gpu:
            tables["Memory"] = [{"peak memory, MB": round(torch.cuda.max_memory_allocated() / 2**20)}]
        tables["Time to quality"] = time_to_quality(device, args.data_dir)
    packages = ("labelvae", "torch", "lightning", "torchvision", "pythae")
    machine = torch.cuda.get_device_name() if on_gpu else f"{platform.processor() or platform.machine()}"
    head = (
        f"`{shlex.join(['python', *sys.argv])}`: {machine}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, {', '.join(f'{package} {installed(package)}' for package in packages)}; "
        f"images {source}, {args.repeats} rounds, {time.perf_counter() - started:.0f} s. A ratio above 1 is faster "
        "than the first row; its least and most are over the rounds."
    )
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "speed.md").write_text(markdown(tables, head))
    (args.out / "speed.json").write_text(json.dumps({"head": head, "tables": tables, "seconds": seconds}, indent=2))
    print(markdown(tables, head))


if __name__ == "__main__":
    main()
