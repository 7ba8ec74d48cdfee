"""Whether the values of a tensor may be looked at without making the host wait, or breaking a trace."""

from __future__ import annotations

import torch
from torch import Tensor


def readable(values: Tensor) -> bool:
    """Say whether a check may read values: on the CPU always, on an accelerator where no gradient is recorded.

    Never where there are none to read, or reading would end up in a program: under torch.compile, torch.export, vmap
    and other transforms of torch.func, torch.jit.trace, fake and meta tensors, and while a CUDA graph is captured.
    """
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return False
    if values.device.type == "meta" or _transformed(values):
        return False
    if values.device.type == "cpu":
        return True
    capturing = values.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    return not (torch.is_grad_enabled() or capturing)


def _transformed(values: Tensor) -> bool:
    """Whether a transform or a subclass stands between the tensor and its values; torch has no public name for it."""
    if type(values).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return True
    tracing = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)
    functorch = getattr(torch._C, "_functorch", None)
    wrapped = getattr(functorch, "is_functorch_wrapped_tensor", lambda _: False)
    return bool(tracing() or wrapped(values))
