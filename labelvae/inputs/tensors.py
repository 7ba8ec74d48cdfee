"""What the models accept: images in [0, 1], and labels in the forms that users have them.

Each check says what was given, what was expected, and what to do. Values are checked only if `readable` allows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from labelvae.inputs.checks import LARGEST_SIZE, as_list, check_count, in_words
from labelvae.inputs.conversions import ImageShape as ImageShape  # noqa: PLC0414  where it is looked for
from labelvae.inputs.conversions import described, image_tensor
from labelvae.inputs.labels import label_tensor
from labelvae.inputs.peeking import readable

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image

Images: TypeAlias = "Tensor | numpy.ndarray | Image | Sequence[Tensor | numpy.ndarray | Image]"
"""The forms of images: `(B, C, H, W)`, `(B, H, W, C)` or one image without B, as floats in [0, 1] or 8-bit integers; a
picture; or a list of images or pictures.
"""

Labels: TypeAlias = (
    "Tensor | numpy.ndarray | Sequence[int] | Sequence[str] | Sequence[Sequence[float]] | int | str | Mapping[str, Any]"
)
"""The forms of labels: an index or a name for all images; `(B,)` indices or names as a tensor, list, array or column of
a table; or `(B, K)` non-negative weights over the classes that sum to one in each row, one-hot or a blend. For a model
of several attributes: a dict from their names to values, or rows of values `(B, A)`.
"""

_ROUNDING = 1e-3  # resizing and bfloat16 leave values this far outside [0, 1]


def check_image_shape(shape: Any, smallest: int = 8) -> ImageShape:
    """Return `(C, H, W)` as a tuple of integers, with H and W at least `smallest`.

    Args:
        shape: three integers in a tuple, list, array or tensor. `(H, W)` is taken as one channel. `(H, W, C)` with 1, 3
            or 4 channels is turned round.
        smallest: the smallest height and width.

    Raises:
        ValueError: anything else.

    >>> check_image_shape((28, 28)), check_image_shape((32, 32, 3))
    ((1, 28, 28), (3, 32, 32))
    """
    given = as_list(shape)
    values = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else ()
    try:
        sizes = tuple(check_count("image_shape", value, at_least=0) for value in values)
    except ValueError:
        sizes = ()
    if len(sizes) not in (2, 3):
        raise ValueError(f"image_shape: expected three integers (C, H, W), got {described(shape)} {values or ''}")
    if len(sizes) == 2:
        sizes = (1, *sizes)
    if sizes[2] in (1, 3, 4) and sizes[0] >= smallest > sizes[2]:
        sizes = (sizes[2], *sizes[:2])
    channels, height, width = sizes
    if min(channels, height) >= smallest > width >= 1 or channels == height >= 4 * width >= 4:
        raise ValueError(
            f"image_shape: expected (C, H, W), got {sizes}, {channels} channels of {height}x{width}; "
            f"({width}, {channels}, {height}) are {width} channels of {channels}x{height}"
        )
    if max(sizes) > LARGEST_SIZE:
        raise ValueError(f"image_shape: expected at most {LARGEST_SIZE:,} channels and pixels a side, got {sizes}")
    if channels < 1 or height < smallest or width < smallest:
        raise ValueError(
            f"image_shape: expected at least 1 channel and {smallest}x{smallest} pixels, got "
            f"{in_words(channels, 'channel', 'channels')} of {height}x{width}; enlarge smaller images first"
        )
    return channels, height, width


def check_rows(name: str, value: Tensor, *sizes: int | None, batch: int | None = None) -> None:
    """Make sure that a tensor is floating point, of shape `(B, *sizes)`; None stands for any size. No value is read.

    Raises:
        ValueError: another type or shape.
    """
    if torch.compiler.is_compiling():  # sizes are symbols there
        return
    fits = isinstance(value, Tensor) and value.is_floating_point() and value.ndim == len(sizes) + 1
    if fits and all(size in (None, there) for size, there in zip((batch, *sizes), value.shape, strict=True)):
        return
    expected = ", ".join("any" if size is None else str(size) for size in ("B" if batch is None else batch, *sizes))
    got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    raise ValueError(f"{name}: expected floats of shape ({expected}), got {got}")


def as_images(images: Images, shape: ImageShape, name: str = "images") -> Tensor:
    """Return images in any form that people have them as checked floats `(B, C, H, W)` in [0, 1].

    Args:
        images: the images, see `Images`. One image becomes a batch of one.
        shape: `(C, H, W)`.
        name: the name of the argument in errors.

    Raises:
        ValueError: images of another shape, type or range.

    >>> as_images(torch.zeros(8, 8, dtype=torch.uint8), (1, 8, 8)).shape
    torch.Size([1, 1, 8, 8])
    """
    found = image_tensor(images, shape, name)
    check_images(found, shape, name)
    return found


def moved(values: Tensor, device: torch.device | str, name: str) -> Tensor:
    """Return values on a device.

    Raises:
        ValueError: values on the meta device, where there are none, for another device.
    """
    if values.device.type == "meta" != torch.device(device).type:
        raise ValueError(f"{name}: expected values, got a tensor of the meta device, which has none")
    return values.to(device)


def present(name: str, device: Any) -> torch.device:
    """Return a device of this machine.

    Raises:
        ValueError: a device that torch does not know, or that is not there.

    >>> present("device", "cpu")
    device(type='cpu')
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError, ValueError, ImportError) as error:
        there = "cpu" + "".join(f", cuda:{place}" for place in range(torch.cuda.device_count()))
        hint = "; a GPU of NVIDIA is called cuda" if str(device).lower() == "gpu" else ""
        reason = f"{str(error).partition(chr(10))[0]:.100}"
        raise ValueError(
            f"{name}: expected a device of this machine, such as {there}, got {device!r} ({reason}){hint}"
        ) from error
    return found


def check_images(images: Tensor, shape: ImageShape, name: str = "images") -> None:
    """Make sure that images are floating point, `(B, *shape)` with B at least 1, finite and in [0, 1].

    Images that require a gradient may leave [0, 1]: attributions add noise to them, and attacks move them.

    Raises:
        ValueError: images of another shape, type or range.
    """
    expected = "(B, " + ", ".join(str(v) for v in shape) + ")"
    if not isinstance(images, Tensor):
        raise ValueError(
            f"{name}: expected a torch tensor {expected}, got {type(images).__name__}; "
            + (
                "torch.export.export traces a model"
                if type(images).__name__ == "Proxy"  # of torch.fx.symbolic_trace
                else "labelvae.inputs.tensors.as_images(images, image_shape) makes one of arrays and pictures"
            )
        )
    if images.ndim != 4 or tuple(images.shape[1:]) != tuple(shape):
        hint = "; add the batch dimension: images[None]" if images.ndim == 3 else ""
        raise ValueError(f"{name}: expected shape {expected}, got {tuple(images.shape)}{hint}")
    if images.shape[0] == 0:
        raise ValueError(f"{name}: expected at least one image, got an empty batch {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(
            f"{name}: expected floating-point values in [0, 1], got {images.dtype}; "
            "8-bit images become that by images.float() / 255"
        )
    if not readable(images):
        return
    values = images.detach().float() if images.element_size() == 1 else images.detach()
    low, high = (float(value) for value in torch.aminmax(values))
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise ValueError(f"{name}: expected finite values in [0, 1], got NaN or infinity; look at where they come from")
    if images.requires_grad:  # an attribution's noisy image, or an adversarial step; held to no range
        return
    if low < -_ROUNDING or high > 1.0 + _ROUNDING:
        raise ValueError(
            f"{name}: expected values in [0, 1], got values from {low:.4g} to {high:.4g}; undo any "
            "normalization (the models do their own), or divide 8-bit values by 255"
        )


def check_labels(labels: Tensor, num_classes: int, batch: int, name: str = "labels") -> Tensor:
    """Return class indices `(B,)` in [0, num_classes) as int64, checked.

    Raises:
        ValueError: labels of another number, type or range.
    """
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.shape[0] != batch:
        got = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"{name}: expected one class index an image, shape ({batch},), got {got}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"{name}: expected integer class indices, got {labels.dtype}; use labels.long()")
    if not readable(labels) or not len(labels):
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
    labels: Labels,
    num_classes: int,
    batch: int,
    device: torch.device | str = "cpu",
    name: str = "labels",
    class_names: Sequence[str] | None = None,
) -> Tensor:
    """Return labels in any accepted form as float32 weights over the classes, `(B, K)`: one-hot for class indices.

    Args:
        labels: the labels, see `Labels`.
        num_classes: K.
        batch: B.
        device: the device of the weights.
        name: the name of the argument in errors.
        class_names: the name of each class. None for the indices as text.

    Raises:
        ValueError: an index outside [0, K); an unknown name; another number of labels; weights that are negative, not
            finite, or do not sum to one.

    >>> label_weights(2, num_classes=3, batch=1)
    tensor([[0., 0., 1.]])
    >>> label_weights([[0.5, 0.5, 0.0]], num_classes=3, batch=1)
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    found = moved(label_tensor(labels, num_classes, batch, name, class_names), device, name)
    if found.ndim == 2:
        return found
    found = check_labels(found, num_classes, batch, name)
    return (found[:, None] == torch.arange(num_classes, device=found.device)).float()


def wrong_labels(labels: Tensor, num_classes: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw a label other than each image's own, uniformly.

    Args:
        labels: the images' own labels, integers `(B,)` in [0, K).
        num_classes: K, at least 2.
        generator: the random number generator. None takes torch's own.

    Returns:
        The wrong labels, int64 `(B,)`.

    Raises:
        ValueError: labels of another shape, type or range; fewer than 2 classes.

    >>> wrong_labels(torch.tensor([0, 1, 0]), num_classes=2)
    tensor([1, 0, 1])
    """
    check_count("num_classes", num_classes, at_least=2)
    labels = check_labels(labels, num_classes, len(labels) if isinstance(labels, Tensor) and labels.ndim else 0)
    where = generator.device if generator is not None else labels.device
    offset = torch.randint(1, num_classes, labels.shape, generator=generator, device=where)
    return (labels + offset.to(labels.device)) % num_classes


def noised_labels(labels: Tensor, wrong: Tensor, share: float, num_classes: int) -> tuple[Tensor, Tensor]:
    """Replace a share of the labels by others, drawn uniformly.

    Args:
        labels: the labels, int64 `(B,)`.
        wrong: a wrong label for each, int64 `(B,)`.
        share: the share of the labels that are replaced, in [0, 1].
        num_classes: K.

    Returns:
        The labels, and wrong labels that differ from them, each int64 `(B,)`.
    """
    if not share:
        return labels, wrong
    fooled = torch.rand(len(labels), device=labels.device) < share
    given = torch.where(fooled, wrong_labels(labels, num_classes), labels)
    return given, torch.where(wrong == given, labels, wrong)
