"""Counterfactuals taken further towards their label by the gradient of a robust guide.

`refined` changes images. `Refined` is a model with its guide, in whose place it relabels. Where `refinement.json` lies
beside a saved model, `labelvae relabel` and `labelvae evaluate` refine by the radius that the file names.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from labelvae.inputs.checks import check_count, check_kind, check_number
from labelvae.inputs.tensors import Images, ImageShape, Labels, as_images, check_images, check_labels
from labelvae.losses.terms import label_loss
from labelvae.models.classifier import LabelClassifier
from labelvae.models.edits import confined
from labelvae.models.frozen import Classifier
from labelvae.models.hub import locate
from labelvae.models.inference import evaluation_mode
from labelvae.models.vae import ConditionalVAE
from labelvae.models.wrapped import matching
from labelvae.system.whole_files import write_whole

FILE = "refinement.json"
"""Beside a saved model: the radius by which its counterfactuals are refined."""

RADIUS = 2.0
"""Where none is named; for images of 32x32 pixels in colour, on which a person sees the change."""


def refined(
    guide: Classifier, images: Tensor, labels: Tensor, radius: float = 2.0, steps: int = 10, chunk_size: int = 1024
) -> Tensor:
    """Change images a little so that a guide takes them for their labels.

    Gradient descent on the guide's cross-entropy, in steps of equal length, projected to a ball around each image. The
    gradient of a guide trained on attacked images (`ClassifierSettings.adversarial`) draws what a person sees too;
    that of others draws noise (Ganz & Elad, 2021, "BIGRoC", arXiv 2108.03702).

    Args:
        guide: the classifier; it is used in evaluation mode.
        images: counterfactuals `(B, C, H, W)` in [0, 1].
        labels: what they were asked to be, `(B,)`.
        radius: the largest change of an image, the root of its squares' sum, at most that of black to white; 0 changes
            nothing.
        steps: steps of 2.5 * radius / steps; more change little.
        chunk_size: images at a time.

    Returns:
        `(B, C, H, W)` in [0, 1], on the device of `images`.

    Raises:
        ValueError: an argument out of range; images or labels of another shape, type or range.
    """
    check_radius("radius", radius, guide.image_shape)
    check_count("steps", steps)
    check_count("chunk_size", chunk_size)
    check_images(images, guide.image_shape)
    labels = check_labels(labels, guide.num_classes, len(images))
    with evaluation_mode(guide) as network:
        parts = [
            _refined(network, some.to(guide.device), asked.to(guide.device), radius, steps).to(images.device)
            for some, asked in zip(images.split(chunk_size), labels.split(chunk_size), strict=True)
        ]
    return torch.cat(parts)


def check_radius(name: str, radius: float, image_shape: ImageShape) -> float:
    """Return the radius of a refinement: of at least 0, and at most the distance of black from white.

    >>> check_radius("radius", 2.0, (3, 32, 32))
    2.0
    """
    return check_number(name, radius, at_least=0, at_most=round(math.sqrt(math.prod(image_shape)), 1))


def _refined(guide: Classifier, images: Tensor, labels: Tensor, radius: float, steps: int) -> Tensor:
    now = images
    for _ in range(steps):
        now = now.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(label_loss(guide(now), labels).sum(), now)
        change = now.detach() - 2.5 * radius / steps * gradient / _length(gradient) - images
        now = (images + change * (radius / _length(change)).clamp_max(1.0)).clamp(0.0, 1.0)
    return now.detach()


def _length(images: Tensor) -> Tensor:
    """The root of the sum of squares, `(B, 1, 1, 1)`."""
    length: Tensor = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True)
    return length.clamp_min(1e-12)


class Refined:
    """A conditional VAE whose counterfactuals a robust guide refines.

    `evaluate` and `labelvae relabel` take it in the place of the model.

    Args:
        vae: the model.
        guide: a classifier of the same images and classes, trained on attacked images.
        radius: the largest change of a counterfactual, the root of its squares' sum; 0 refines nothing.
        steps: steps of the refinement.

    Raises:
        ValueError: an argument out of range; a guide of other images or classes.
    """

    def __init__(self, vae: ConditionalVAE, guide: Classifier, radius: float = RADIUS, steps: int = 10) -> None:
        check_kind("vae", vae, ConditionalVAE)
        check_kind("guide", guide, Classifier)
        matching("guide", guide, vae)
        self.vae, self.guide = vae, guide
        self.radius = check_radius("radius", radius, vae.image_shape)
        self.steps = check_count("steps", steps)

    @classmethod
    def from_pretrained(cls, name: str | Path, radius: float | None = None, device: torch.device | str = "cpu") -> Self:
        """Load a model and the guide of its run.

        Args:
            name: the folder of a model or of a run; or the name of a model that comes with the package, "cifar10".
            radius: see the class; None takes what is saved beside the model, else `RADIUS`.
            device: where the weights go.

        Raises:
            ValueError: no such model, or no guide beside it; an argument out of range.
        """
        vae = ConditionalVAE.from_pretrained(name, device)
        radius = (saved_radius(name) or RADIUS) if radius is None else radius
        return cls(vae, guide_of(name, device), radius)

    @property
    def image_shape(self) -> ImageShape:
        """`(C, H, W)` of the images."""
        return self.vae.image_shape

    @property
    def num_classes(self) -> int:
        """K."""
        return self.vae.num_classes

    @property
    def class_names(self) -> list[str] | None:
        """The name of each label, or None."""
        return self.vae.class_names

    def reconstruct(self, images: Images, labels: Labels, chunk_size: int = 1024) -> Tensor:
        """Return images under their own labels, as the model makes them, not refined; see `ConditionalVAE`."""
        return self.vae.reconstruct(images, labels, chunk_size)

    def relabel(
        self,
        images: Images,
        labels: Labels,
        own_labels: Labels | None = None,
        chunk_size: int = 1024,
        mask: Images | None = None,
    ) -> Tensor:
        """Return the refined counterfactuals of images; arguments and result are those of `ConditionalVAE.relabel`.

        Raises:
            ValueError: images or labels of another shape, type or range; labels that blend classes.
        """
        images = as_images(images, self.image_shape)
        made = self.refine(self.vae.relabel(images, labels, own_labels, chunk_size), labels, chunk_size)
        return made if mask is None else confined(images, made, mask)

    @property
    def decoder_sees_label(self) -> bool:
        """Whether the model draws images of a label."""
        return self.vae.decoder_sees_label

    def sample(self, labels: Labels, generator: torch.Generator | None = None, chunk_size: int = 1024) -> Tensor:
        """Return new images of labels, refined; arguments and result are those of `ConditionalVAE.sample`."""
        return self.refine(self.vae.sample(labels, generator, chunk_size), labels, chunk_size)

    def refine(self, images: Tensor, labels: Labels, chunk_size: int = 1024) -> Tensor:
        """Return images, counterfactuals of the model, refined.

        Args:
            images: `(B, C, H, W)` in [0, 1].
            labels: what they were asked to be, in any form that `relabel` takes.
            chunk_size: images at a time.

        Raises:
            ValueError: images or labels of another shape, type or range; labels that blend classes.
        """
        weights = self.vae.label_weights(labels, len(images))
        if bool((weights.amax(dim=1) < 1).any()):
            raise ValueError(
                "labels: expected one class for each image, got a blend, towards which nothing is refined; "
                "relabel with the model alone, its .vae"
            )
        return refined(self.guide, images, weights.argmax(dim=1), self.radius, self.steps, chunk_size)


def refining(vae: ConditionalVAE, name: str | Path, radius: float | None = None) -> ConditionalVAE | Refined:
    """Return what relabels in the place of a saved model: the model itself, or with the guide of its run.

    Args:
        vae: the model.
        name: where it was loaded from.
        radius: of the refinement; 0 for none, None for what is saved beside the model.

    Raises:
        ValueError: a radius out of range, or a saved one that cannot be read; no guide beside the model.
    """
    if radius is not None:
        radius = check_radius("refine", radius, vae.image_shape)
    wanted = saved_radius(name) if radius is None else radius
    return Refined(vae, guide_of(name, vae.device), wanted) if wanted > 0 else vae


def guide_of(name: str | Path, device: torch.device | str = "cpu") -> LabelClassifier:
    """Load the guide of the run that a model is from.

    Raises:
        ValueError: there is none beside the model.
    """
    run = locate(name, ConditionalVAE.kind).parent
    if not (run / "guide" / "model.safetensors").is_file():
        raise ValueError(
            f"refine: expected the guide of the model's run at {run / 'guide'}, got nothing there; copy it there, or "
            "relabel without it (--refine 0)"
        )
    if _was_attacked(run / "settings.yaml") is False:
        warnings.warn(
            f"refine: the guide at {run / 'guide'} was not trained on attacked images (guide.adversarial is 0), so "
            "refining may draw noise that only the guide sees",
            stacklevel=3,
        )
    return LabelClassifier.from_pretrained(run / "guide", device)


def save_radius(folder: str | Path, radius: float) -> None:
    """Write beside a saved model that its counterfactuals are refined by a radius; 0 takes such a file away."""
    path = Path(folder) / FILE
    if check_number("radius", radius, at_least=0) > 0:
        write_whole(path, json.dumps({"radius": radius}) + "\n")
    else:
        path.unlink(missing_ok=True)


def saved_radius(name: str | Path) -> float:
    """Return the radius by which the counterfactuals of a saved model are refined; 0 where none is saved.

    Raises:
        ValueError: a file that does not say.
    """
    path = locate(name, ConditionalVAE.kind) / FILE
    if not path.is_file():
        return 0.0
    try:
        return check_number("radius", json.loads(path.read_text(encoding="utf-8"))["radius"], at_least=0)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f'{path}: expected {{"radius": a number}} ({error}); delete it to relabel without refining'
        ) from error


def _was_attacked(settings: Path) -> bool | None:
    """Whether the guide of a run was trained on attacked images; None where the run does not say."""
    import yaml

    try:
        said = yaml.safe_load(settings.read_text(encoding="utf-8"))
        return bool(said["guide"]["adversarial"] > 0)
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, RecursionError):
        return None
