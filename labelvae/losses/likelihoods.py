"""Likelihoods of an image given the decoder's logits, as objects: three of the library, or one of your own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from labelvae.inputs.checks import check_flag, check_number
from labelvae.losses.objective import LEAST_SCALE
from labelvae.losses.terms import bernoulli_nll, gaussian_nll, laplace_nll


@runtime_checkable
class PixelLikelihood(Protocol):
    """The form of a likelihood of your own: any object with a method `nll`.

    If the object is an `nn.Module`, it moves with the loss, and its weights that require a gradient are trained with
    the model.
    """

    def nll(self, images: Tensor, logits: Tensor) -> Tensor:
        """Return -log p(x | z, y), `(B,)`, in nats.

        Args:
            images: the images x, `(B, C, H, W)` in [0, 1].
            logits: the decoder's answer, `(B, C, H, W)`. Its sigmoid is the image that the model shows.
        """
        ...


@dataclass(frozen=True)
class Bernoulli:
    """A Bernoulli likelihood: each grey level is taken as a probability (Kingma & Welling, 2014, arXiv 1312.6114).

    With p = sigmoid(logits), summed over channels and pixels:

        -log p(x | z, y) = -sum(x log p + (1 - x) log(1 - p))

    >>> Bernoulli().nll(torch.ones(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)) / 64
    tensor([0.6931, 0.6931])
    """

    def nll(self, images: Tensor, logits: Tensor) -> Tensor:
        """Return the negative log-likelihood of images, both `(B, C, H, W)`: `(B,)`, in nats."""
        return bernoulli_nll(images, logits)


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution around each pixel of sigmoid(logits).

    With m = sigmoid(logits) and the scale s, summed over channels and pixels:

        -log p(x | z, y) = sum((x - m)^2 / (2 s^2) + log s + log(2 pi) / 2)

    Args:
        scale: the standard deviation s of a pixel, in the range [0, 1] of the images; at least 0.001.
        learn_scale: learn s, starting from `scale` (sigma-VAE, Rybkin et al., 2021, arXiv 2006.13202).

    Raises:
        ValueError: a scale below 0.001.

    >>> Gaussian(scale=1.0).nll(torch.full((2, 1, 8, 8), 0.5), torch.zeros(2, 1, 8, 8)) / 64
    tensor([0.9189, 0.9189])
    """

    scale: float = 0.1
    learn_scale: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", check_number("scale", self.scale, at_least=LEAST_SCALE))
        check_flag("learn_scale", self.learn_scale)

    def nll(self, images: Tensor, logits: Tensor, log_scale: Tensor | None = None) -> Tensor:
        """Return the negative log-likelihood of images, `(B,)`, in nats.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1].
            logits: the decoder's answer, `(B, C, H, W)`.
            log_scale: the logarithm of a learned scale, a scalar. None takes `scale`.
        """
        return gaussian_nll(images, torch.sigmoid(logits), self._log_scale(images, log_scale))

    def _log_scale(self, images: Tensor, learned: Tensor | None) -> Tensor:
        return torch.full((), self.scale, device=images.device).log() if learned is None else learned


@dataclass(frozen=True)
class Laplace(Gaussian):
    """A Laplace distribution around each pixel of sigmoid(logits).

    With m = sigmoid(logits) and the scale b, summed over channels and pixels:

        -log p(x | z, y) = sum(|x - m| / b + log(2 b))

    The arguments are those of `Gaussian`. The scale is b here.

    >>> Laplace(scale=0.5).nll(torch.full((2, 1, 8, 8), 0.5), torch.zeros(2, 1, 8, 8))
    tensor([0., 0.])
    """

    def nll(self, images: Tensor, logits: Tensor, log_scale: Tensor | None = None) -> Tensor:
        """Return the negative log-likelihood of images, `(B,)`, in nats; see `Gaussian.nll`."""
        return laplace_nll(images, torch.sigmoid(logits), self._log_scale(images, log_scale))


NAMED: dict[str, type[Bernoulli] | type[Gaussian]] = {"bernoulli": Bernoulli, "gaussian": Gaussian, "laplace": Laplace}
"""The likelihoods that `Objective(likelihood=...)` knows by name."""


def likelihood_of(name: str, scale: float, learn_scale: bool) -> Bernoulli | Gaussian:
    """Return the likelihood that an objective names."""
    kind = NAMED[name]
    return kind(scale, learn_scale) if issubclass(kind, Gaussian) else kind()


def settings_of(likelihood: object) -> dict[str, Any]:
    """Return the fields of `Objective` that describe a likelihood; none for a likelihood of your own."""
    name = next((name for name, kind in NAMED.items() if type(likelihood) is kind), None)
    if name is None:
        return {}
    scaled = (
        {"scale": likelihood.scale, "learn_scale": likelihood.learn_scale} if isinstance(likelihood, Gaussian) else {}
    )
    return {"likelihood": name, "learn_scale": False, **scaled}
