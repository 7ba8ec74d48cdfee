"""labelvae: give it an image and a label; get the image back *as that label, in its own style*.

>>> from labelvae import ConditionalVAE
>>> vae = ConditionalVAE(image_shape=(1, 28, 28), num_classes=10)

Names are imported when they are first used, so that `import labelvae` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from labelvae.augmentation import augment as augment
    from labelvae.classifier import LabelClassifier as LabelClassifier
    from labelvae.conditioning import ConditionalBatchNorm2d as ConditionalBatchNorm2d
    from labelvae.conditioning import LabelPlanes as LabelPlanes
    from labelvae.conditioning import LatentShift as LatentShift
    from labelvae.data import ImageData as ImageData
    from labelvae.discriminator import Discriminator as Discriminator
    from labelvae.evaluation import evaluate as evaluate
    from labelvae.inputs import wrong_labels as wrong_labels
    from labelvae.latent import DiagonalGaussian as DiagonalGaussian
    from labelvae.loss_terms import LossTerms as LossTerms
    from labelvae.losses import GuidedELBO as GuidedELBO
    from labelvae.networks import Decoder as Decoder
    from labelvae.networks import Encoder as Encoder
    from labelvae.objective import Augmentation as Augmentation
    from labelvae.objective import Objective as Objective
    from labelvae.photographs import relabel_photo as relabel_photo
    from labelvae.scores import Scores as Scores
    from labelvae.settings import Optimization as Optimization
    from labelvae.settings import Settings as Settings
    from labelvae.training import ClassifierTraining as ClassifierTraining
    from labelvae.training import VAETraining as VAETraining
    from labelvae.vae import ConditionalVAE as ConditionalVAE

_HOMES = {
    "augmentation": ("augment",),
    "classifier": ("LabelClassifier",),
    "conditioning": ("ConditionalBatchNorm2d", "LabelPlanes", "LatentShift"),
    "data": ("ImageData",),
    "discriminator": ("Discriminator",),
    "evaluation": ("evaluate",),
    "inputs": ("wrong_labels",),
    "latent": ("DiagonalGaussian",),
    "loss_terms": ("LossTerms",),
    "losses": ("GuidedELBO",),
    "networks": ("Decoder", "Encoder"),
    "objective": ("Augmentation", "Objective"),
    "photographs": ("relabel_photo",),
    "scores": ("Scores",),
    "settings": ("Optimization", "Settings"),
    "training": ("ClassifierTraining", "VAETraining"),
    "vae": ("ConditionalVAE",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605  the names are listed above


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"labelvae.{_HOME[name]}"), name)
    raise AttributeError(f"module 'labelvae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
