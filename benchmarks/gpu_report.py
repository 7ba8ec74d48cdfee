"""What is kept: sheets in few files, the weights in half precision, and the table of figures.

python benchmarks/gpu_report.py OUT RUN     a folder of CIFAR10's model and guide, of what benchmarks/gpu.py left
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors import safe_open
from safetensors.torch import load_file, save

from labelvae import ConditionalVAE, ImageData, LabelClassifier
from labelvae.evaluation.evaluator import Relabeller
from labelvae.inputs.tensors import wrong_labels
from labelvae.photos.picture_files import save_picture
from labelvae.system.whole_files import write_whole
from labelvae.visual.grids import grid

LARGEST = 15 * 2**20
"""Bytes of a file of weights at most."""
BLIND = 100
"""Pictures of the blind reading."""
NOT_MEASURED = "not measured"


def add_sheet(path: Path, sheet: Image.Image, title: str) -> None:
    """Puts a sheet under those that a picture holds already."""
    font = ImageFont.load_default(size=20)
    before = [Image.open(path).convert("RGB")] if path.is_file() else []
    top = before[0].height if before else 0
    whole = Image.new("RGB", (max(each.width for each in [*before, sheet]), top + 36 + sheet.height), "white")
    for each in before:
        whole.paste(each, (0, 0))
    ImageDraw.Draw(whole).text((10, top + 8), title, fill=(20, 20, 20), font=font)
    whole.paste(sheet, (0, top + 36))
    save_picture(whole, path)


def blind_sheet(vae: Relabeller, data: ImageData, out: Path) -> None:
    """Test images under wrong labels with numbers in `blind.png`, and what was asked in `key.json`.

    `blind_reading.py score` compares the key with a reading.
    """
    generator = torch.Generator().manual_seed(0)
    test = data.splits["test"]
    some = test.subset(torch.randperm(len(test), generator=generator)[:BLIND]).load()
    asked = wrong_labels(some.labels, data.num_classes, generator)
    pictures = vae.relabel(some.images.float() / 255.0, asked, some.labels)
    starts = range(0, len(some), 10)
    captions = [[str(number) for number in range(first, min(first + 10, len(some)))] for first in starts]
    save_picture(grid([list(pictures[first : first + 10]) for first in starts], captions), out / "blind.png")
    key = {
        "classes": data.class_names,
        "seed": 0,
        "asked": [data.class_names[label] for label in asked],
        "own": [data.class_names[label] for label in some.labels],
    }
    write_whole(out / "key.json", json.dumps(key) + "\n")


def halves(vae: ConditionalVAE, guide: LabelClassifier, out: Path, name: str) -> None:
    """Writes a model and its guide in half precision, in as few files of at most `LARGEST` bytes as they fill."""
    parts: list[dict[str, torch.Tensor]] = [{}]
    filled = 0
    for part, model in (("vae", vae), ("guide", guide)):
        for key, value in model.state_dict().items():
            half = value.detach().cpu().contiguous()
            half = half.half() if half.is_floating_point() else half
            if filled + half.nbytes > LARGEST and parts[-1]:
                parts.append({})
                filled = 0
            parts[-1][f"{part}.{key}"] = half
            filled += half.nbytes
    configs = {"vae": json.dumps(dict(vae.config)), "guide": json.dumps(dict(guide.config))}
    for number, each in enumerate(parts):
        write_whole(out / f"{name}_{number}.safetensors", save(each, metadata=configs))


def whole(folder: Path, name: str) -> tuple[ConditionalVAE, LabelClassifier]:
    """The model and the guide that `halves` wrote, in float32."""
    files = sorted(folder.glob(f"{name}_*.safetensors"))
    with safe_open(files[0], framework="pt") as file:
        configs = {part: json.loads(text) for part, text in file.metadata().items()}
    weights = {key: value for path in files for key, value in load_file(path).items()}
    models = ConditionalVAE(**configs["vae"]), LabelClassifier(**configs["guide"])
    for part, model in zip(("vae.", "guide."), models, strict=True):
        own = {key.removeprefix(part): value for key, value in weights.items() if key.startswith(part)}
        halves = {key: value.float() if value.is_floating_point() else value for key, value in own.items()}
        model.load_state_dict(halves)
        model.eval()
    return models


def run_folder(out: Path, run: Path) -> None:
    """Makes a folder of CIFAR10's model and guide, as other commands take it, of what a run on a GPU left."""
    for part, model in zip(("vae", "guide"), whole(out, "cifar10"), strict=True):
        model.save_pretrained(run / part)


FIGURES: dict[str, str] = {
    "check: bfloat16 and float32, every preset, finite": "check > finite",
    "check: largest difference between CPU and GPU, same weights": "check > agreement > float32",
    "check: saved, loaded and resumed": "check > resumed",
    "check: gradients of a recorded step, difference": "check > graphs > float32",
    "compile: seconds to the first compiled step of `cifar10`": "compile > cifar10 > first steps, seconds",
    "MNIST: seconds to a guide of 0.995": "mnist > guide > seconds to the aim",
    "MNIST: guide's accuracy": "mnist > guide > accuracy",
    "MNIST: seconds of the preset's model": "mnist > model > seconds",
    "MNIST: its epochs": "mnist > model > epochs",
    "MNIST: effectiveness": "mnist > scores > effectiveness",
    "MNIST: effectiveness, worst class": "mnist > scores > effectiveness_worst_class",
    "MNIST: own label, dB": "mnist > scores > psnr",
    "MNIST: thickness": "mnist > scores > style_thickness",
    "MNIST: slant": "mnist > scores > style_slant",
    "CIFAR10: which images": "cifar10 > images",
    "CIFAR10: seconds to a guide of 0.94": "cifar10 > guide > seconds to the aim",
    "CIFAR10: guide's accuracy": "cifar10 > guide > accuracy",
    "CIFAR10: judge's accuracy": "cifar10 > judge > accuracy",
    "CIFAR10: seconds of the preset's model": "cifar10 > model > seconds",
    "CIFAR10: its epochs": "cifar10 > model > epochs",
    "CIFAR10: images a second": "cifar10 > model > images a second",
    "CIFAR10: most memory, GB": "cifar10 > model > peak memory, GB",
    "CIFAR10: effectiveness": "cifar10 > scores > effectiveness",
    "CIFAR10: own label, dB": "cifar10 > scores > psnr",
    "CIFAR10: realism by class": "cifar10 > scores > realism_by_class",
    "CIFAR10: its floor": "cifar10 > scores > realism_floor",
    "CIFAR10: blind reading, of 100": "blind reading",
    "speed: matrix product in bfloat16, GFLOP/s": "speed > rates > matrix product bfloat16, GFLOP/s",
    "speed: copy, GB/s": "speed > rates > copy, GB/s",
    "speed: `cifar10`, step": "speed > step > channels-last + bf16, 256 > images a second",
    "speed: `cifar10`, step compiled": "speed > step > channels-last + bf16 + compile, 256 > images a second",
    "speed: `cifar10`, bound by arithmetic": "speed > bound > arithmetic, images a second",
    "speed: `cifar10`, bound by memory": "speed > bound > memory, images a second",
    "speed: `cifar10`, relabel, batch 4096": "speed > relabel > channels-last + bf16, 4096 > images a second",
    "speed: host synchronizations a step between logs": "speed > synchronizations > a step",
}
"""Rows of the table, and where the summary has their values."""


def table(summary: Mapping[str, Any]) -> str:
    """Every figure, or that it was not measured, as Markdown."""
    results = {name: step.get("result", {}) for name, step in summary.get("steps", {}).items()}
    lines = ["| figure | value |", "| --- | --- |"]
    for title, where in FIGURES.items():
        value: Any = results
        for key in where.split(" > "):
            value = value.get(key) if isinstance(value, Mapping) else None
        shown = NOT_MEASURED if value is None else f"{value:.4g}" if isinstance(value, float) else f"{value}"
        lines.append(f"| {title} | {shown} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python benchmarks/gpu_report.py OUT RUN")
    run_folder(Path(sys.argv[1]), Path(sys.argv[2]))
