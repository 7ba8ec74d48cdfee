"""A compiled training step, where there is a compiler.

A function is compiled, not a module. So the names of the weights in checkpoints and saved models stay as they are. And
validation and relabelling, whose batches have every size, compile nothing.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from labelvae.system.errors import first_line

P = ParamSpec("P")
R = TypeVar("R")


def uncompiled(module: Any) -> Any:
    """Return the module inside `torch.compile(module)`. Anything else is returned as it is."""
    while isinstance(module, nn.Module) and "_orig_mod" in module._modules:  # its class would be slow to import
        module = module._modules["_orig_mod"]
    return module


def compiled_or_eager(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function, or call it as it is, with one warning, if compiling fails (no C++ compiler, no Triton).

    The first call compiles, and so does the first gradient: seconds to minutes. A failure in the gradient alone is
    raised.

    Args:
        function: the function.

    Returns:
        The function to call in its place.
    """
    chosen: list[Callable[P, R]] = [torch.compile(function)]

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if chosen[0] is function:
            return function(*args, **kwargs)
        try:
            return chosen[0](*args, **kwargs)
        except _failures() as error:
            warnings.warn(f"compile: not possible here, training goes on without ({first_line(error)})", stacklevel=2)
            chosen[0] = function
            return function(*args, **kwargs)

    return call


def _failures() -> tuple[type[Exception], ...]:
    exceptions: Any = torch._dynamo.exc  # the compiler's errors have no public name
    return (exceptions.TorchDynamoException,)
