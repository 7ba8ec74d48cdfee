"""Rows of results as Markdown tables, and the means over their seeds."""

from __future__ import annotations

import statistics
from typing import Any

HEADS = {
    "name": "recipe",
    "seed": "seed",
    "effectiveness": "effectiveness",
    "second_effectiveness": "by the second judge",
    "effectiveness_worst_class": "worst class",
    "second_worst_class": "worst, second judge",
    "guide_judge_gap": "guide-judge gap",
    "psnr": "own label, dB",
    "nats": "own label, nats",
    "reversed_psnr": "reversed, dB",
    "style_thickness": "thickness",
    "style_slant": "slant",
    "style_layout": "layout",
    "realism_over_floor": "realism, over floor",
    "realism_label_free_over_floor": "the same, by turned images",
    "taught": "taught, over real",
    "diversity": "diversity",
    "sharpness": "sharpness",
    "specks": "specks",
    "leakage": "leakage",
    "parameters": "parameters",
    "epochs": "epochs",
    "seconds": "seconds",
}
"""Columns of the table of models, by the keys of their rows."""


def table(rows: list[dict[str, Any]], heads: dict[str, str]) -> str:
    """Rows as Markdown, without the columns that no row has."""
    used = {key: head for key, head in heads.items() if any(row.get(key) is not None for row in rows)}

    def cell(value: Any) -> str:
        if value is None:
            return "-"
        if isinstance(value, float):
            return f"{value:.0f}" if value >= 1000 else f"{value:.4g}" if abs(value) >= 1 else f"{value:.3f}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    lines = [list(used.values()), ["---"] * len(used), *([cell(row.get(key)) for key in used] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def over_seeds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each recipe of several seeds a row of means and standard deviations."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["name"], []).append(row)

    def spread(values: list[Any]) -> Any:
        if not all(isinstance(value, float) for value in values):
            return values[0] if all(value == values[0] for value in values) else None
        mean = statistics.mean(values)
        digits = 3 if abs(mean) < 1 else 2
        return f"{mean:.{digits}f} ± {statistics.stdev(values):.{digits}f}"

    return [
        {key: spread([row.get(key) for row in group]) for key in group[0]} | {"seed": f"{len(group)} seeds"}
        for group in grouped.values()
        if len(group) > 1
    ]
