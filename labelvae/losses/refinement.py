"""Counterfactuals taken further towards their label by the gradient of a robust guide.

`refined` changes images. `Refined` is a model together with its guide, and can be used in place of the model. If
`refinement.json` lies in the folder of a saved model, `labelvae relabel` and `labelvae evaluate` refine as it says.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from labelvae.inputs.checks import check_count, check_kind, check_number
from labelvae.inputs.tensors import Images, ImageShape, Labels, as_images, check_images, check_labels
from labelvae.losses.attack import differentiable
from labelvae.losses.refinement_files import guide_of, saved_refinement
from labelvae.losses.terms import label_loss
from labelvae.models.edits import confined, with_coarse_residual
from labelvae.models.frozen import Classifier
from labelvae.models.inference import evaluation_mode
from labelvae.models.passes import most_at_once
from labelvae.models.vae import ConditionalVAE
from labelvae.models.wrapped import check_differentiable, matching

RADIUS = 2.0
"""Default radius. It suits images of 32x32 pixels in colour: a person sees the change."""


@torch.inference_mode(False)
def refined(
    guide: Classifier, images: Tensor, labels: Tensor, radius: float = 2.0, steps: int = 10, chunk_size: int = 1024
) -> Tensor:
    """Change images a little, so that a guide takes them for their labels.

    Each step moves the images by an equal length down the gradient of the guide's cross-entropy, and then back into a
    ball around the original images. If the guide was trained on attacked images (`ClassifierSettings.adversarial`), its
    gradient draws what a person sees. The gradient of other classifiers draws noise (Ganz & Elad, 2021, "BIGRoC", arXiv
    2108.03702).

    Args:
        guide: the classifier. It is used in evaluation mode.
        images: the counterfactuals, `(B, C, H, W)` in [0, 1].
        labels: the labels they were asked to have, int64 `(B,)`.
        radius: the largest Euclidean distance of an image from its original, from 0 to that of black from white. 0
            changes nothing.
        steps: the number of steps, each of length `2.5 * radius / steps`. More steps change little.
        chunk_size: the largest number of images at a time. A processor takes fewer, which needs less memory.

    Returns:
        The refined images, `(B, C, H, W)` in [0, 1], on the device of `images`.

    Raises:
        ValueError: an argument out of range; images or labels of another shape, type or range.
    """
    check_radius("radius", radius, guide.image_shape)
    check_count("steps", steps)
    chunk_size = check_count("chunk_size", chunk_size)
    if guide.device.type == "cpu":  # the maps of every layer are kept for the gradient
        chunk_size = min(chunk_size, most_at_once(guide.image_shape))
    check_images(images, guide.image_shape)
    images, labels = differentiable(images), differentiable(check_labels(labels, guide.num_classes, len(images)))
    with evaluation_mode(guide) as network:
        parts = [
            _refined(network, some.to(guide.device), asked.to(guide.device), radius, steps).to(images.device)
            for some, asked in zip(images.split(chunk_size), labels.split(chunk_size), strict=True)
        ]
    return torch.cat(parts)


def check_radius(name: str, radius: float, image_shape: ImageShape) -> float:
    """Return the radius of a refinement, checked.

    It is at least 0, and at most the Euclidean distance of a black image from a white one.

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
    """Return the Euclidean length of each image, `(B, 1, 1, 1)`."""
    length: Tensor = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True)
    return length.clamp_min(1e-12)


class Refined:
    """A conditional VAE whose counterfactuals a robust guide refines, see `refined`.

    `evaluate` and `labelvae relabel` accept it in place of the model.

    Args:
        vae: the model.
        guide: a classifier of the same images and classes, trained on attacked images.
        radius: the largest Euclidean distance of a refined counterfactual from that of the model. 0 refines nothing.
        steps: the number of steps of the refinement.
        residual_blur: the standard deviation, in pixels, of the blur of the residual that is added before, see
            `edits.with_coarse_residual`. 0 adds nothing. Without `own_labels`, the guide says what an image is.

    Raises:
        ValueError: an argument out of range; a guide of other images or classes.
    """

    def __init__(
        self,
        vae: ConditionalVAE,
        guide: Classifier,
        radius: float = RADIUS,
        steps: int = 10,
        residual_blur: float = 0.0,
    ) -> None:
        check_kind("vae", vae, ConditionalVAE)
        check_kind("guide", guide, Classifier)
        matching("guide", guide, vae)
        check_differentiable("guide", guide)
        self.vae, self.guide = vae, guide
        self.radius = check_radius("radius", radius, vae.image_shape)
        self.steps = check_count("steps", steps)
        self.residual_blur = check_number("residual_blur", residual_blur, at_least=0, at_most=max(vae.image_shape[1:]))

    @classmethod
    def from_pretrained(cls, name: str | Path, radius: float | None = None, device: torch.device | str = "cpu") -> Self:
        """Load a model and the guide of its run.

        Args:
            name: the folder of a model or of a run, or the name of a model that comes with the package, such as
                "cifar10".
            radius: see the class. None takes the radius that is saved with the model, or else `RADIUS`.
            device: the device of the weights.

        Returns:
            The model with its guide, in evaluation mode.

        Raises:
            ValueError: no such model, or no guide in its run; an argument out of range.
        """
        vae = ConditionalVAE.from_pretrained(name, device)
        saved, blur = saved_refinement(name)
        return cls(vae, guide_of(name, device), (saved or RADIUS) if radius is None else radius, residual_blur=blur)

    @property
    def image_shape(self) -> ImageShape:
        """`(C, H, W)` of the images."""
        return self.vae.image_shape

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return self.vae.num_classes

    @property
    def class_names(self) -> list[str] | None:
        """The name of each class, or None."""
        return self.vae.class_names

    def reconstruct(self, images: Images, labels: Labels, chunk_size: int = 1024) -> Tensor:
        """Return images under their own labels, not refined; see `ConditionalVAE.reconstruct`."""
        return self.vae.reconstruct(images, labels, chunk_size)

    def relabel(
        self,
        images: Images,
        labels: Labels,
        own_labels: Labels | None = None,
        chunk_size: int = 1024,
        mask: Images | None = None,
        residual: bool = False,
    ) -> Tensor:
        """Return the refined counterfactuals of images; arguments and result are those of `ConditionalVAE.relabel`.

        Raises:
            ValueError: images or labels of another shape, type or range; labels that blend classes.
        """
        images = as_images(images, self.image_shape)
        made = self.vae.relabel(images, labels, own_labels, chunk_size, residual=residual)
        if self.residual_blur > 0 and not residual:
            own = self._classes_of(images, chunk_size) if own_labels is None else own_labels
            reconstructed = self.vae.reconstruct(images, own, chunk_size)
            made = with_coarse_residual(images, made, reconstructed, self.residual_blur)
        made = self.refine(made, labels, chunk_size)
        return made if mask is None else confined(images, made, mask)

    @torch.no_grad()
    def _classes_of(self, images: Tensor, chunk_size: int) -> Tensor:
        """Return what the guide takes images for, `(B,)`."""
        with evaluation_mode(self.guide) as guide:
            parts = [guide(some.to(guide.device)).argmax(dim=1) for some in images.split(chunk_size)]
        return torch.cat(parts).to(images.device)

    @property
    def decoder_sees_label(self) -> bool:
        """Whether the model can draw new images of a label."""
        return self.vae.decoder_sees_label

    def sample(self, labels: Labels, generator: torch.Generator | None = None, chunk_size: int = 1024) -> Tensor:
        """Return new images of labels, refined; arguments and result are those of `ConditionalVAE.sample`."""
        return self.refine(self.vae.sample(labels, generator, chunk_size), labels, chunk_size)

    def refine(self, images: Tensor, labels: Labels, chunk_size: int = 1024) -> Tensor:
        """Return the model's counterfactuals, refined: `(B, C, H, W)` in [0, 1].

        Args:
            images: the counterfactuals, `(B, C, H, W)` in [0, 1].
            labels: the labels they were asked to have, in any form that `relabel` accepts.
            chunk_size: the number of images at a time.

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
    """Return what relabels in place of a saved model: the model itself, or the model with the guide of its run.

    Args:
        vae: the model.
        name: the folder or the name that it was loaded from.
        radius: the radius of the refinement. 0 refines nothing. None takes the radius that is saved with the model.

    Raises:
        ValueError: a radius out of range; a saved radius that cannot be read; no guide in the model's run.
    """
    if radius is not None:
        radius = check_radius("refine", radius, vae.image_shape)
    if radius == 0:
        return vae
    saved, blur = saved_refinement(name)
    wanted = saved if radius is None else radius
    return Refined(vae, guide_of(name, vae.device), wanted, residual_blur=blur) if wanted > 0 else vae
