"""A classifier of your own as guide or judge: any network from images to logits, with its normalization and size."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

from labelvae.inputs.checks import LARGEST_SIZE, as_list, as_size, check_count, check_number, check_same_data
from labelvae.inputs.conversions import described
from labelvae.inputs.tensors import ImageShape, check_image_shape, check_images
from labelvae.models.answers import check_answer, check_shape, counted, grey_images, logits_in
from labelvae.models.frozen import Classifier
from labelvae.models.inference import evaluation_mode, shallow_copy
from labelvae.models.loaded import check_both, check_loaded
from labelvae.models.pyramids import pyramid
from labelvae.models.watching import fitted, linear_inputs, maps_seen, octaves
from labelvae.system.compiling import uncompiled
from labelvae.system.errors import first_line

Features = Callable[[Tensor], Tensor]


class WrappedClassifier(Classifier):
    """A network of your own as a classifier. `LabelClassifier.wrap` makes one, and describes the arguments.

    Its features are the input of the fully connected layer that gives the logits, or else the logits. Its maps are
    those of its convolutions, see `octaves`.
    """

    def __init__(
        self,
        network: nn.Module,
        image_shape: ImageShape,
        num_classes: int | None,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        size: int | Sequence[int] | None = None,
        features: Features | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise ValueError(f"module: expected a torch.nn.Module from images to logits, got {type(network).__name__}")
        if features is not None and not callable(features):
            raise ValueError(f"features: expected a function of images, got {type(features).__name__}")
        self.image_shape = check_image_shape(image_shape)
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", self._by_channel("mean", mean, 0.0), persistent=False)
        self.register_buffer("std", self._by_channel("std", std, 1.0, above=0.0), persistent=False)
        self.size = None if size is None else list(as_size("size", size))
        self._features = features
        self._layer = ""
        self._octaves: list[tuple[str, int]] = []
        self.training = getattr(network, "training", False)  # a frozen program of TorchScript has no mode
        self._try(num_classes)

    def made(self) -> dict[str, Any]:
        """Return how images are prepared for the network, as plain values: mean, std and size."""
        mean, std = ([round(float(value), 6) for value in each.flatten()] for each in (self.mean, self.std))
        return {"mean": mean, "std": std, "size": self.size}

    def features(self, images: Tensor) -> Tensor:
        """Return the features `(B, F)` of images `(B, C, H, W)` in [0, 1]."""
        return self.logits_and_features(images)[1]

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, K)` of images `(B, C, H, W)` in [0, 1]; the gradient reaches the images.

        Raises:
            ValueError: images of another shape, type or range.
        """
        return logits_in(self.network(self._prepared(images)))

    def logits_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits `(B, K)` and features `(B, F)` of images `(B, C, H, W)` in [0, 1]."""
        prepared = self._prepared(images)
        if self._features is not None:
            return logits_in(self.network(prepared)), self._features(prepared).flatten(1)
        if not self._layer:
            logits = logits_in(self.network(prepared))
            return logits, logits
        with linear_inputs(self.network) as (watched, seen):
            logits = logits_in(watched(prepared))
        return logits, seen[self._layer].flatten(1)

    @property
    def map_widths(self) -> list[int]:
        """The channels of each of `coarse_maps`; empty if the network has no maps, or its layers cannot be watched."""
        return [channels for _, channels in self._octaves]

    def coarse_maps(self, images: Tensor, most: int | None = None) -> list[Tensor]:
        """Return the maps after each halving of the resolution, finest first, see `octaves`.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1].
            most: the largest number of maps, from the finest on. None for all.

        Returns:
            One tensor `(B, width, h, w)` for each map. The sizes are those of the image's halvings, rounded up,
            whatever size the network takes.

        Raises:
            ValueError: images of another shape, type or range; `most` below 1.
        """
        super().coarse_maps(images, most)
        wanted = self._octaves[:most]
        if not wanted:
            return []
        names = {name for name, _ in wanted}
        with maps_seen(shallow_copy(self.network), names) as (watched, seen):
            watched(self._prepared(images))
        sizes = pyramid(self.image_shape, len(wanted))[1:]
        return [fitted(seen[name], size) for (name, _), size in zip(wanted, sizes, strict=True)]

    def save_pretrained(self, folder: str | Path, bits: int | None = None) -> None:
        """Refuse to save: only its owner knows how to build the network.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"folder: a wrapped classifier is not saved ({type(self.network).__name__} is a network of your own); "
            "save that with torch.save(network.state_dict(), path), and wrap it again"
        )

    def _prepared(self, images: Tensor) -> Tensor:
        check_images(images, self.image_shape)
        check_both(self, "images", images)
        if self.size is not None and tuple(self.size) != tuple(images.shape[2:]):
            images = F.interpolate(images.float(), self.size, mode="bilinear", align_corners=False, antialias=True)
        images = images.to(self.dtype)
        return (images - self.mean.to(images)) / self.std.to(images)

    def _by_channel(self, name: str, given: Any, default: float, above: float | None = None) -> Tensor:
        channels = self.image_shape[0]
        values = default if given is None else as_list(given)
        each = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values] * channels
        if len(each) != channels:
            got = described(given) if isinstance(given, str) else len(each)
            raise ValueError(
                f"{name}: expected one number a channel, {channels} for images {self.image_shape}, got {got}; "
                "a network for other channels needs a module in front of it, as InColour in examples/own_parts.py"
            )
        numbers = [check_number(name, value, above=above) for value in each]
        if max(numbers) > 1:
            raise ValueError(
                f"{name}: expected levels of images in [0, 1], got {max(numbers):g}; divide mean and std by 255"
            )
        return torch.tensor(numbers)[:, None, None]

    def _try(self, num_classes: int | None) -> None:
        """Try the network on a few images: does it return logits, and from which layer?"""
        check_loaded("module", self)
        for count in (2, 3):  # a program may be made for one number of images
            self._try_on(grey_images(count, self.image_shape, self.device), num_classes)

    def _try_on(self, images: Tensor, num_classes: int | None) -> None:
        expected = f"logits of shape (B, {'K' if num_classes is None else num_classes})"
        before = [None if is_lazy(buffer) else buffer.clone() for buffer in self.network.buffers()]
        with evaluation_mode(self.network) as network, linear_inputs(network) as (watched, seen):
            prepared = self._prepared(images)
            failing = "module"
            try:
                logits = logits_in(watched(prepared))
                failing = "features"
                features = logits if self._features is None else self._features(prepared)
            except Exception as error:  # code from outside may raise anything
                why, hint = first_line(error), "give the size that it wants as size=, or another image_shape"
                if "channels" in why:
                    hint = "give a network for images of such channels, or put a module in front, as InColour in "
                    hint += "examples/own_parts.py"
                raise ValueError(
                    f"{failing}: fails on images of shape {tuple(prepared.shape)} ({why:.200}); {hint}"
                ) from error
        known = [(now, then) for now, then in zip(self.network.buffers(), before, strict=True) if then is not None]
        if not all(torch.equal(now, then) for now, then in known):
            with torch.no_grad():
                for now, then in known:
                    now.copy_(then)
            raise ValueError(
                "module: the program was exported in training mode, so its statistics change; export it after .eval()"
                if self._features is None
                else "features: the function uses the network in training mode, which changes its statistics; call "
                "the network's .eval() first"
            )
        check_shape("module", logits, len(images), num_classes)
        if not bool(torch.isfinite(logits).all()):
            raise ValueError(f"module: expected {expected}, got NaN or infinity for grey images; look at its weights")
        if not isinstance(features, Tensor) or features.ndim < 2 or len(features) != len(images):
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(f"features: expected a function of images to (B, F), got {got} for {counted(len(images))}")
        if bool((logits >= 0).all()) and bool(((logits.float().sum(dim=1) - 1.0).abs() < 1e-3).all()):
            raise ValueError(f"module: expected {expected}, got probabilities; leave out the softmax at its end")
        low, high = torch.aminmax(logits.float())
        if logits.shape[1] > 4 and 0 <= low < high <= 1:  # fewer may lie there by chance
            warnings.warn(
                f"module: expected {expected}, got values in [0, 1] for grey images; if the network ends in a "
                "sigmoid, leave it out: a guide would never be satisfied",
                stacklevel=4,
            )
        with evaluation_mode(self.network) as network, maps_seen(network) as (watched, maps):
            watched(prepared)
            self._octaves = octaves(maps, (prepared.shape[2], prepared.shape[3]), self.image_shape)
        self.num_classes = check_count("num_classes", logits.shape[1], at_least=1, at_most=LARGEST_SIZE)
        if self._features is None and seen:
            self._layer, features = next(reversed(seen.items()))
        self.feature_dim = features.flatten(1).shape[1]


def adopted(name: str, network: nn.Module, image_shape: ImageShape, num_classes: int | None) -> WrappedClassifier:
    """Return a network that was given as it is, as a classifier of such images. Errors name the argument `name`.

    Raises:
        ValueError: the network does not answer such images with so many logits.
    """
    try:
        return WrappedClassifier(network, image_shape, num_classes)
    except ValueError as error:
        raise ValueError(str(error).replace("module:", f"{name}:", 1)) from error


def matching(name: str, given: nn.Module, vae: Any) -> Classifier:
    """Return a classifier of the same images and classes as a model; a network that is given as it is becomes one.

    Raises:
        ValueError: a classifier of other images or classes; a network that does not answer with logits `(B, K)`.
    """
    network = uncompiled(given) if isinstance(given, nn.Module) else given
    if not isinstance(network, Classifier):
        return adopted(name, network, vae.image_shape, vae.num_classes)
    check_loaded(name, network)
    check_same_data(name, network, vae)
    check_answer(name, network)
    names = getattr(network, "class_names", None)
    if names and vae.class_names and names != vae.class_names:
        raise ValueError(
            f"{name}: its classes are {', '.join(names)}, those of the model {', '.join(vae.class_names)}; give a "
            f"{name} with the classes of the model, in the same order"
        )
    return network


def check_differentiable(name: str, classifier: Classifier) -> None:
    """Make sure that a gradient reaches the images of a network of your own.

    Raises:
        ValueError: no gradient does, as with quantized networks and with detached outputs. Such a network cannot guide.
            Nor can one that does not return logits `(B, K)`.
    """
    check_answer(name, classifier)
    inference = any(each.is_inference() for each in classifier.parameters())  # made where no gradient can be
    if not isinstance(classifier, WrappedClassifier) or inference:
        return
    with torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's of an operation without a gradient
        images = grey_images(2, classifier.image_shape, classifier.device).requires_grad_()
        logits = classifier(images)
        gradient = None
        if logits.requires_grad:
            with suppress(RuntimeError, NotImplementedError):
                (gradient,) = torch.autograd.grad(logits.sum(), images, allow_unused=True)
    if gradient is None:
        raise ValueError(
            f"{name}: expected a network whose logits have a gradient, got {type(classifier.network).__name__} without "
            "one; a quantized or detached network cannot guide, but it may be a judge"
        )
