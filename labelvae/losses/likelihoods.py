"""Likelihoods of an image given the decoder's logits, as objects: three that have names, or one of your own."""

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
    """What `GuidedELBO(likelihood=...)` takes: any object with this method.

    One that is an `nn.Module` moves with the loss; its weights that require a gradient are trained with the model.
    """

    def nll(self, images: Tensor, logits: Tensor) -> Tensor:
        """Return -log p(x | z, y), `(B,)`, in nats.

        Args:
            images: `(B, C, H, W)` in [0, 1].
            logits: the decoder's, `(B, C, H, W)`; the image that the model shows is their sigmoid.
        """
        ...


@dataclass(frozen=True)
class Bernoulli:
    """Grey levels as probabilities: the cross-entropy of sigmoid(logits) with the image.

    >>> Bernoulli().nll(torch.ones(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)) / 64
    tensor([0.6931, 0.6931])
    """

    def nll(self, images: Tensor, logits: Tensor) -> Tensor:
        """Return the negative log-likelihood, `(B,)`, in nats."""
        return bernoulli_nll(images, logits)


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution around each pixel of sigmoid(logits).

    Args:
        scale: standard deviation of a pixel, at least 0.001.
        learn_scale: learn it, from `scale` on (sigma-VAE, Rybkin et al., 2021, arXiv 2006.13202).

    Raises:
        ValueError: a scale that is too small.
    """

    scale: float = 0.1
    learn_scale: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", check_number("scale", self.scale, at_least=LEAST_SCALE))
        check_flag("learn_scale", self.learn_scale)

    def nll(self, images: Tensor, logits: Tensor, log_scale: Tensor | None = None) -> Tensor:
        """Return the negative log-likelihood, `(B,)`, in nats; `log_scale` is a learned one, in place of `scale`."""
        return gaussian_nll(images, torch.sigmoid(logits), self._log_scale(images, log_scale))

    def _log_scale(self, images: Tensor, learned: Tensor | None) -> Tensor:
        return torch.full((), self.scale, device=images.device).log() if learned is None else learned


@dataclass(frozen=True)
class Laplace(Gaussian):
    """A Laplace distribution around each pixel of sigmoid(logits); arguments are those of `Gaussian`."""

    def nll(self, images: Tensor, logits: Tensor, log_scale: Tensor | None = None) -> Tensor:
        """Return the negative log-likelihood, `(B,)`, in nats; `log_scale` is a learned one, in place of `scale`."""
        return laplace_nll(images, torch.sigmoid(logits), self._log_scale(images, log_scale))


NAMED: dict[str, type[Bernoulli] | type[Gaussian]] = {"bernoulli": Bernoulli, "gaussian": Gaussian, "laplace": Laplace}
"""The likelihoods that `Objective(likelihood=...)` knows by name."""


def likelihood_of(name: str, scale: float, learn_scale: bool) -> Bernoulli | Gaussian:
    """Return the likelihood that an objective names."""
    return Bernoulli() if name == "bernoulli" else (Laplace if name == "laplace" else Gaussian)(scale, learn_scale)


def settings_of(likelihood: object) -> dict[str, Any]:
    """Return the settings of an objective that name a likelihood; none for one of your own."""
    name = next((name for name, kind in NAMED.items() if type(likelihood) is kind), None)
    if name is None:
        return {}
    scaled = (
        {"scale": likelihood.scale, "learn_scale": likelihood.learn_scale} if isinstance(likelihood, Gaussian) else {}
    )
    return {"likelihood": name, "learn_scale": False, **scaled}
