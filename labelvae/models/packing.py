"""Weights in few bits: whole numbers times a scale for each output channel, packed without gaps.

A weight is rounded to the nearest of 2^bits - 1 levels around zero. The scale is the one with the smallest squared
error of several. Down to about six bits this costs a convolutional model little (Nagel et al., 2021, "A White Paper on
Neural Network Quantization", arXiv 2106.08295). Weights of one dimension, such as the scales of a normalization, and
small ones are kept in half precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

LEVELS, SCALE = ".levels", ".scale"
"""Endings of a packed weight's two names in a file."""

SMALL = 2**14
"""Fewest values of a weight that is rounded. Smaller ones save little room, and rounding can harm them: the last layer
of an encoder holds directions of the code that hardly vary.
"""

LARGEST = float(np.finfo(np.float16).max)
"""Largest weight that half precision holds. A tensor with a larger one stays as it is."""

CLIPPED = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of a channel's largest weight that are tried as the largest level."""


def pack(weights: Mapping[str, Tensor], bits: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Round weights to few bits.

    Args:
        weights: the weights by name, on the CPU.
        bits: the bits of a weight, 2 to 8.

    Returns:
        The tensors for a file, by name, and the plain values that `unpack` needs with them.
    """
    made: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, weight in weights.items():
        if not weight.is_floating_point() or bool((weight.abs() > LARGEST).any()):
            made[name] = weight
        elif weight.ndim < 2 or weight.numel() < SMALL:
            made[name] = weight.half()
        else:
            levels, scale = _rounded(weight.float().flatten(1), bits)
            digits = levels.numpy().astype(np.uint8)[..., None] >> np.arange(bits, dtype=np.uint8)
            made[name + LEVELS] = torch.from_numpy(np.packbits(digits & 1))
            made[name + SCALE] = scale
            shapes[name] = list(weight.shape)
    return made, {"bits": bits, "shapes": shapes}


def unpack(made: Mapping[str, Tensor], said: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights that `pack` rounded, by name, in float32.

    Raises:
        ValueError: parts that are missing or of another size.
    """
    weights, bits = dict(made), said["bits"]
    for name, shape in said["shapes"].items():
        stored, scale = weights.pop(name + LEVELS, None), weights.pop(name + SCALE, None)
        count = math.prod(shape)
        if stored is None or scale is None or len(stored) != -(-bits * count // 8) or len(scale) != shape[0]:
            raise ValueError(f"the packed weight {name!r} is incomplete")
        digits = np.unpackbits(stored.numpy(), count=bits * count).reshape(count, bits)
        levels = np.packbits(digits, axis=1, bitorder="little")[:, 0]
        rows = torch.from_numpy(levels.astype(np.float32)).view(shape[0], -1) - 2 ** (bits - 1)
        weights[name] = (rows * scale.float()[:, None]).view(shape)
    return weights


def _rounded(rows: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return the levels `(N, M)` of rows, from 0 on, and their scales `(N,)` in half precision."""
    most = 2 ** (bits - 1) - 1
    largest = rows.abs().amax(dim=1, keepdim=True)
    best, scales = torch.zeros_like(rows), torch.zeros_like(largest)
    least = torch.full_like(largest, torch.inf)
    for share in CLIPPED:
        scale = (share * largest / most).half().float()
        levels = (rows / scale.clamp_min(1e-7)).round().clamp(-most, most)
        error = (levels * scale - rows).square().sum(dim=1, keepdim=True)
        better = error < least
        best, scales, least = (
            torch.where(better, new, old) for new, old in ((levels, best), (scale, scales), (error, least))
        )
    return best + most + 1, scales[:, 0].half()
