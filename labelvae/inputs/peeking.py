"""Whether a check may read the values of a tensor: reading can make the host wait, or break a trace."""

from __future__ import annotations

import torch
from torch import Tensor


def readable(values: Tensor) -> bool:
    """Return whether a check may read values: always on the CPU, and without gradients on an accelerator.

    It may not if there are no values, or if reading would become part of a program: under torch.compile, torch.export,
    vmap and other transforms of torch.func, and torch.jit.trace; for fake and meta tensors; and while a CUDA graph is
    captured.
    """
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return False
    if values.device.type == "meta" or _transformed(values):
        return False
    if values.device.type == "cpu":
        return True
    capturing = values.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    return not (torch.is_grad_enabled() or capturing)


def batched(values: Tensor) -> bool:
    """Return whether `torch.vmap` maps over a tensor, whose layout then cannot be asked for."""
    functorch = getattr(torch._C, "_functorch", None)
    return bool(getattr(functorch, "is_batchedtensor", lambda _: False)(values))


def _transformed(values: Tensor) -> bool:
    """Return whether a transform or a subclass hides the tensor's values. torch has no public name for this."""
    if type(values).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return True
    tracing = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)
    functorch = getattr(torch._C, "_functorch", None)
    wrapped = getattr(functorch, "is_functorch_wrapped_tensor", lambda _: False)
    return bool(tracing() or wrapped(values))
