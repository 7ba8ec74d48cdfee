"""The figures of an evaluation, as a table and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from labelvae.system.whole_files import write_whole


@dataclass(frozen=True)
class Scores:
    """The scores of a model. A figure that does not apply is NaN.

    Attributes:
        name: name of the model.
        images: number of counterfactuals.
        effectiveness: share of counterfactuals that the judge takes for the asked label, in [0, 1]. Higher is better.
        effectiveness_worst_class: effectiveness of the worst asked label, in [0, 1].
        guide_judge_gap: guide agreement minus judge agreement, in [-1, 1]. Near 0 is best.
        judge_accuracy: accuracy of the judge on the real images, in [0, 1]. Effectiveness far above it means
            caricatures.
        psnr: PSNR of reconstructions under the own label, dB, mean over images (composition). Higher is better.
        ssim: SSIM of the same reconstructions, in [-1, 1]. Higher is better.
        l1: mean absolute difference of the same reconstructions, in [0, 1]. Lower is better.
        reversed_psnr: PSNR of images that were relabelled and back, dB (reversibility). Higher is better.
        reversed_ssim: SSIM of the same images, in [-1, 1]. Higher is better.
        reversed_l1: mean absolute difference of the same images, in [0, 1]. Lower is better.
        realism: Fréchet distance to real images of all classes together, in judge features. Lower is better.
        realism_by_class: Fréchet distance to real images of the asked class, mean over classes. Lower is better.
        realism_floor: realism_by_class of the real held-out images themselves.
        realism_label_free: realism_by_class in the features of a network that never saw labels.
        realism_label_free_floor: the same for the real held-out images.
        diversity: variance within the asked class, in judge features, over that of real images. 1 is as in real images.
        sharpness: Laplacian energy over that of real images. 1 is as in real images.
        specks: separate bright regions in a counterfactual minus those in a real image, on average (one channel). 0 is
            best.
        leakage: accuracy of a linear probe that reads the label from the code, in [0, 1]. Lower is better.
        style: class-centred correlation of each style statistic, by name, in [-1, 1]. Higher is better.
        effectiveness_by_class: effectiveness of each asked label, in [0, 1].
        metrics: results of the metrics that were passed to `evaluate`, by name.
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
    realism_label_free: float
    realism_label_free_floor: float
    diversity: float
    sharpness: float
    specks: float
    leakage: float
    style: dict[str, float] = field(default_factory=dict)
    effectiveness_by_class: tuple[float, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Return the scores as one flat dict, with a key for each style and each class. NaN becomes None."""
        row = {name: value for name, value in vars(self).items() if not isinstance(value, dict | tuple)}
        row |= {f"style_{name}": value for name, value in self.style.items()}
        row |= {f"effectiveness_class_{index}": value for index, value in enumerate(self.effectiveness_by_class)}
        row |= self.metrics
        return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()}


class Scored(Protocol):
    """Scores that are a row of a table: `Scores`, or `AttributeScores`."""

    def row(self) -> dict[str, Any]:
        """Return the scores as one flat row."""


def save_scores(scores: Sequence[Scored], path: str | Path) -> None:
    """Write the rows as a JSON list."""
    write_whole(path, json.dumps([score.row() for score in scores], indent=2) + "\n")


def scores_table(scores: Sequence[Scored]) -> str:
    """Format every figure but those by class as an aligned text table, a column a model.

    >>> print(scores_table([]))
    <BLANKLINE>
    """
    return rows_table([score.row() for score in scores])


def rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format rows in the form of `scores.json`, like `scores_table`.

    Args:
        rows: the rows. Their keys are the figures, in the order in which they come. A figure that no row has is left
            out.

    Returns:
        The table.
    """
    known = dict.fromkeys(name for row in rows for name in row if not name.startswith("effectiveness_class_"))
    names = [name for name in known if any(row.get(name) is not None for row in rows)]
    lines = [[name, *(_short(row.get(name)) for row in rows)] for name in names]
    sizes = [max(len(line[column]) for line in lines) for column in range(len(rows) + 1)] if lines else []
    return "\n".join(
        "  ".join(
            cell.rjust(size) if column else cell.ljust(size)
            for column, (cell, size) in enumerate(zip(line, sizes, strict=True))
        )
        for line in lines
    )


def _short(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.3f}" if isinstance(value, float) else f"{value:,}"
