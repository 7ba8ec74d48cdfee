"""Scores models on digits that are smaller, larger, thinner, thicker or elsewhere than MNIST's, side by side.

    python benchmarks/changed_digits.py --models '{before: OLD, after: labelvae/pretrained/mnist}' \
        --judges '[runs/mnist_small/judge, runs/mnist_small/judge-2]' --data-dir DIR

The thickness is changed by drawing each stroke again: discs along the skeleton, half or twice as wide as the stroke
was there. Training changes it in another way. Writes changed_digits.json and a sheet of each model under --out.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jsonargparse import auto_cli
from scipy.ndimage import distance_transform_edt
from skimage.morphology import skeletonize
from tables import table
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from labelvae import ConditionalVAE, ImageData, LabelClassifier
from labelvae.cli.parser import DashParser
from labelvae.evaluation.image_metrics import peak_signal_to_noise
from labelvae.evaluation.metrics import Effectiveness, Style
from labelvae.evaluation.style import slant, thickness
from labelvae.inputs.tensors import wrong_labels
from labelvae.photos.picture_files import save_picture
from labelvae.runs.presets import MNIST_VARIED
from labelvae.visual.grids import one_of_each, to_picture

FINE = 4
"""By how much a digit is enlarged while it is changed."""


@dataclass(frozen=True)
class Changed:
    """How digits are changed.

    Attributes:
        size: as a share of the own one.
        strokes: thickness, as a share of the own one.
        shift: pixels, to one of eight sides; what leaves the frame is lost.
        nearer: whether fewer pixels are drawn too, down and across evenly.
    """

    size: float = 1.0
    strokes: float = 1.0
    shift: int = 0
    nearer: bool = False


KINDS = {
    "as they are": Changed(),
    "60 % size": Changed(size=0.6),
    "80 % size": Changed(size=0.8),
    "115 % size": Changed(size=1.15),
    "130 % size": Changed(size=1.3),
    "half thickness": Changed(strokes=0.5),
    "twice the thickness": Changed(strokes=2.0),
    "moved by up to 4 pixels": Changed(shift=4, nearer=True),
    "moved by 4 pixels": Changed(shift=4),
}

HEADS = {
    "model": "model",
    "kind": "digits",
    "effectiveness": "effectiveness",
    "second_effectiveness": "by the second judge",
    "worst_class": "worst class",
    "second_worst_class": "worst, second judge",
    "psnr": "own label, dB",
    "style_thickness": "thickness",
    "style_slant": "slant",
    "guide_accuracy": "guide on the digits",
    "judge_accuracy": "judge on the digits",
    "second_judge_accuracy": "second judge",
}


def change_digits(images: Tensor, how: Changed, seed: int = 0) -> Tensor:
    """Change digits `(B, 1, H, W)` in [0, 1], bright on dark; `as they are` gives them back."""
    if how == Changed():
        return images
    if how.size != 1.0 or how.strokes != 1.0:
        height, width = images.shape[-2:]
        grid = F.affine_grid(
            torch.eye(2, 3).expand(len(images), -1, -1) / how.size,
            [len(images), 1, height * FINE, width * FINE],
            align_corners=False,
        )
        images = F.grid_sample(images, grid, align_corners=False)
        if how.strokes != 1.0:
            made = [drawn_again(image[0].numpy(), how.strokes) for image in images]
            images = torch.from_numpy(np.stack(made))[:, None]
        images = F.avg_pool2d(images, FINE)
    if how.shift:
        moves = [(0, 0)] if how.nearer else []
        steps = range(-how.shift, how.shift + 1, 1 if how.nearer else how.shift)
        moves += [(down, across) for down in steps for across in steps if down or across]
        drawn = torch.randint(len(moves), (len(images),), generator=torch.Generator().manual_seed(seed)).tolist()
        rows = [
            torch.roll(F.pad(each, [how.shift] * 4), moves[move], (1, 2))
            for each, move in zip(images, drawn, strict=True)
        ]
        images = torch.stack(rows)[..., how.shift : -how.shift, how.shift : -how.shift]
    return images


def drawn_again(image: np.ndarray, factor: float) -> np.ndarray:
    """A digit whose every stroke is `factor` times as thick where it was, as a union of discs on its skeleton."""
    stroke = image > 0.5 * image.max()
    radii = distance_transform_edt(stroke) - 0.5
    rows, columns = np.nonzero(skeletonize(stroke))
    down, across = np.arange(image.shape[0])[:, None, None], np.arange(image.shape[1])[None, :, None]
    distances = np.sqrt(np.square((down - rows).astype(np.float32)) + np.square((across - columns).astype(np.float32)))
    reach = (factor * (radii[rows, columns] + 0.5)).astype(np.float32)
    return np.asarray((reach - distances + 0.5).max(axis=2).clip(0.0, 1.0) * image.max(), dtype=np.float32)


def main(
    models: dict[str, Path],
    judges: list[Path],
    data_dir: Path = Path("data"),
    out: Path = Path("runs/changed_digits"),
    split: Literal["validation", "test"] = "test",
    count: int | None = None,
    kinds: list[str] | None = None,
) -> None:
    """Scores and draws.

    Args:
        models: folders with a `vae` and a `guide`, by name.
        judges: two classifiers that were in no loss.
        data_dir: where MNIST's files are.
        out: folder for the results.
        split: Held-out images.
        count: only so many of them.
        kinds: only these kinds of change.
    """
    torch.set_num_threads(1)
    held_out = ImageData(data_dir=data_dir, **asdict(MNIST_VARIED.data)).splits[split].load()
    images, labels = held_out.images[:count].float() / 255.0, held_out.labels[:count]
    first, second = (LabelClassifier.from_pretrained(folder).eval() for folder in judges)
    pairs = {
        name: (
            ConditionalVAE.from_pretrained(folder / "vae").eval(),
            LabelClassifier.from_pretrained(folder / "guide").eval(),
        )
        for name, folder in models.items()
    }
    asked = wrong_labels(labels, 10, torch.Generator().manual_seed(0))
    rows: list[dict[str, Any]] = []
    shown = one_of_each(labels, 10)
    strips: dict[str, list[Tensor]] = {name: [] for name in pairs}
    for kind in tqdm([each for each in KINDS if not kinds or each in kinds]):
        changed = change_digits(images, KINDS[kind])
        styles = {"thickness": thickness(changed)[:, None], "slant": slant(changed)[:, None]}
        real = {name: accuracy(each, changed, labels) for name, each in (("judge", first), ("second_judge", second))}
        for name, (vae, guide) in pairs.items():
            made = vae.relabel(changed, asked)
            row: dict[str, Any] = {"model": name, "kind": kind}
            for judge, prefix in ((first, ""), (second, "second_")):
                overall, *by_class = effectiveness(judge, made, asked)
                row |= {f"{prefix}effectiveness": overall, f"{prefix}worst_class": min(by_class)}
            row["psnr"] = float(peak_signal_to_noise(changed, vae.reconstruct(changed, labels)).mean())
            kept = {"thickness": thickness(made)[:, None], "slant": slant(made)[:, None]}
            for style, values in styles.items():
                metric = Style(10)
                metric.update(values, kept[style], labels, asked)
                row[f"style_{style}"] = float(metric.compute())
            row["guide_accuracy"] = accuracy(guide, changed, labels)
            rows.append(row | {f"{judge}_accuracy": share for judge, share in real.items()})
            strips[name].append(strip(vae, changed[shown], labels[shown]))
    out.mkdir(parents=True, exist_ok=True)
    (out / "changed_digits.json").write_text(json.dumps(rows, indent=1))
    for name, parts in strips.items():
        save_picture(to_picture(torch.cat(parts, dim=1), cell=1), out / f"{name}.png")
    print(table(rows, HEADS))


@torch.no_grad()
def effectiveness(judge: LabelClassifier, made: Tensor, asked: Tensor) -> list[float]:
    """The share that a judge takes for the asked label, over all and by class."""
    metric = Effectiveness(10)
    for part, wanted in zip(made.split(1000), asked.split(1000), strict=True):
        metric.update(judge(part), wanted)
    return [each for each in metric.compute().tolist() if not math.isnan(each)]


def accuracy(judge: LabelClassifier, images: Tensor, labels: Tensor) -> float:
    """The share of real digits that are read rightly."""
    return effectiveness(judge, images, labels)[0]


def strip(vae: ConditionalVAE, images: Tensor, labels: Tensor) -> Tensor:
    """Rows of a digit, its reconstruction and all ten labels, `(1, h, w)`; two digits a row."""
    every = torch.stack([vae.relabel(images, label) for label in range(10)], dim=1)
    cells = torch.cat([images[:, None], vae.reconstruct(images, labels)[:, None], every], dim=1)[:, :, 0]
    lines = F.pad(cells, (1, 1, 1, 1), value=0.3).transpose(1, 2).flatten(2)  # (N, h, 12 w)
    return F.pad(torch.cat([lines[0::2], lines[1::2]], dim=2).flatten(0, 1)[None], (0, 0, 0, 4), value=1.0)


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
