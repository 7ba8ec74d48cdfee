"""Batches in the forms that people's loaders give them, read as images and labels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from labelvae.attributes.rows import Attributes
from labelvae.data.given_data import form_of, parts_of
from labelvae.inputs.class_names import check_order
from labelvae.inputs.tensors import check_labels


def unpack(batch: Any, num_classes: int | Attributes) -> tuple[Tensor, Tensor]:
    """Read a batch as images and class indices.

    A batch is a tuple or a list, whose first two parts count, or a dict with one of `IMAGE_KEYS` and one of
    `LABEL_KEYS`. 8-bit images are scaled to [0, 1], on their device. Labels may be class indices `(B,)` or `(B, 1)`,
    also as whole floating-point numbers, or one-hot rows `(B, K)`. The values of labels are checked only if that does
    not make the host wait: on the CPU, or without gradients.

    Args:
        batch: what a loader gives.
        num_classes: K; or the attributes of a label. Labels are then rows `(B, A)`, or a dict of columns:
            tensors of numbers, or lists in which a category may be a name.

    Returns:
        Images `(B, C, H, W)`, and int64 labels `(B,)` or float rows `(B, A)`. `check_images` and `check_labels` check
        their shapes and ranges later.

    Raises:
        ValueError: a batch of another form or without labels; labels that are no class indices.

    >>> pixels = torch.full((2, 1, 8, 8), 255, dtype=torch.uint8)
    >>> images, labels = unpack({"image": pixels, "label": torch.eye(3)[1:]}, 3)
    >>> images.max(), labels
    (tensor(1.), tensor([1, 2]))
    """
    images, labels = _parts(batch)
    if labels is None:
        raise ValueError(
            f"batch: expected images and labels, got images alone ({form_of(batch)}); add the labels to the data set"
        )
    return _scaled(images), _labels(labels, num_classes)


def unpack_images(batch: Any, num_classes: int | Attributes) -> tuple[Tensor, Tensor | None]:
    """Read a batch as `unpack` does. The batch may also be images alone.

    Returns:
        Images `(B, C, H, W)`, and their labels, or None if there are none.
    """
    images, labels = _parts(batch)
    return _scaled(images), None if labels is None else _labels(labels, num_classes)


def _labels(labels: Any, form: int | Attributes) -> Tensor:
    if not isinstance(form, Attributes):
        return class_indices(labels, form)
    if isinstance(labels, Mapping):
        missing = [name for name in form if name not in labels]
        if missing:
            raise ValueError(f"labels: expected columns {', '.join(form)}, got {', '.join(map(str, labels))}")
        if not all(isinstance(labels[name], Tensor) for name in form):  # lists of names or numbers
            return form.rows({name: labels[name] for name in form})
        labels = torch.stack([torch.as_tensor(labels[name]).float().reshape(-1) for name in form], dim=1)
    rows: Tensor = labels.float()
    return rows[:, None] if rows.ndim == 1 and len(form) == 1 else rows


def check_batch_labels(labels: Tensor, form: int | Attributes, batch: int) -> Tensor:
    """Return the labels of a batch, checked: int64 `(B,)` of K classes, or float rows `(B, A)` of attributes.

    Raises:
        ValueError: labels of another shape, type or range.
    """
    return form.rows(labels, batch) if isinstance(form, Attributes) else check_labels(labels, form, batch)


def skip_one_image(last: bool) -> None:
    """Warn that the last batch of an epoch is skipped, because it has one image.

    Raises:
        ValueError: the batch is not the last of several.
    """
    if not last:
        raise ValueError(
            "batch_size: a training step needs at least 2 images, for batch normalization, got 1; enlarge batches"
        )
    warnings.warn("training: the last batch of an epoch is skipped: it has one image, a step needs 2", stacklevel=3)


def class_indices(labels: Tensor, num_classes: int) -> Tensor:
    """Turn labels that clearly mean class indices into int64 `(B,)`.

    Args:
        labels: `(B,)`, `(B, 1)` or one-hot rows `(B, K)`, of any type of numbers.
        num_classes: K.

    Returns:
        The class indices, `(B,)`. Labels of another form are returned as they are.

    Raises:
        ValueError: numbers that are not whole; rows that are not one-hot.
    """
    read = labels.device.type == "cpu" or not torch.is_grad_enabled()
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.shape[1] == num_classes:
        one_hot = ((labels == 0) | (labels == 1)).all() & (labels.sum(dim=1) == 1).all() if read else True
        if not one_hot:
            raise ValueError(
                "labels: expected class indices or one-hot rows, got rows that blend classes; "
                "give each training image one class"
            )
        labels = labels.to(torch.uint8).argmax(dim=1)
    if labels.is_floating_point():
        if read and not bool((labels == labels.round()).all()):
            raise ValueError(
                f"labels: expected class indices from 0 to {num_classes - 1}, got numbers that are not whole; "
                "a label is one of a few classes here"
            )
        labels = labels.long()
    if labels.dtype == torch.bool and num_classes == 2:
        labels = labels.long()
    return labels


def _scaled(images: Tensor) -> Tensor:
    return images.to(torch.float32).div(255.0) if images.dtype == torch.uint8 else images


def _parts(batch: Any) -> tuple[Tensor, Tensor | None]:
    """Return the images of a batch, and its labels or None."""
    if isinstance(batch, list | tuple) and len(batch) == 1 and isinstance(batch[0], list | tuple | Mapping):
        batch = batch[0]  # Trainer.fit was given a list of one loader
    found = parts_of(batch)
    for name, part in zip(("images", "labels"), found, strict=False):
        if not isinstance(part, Tensor) and not (name == "labels" and isinstance(part, Mapping)):
            raise ValueError(
                f"batch: expected a tensor of {name}, got {form_of(part)} in {form_of(batch)}; have one loader give "
                "tensors, such as torchvision.transforms.v2.functional.to_image makes of a picture"
            )
    return found[0], found[1] if len(found) > 1 else None


def take_names(network: Any, datamodule: Any) -> None:
    """Give a network without names of its classes those of the data that it is trained on.

    Args:
        network: has `num_classes` and, unless it keeps no names, `class_names`.
        datamodule: the trainer's, such as an `ImageData`; None, or one without `class_names`, changes nothing.

    Raises:
        ValueError: the network has names, of which one is at another place among those of the data.
    """
    names = getattr(datamodule, "class_names", None)
    if not names or not hasattr(network, "class_names") or len(names) != network.num_classes:
        return
    counted = [str(index) for index in range(len(names))]  # of a `Category` that was given as a number
    own = network.class_names
    if own is None or (own == counted and getattr(network, "attributes", None) is not None):
        network.class_names = names
    else:
        check_order("class_names", own, names, "the data")
