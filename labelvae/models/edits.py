"""What a counterfactual keeps of its image: everything outside a mask, and the detail that the model cannot draw."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from labelvae.inputs.checks import check_number
from labelvae.inputs.tensors import Images, Labels, as_images, moved

EDIT_WIDTH = 1.0
"""Standard deviation, in pixels, of the blur that keeps the residual away from what changed."""

LARGEST_EDIT = 0.1
"""Blurred change of a pixel, in the range [0, 1], from which on nothing of the residual is carried over."""


def confined(images: Tensor, changed: Tensor, mask: Images) -> Tensor:
    """Change images only inside a mask: `mask * changed + (1 - mask) * images`.

    Where the mask is 0, the result equals the image bit for bit. Where it is 1, the result equals the changed image.

    Args:
        images: the images, `(B, C, H, W)` in [0, 1].
        changed: the changed images, of the same shape.
        mask: one mask for all images, or one for each, see `as_masks`.

    Returns:
        The mixed images, `(B, C, H, W)`, of the dtype of `changed`.

    Raises:
        ValueError: a mask of another shape, type or range.
    """
    images = images.to(changed)
    share = moved(as_masks(mask, tuple(changed.shape)), changed.device, "mask").to(changed)
    mixed = torch.lerp(images, changed, share)
    return torch.where(share == 0, images, torch.where(share == 1, changed, mixed))


def as_masks(mask: Images, shape: tuple[int, ...]) -> Tensor:
    """Return a mask as floats `(1, 1, H, W)` or `(B, 1, H, W)` in [0, 1].

    Args:
        mask: `(H, W)`, `(1, H, W)`, `(H, W, 1)`, `(B, H, W)` or `(B, 1, H, W)`: truth values, 0 and 1, floats in [0, 1]
            or 8-bit levels up to 255. It may be a tensor, an array, a grey picture, or a list of them.
        shape: `(B, C, H, W)` of the images.

    Raises:
        ValueError: a mask of another shape, type or range.

    >>> as_masks(torch.eye(8, dtype=torch.bool), (5, 3, 8, 8)).shape
    torch.Size([1, 1, 8, 8])
    """
    batch, _, height, width = shape
    given = _as_tensor(mask)
    parts = [_as_tensor(each) for each in given] if isinstance(given, list | tuple) else []
    if parts and all(isinstance(each, Tensor) and each.shape == parts[0].shape for each in parts):
        given = torch.stack(parts)
    if isinstance(given, Tensor):
        if given.dtype == torch.bool:
            given = given.float()
        elif not given.is_floating_point() and given.numel() and int(given.min()) >= 0 and int(given.max()) <= 1:
            given = given.float()  # 0 and 1, not the two darkest of 256 levels
        if given.ndim == 3 and len(given) != 1 and tuple(given.shape) != (height, width, 1):
            given = given[:, None]
    masks = as_images(given, (1, height, width), "mask")
    if len(masks) not in (1, batch):
        raise ValueError(f"mask: expected one mask, or one for each of {batch} images, got {len(masks)}")
    return masks.clamp(0.0, 1.0)


def _as_tensor(mask: Any) -> Any:
    """Return an array or a grey picture as a tensor of its values, and anything else as it is."""
    if hasattr(mask, "__array_interface__") and getattr(mask, "mode", "L") in ("1", "L"):
        return torch.from_numpy(np.array(mask))
    return mask


def soft_edge(mask: Tensor, width: float = 1.0) -> Tensor:
    """Return a mask that fades out towards its edge, on the inside of the edge. Pixels that were 0 stay 0.

    Args:
        mask: the mask, `(B, 1, H, W)` in [0, 1].
        width: the standard deviation of the blur, in pixels. The edge fades over about two of them.

    Raises:
        ValueError: a width that is not above 0.
    """
    width = check_number("width", width, above=0)
    return (2.0 * blurred(mask, width) - 1.0).clamp(0.0, 1.0) * mask


def with_residual(images: Tensor, changed: Tensor, reconstructed: Tensor) -> Tensor:
    """Carry over the detail of an image that the model cannot draw, except near what the new label changes.

    The result is `changed + w * (images - reconstructed)`. The weight w of a pixel is 1 where nothing near it changes.
    It falls to 0 at a change of `LARGEST_EDIT`: on changed strokes the residual would draw the old strokes again. If an
    image is "changed" to its own reconstruction, the image itself comes back, bit for bit.

    Args:
        images: the images, `(B, C, H, W)` in [0, 1].
        changed: the counterfactuals, of the same shape.
        reconstructed: the images under their own labels, from the same codes, of the same shape.

    Returns:
        The counterfactuals with the detail, `(B, C, H, W)` in [0, 1], of the dtype of `changed`.
    """
    images = images.to(changed)
    edit = changed - reconstructed
    size = blurred(edit.abs().amax(dim=1, keepdim=True), EDIT_WIDTH)
    weight = (1.0 - size / LARGEST_EDIT).clamp(0.0, 1.0)
    carried = torch.lerp(changed, images + edit, weight)
    return torch.where((edit == 0) & (weight == 1), images, carried.clamp(0.0, 1.0))


def with_coarse_residual(images: Tensor, changed: Tensor, reconstructed: Tensor, width: float) -> Tensor:
    """Carry over the large shapes of light and colour of an image that the model does not draw.

    The result is `changed + blur(images - reconstructed)`. No edge of the image gets through the blur, so nothing that
    the new label changes is drawn again.

    Args:
        images: the images, `(B, C, H, W)` in [0, 1].
        changed: the counterfactuals, of the same shape.
        reconstructed: the images under their own labels, of the same shape.
        width: the standard deviation of the blur, in pixels.

    Returns:
        The counterfactuals with these shapes, `(B, C, H, W)` in [0, 1], of the dtype of `changed`.
    """
    return (changed + blurred((images - reconstructed).to(changed), width)).clamp(0.0, 1.0)


def own_for_residual(own_labels: Labels | None) -> Labels:
    """Return the images' own labels, which the residual needs.

    Raises:
        ValueError: there are none.
    """
    if own_labels is None:
        raise ValueError("own_labels: expected what each image is, to find its residual, got None; pass own_labels=...")
    return own_labels


def blurred(maps: Tensor, width: float) -> Tensor:
    """Blur maps with a Gaussian. Edges are repeated.

    Args:
        maps: the maps, `(B, C, H, W)`.
        width: the standard deviation of the Gaussian, in pixels.

    Returns:
        The blurred maps, `(B, C, H, W)`.
    """
    reach = max(1, math.ceil(3.0 * width))
    steps = torch.arange(-reach, reach + 1, device=maps.device, dtype=maps.dtype)
    weights = torch.exp(-0.5 * (steps / width) ** 2)
    weights = weights / weights.sum()
    channels = maps.shape[1]
    rows = weights.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    maps = F.conv2d(F.pad(maps, (0, 0, reach, reach), mode="replicate"), rows, groups=channels)
    return F.conv2d(F.pad(maps, (reach, reach, 0, 0), mode="replicate"), rows.mT, groups=channels)
