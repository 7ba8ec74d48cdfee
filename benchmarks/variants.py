"""Other settings than a preset's, and terms that are computed at some steps only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import count
from typing import Any

from torch import Tensor

from labelvae import VAETraining


def changed(settings: Any, changes: Mapping[str, Any]) -> Any:
    """The settings with other values under dotted names.

    Raises:
        ValueError: There is no such setting.
    """
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        if first not in {field.name for field in fields(settings)}:
            raise ValueError(f"variants: there is no setting {name!r}; take names of settings.yaml, with dots")
        inner = getattr(settings, first)
        settings = replace(
            settings, **{first: changed(inner, {rest: value}) if is_dataclass(inner) and rest else value}
        )
    return settings


def make_seldom(task: VAETraining, terms: Mapping[str, int]) -> None:
    """Let a task compute each of these terms at every n-th step only, with n times its weight.

    Without the adversarial term, a step leaves the discriminator as it is. A term that is left out counts as 0 in the
    log.
    """
    objective, discriminator, steps, whole = task.loss.objective, task.loss.discriminator, count(), task.step
    names = [name.removesuffix("_weight").replace("label", "counterfactual_label") for name in terms]
    names += ["discriminator"] * ("adversarial_weight" in terms)

    def step(images: Tensor, labels: Tensor, progress: float | Tensor) -> dict[str, Tensor]:
        number = next(steps)
        weights: dict[str, Any] = {
            name: 0.0 if number % n else n * getattr(objective, name) for name, n in terms.items()
        }
        task.loss.objective = replace(objective, **weights)
        if task.loss.guidance is not None:
            task.loss.guidance.objective = task.loss.objective
        task.loss.discriminator = discriminator if weights.get("adversarial_weight", 1.0) else None
        found = whole(images, labels, progress)
        task.loss.discriminator = discriminator  # its weights are the task's, in every step
        return {name: found["total"].new_zeros(()) for name in names} | found

    task.step = step  # type: ignore[method-assign]
