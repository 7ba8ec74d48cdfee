"""The two halves of a model on many images, some at a time, in evaluation mode."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from labelvae.inputs.checks import check_count
from labelvae.inputs.tensors import moved
from labelvae.models.inference import chunks, evaluation_mode

MOST_AT_ONCE, MOST_VALUES = 256, 256 * 28 * 28
"""Largest number of images, and of the values of their pixels, that a processor computes at once. The maps of more
images take memory in such large blocks that glibc fetches them from the kernel anew for each chunk.
"""


def codes_of(vae: Any, images: Tensor, own_labels: Any, name: str, chunk_size: int) -> Tensor:
    """Encode images.

    Args:
        vae: the model.
        images: the images, `(B, C, H, W)` in [0, 1].
        own_labels: their own labels, for an encoder that sees the label; or None.
        name: the name of the labels in errors.
        chunk_size: the largest number of images at a time.

    Returns:
        The posterior means, `(B, D)`, on the model's device.
    """
    own = None if own_labels is None else vae.label_weights(own_labels, len(images), name, vae.device)
    with evaluation_mode(vae) as model:
        means = [
            model.encode(
                moved(images[part], vae.device, "images"), None if own is None else vae.weighed(own[part])
            ).mean
            for part in _parts(vae, len(images), chunk_size)
        ]
    return torch.cat(means)


def images_of(vae: Any, codes: Tensor, label: Tensor, chunk_size: int, device: torch.device) -> Tensor:
    """Decode codes.

    Args:
        vae: the model.
        codes: the codes, `(B, D)`.
        label: the label weights, `(B, L)`.
        chunk_size: the largest number of codes at a time.
        device: the device of the result.

    Returns:
        The images, `(B, C, H, W)` in [0, 1], on `device`.
    """
    parts = _parts(vae, len(codes), chunk_size)
    with evaluation_mode(vae) as model:
        if len(parts) == 1:
            made: Tensor = model.decode(codes.to(vae.device), vae.weighed(label.to(vae.device)))
            return made.to(device, vae.dtype)
        images = torch.empty(len(codes), *vae.image_shape, dtype=vae.dtype, device=device)
        for part in parts:
            images[part] = model.decode(codes[part].to(vae.device), vae.weighed(label[part].to(vae.device)))
    return images


def _parts(vae: Any, length: int, chunk_size: int) -> list[slice]:
    """Return the slices of the images that are computed at a time."""
    size = check_count("chunk_size", chunk_size)
    if vae.device.type == "cpu":
        size = min(size, MOST_AT_ONCE, max(1, MOST_VALUES // math.prod(vae.image_shape)))
    return chunks(length, size)
