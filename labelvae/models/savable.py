"""The weights of a model as a folder can hold them: under the names that its arguments give, or refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from labelvae.models.articles import with_article
from labelvae.models.inference import evaluation_mode


def plain_name(name: str) -> str:
    """Return the name of a weight without the parts that torch.compile, DataParallel and the like add to it.

    >>> plain_name("module._orig_mod.decoder.norms.0.weight")
    'decoder.norms.0.weight'
    """
    return ".".join(part for part in name.split(".") if part not in ("_orig_mod", "module"))


def savable_weights(model: Any, own: Collection[str] = ()) -> dict[str, Tensor]:
    """Return the weights of a model by plain names, on the CPU, as a model of its arguments takes them.

    Args:
        model: the model, with its arguments as `config`.
        own: the parts that its arguments do not build. Their weights keep their names.

    Raises:
        ValueError: weights that a model of these arguments would not take, such as those of a layer that was replaced;
            a quantized model, or one on the meta device.
    """
    kind = type(model).__name__
    weights = {plain_name(name): value for name, value in model.state_dict().items()}
    odd = next((name for name, value in weights.items() if not isinstance(value, Tensor) or value.is_quantized), None)
    if odd is not None:
        raise ValueError(
            f"model: expected {with_article(kind)} with plain weights, got {odd!r} of a quantized one; save it before "
            "it is quantized (bits= of save_pretrained makes a small file)"
        )
    if any(value.device.type == "meta" for value in weights.values()):
        raise ValueError("model: expected weights, got a model on the meta device, which has none; load them first")
    expected = _expected(model)
    if expected is not None and _wrong(weights, expected, own):
        plain = plain_weights(model)
        weights = {name: value for name, value in weights.items() if name.partition(".")[0] in own}
        weights |= {name: value for name, value in plain.items() if name.partition(".")[0] not in own}
        wrong = _wrong(weights, expected, own)
        if wrong:
            raise ValueError(
                f"model: {len(wrong)} of its weights are not those of {with_article(kind)} with its arguments, the "
                f"first is {wrong[0]!r}, so the folder could not be loaded; a layer was replaced or added. Save "
                "model.state_dict() with torch.save, and load it into a model that was changed in the same way"
            )
    return {name: value.detach().cpu().contiguous() for name, value in weights.items()}


def check_finite(weights: Mapping[str, Tensor], own: Collection[str], place: str, hint: str = "") -> None:
    """Make sure that no weights are NaN or infinite. A part of your own may hold infinity, as in a mask of attention.

    Args:
        weights: the weights by name.
        own: the parts of your own.
        place: where the weights are, for the error.
        hint: what the error says to do.

    Raises:
        ValueError: some weights are NaN or infinite; the first are named.
    """
    for name, value in weights.items():
        values = value.float() if value.is_floating_point() and value.element_size() == 1 else value
        broken = values.isnan() if name.partition(".")[0] in own else ~values.isfinite()
        if bool(broken.any()):
            raise ValueError(f"{place}: {name!r} has weights that are not finite{hint}")


@torch.no_grad()
def plain_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the state of a network without weight norm, spectral norm, pruning and other parametrizations.

    What a parametrized weight is made of is left out, and the weight itself is put in. `network` does not change.

    Args:
        network: the network.

    Returns:
        The weights by plain name.

    >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    >>> sorted(layer.state_dict()), sorted(plain_weights(layer))
    (['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1'], ['bias', 'weight'])
    """
    weights = {plain_name(name): value for name, value in network.state_dict().items()}
    with evaluation_mode(network) as twin:  # in training mode, spectral norm changes with each look
        for place, part in twin.named_modules():
            start = plain_name(f"{place}.") if place else ""
            for name, value in _effective(part).items():
                made_of = tuple(f"{start}{name}{end}" for end in ("_g", "_v", "_orig", "_mask", "_u"))
                inside = f"{start}parametrizations.{name}."
                weights = {key: v for key, v in weights.items() if key not in made_of and not key.startswith(inside)}
                weights[f"{start}{name}"] = value
    return weights


def _effective(part: nn.Module) -> dict[str, Tensor]:
    """Return the parametrized weights of a module, as they are used."""
    found: dict[str, Tensor] = {}
    if parametrize.is_parametrized(part):
        found |= {name: getattr(part, name) for name in part.parametrizations}  # type: ignore[union-attr]
    for hook in part._forward_pre_hooks.values():  # of the older functions in torch.nn.utils
        if isinstance(hook, WeightNorm):
            found[hook.name] = hook.compute_weight(part)
        elif isinstance(hook, SpectralNorm):
            found[hook.name] = hook.compute_weight(part, do_power_iteration=False)
        elif isinstance(hook, BasePruningMethod):
            found[hook._tensor_name] = hook.apply_mask(part)
    return found


def _expected(model: Any) -> dict[str, Tensor] | None:
    """Return the weights of a new model of the same arguments, without memory; None where they do not build it."""
    try:
        with torch.device("meta"):
            built = type(model)(**model.config)
    except TypeError:  # of a subclass with arguments of its own
        return None
    return {plain_name(name): value for name, value in built.state_dict().items()}


def _wrong(weights: dict[str, Tensor], expected: dict[str, Tensor], own: Collection[str]) -> list[str]:
    """Return the names of weights that differ in name or shape, outside the parts of your own."""
    shapes = [{name: value.shape for name, value in each.items()} for each in (weights, expected)]
    names = sorted(set(weights) | set(expected))
    return [n for n in names if n.partition(".")[0] not in own and shapes[0].get(n) != shapes[1].get(n)]
