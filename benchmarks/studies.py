"""What `relabel.py` trains beside each other: every recipe, or a preset's `labelvae` with something changed."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Literal

from labelvae.data.settings import Augmentation
from labelvae.losses.objective import Objective
from labelvae.runs.building import without_label_loss
from labelvae.runs.conditionings import recipes
from labelvae.runs.settings import Settings, VAESettings

Preset = Literal["digits", "mnist", "fashion_mnist", "kmnist", "cifar10", "cifar10_small", "folder"]
Study = Literal["recipes", "ablation", "tries", "label-weight", "latent-size"]

TERMS = [field.name for field in fields(Objective) if field.name.endswith("_weight")]
BEFORE: dict[str, Any] = {
    "objective": {"style_weight": 0.0, "class_mean_weight": 8.0},
    "optimization": {"batch_size": 128},
}
"""The preset of MNIST before what was tried."""
TRIES: dict[str, dict[str, Any]] = {
    "before": {},
    "style 30": {"objective": {"style_weight": 30.0}},
    "half batches": {"optimization": {"batch_size": 64}},
    "adversarial x2": {"objective": {"adversarial_weight": 12.0}},
    "style 30, half batches, class mean 24": {
        "objective": {"style_weight": 30.0, "class_mean_weight": 24.0},
        "optimization": {"batch_size": 64},
    },
    "style 30 for equivariance, half batches": {
        "objective": {"style_weight": 30.0, "equivariance_weight": 0.0},
        "optimization": {"batch_size": 64},
    },
}
LABEL_WEIGHTS = {1: (0.0, 10.0, 30.0, 100.0), 3: (0.0, 30.0, 100.0, 300.0)}
"""Fixed ones, by the channels of the images."""
LATENT_SIZES = (0.25, 0.5, 1.0, 2.0)
"""Over the preset's."""


def named(study: Study, recipe: str, preset: Settings, channels: int) -> dict[str, VAESettings]:
    """The models of a study by name."""
    ours = preset.vae
    if study == "recipes":
        every = recipes(preset, channels)
    elif study == "ablation":
        terms = [term for term in TERMS if getattr(ours.objective, term) > 0]
        without: dict[str, dict[str, Any]] = {
            f"without {term.removesuffix('_weight')}": {"objective": {term: 0.0}} for term in terms
        }
        if ours.discriminator_sees_guide:
            without["without the guide's maps"] = {"discriminator_sees_guide": False}
        if ours.objective.discriminator_augmentation != Augmentation():
            unchanged = {"objective": {"discriminator_augmentation": Augmentation()}}
            without["without changes for the discriminator"] = unchanged
        every = {"all terms": ours} | {name: changed(ours, what) for name, what in without.items()}
    elif study == "tries" and channels > 1:
        raise ValueError("study: tries are of strokes, images of one channel, got colours; use another study")
    elif study == "tries":
        every = {name: changed(changed(ours, BEFORE), what) for name, what in TRIES.items()}
    elif study == "latent-size":
        sizes = [round(share * ours.latent_dim) for share in LATENT_SIZES]
        every = {f"latent {size}": replace(ours, latent_dim=size) for size in sizes}
    else:
        every = {
            f"lambda {weight:g}": changed(
                ours if weight else without_label_loss(ours),
                {"objective": {"label_weight": weight, "label_constraint": False}},
            )
            for weight in LABEL_WEIGHTS[channels]
        }
        if ours.objective.label_constraint:
            every["lambda learned"] = ours
    if recipe == "all":
        return every
    if recipe not in every:
        raise ValueError(f"recipe: expected all or one of {', '.join(every)}, got {recipe!r}")
    return {recipe: every[recipe]}


def changed(how: VAESettings, what: dict[str, Any]) -> VAESettings:
    """Settings with some of them, also of the parts, replaced."""
    parts = {name: replace(getattr(how, name), **value) for name, value in what.items() if isinstance(value, dict)}
    return replace(how, **(what | parts))
