"""What a finished run has left: its scores and settings, read from its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelvae.inputs.dotted import flat


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: the folder of the run.
        rows: the rows of its scores.json. The first is the model's.
        settings: the settings of its settings.yaml, by dotted names such as vae.objective.beta; empty without such a
            file.
    """

    folder: Path
    rows: list[dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> dict[str, Any]:
        """The model's scores, under the run's name."""
        return {**self.rows[0], "name": str(self.folder)}


def read_run(folder: str | Path) -> Run:
    """Read a run from its folder.

    Returns:
        The run.

    Raises:
        ValueError: no scores there, or scores that are not those of a run.
    """
    path = Path(folder) / "scores.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected the folder of a finished run")
    try:
        rows = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON ({error}); finish the run with --resume") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and "name" in row for row in rows):
        raise ValueError(f"{path}: expected a list of scores with names, as a run writes it")
    return Run(Path(folder), rows, _settings(Path(folder) / "settings.yaml"))


def _settings(path: Path) -> dict[str, Any]:
    import yaml

    try:
        known = yaml.safe_load(path.read_text()) if path.is_file() else {}
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path}: is broken ({error}); the scores beside it may be of another run") from error
    return flat(known) if isinstance(known, dict) else {}
