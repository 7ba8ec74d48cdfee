"""The two halves of a model on many images, some at a time, in evaluation mode."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from labelvae.inputs.checks import check_count
from labelvae.inputs.tensors import ImageShape, moved
from labelvae.models.inference import chunks, evaluation_mode

MOST_AT_ONCE, MOST_VALUES = 256, 256 * 28 * 28
"""Number of images, and of the values of their pixels, that a processor computes at once. The maps of more images take
memory in such large blocks that glibc fetches them from the kernel anew for each chunk.
"""

BLOCK = 16
"""Images are cut where their number is a multiple of this, and no chunk is smaller. A product of matrices takes rows in
such blocks, so an image in a chunk is computed as it would be without chunks, to the last bit on many processors.
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
    device = vae.device
    own = None if own_labels is None else vae.label_weights(own_labels, images.shape[0], name, device)
    with evaluation_mode(vae) as model:
        means = [
            model.encode(moved(images[part], device, "images"), None if own is None else vae.weighed(own[part])).mean
            for part in _parts(vae, device, images.shape[0], chunk_size)
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
    own = vae.device
    parts = _parts(vae, own, codes.shape[0], chunk_size)
    with evaluation_mode(vae) as model:
        if len(parts) == 1:
            made: Tensor = model.decode(codes.to(own), vae.weighed(label.to(own)))
            return moved(made, device, "model").to(vae.dtype)
        images = torch.empty(codes.shape[0], *vae.image_shape, dtype=vae.dtype, device=device)
        for part in parts:
            images[part] = moved(model.decode(codes[part].to(own), vae.weighed(label[part].to(own))), device, "model")
    return images


def most_at_once(image_shape: ImageShape) -> int:
    """Return the largest number of images that a processor computes at once.

    >>> most_at_once((1, 28, 28)), most_at_once((3, 96, 96))
    (256, 16)
    """
    return BLOCK * max(1, min(MOST_AT_ONCE, MOST_VALUES // math.prod(image_shape)) // BLOCK)


def at_once(network: Any, images: Tensor) -> int:
    """Return how many of some images a network sees at a time: on a processor few, which takes less memory and time."""
    return most_at_once(network.image_shape) if network.device.type == "cpu" else len(images)


def _parts(vae: Any, device: torch.device, length: int, chunk_size: int) -> list[slice]:
    """Return the slices of the images that a model on `device` computes at a time."""
    most = most_at_once(vae.image_shape)
    if device.type != "cpu" or check_count("chunk_size", chunk_size) <= most:
        return chunks(length, chunk_size)
    parts = chunks(length, most)
    if len(parts) > 1 and length % most and length % most < BLOCK:
        parts[-2:] = [slice(parts[-2].start, length)]
    return parts
