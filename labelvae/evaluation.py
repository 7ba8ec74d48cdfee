"""`evaluate`: everything a relabelling model is judged by, in one pass over held-out images.

The judge is never in a loss, never picks a checkpoint, and differs from the guide in architecture and seed.
Beside the model stand references that keep the numbers honest: the image itself, and the mean of the class.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from labelvae.classifier import LabelClassifier
from labelvae.inputs import check_images, check_labels, wrong_labels
from labelvae.metrics import (
    Composition,
    Effectiveness,
    GuideJudgeGap,
    Leakage,
    Realism,
    Reversibility,
    Sharpness,
    Style,
)
from labelvae.saving import write_whole
from labelvae.style import style_statistics
from labelvae.vae import ConditionalVAE, evaluation_mode

Batches = Iterable[tuple[Tensor, Tensor]]
"""Batches of images `(B, C, H, W)` in [0, 1] and labels `(B,)`: a DataLoader, or a list of one pair."""


class Relabeller(Protocol):
    """What `evaluate` needs of a model; `ConditionalVAE` is one."""

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Images under their own labels."""

    def relabel(self, images: Tensor, labels: Tensor, own_labels: Tensor) -> Tensor:
        """Images under other labels."""


class ImageItself:
    """The reference that changes nothing: all of the style, none of the label."""

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        """The images."""
        return images

    def relabel(self, images: Tensor, labels: Tensor, own_labels: Tensor) -> Tensor:
        """The images."""
        return images


class ClassMean:
    """The reference that answers with the mean image of the asked class: all of the label, no style."""

    def __init__(self, batches: Batches, num_classes: int) -> None:
        sums: Tensor | None = None
        counts = torch.zeros(num_classes, dtype=torch.float64)
        for images, labels in batches:
            if sums is None:
                sums = torch.zeros(num_classes, *images.shape[1:], dtype=torch.float64)
            sums.index_add_(0, labels.cpu(), images.cpu().double())
            counts += torch.bincount(labels.cpu(), minlength=num_classes)
        if sums is None:
            raise ValueError("batches: expected at least one batch of images, got none")
        self.means = (sums / counts.clamp_min(1.0)[:, None, None, None]).float()

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        """The means of the classes."""
        return self.means.to(images.device)[labels]

    def relabel(self, images: Tensor, labels: Tensor, own_labels: Tensor) -> Tensor:
        """The means of the asked classes."""
        return self.means.to(images.device)[labels]


@dataclass(frozen=True)
class Scores:
    """What a model scores; NaN where a figure does not apply.

    Attributes:
        name: of the model.
        images: how many counterfactuals were made.
        effectiveness: share that the judge takes for the asked label, in [0, 1].
        effectiveness_worst_class: the same for the worst asked label.
        guide_judge_gap: guide agreement minus judge agreement, in [-1, 1].
        judge_accuracy: the judge's on the real images; effectiveness far above it is caricature.
        psnr: of own-label reconstructions, dB, mean over images (composition).
        ssim: of the same.
        l1: of the same, in [0, 1].
        reversed_psnr: after relabelling and back, dB (reversibility).
        reversed_ssim: of the same.
        reversed_l1: of the same.
        realism: pooled Fréchet distance to real images in judge features.
        realism_by_class: mean over classes of the Fréchet distance to real images of the asked class.
        realism_floor: the same for the real held-out images in place of the counterfactuals.
        sharpness: Laplacian energy over that of real images.
        leakage: accuracy of a linear probe reading the label from the code.
        style: class-centred correlation of each style statistic.
        effectiveness_by_class: for each asked label.
    """

    name: str
    images: int
    effectiveness: float
    effectiveness_worst_class: float
    guide_judge_gap: float
    judge_accuracy: float
    psnr: float
    ssim: float
    l1: float
    reversed_psnr: float
    reversed_ssim: float
    reversed_l1: float
    realism: float
    realism_by_class: float
    realism_floor: float
    sharpness: float
    leakage: float
    style: dict[str, float] = field(default_factory=dict)
    effectiveness_by_class: tuple[float, ...] = ()

    def row(self) -> dict[str, Any]:
        """The scores as one flat row, a key each for the styles and the classes; None for what does not apply."""
        row = {name: value for name, value in vars(self).items() if not isinstance(value, dict | tuple)}
        row |= {f"style_{name}": value for name, value in self.style.items()}
        row |= {f"effectiveness_class_{index}": value for index, value in enumerate(self.effectiveness_by_class)}
        return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()}


def save_scores(scores: Sequence[Scores], path: str | Path) -> None:
    """Writes the rows as a JSON list."""
    write_whole(path, json.dumps([score.row() for score in scores], indent=2) + "\n")


def scores_table(scores: Sequence[Scores]) -> str:
    """The main columns as an aligned text table, a row a model."""
    columns: list[tuple[str, str, str]] = [
        ("effectiveness", "effective", ".3f"),
        ("effectiveness_worst_class", "worst class", ".3f"),
        ("guide_judge_gap", "gap", "+.3f"),
        ("psnr", "own dB", ".1f"),
        ("ssim", "own SSIM", ".3f"),
        ("reversed_psnr", "back dB", ".1f"),
        *((f"style_{name}", name, ".2f") for name in (scores[0].style if scores else ())),
        ("realism_by_class", "realism", ".3g"),
        ("realism_floor", "(floor)", ".3g"),
        ("sharpness", "sharp", ".2f"),
        ("leakage", "leakage", ".2f"),
    ]
    lines = [["", *(title for _, title, _ in columns)]]
    for score in scores:
        row = score.row()
        lines.append([score.name, *("-" if row.get(k) is None else format(row[k], f) for k, _, f in columns)])
    sizes = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    aligned = (
        [cell.rjust(size) if i else cell.ljust(size) for i, (cell, size) in enumerate(zip(line, sizes, strict=True))]
        for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def evaluate(
    model: Relabeller,
    batches: Batches,
    judge: LabelClassifier,
    *,
    real: Batches | None = None,
    guide: LabelClassifier | None = None,
    name: str = "model",
    rounds: int = 1,
    seed: int = 0,
    progress: bool = True,
) -> Scores:
    """Relabels held-out images to seeded wrong labels and judges the result, in bounded memory.

    Args:
        model: what is judged, a `ConditionalVAE` or anything with its `relabel` and `reconstruct`.
        batches: held-out images `(B, C, H, W)` in [0, 1] and labels `(B,)`.
        judge: an independent classifier; it is used in evaluation mode.
        real: real images that realism compares with, best training ones; None takes `batches`, whose floor is then 0.
        guide: the classifier that was in the loss, for the guide-judge gap.
        name: of the row.
        rounds: wrong labels drawn for each image; more than one steadies the figures of a small set.
        seed: of the wrong labels.
        progress: show a progress bar.

    Raises:
        ValueError: no batches; images or labels of another shape, type or range than the judge's.
    """
    evaluation = _Evaluation(model, judge, guide)
    generator = torch.Generator().manual_seed(seed)
    real = batches if real is None else real
    sizes = [len(source) if isinstance(source, Sized) else math.nan for source in (real, batches)]
    total = None if math.isnan(sum(sizes)) else sizes[0] + rounds * sizes[1]
    with evaluation_mode(judge), tqdm(desc=name, total=total, disable=not progress, leave=False, unit="batch") as bar:
        for images, labels in real:
            evaluation.see_real(images, labels)
            bar.update()
        for turn in range(rounds):
            for images, labels in batches:
                evaluation.see(images, labels, generator, again=turn > 0)
                bar.update()
    return evaluation.scores(name)


class _Evaluation:
    """The metrics of one evaluation, updated batch by batch, on the CPU: some devices know no float64."""

    def __init__(self, model: Relabeller, judge: LabelClassifier, guide: LabelClassifier | None) -> None:
        self.model, self.judge, self.guide = model, judge, guide
        self.classes = judge.num_classes
        self.effectiveness = Effectiveness(self.classes)
        self.accuracy = Effectiveness(self.classes)
        self.gap = GuideJudgeGap()
        self.composition = Composition()
        self.reversibility = Reversibility()
        self.realism = Realism(self.classes, judge.feature_dim)
        self.floor = Realism(self.classes, judge.feature_dim)
        self.sharpness = Sharpness()
        self.leakage = Leakage()
        self.styles: dict[str, Style] = {}

    def see_real(self, images: Tensor, labels: Tensor) -> None:
        images, labels = self._checked(images, labels)
        features, _ = self._judged(images)
        self.realism.update(features, labels, real=True)
        self.floor.update(features, labels, real=True)
        self.sharpness.update(images, real=True)

    def see(self, images: Tensor, labels: Tensor, generator: torch.Generator, again: bool) -> None:
        images, labels = self._checked(images, labels)
        asked = wrong_labels(labels, self.classes, generator)
        counterfactuals = self.model.relabel(images, asked, labels)
        features, logits = self._judged(counterfactuals)
        self.effectiveness.update(logits, asked)
        if self.guide is not None:
            with evaluation_mode(self.guide):
                self.gap.update(self.guide(counterfactuals.to(self.guide.device)).cpu(), logits, asked)
        self.reversibility.update(images, self.model.relabel(counterfactuals, labels, asked))
        self.realism.update(features, asked, real=False)
        self.sharpness.update(counterfactuals, real=False)
        after = style_statistics(counterfactuals)
        for name, before in style_statistics(images).items():
            self.styles.setdefault(name, Style(self.classes)).update(before, after[name], labels, asked)
        if again:
            return
        self.composition.update(images, self.model.reconstruct(images, labels))
        features, logits = self._judged(images)
        self.accuracy.update(logits, labels)
        self.floor.update(features, labels, real=False)
        if isinstance(self.model, ConditionalVAE):
            with evaluation_mode(self.model):
                posterior = self.model.encode(images.to(self.model.device), labels)
            self.leakage.update(posterior.mean.cpu(), labels)

    def _judged(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.judge.features(images.to(self.judge.device))
        return features.cpu(), self.judge.logits(features).cpu()

    def scores(self, name: str) -> Scores:
        if self.effectiveness.update_count == 0:
            raise ValueError("batches: expected at least one batch of images, got none")
        effectiveness, *by_class = self.effectiveness.compute().tolist()
        psnr, ssim, l1 = self.composition.compute().tolist()
        reversed_psnr, reversed_ssim, reversed_l1 = self.reversibility.compute().tolist()
        realism, realism_by_class = self.realism.compute().tolist()
        return Scores(
            name=name,
            images=int(self.effectiveness.asked.sum()),
            effectiveness=effectiveness,
            effectiveness_worst_class=min(value for value in by_class if not math.isnan(value)),
            guide_judge_gap=float(self.gap.compute()) if self.guide is not None else math.nan,
            judge_accuracy=float(self.accuracy.compute()[0]),
            psnr=psnr,
            ssim=ssim,
            l1=l1,
            reversed_psnr=reversed_psnr,
            reversed_ssim=reversed_ssim,
            reversed_l1=reversed_l1,
            realism=realism,
            realism_by_class=realism_by_class,
            realism_floor=float(self.floor.compute()[1]),
            sharpness=float(self.sharpness.compute()),
            leakage=float(self.leakage.compute()) if self.leakage.update_count else math.nan,
            style={style: float(metric.compute()) for style, metric in self.styles.items()},
            effectiveness_by_class=tuple(by_class),
        )

    def _checked(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        check_images(images, self.judge.image_shape)
        check_labels(labels, self.classes, len(images))
        return images.cpu().float(), labels.cpu()
