"""Models that a command line names."""

from __future__ import annotations

from typing import Any


def load_model(name: str) -> tuple[Any, list[str]]:
    """Return a saved model and the names of its classes."""
    from labelvae.inputs.class_names import read_classes
    from labelvae.models.hub import locate
    from labelvae.models.vae import ConditionalVAE

    vae = ConditionalVAE.from_pretrained(name)
    return vae, read_classes(locate(name, vae.kind), vae.num_classes)


def guide_beside(model: str, vae: Any) -> Any:
    """Return the guide that a model of grey images was trained with, if it is in the model's run; else None."""
    from labelvae.models.classifier import LabelClassifier
    from labelvae.models.hub import guide_folder

    folder = guide_folder(model)
    if vae.image_shape[0] != 1 or folder is None:
        return None
    guide = LabelClassifier.from_pretrained(folder)
    return guide if (guide.image_shape, guide.num_classes) == (vae.image_shape, vae.num_classes) else None
