"""Runs side by side: their scores and pictures, as text or as one HTML file that loads nothing."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any

from labelvae.evaluation.scores import rows_table
from labelvae.models.finished_run import Run, read_run  # noqa: F401  where it is looked for

PICTURES = ("wrong_labels", "every_class", "samples", "reconstructions", "failures")

STYLE = """
:root { color-scheme: light dark; }
body { font-family: system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child { text-align: left; }
section { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; }
figure { margin: 0; } img { width: 100%; image-rendering: pixelated; }
"""


def differing_settings(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Find the settings that differ between runs.

    Args:
        runs: the runs.

    Returns:
        The values by name, one for each run. None if a run does not have the setting.
    """
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in ("out", "resume", "overwrite"))
    values = {name: [run.settings.get(name) for run in runs] for name in names}
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}


def comparison_table(runs: Sequence[Run]) -> str:
    """Format the models' scores, and the settings that differ.

    Args:
        runs: the runs.

    Returns:
        An aligned text table, with one column for each run.
    """
    differing = differing_settings(runs)
    scores = dict.fromkeys(name for run in runs for name in run.row)
    return rows_table(
        [
            {name: run.row.get(name) for name in scores}
            | {name: str(values[index]) for name, values in differing.items()}
            for index, run in enumerate(runs)
        ]
    )


def comparison_page(runs: Sequence[Run]) -> str:
    """Format scores and pictures as a page.

    Args:
        runs: the runs.

    Returns:
        The text of one HTML file, with the pictures inside. Nothing is loaded from elsewhere.
    """
    names = [name for name in dict.fromkeys(name for run in runs for name in run.row) if name != "name"]
    titles = "".join(f"<th>{html.escape(str(run.folder))}</th>" for run in runs)
    lines = "".join(
        f"<tr><th>{html.escape(name)}</th>{''.join(_cell(run.row.get(name)) for run in runs)}</tr>" for name in names
    )
    lines += "".join(
        f"<tr><th>{html.escape(name)}</th>{''.join(_cell(value) for value in values)}</tr>"
        for name, values in differing_settings(runs).items()
    )
    pictures = "".join(
        f"<h2>{name.replace('_', ' ')}</h2><section>{figures}</section>"
        for name in PICTURES
        if (figures := "".join(_figure(run, name) for run in runs))
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>labelvae: runs compared</title>'
        f"<style>{STYLE}</style></head><body><h1>Runs compared</h1>"
        f'<div class="wide"><table><tr><th></th>{titles}</tr>{lines}</table></div>{pictures}</body></html>\n'
    )


def _cell(value: Any) -> str:
    if value is None:
        return "<td>-</td>"
    return f"<td>{f'{value:.3f}' if isinstance(value, float) else html.escape(str(value))}</td>"


def _figure(run: Run, name: str) -> str:
    path = run.folder / f"{name}.png"
    if not path.is_file():
        return ""
    caption = html.escape(str(run.folder))
    source = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    return f'<figure><img alt="{name} of {caption}" src="{source}"><figcaption>{caption}</figcaption></figure>'
