"""Evaluation mode for one caller: the caller's model keeps its own mode, so threads can share it.

Switching a shared model to evaluation mode and back is a race: another thread finds it in the wrong mode. Instead a
*twin* is made, a second set of modules around the same tensors, and the twin is switched.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from types import MethodType
from typing import TypeVar, cast

import torch
from torch import nn

from labelvae.inputs.checks import check_count
from labelvae.system.compiling import uncompiled

Network = TypeVar("Network", bound=nn.Module)

_HOOKS = [name for name in nn.Module().__dict__ if name.endswith(("_hooks", "_hooks_with_kwargs"))]
_WRAPPED = "_orig_mod"
"""Name of the module inside `torch.compile(module)`."""

_TWIN = "_evaluation_twin"
"""Attribute of a twin, which belongs to the one caller of `evaluation_mode` that it was made for."""


@contextmanager
def evaluation_mode(module: Network) -> Iterator[Network]:
    """Yield a network to use in evaluation mode without gradients; `module` itself does not change.

    The yielded network shares every tensor with `module`: no weight is copied, and it sees a step of an optimizer at
    once. A compiled module that is in evaluation mode already is yielded itself, so that its compiled code is used.
    So is a twin: several passes over one batch share the twin of the first context.

    The context is `no_grad`, not `inference_mode`: the resulting images may be used to train something else.

    >>> network = nn.Sequential(nn.BatchNorm1d(2)).train()
    >>> with evaluation_mode(network) as twin:
    ...     twin.training, network.training, twin[0].running_mean is network[0].running_mean
    (False, True, True)
    """
    # Entered once: torch.export cannot save a program that disables gradients within a part where they are disabled.
    with torch.no_grad() if torch.is_grad_enabled() else nullcontext():
        if _TWIN in module.__dict__ and not module.training:
            yield module
            return
        parts = _parts(module)
        as_it_is = torch.compiler.is_compiling() or any(_compiled(part) for part in parts)
        if as_it_is and not any(part.training for part in parts):
            yield module
            return
        twin = shallow_copy(module)
        for part in _parts(twin):
            part.__dict__["training"] = False
        twin.__dict__[_TWIN] = True
        yield twin


def shallow_copy(module: Network) -> Network:
    """Copy a network's modules, but not its tensors.

    The copy has modes and hooks of its own, and shares weights and statistics. Compiled parts are copied uncompiled,
    because the compiled code belongs to the original.

    Returns:
        The copy.
    """
    copies: dict[int, nn.Module] = {}
    whole = _copied(module, copies)
    for part in copies.values():
        if MethodType not in map(type, part.__dict__.values()):
            continue
        methods = [(name, value) for name, value in part.__dict__.items() if type(value) is MethodType]
        for name, value in methods:
            if id(value.__self__) in copies:  # it would call the original
                part.__dict__[name] = MethodType(value.__func__, copies[id(value.__self__)])
    return cast("Network", whole)


def _copied(module: nn.Module, copies: dict[int, nn.Module]) -> nn.Module:
    if id(module) in copies:
        return copies[id(module)]
    if isinstance(module, torch.jit.ScriptModule):  # its mode lies in C++, where a shallow copy shares it
        return copies.setdefault(id(module), deepcopy(module))
    if _WRAPPED in module._modules:
        return copies.setdefault(id(module), _copied(uncompiled(module), copies))
    twin = object.__new__(type(module))
    copies[id(module)] = twin
    own = twin.__dict__
    own.update(module.__dict__)
    own["_compiled_call_impl"] = None
    own.pop(_TWIN, None)
    for name in _HOOKS:
        if name in own:
            own[name] = own[name].copy() if own[name] else OrderedDict()
    own["_modules"] = {
        name: None if child is None else _copied(child, copies) for name, child in module._modules.items()
    }
    return twin


def _parts(module: nn.Module) -> list[nn.Module]:
    """Return what `module.modules()` iterates over, several times as fast: a call on one image pays for it."""
    parts, seen = [module], {id(module)}
    for part in parts:
        for child in part._modules.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                parts.append(child)
    return parts


def _compiled(module: nn.Module) -> bool:
    return module._compiled_call_impl is not None or _WRAPPED in module._modules


def chunks(length: int, size: int) -> list[slice]:
    """Return the slices of `length` items, with at most `size` items each.

    In a program that is compiled, exported or traced, there is one slice of all: several would fix the length.

    >>> chunks(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 6, None)]
    """
    size = check_count("chunk_size", size)
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return [slice(None)]
    return [slice(start, start + size) for start in range(0, length, size)]
