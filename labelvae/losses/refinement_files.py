"""What a saved model says of its refinement: `refinement.json` in its folder, and the guide of its run."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch

from labelvae.inputs.checks import check_number
from labelvae.models.classifier import LabelClassifier
from labelvae.models.hub import guide_folder, locate
from labelvae.models.vae import ConditionalVAE
from labelvae.system.whole_files import write_whole

FILE = "refinement.json"
"""File in the folder of a saved model: how its counterfactuals are refined."""


def guide_of(name: str | Path, device: torch.device | str = "cpu") -> LabelClassifier:
    """Load the guide of the run that made a model.

    Args:
        name: the folder or the name of the model.
        device: the device of the weights.

    Returns:
        The guide, in evaluation mode.

    Raises:
        ValueError: there is no guide in the run.
    """
    folder = guide_folder(name)
    if folder is None:
        raise ValueError(
            f"refine: expected the guide of the model's run beside {locate(name, ConditionalVAE.kind)}, in a folder "
            "named guide, got nothing there; copy it there, or relabel without it (--refine 0)"
        )
    if _was_attacked(folder.parent / "settings.yaml") is False:
        warnings.warn(
            f"refine: the guide at {folder} was not trained on attacked images (guide.adversarial is 0), so "
            "refining may draw noise that only the guide sees",
            stacklevel=3,
        )
    return LabelClassifier.from_pretrained(folder, device)


def save_radius(folder: str | Path, radius: float, residual_blur: float = 0.0) -> None:
    """Save how a model's counterfactuals are refined, in the model's folder; a radius of 0 deletes the file."""
    path = Path(folder) / FILE
    said = {"radius": check_number("radius", radius, at_least=0)}
    if check_number("residual_blur", residual_blur, at_least=0) > 0:
        said["residual_blur"] = residual_blur
    if radius > 0:
        write_whole(path, json.dumps(said) + "\n")
    else:
        path.unlink(missing_ok=True)


def saved_radius(name: str | Path) -> float:
    """Return the radius by which the counterfactuals of a saved model are refined; 0 if none is saved.

    Raises:
        ValueError: a file without a radius.
    """
    return saved_refinement(name)[0]


def saved_refinement(name: str | Path) -> tuple[float, float]:
    """Return the radius and the blur of the residual that are saved with a model; zeros if none are."""
    path = locate(name, ConditionalVAE.kind) / FILE
    if not path.is_file():
        return 0.0, 0.0
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        blur = check_number("residual_blur", dict(said).get("residual_blur", 0.0), at_least=0)
        return check_number("radius", said["radius"], at_least=0), blur
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f'{path}: expected {{"radius": a number}} ({error}); delete it to relabel without refining'
        ) from error


def _was_attacked(settings: Path) -> bool | None:
    """Return whether the guide of a run was trained on attacked images; None if the run does not say."""
    import yaml

    try:
        said = yaml.safe_load(settings.read_text(encoding="utf-8"))
        return bool(said["guide"]["adversarial"] > 0)
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, RecursionError):
        return None
