"""An encoder or a decoder of your own in a `ConditionalVAE`: what it must return, and how a model with it is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from labelvae.inputs.conversions import described
from labelvae.inputs.tensors import ImageShape
from labelvae.models.articles import with_article
from labelvae.models.inference import evaluation_mode
from labelvae.models.latent import LOG_VARIANCE_RANGE, DiagonalGaussian
from labelvae.models.savable import plain_weights
from labelvae.system.compiling import uncompiled
from labelvae.system.errors import first_line

PARTS = ("encoder", "decoder")


def posterior_of(answer: Any, count: int, latent_dim: int) -> DiagonalGaussian:
    """Return the answer of an encoder of your own as a posterior.

    Args:
        answer: a `DiagonalGaussian` of codes `(B, D)`, which is returned as it is; mean and log-variance, each
            `(B, D)`; or both in one tensor, `(B, 2D)`.
        count: B.
        latent_dim: D.

    Raises:
        ValueError: an answer of another form.
    """
    wanted = (count, latent_dim)
    if isinstance(answer, DiagonalGaussian):
        if answer.mean.shape == answer.log_variance.shape == wanted:
            return answer
        answer = answer.mean, answer.log_variance
    if isinstance(answer, Tensor) and answer.shape == (count, 2 * latent_dim):
        mean, log_variance = answer.chunk(2, dim=1)
    elif isinstance(answer, tuple | list) and len(answer) == 2:
        mean, log_variance = answer
    else:
        mean = log_variance = answer
    if mean is answer or any(not isinstance(each, Tensor) or each.shape != wanted for each in (mean, log_variance)):
        shapes = [tuple(each.shape) if isinstance(each, Tensor) else described(each) for each in (mean, log_variance)]
        got = shapes[0] if mean is answer else f"{shapes[0]} and {shapes[1]}"
        raise ValueError(
            f"encoder: expected mean and log-variance, (B, 2D) = {(count, 2 * latent_dim)} or two of {wanted}, got "
            f"{got} for {count} images; latent_dim says what D is"
        )
    return DiagonalGaussian(mean, log_variance.clamp(*LOG_VARIANCE_RANGE))


def check_logits(answer: Any, count: int, image_shape: ImageShape) -> Tensor:
    """Return the answer of a decoder of your own, checked to be pixel logits `(B, C, H, W)`.

    Raises:
        ValueError: an answer of another form.
    """
    wanted = (count, *image_shape)
    if not isinstance(answer, Tensor) or answer.shape != wanted:
        got = tuple(answer.shape) if isinstance(answer, Tensor) else described(answer)
        raise ValueError(f"decoder: expected pixel logits of shape {wanted}, got {got} for {count} codes")
    return answer


def copies(given: Sequence[Tensor]) -> list[Tensor]:
    """Return copies for a part of your own, which may change what it is given in place; the caller's values stay."""
    return [each.clone() for each in given]


def check_part(name: str, part: Any) -> nn.Module | None:
    """Return a part of your own, without the wrapper of `torch.compile`; None if there is none.

    Raises:
        ValueError: the part is not an `nn.Module`.
    """
    if part is None:
        return None
    if not isinstance(part, nn.Module):
        hint = f"; make one: {name}={part.__name__}(...)" if isinstance(part, type) else ""
        raise ValueError(f"{name}: expected a torch.nn.Module, got {described(part)}{hint}")
    found: nn.Module = uncompiled(part)
    return found


def try_part(name: str, model: Any) -> None:
    """Try a part of your own on three grey images or random codes, in evaluation mode. Nothing changes.

    Raises:
        ValueError: it fails; it returns another shape, NaN, or values like those after a sigmoid; weights of two types.
    """
    part = getattr(model, name)
    weight = next(part.parameters(), None)
    device = torch.device("cpu") if weight is None else weight.device
    beside = next(model.decoder.parameters(), None)
    if name == "encoder" and weight is not None and beside is not None and weight.dtype != beside.dtype:
        raise ValueError(
            f"encoder: its weights are of {weight.dtype}, the decoder's of {beside.dtype}; convert one by .float()"
        )
    if device.type == "meta":
        return
    label: Any
    if model.attributes is None:
        label = torch.eye(model.num_classes, device=device)[[0, 1, 0]]
    else:
        with torch.device(device):  # also where a model is made without memory, to see the shapes of its weights
            label = model.weighed(model.attributes.weights(model.attributes.examples(3)))
    cards = [device.index or 0] if device.type == "cuda" else []
    with torch.device(device), evaluation_mode(model) as twin, torch.random.fork_rng(devices=cards), _kept(part):
        try_on = torch.full((3, *model.image_shape), 0.5) if name == "encoder" else torch.randn(3, model.latent_dim)
        try:
            answer = twin.encode(try_on, label).mean if name == "encoder" else twin.decode_logits(try_on, label)
            low, high = torch.aminmax(answer.float())
        except Exception as error:  # code from outside may raise anything
            if isinstance(error, ValueError) and str(error).startswith(f"{name}:"):
                raise
            raise _failing(name, try_on, error) from error
    if name == "decoder" and 0 <= low < high <= 1:
        raise ValueError("decoder: expected pixel logits, got values in [0, 1]; leave out the sigmoid at its end")
    if bool(answer.isnan().any()):
        raise ValueError(f"{name}: expected numbers, got NaN; look at its weights")


@contextmanager
def _kept(part: nn.Module) -> Iterator[None]:
    """Restore the buffers of a part of your own at the end of this context: it may count what it sees."""
    before = [(buffer, buffer.clone()) for buffer in part.buffers() if not is_lazy(buffer)]
    try:
        yield
    finally:
        for buffer, then in before:
            if not torch.equal(buffer, then):
                buffer.copy_(then)


def _failing(name: str, given: Tensor, error: Exception) -> ValueError:
    kind, called = "codes", "decoder(z, label)"
    if name == "encoder":
        kind, called = "images", 'encoder(images), or as encoder(images, label) if encoder_label is not "none"'
    return ValueError(
        f"{name}: fails on {kind} of shape {tuple(given.shape)} ({first_line(error):.200}); it is called as {called}"
    )


def own_parts(model: Any, parametrized: bool = True) -> dict[str, str]:
    """Return the parts of a `ConditionalVAE` that its arguments do not build: the names of their classes, by part.

    Args:
        model: the model.
        parametrized: whether a parametrization (weight norm, pruning) of the library's own part makes it another.
    """
    try:
        with torch.device("meta"):
            built = type(model)(**model.config)
    except TypeError:  # of a subclass with arguments of its own
        return {}
    return {
        name: type(uncompiled(getattr(model, name))).__name__
        for name in PARTS
        if _form(getattr(model, name), parametrized) != _form(getattr(built, name), parametrized)
    }


def _form(part: nn.Module, parametrized: bool) -> list[Any]:
    """Return the classes and settings of a network's modules, and the names and shapes of its weights."""
    part = uncompiled(part)
    kinds: list[Any] = [
        (name, _kind(each), each.extra_repr())
        for name, each in part.named_modules()
        if "parametrizations" not in name.split(".")
    ]
    weights = part.state_dict() if parametrized else plain_weights(part)
    return kinds + sorted((name, tuple(getattr(v, "shape", ()))) for name, v in weights.items())  # in any order


def _kind(part: nn.Module) -> type:
    """Return the class of a module before its parametrization. All batch normalizations are one: they are converted."""
    kind: type = parametrize.type_before_parametrizations(part)
    return _BatchNorm if issubclass(kind, _BatchNorm) else kind


def check_given(saved: Mapping[str, str], given: Mapping[str, nn.Module | None], folder: Any) -> None:
    """Make sure that a saved model is loaded with exactly those parts of your own that it was saved with.

    Raises:
        ValueError: a part is missing, or was not saved.
    """
    unknown = sorted(set(given) - set(PARTS))
    if unknown:
        raise ValueError(f"{unknown[0]}: no such argument; from_pretrained takes device, encoder and decoder")
    for name in PARTS:
        if name in saved and given.get(name) is None:
            raise ValueError(
                f"{folder}: the model was saved with {with_article(name)} of your own ({saved[name]}), which a folder "
                f"cannot hold; pass from_pretrained(..., {name}={saved[name]}(...)) in Python, which then gets the "
                "saved weights; commands cannot load such a model"
            )
        if name not in saved and given.get(name) is not None:
            raise ValueError(
                f"{name}: the model under {folder} was saved with the library's own {name}; leave {name}= out"
            )


def check_weights(
    wrong: Sequence[str],
    expected: Mapping[str, Tensor],
    saved: Mapping[str, Tensor],
    given: Mapping[str, nn.Module | None],
    folder: Any,
) -> None:
    """Blame a part of your own for weights that differ, if all that differ are its.

    Args:
        wrong: names of the weights that differ; at least one.
        expected: the weights of the model with the given parts, by name.
        saved: the weights in the folder, by name.
        given: the parts of your own, by name.
        folder: where the model was saved.

    Raises:
        ValueError: a part that was given has other weights than the saved one.
    """
    first = wrong[0]
    part = first.split(".")[0]
    if given.get(part) is None or any(not name.startswith(f"{part}.") for name in wrong):
        return
    shapes = [f"of shape {tuple(each[first].shape)}" if first in each else "missing" for each in (saved, expected)]
    raise ValueError(
        f"{part}: {len(wrong)} of its weights are not those saved under {folder}: {first!r} is {shapes[0]} there and "
        f"{shapes[1]} in yours; make it with the arguments that it had"
    )
