"""What the models accept: images in [0, 1], and labels in the forms that users have them.

Each check names what came, what was expected, and what to do. Values are read on the CPU always, on an
accelerator only where no gradient is recorded: there the check makes the host wait, which a training step
must not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from labelvae.checks import LARGEST_SIZE, check_count

if TYPE_CHECKING:
    import numpy

ImageShape: TypeAlias = tuple[int, int, int]
"""`(C, H, W)`: channels, height, width."""

Labels: TypeAlias = "Tensor | numpy.ndarray | Sequence[int] | Sequence[Sequence[float]] | int"
"""What users may give as labels: an int for all images; `(B,)` class indices as a tensor, list or array;
or `(B, K)` non-negative floating-point weights over the classes that sum to one in each row, a blend."""

_ROUNDING = 1e-3  # resizing and bfloat16 leave values this far outside [0, 1]


def check_image_shape(shape: Sequence[int], smallest: int = 8) -> ImageShape:
    """`(C, H, W)` as a tuple of integers with `H, W >= smallest`, or a `ValueError`."""
    values = tuple(shape) if isinstance(shape, Sequence) else ()
    if len(values) != 3 or any(isinstance(v, bool) or not isinstance(v, int) for v in values):
        raise ValueError(f"image_shape: expected three integers (C, H, W), got {shape!r}")
    channels, height, width = values
    if max(values) > LARGEST_SIZE:
        raise ValueError(f"image_shape: expected at most {LARGEST_SIZE:,} channels and pixels a side, got {values}")
    if channels < 1 or height < smallest or width < smallest:
        raise ValueError(
            f"image_shape: expected at least 1 channel and {smallest}x{smallest} pixels, got {channels} "
            f"channels of {height}x{width}; enlarge smaller images first"
        )
    return channels, height, width


def check_rows(name: str, value: Tensor, *sizes: int | None, batch: int | None = None) -> None:
    """A `ValueError` unless `value` is floating point, `(B, *sizes)`; None stands for any size. No value is read."""
    if torch.compiler.is_compiling():  # sizes are symbols there
        return
    fits = isinstance(value, Tensor) and value.is_floating_point() and value.ndim == len(sizes) + 1
    if fits and all(size in (None, there) for size, there in zip((batch, *sizes), value.shape, strict=True)):
        return
    expected = ", ".join("any" if size is None else str(size) for size in ("B" if batch is None else batch, *sizes))
    got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    raise ValueError(f"{name}: expected floats of shape ({expected}), got {got}")


def check_images(images: Tensor, shape: ImageShape, name: str = "images") -> None:
    """A `ValueError` unless `images` is floating point, `(B, *shape)`, B >= 1, finite and in [0, 1]."""
    expected = "(B, " + ", ".join(str(v) for v in shape) + ")"
    if not isinstance(images, Tensor):
        raise ValueError(
            f"{name}: expected a torch tensor {expected}, got {type(images).__name__}; "
            "torchvision.transforms.v2.functional.to_image and to_dtype(..., scale=True) convert images"
        )
    if images.ndim != 4 or tuple(images.shape[1:]) != tuple(shape):
        hint = "; add the batch dimension: images[None]" if images.ndim == 3 else ""
        raise ValueError(f"{name}: expected shape {expected}, got {tuple(images.shape)}{hint}")
    if len(images) == 0:
        raise ValueError(f"{name}: expected at least one image, got an empty batch {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(
            f"{name}: expected floating-point values in [0, 1], got {images.dtype}; "
            "8-bit images become that by images.float() / 255"
        )
    if not _readable(images):
        return
    low, high = (float(value) for value in torch.aminmax(images.detach()))
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise ValueError(f"{name}: expected finite values in [0, 1], got NaN or infinity; look at where they come from")
    if low < -_ROUNDING or high > 1.0 + _ROUNDING:
        raise ValueError(
            f"{name}: expected values in [0, 1], got values from {low:.4g} to {high:.4g}; undo any "
            "normalization (the models do their own), or divide 8-bit values by 255"
        )


def check_labels(labels: Tensor, num_classes: int, batch: int, name: str = "labels") -> Tensor:
    """`labels` as int64, or a `ValueError` unless they are `batch` class indices `(B,)` in [0, num_classes)."""
    if not isinstance(labels, Tensor) or labels.ndim != 1 or len(labels) != batch:
        got = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"{name}: expected one class index an image, shape ({batch},), got {got}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"{name}: expected integer class indices, got {labels.dtype}; use labels.long()")
    if not _readable(labels) or not len(labels):
        return labels.long()
    labels = labels.long()
    low, high = (int(value) for value in torch.aminmax(labels))
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{name}: expected class indices from 0 to {num_classes - 1}, got {low if low < 0 else high}; "
            f"there are {num_classes} classes here"
        )
    return labels


def label_weights(
    labels: Labels, num_classes: int, batch: int, device: torch.device | str = "cpu", name: str = "labels"
) -> Tensor:
    """Labels in any accepted form as float32 weights over the classes, `(B, K)`: one-hot for class indices.

    Raises:
        ValueError: an index outside [0, K), a wrong number of labels, weights that are negative, not
            finite or do not sum to one.

    >>> label_weights(2, num_classes=3, batch=1)
    tensor([[0., 0., 1.]])
    >>> label_weights([[0.5, 0.5, 0.0]], num_classes=3, batch=1)
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    if not isinstance(labels, Tensor):
        try:
            # A reversed array cannot become a tensor, its copy can.
            labels = torch.as_tensor(labels.copy() if hasattr(labels, "copy") else labels)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ValueError(f"{name}: expected class indices, got {labels!r}") from error
    labels = labels.to(device)
    if labels.ndim == 2 and labels.is_floating_point():
        return _blend(labels.float(), num_classes, batch, name)
    if labels.ndim == 0:
        labels = labels.expand(batch)
    return F.one_hot(check_labels(labels, num_classes, batch, name), num_classes).float()


def wrong_labels(labels: Tensor, num_classes: int, generator: torch.Generator | None = None) -> Tensor:
    """A label other than each image's own, drawn uniformly, `(B,)`.

    Raises:
        ValueError: labels that are not class indices `(B,)` in [0, K), or fewer than 2 classes.

    >>> wrong_labels(torch.tensor([0, 1, 0]), num_classes=2)
    tensor([1, 0, 1])
    """
    check_count("num_classes", num_classes, at_least=2)
    labels = check_labels(labels, num_classes, len(labels) if isinstance(labels, Tensor) and labels.ndim else 0)
    where = generator.device if generator is not None else labels.device
    offset = torch.randint(1, num_classes, labels.shape, generator=generator, device=where)
    return (labels + offset.to(labels.device)) % num_classes


def noised_labels(labels: Tensor, wrong: Tensor, share: float, num_classes: int) -> tuple[Tensor, Tensor]:
    """Labels of which a share is replaced by others, and wrong ones that still differ from each, uniformly; `(B,)`."""
    if not share:
        return labels, wrong
    fooled = torch.rand(len(labels), device=labels.device) < share
    given = torch.where(fooled, wrong_labels(labels, num_classes), labels)
    return given, torch.where(wrong == given, labels, wrong)


def _blend(weights: Tensor, num_classes: int, batch: int, name: str) -> Tensor:
    if tuple(weights.shape) != (batch, num_classes):
        raise ValueError(
            f"{name}: expected one weight a class, shape ({batch}, {num_classes}), got {tuple(weights.shape)}"
        )
    if _readable(weights):
        rows = weights.detach()
        if not bool(((rows.sum(dim=1) - 1.0).abs() < 1e-3).all()) or bool((rows < 0).any()):
            raise ValueError(f"{name}: expected non-negative weights that sum to one in each row, got {weights!r}")
    return weights


def _readable(values: Tensor) -> bool:
    if torch.compiler.is_compiling():
        return False
    return values.device.type == "cpu" or not torch.is_grad_enabled()
