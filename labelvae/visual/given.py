"""What people give to draw: images, labels and numbers in the forms that they have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelvae.inputs.conversions import as_floats, described, imported
from labelvae.inputs.labels import label_tensor
from labelvae.inputs.tensors import check_labels

_CHANNELS = (1, 3, 4)


def given_image(image: Any) -> Tensor:
    """Return one image in any plain form as floats `(C, H, W)` on the CPU. Their range is not checked.

    Args:
        image: a tensor or an array `(C, H, W)`, `(H, W, C)` with 1, 3 or 4 channels, or `(H, W)`. Floats, 8-bit
            integers or booleans.

    Raises:
        ValueError: another form, shape or type.
    """
    found = _tensor("image", image)
    if found.ndim == 2:
        found = found[None]
    if found.ndim == 3 and found.shape[0] not in _CHANNELS and found.shape[2] in _CHANNELS:
        found = found.permute(2, 0, 1)
    if found.ndim != 3 or not found.numel():
        hint = "; draw a batch one by one" if found.ndim == 4 else ""
        raise ValueError(f"image: expected one image (C, H, W), got {described(image)}{hint}")
    return as_floats(found, "image").float()


def given_images(name: str, images: Any, count: int | None = None, dims: int = 4) -> Any:
    """Return images as a sequence of images, or of sequences of them.

    Args:
        name: the name of the argument in errors.
        images: a tensor, an array, or a list.
        count: how many there must be. None for at least one.
        dims: axes of a tensor or an array.

    Raises:
        ValueError: another number of images or axes.
    """
    axes = getattr(images, "ndim", dims)
    if axes != dims:
        form = "(N, K, C, H, W)" if dims == 5 else "(N, C, H, W)"
        hint = f"; {name}[None] for one image" if axes == 3 else ""
        raise ValueError(f"{name}: expected images {form}, got {described(images)}{hint}")
    if count is None and not len(images):
        raise ValueError(f"{name}: expected at least one image, got none")
    if count is not None and len(images) != count:
        raise ValueError(f"{name}: expected {count} of them, one for each image, got {len(images)}")
    return images


def given_labels(name: str, labels: Any, class_names: Sequence[str], count: int) -> Tensor:
    """Return labels in any plain form as class indices, int64 `(count,)`.

    Raises:
        ValueError: an index or a name of no class; another number of labels; blends of classes.
    """
    names = [str(each) for each in class_names]
    found = label_tensor(labels, len(names), count, name, names)
    if found.ndim == 2:
        if not bool(((found == 0) | (found == 1)).all()):
            raise ValueError(f"{name}: expected one class for each image, got blends of classes")
        found = found.argmax(dim=1)
    return check_labels(found.cpu(), len(names), count, name)


def given_numbers(name: str, values: Any, dims: int) -> Tensor:
    """Return numbers as floats on the CPU, without a gradient.

    Args:
        name: the name of the argument in errors.
        values: the numbers.
        dims: how many axes they have.

    Raises:
        ValueError: another number of axes.
    """
    found = _tensor(name, values)
    if found.ndim != dims:
        form = "(N, D)" if dims == 2 else "(N,)"
        raise ValueError(f"{name}: expected numbers of shape {form}, got {described(values)}")
    return found if found.dtype == torch.float64 else found.float()


def _tensor(name: str, values: Any) -> Tensor:
    """Return a tensor or an array as a tensor on the CPU, without a gradient."""
    found = imported(values)
    if not isinstance(found, Tensor):
        try:
            found = torch.from_numpy(np.array(found))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: expected a tensor or an array, got {described(values)}") from error
    return found.detach().cpu()
