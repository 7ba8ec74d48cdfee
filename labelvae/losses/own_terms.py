"""Loss terms of your own: functions of what a training step made, each with a name and a weight."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from labelvae.inputs.checks import check_number
from labelvae.inputs.conversions import described
from labelvae.losses.record import LossTerms
from labelvae.models.frozen import Classifier
from labelvae.models.latent import DiagonalGaussian
from labelvae.models.vae import ConditionalVAE
from labelvae.system.errors import first_line


@dataclass(frozen=True)
class StepRecord:
    """What one training step made of a batch. A loss term of your own is a function of this record.

    Attributes:
        images: the images of the batch, `(B, C, H, W)` in [0, 1].
        labels: their own labels, int64 `(B,)`.
        wrong: the labels asked of the counterfactuals, int64 `(B,)`.
        posterior: q(z | x), a Gaussian over codes `(B, D)`.
        code: z, the code drawn from the posterior, `(B, D)`.
        reconstruction: the images decoded under their own labels, `(B, C, H, W)` in [0, 1].
        made_counterfactual: see `counterfactual`; None if no term needs it.
        guide: the frozen guide, from images to logits `(B, K)`; None without one.
    """

    images: Tensor
    labels: Tensor
    wrong: Tensor
    posterior: DiagonalGaussian
    code: Tensor
    reconstruction: Tensor
    made_counterfactual: Tensor | None = field(repr=False)
    guide: Classifier | None = None

    @property
    def counterfactual(self) -> Tensor:
        """The images decoded under the wrong labels, `(B, C, H, W)` in [0, 1], from the same code and forward pass.

        Raises:
            ValueError: a term that read no counterfactual when the terms were first tried.
        """
        if self.made_counterfactual is None:
            raise ValueError(
                "terms: a term that reads the counterfactual at some steps alone must read it when it is tried; "
                "read record.counterfactual at its beginning"
            )
        return self.made_counterfactual


def record_of(
    images: Tensor,
    labels: Tensor,
    wrong: Tensor,
    posterior: DiagonalGaussian,
    code: Tensor,
    logits: Tensor,
    wrong_logits: Tensor | None,
    guide: Classifier | None,
) -> StepRecord:
    """Return the record of a step. Images are the sigmoid of the decoder's logits `(B, C, H, W)`, in float32."""
    made = None if wrong_logits is None else torch.sigmoid(wrong_logits.float())
    return StepRecord(images, labels, wrong, posterior, code, torch.sigmoid(logits.float()), made, guide)


@dataclass(frozen=True)
class _Tried(StepRecord):
    """A record that notes whether a term reads the counterfactual."""

    reads: list[str] = field(default_factory=list)

    @property
    def counterfactual(self) -> Tensor:
        self.reads.append("counterfactual")
        return super().counterfactual


Term = Callable[[StepRecord], Tensor]
"""A loss term of your own: from the record of a step to one number an image, `(B,)`, in nats."""


class OwnTerms(nn.Module):
    """Loss terms of your own, by name.

    If a term is an `nn.Module`, it moves with the loss, and its weights that require a gradient are trained with the
    model.

    Args:
        terms: the weight, at least 0, and the function of each term, by name.

    Raises:
        ValueError: an argument of another form; a name that is no identifier, or that a term of the objective has.
    """

    def __init__(self, terms: Mapping[str, tuple[float, Term]]) -> None:
        super().__init__()
        form = 'terms: expected {"name": (weight, function)}'
        if not isinstance(terms, Mapping):
            raise ValueError(f"{form}, got {described(terms)}; the function takes a StepRecord and returns (B,)")
        self.weights: dict[str, float] = {}
        self.functions: dict[str, Term] = {}
        for name, given in terms.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise ValueError(f"{form}, got the name {name!r}; take letters, digits and underscores")
            if name in LossTerms.__dataclass_fields__:
                raise ValueError(f"terms: {name!r} is the name of a term of the objective; take another name")
            if not isinstance(given, tuple | list) or len(given) != 2:
                raise ValueError(f"{form}, got {described(given)} as {name}")
            weight, function = given
            if not callable(function) or isinstance(function, type):
                raise ValueError(f"{form}, got {described(function)} as the function of {name}")
            self.weights[name] = check_number(f"terms[{name!r}]", weight, at_least=0)
            self.functions[name] = function
        self.modules_ = nn.ModuleList(each for each in self.functions.values() if isinstance(each, nn.Module))
        self.read_counterfactuals: bool | None = None
        """Whether a term reads the counterfactual; None before they were tried."""

    def forward(self, record: StepRecord) -> dict[str, Tensor]:
        """Return the terms whose weight is above 0, by name, each `(B,)`, in nats.

        Raises:
            ValueError: a term that returns another shape.
        """
        found = {}
        for name, function in self.functions.items():
            if self.weights[name] > 0:
                value = function(record)
                _check(name, value, len(record.images))
                found[name] = value.float()
        return found

    def try_on(self, vae: ConditionalVAE, guide: Classifier | None) -> None:
        """Try the terms once, on three grey images of the model's shape.

        The trial shows whether each term returns `(B,)`, and whether any term reads the counterfactual. A warning names
        a term without a gradient. Weights, statistics and random numbers stay as they were.

        Raises:
            ValueError: a term that fails, or returns another shape.
        """
        if self.read_counterfactuals is not None or vae.device.type == "meta" or torch.compiler.is_compiling():
            return
        device, reads = vae.device, list[str]()
        grey = torch.full((3, *vae.image_shape), 0.5, device=device)
        own, asked = torch.tensor([0, 1, 0], device=device), torch.tensor([1, 0, 1], device=device)
        before = {name: value.clone() for name, value in self.state_dict().items()}
        cards = [device.index or 0] if device.type == "cuda" else []
        with torch.enable_grad(), torch.random.fork_rng(devices=cards):
            code = _made(torch.zeros(3, vae.latent_dim, device=device))
            posterior = DiagonalGaussian(code, code)
            trial = _Tried(grey, own, asked, posterior, code, _made(grey), _made(grey), guide, reads)
            for name, function in self.functions.items():
                if self.weights[name] > 0:
                    value = _tried(name, function, trial)
                    _check(name, value, len(grey))
                    if not value.requires_grad and not torch.is_inference_mode_enabled():
                        _say_constant(name)
        self.load_state_dict(before)  # statistics that a trial moved
        self.read_counterfactuals = bool(reads)


def _made(values: Tensor) -> Tensor:
    """Return values as a training step makes them: with a gradient, and free to be changed in place."""
    return values.clone().requires_grad_().clone()


def _say_constant(name: str) -> None:
    warnings.warn(
        f"terms: {name} has no gradient on three grey images, so it is logged but trains nothing; leave out detach(), "
        "no_grad() and choices such as argmax",
        stacklevel=4,
    )


def _tried(name: str, function: Term, trial: StepRecord) -> Any:
    try:
        return function(trial)
    except Exception as error:  # code from outside may raise anything
        why = first_line(error).replace(_Tried.__name__, StepRecord.__name__)
        raise ValueError(
            f"terms: {name} fails on three grey images of shape {tuple(trial.images.shape)} on {trial.images.device} "
            f"({why:.200}); a StepRecord has images, labels, wrong, posterior, code, reconstruction, counterfactual "
            "and guide"
        ) from error


def _check(name: str, value: Any, count: int) -> None:
    if not isinstance(value, Tensor) or value.shape != (count,):
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else described(value)
        raise ValueError(
            f"terms: expected {name} to return one number an image, of shape ({count},), got {got}; "
            "sum over pixels with .flatten(1).sum(dim=1), not over the batch"
        )
