"""Modules that were moved into rooms: their old names go on working."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "allocator": "system.allocator",
    "attack": "losses.attack",
    "augmentation": "data.augmentation",
    "batches": "training.batches",
    "building": "runs.building",
    "callbacks": "training.callbacks",
    "charts": "visual.charts",
    "checks": "inputs.checks",
    "classes": "inputs.class_names",
    "classifier": "models.classifier",
    "command_line": "cli.parser",
    "commands": "cli.commands",
    "comparison": "runs.comparison",
    "compiling": "system.compiling",
    "conditioning": "models.conditioning",
    "conversions": "inputs.conversions",
    "dashboard": "training.dashboard",
    "data_settings": "data.settings",
    "demo": "page.server",
    "depth": "data.depth",
    "diagnosis": "evaluation.diagnosis",
    "differentiable_style": "data.differentiable_style",
    "discriminator": "models.discriminator",
    "doubts": "photos.reading",
    "experiment": "runs.experiment",
    "export": "models.export",
    "figures": "visual.grids",
    "fits": "photos.fits",
    "folders": "data.folders",
    "forms": "data.forms",
    "found": "photos.found",
    "frames": "photos.frames",
    "frozen": "models.frozen",
    "guidance": "losses.guidance",
    "hub": "models.hub",
    "image_files": "data.image_files",
    "image_sets": "data.image_sets",
    "inference": "models.inference",
    "labels": "inputs.labels",
    "latent": "models.latent",
    "loaders": "data.loaders",
    "logs": "training.loggers",
    "loss_terms": "losses.record",
    "machine": "runs.machine",
    "memory": "system.memory",
    "metrics": "evaluation.metrics",
    "model_card": "models.card",
    "morphology": "photos.morphology",
    "networks": "models.networks",
    "objective": "losses.objective",
    "optimizing": "training.optimizers",
    "page_html": "page.html",
    "paper_lines": "photos.paper_lines",
    "paste": "photos.pasting",
    "photographs": "photos.photographs",
    "picture_files": "photos.picture_files",
    "picture_inputs": "photos.picture_inputs",
    "pieces": "photos.pieces",
    "pixels": "data.pixels",
    "player": "page.player",
    "presets": "runs.presets",
    "pyramids": "models.pyramids",
    "readable": "inputs.peeking",
    "reading": "data.sources",
    "rebuilding": "training.checkpoints",
    "recipes": "runs.conditionings",
    "reference": "runs.reference",
    "references": "evaluation.references",
    "refinement": "losses.refinement",
    "relabelling": "cli.relabelling",
    "run_folder": "runs.run_folder",
    "saving": "models.saving",
    "scans": "photos.scans",
    "scores": "evaluation.scores",
    "settings": "runs.settings",
    "sheets": "visual.contact_sheets",
    "strokes": "photos.strokes",
    "style": "evaluation.style",
    "surroundings": "system.process",
    "task": "training.base",
    "term_window": "training.term_window",
    "terms": "losses.terms",
    "uploads": "page.uploads",
    "vae": "models.vae",
    "whole_files": "system.whole_files",
    "wrapped_classifier": "models.wrapped",
}
"""Where each module lies now, by the name that it had in the package before there were rooms."""


class OldName(MetaPathFinder, Loader):
    """Answers `import labelvae.OLD` with a module that has the names of the one it has become."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Claim the old names, and no others."""
        package, _, module = name.partition(".")
        return ModuleSpec(name, self) if package == "labelvae" and module in MOVED else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the making of the module to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Answer with the names of the module in its room."""
        now = import_module(f"labelvae.{MOVED[module.__name__.partition('.')[2]]}")
        vars(module).update({name: value for name, value in vars(now).items() if not name.startswith("__")})
        vars(module)["__getattr__"] = partial(getattr, now)  # for names that are made when they are asked for
        module.__doc__ = now.__doc__


def install() -> None:
    """Make the old names known to Python, once."""
    if not any(type(finder).__name__ == "OldName" for finder in sys.meta_path):
        sys.meta_path.append(OldName())
