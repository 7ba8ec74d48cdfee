"""Images with labels in the forms that people have them, read as batches.

Every call that takes images with labels reads them here: `ImageData.from_datasets`, `evaluate`, `ClassMean`,
`flows.fit_prior`, `visual.failures` and `segmentation_scores`. So each takes the same:

- a torch `Dataset` of examples, or an `IterableDataset`; a `Dataset` of Hugging Face;
- a `DataLoader`, or a list of batches;
- a split of an `ImageData`: `data.splits["test"]`, or its batches, `data.loader("test")`.

An example, or a batch, is a pair of images and labels; a longer tuple, whose first two parts count; or a dict with one
of `IMAGE_KEYS` and one of `LABEL_KEYS`. Images and labels may have any form that `Images` and `Labels` name, see
`inputs.tensors`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from labelvae.data.image_sets import FileImages, ImageSet
from labelvae.data.loaders import ImageLoader
from labelvae.inputs.checks import as_list
from labelvae.inputs.conversions import MODES, described
from labelvae.inputs.labels import label_tensor
from labelvae.inputs.tensors import ImageShape, as_images, check_labels

Batches: TypeAlias = Iterable[Any]
"""Images with labels: a torch `Dataset` or `DataLoader`, a list of batches, or a split; see `data.given_data`."""

IMAGE_KEYS = ("images", "image", "pixel_values", "img", "x")
"""Keys that a batch in the form of a dict may have for its images."""

LABEL_KEYS = ("labels", "label", "targets", "target", "y")
"""Keys that a batch in the form of a dict may have for its labels."""


def batches_of(argument: str, source: Any, repeated: bool = False, batch_size: int = 256) -> Batches:
    """Return images with labels as batches, whatever form they have.

    Args:
        argument: its name in the caller's words.
        source: the images and labels, in a form that this module's first lines list.
        repeated: the caller goes through the batches more than once.
        batch_size: the examples in a batch of a `Dataset` or of a split.

    Returns:
        The batches, which `pair_of` reads. A loader and a list are returned as they are.

    Raises:
        ValueError: anything else; an iterator, if the batches are needed more than once.

    >>> from torch.utils.data import TensorDataset
    >>> data = TensorDataset(torch.rand(5, 1, 8, 8), torch.arange(5))
    >>> [len(labels) for images, labels in batches_of("data", data, batch_size=2)]
    [2, 2, 1]
    """
    if isinstance(source, ImageSet | FileImages):
        return ImageLoader(source, batch_size)
    if has_positions(source):
        return DataLoader(source, batch_size, collate_fn=partial(_listed, argument), generator=torch.Generator("cpu"))
    if isinstance(source, Dataset):
        return _Stream(argument, source, batch_size)
    once = isinstance(source, Iterator)
    none = isinstance(source, str | bytes | Mapping | Tensor) or hasattr(source, "columns")  # of a data frame
    if none or not isinstance(source, Iterable) or (once and repeated):
        got = form_of(source) if isinstance(source, Mapping) else described(source)
        got += ", which can be gone through only once" if once else ""
        inner = [key for key in source if has_positions(source[key])] if isinstance(source, Mapping) else []
        got += f"; give one of them, such as that of {inner[0]!r}" if inner else ""
        raise ValueError(
            f"{argument}: expected a torch Dataset or DataLoader, or a list of batches of images and labels, got {got}"
            + ("; data.loader('test') are batches of an ImageData" if hasattr(source, "test_dataloader") else "")
        )
    return source


def classes_of(source: Any) -> list[str] | None:
    """Return the names of the classes that a data set says, its own or those of the data set inside; else None.

    Raises:
        ValueError: parts of a `ConcatDataset` name different classes.
    """
    while source is not None:
        names = getattr(source, "classes", getattr(source, "class_names", None))  # of torchvision, of Keras
        names = _features_names(source) if names is None else as_list(names)
        if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
            return list(names)
        parts = getattr(source, "datasets", None)
        if isinstance(parts, list) and parts:
            return _common_classes(parts)
        source = getattr(source, "dataset", None)
    return None


def _common_classes(parts: Sequence[Any]) -> list[str] | None:
    named = [names for part in parts if (names := classes_of(part)) is not None]
    other = next((names for names in named if names != named[0]), None)
    if other is not None:
        first, second = (", ".join(names[:8]) + (", ..." if len(names) > 8 else "") for names in (named[0], other))
        raise ValueError(
            f"classes: a part of the data has {first}, another has {second}; give each part the same classes in the "
            "same order, as an index would mean two of them"
        )
    return named[0] if named else None


def _features_names(source: Any) -> Any:
    """Return the names of the classes that a data set of Hugging Face says in its features; None for anything else."""
    features = getattr(source, "features", None)
    if not isinstance(features, Mapping):
        return None
    keys = [key for key in LABEL_KEYS if key in features]
    return getattr(features[keys[0]], "names", None) if len(keys) == 1 else None


def has_positions(source: Any) -> bool:
    """Return whether something is a data set with a length, whose examples can be read in any order.

    It is a torch `Dataset`, or one of Hugging Face, or any other object that `DataLoader` takes as one.
    """
    if isinstance(source, Dataset):
        return hasattr(source, "__len__") and not isinstance(source, IterableDataset)
    if isinstance(source, Sequence | Mapping | Tensor | np.ndarray):
        return False
    examples = hasattr(source, "features") or not isinstance(source, Iterable)
    return examples and hasattr(type(source), "__len__") and hasattr(type(source), "__getitem__")


class _Stream:
    """The examples of a `Dataset` that gives them one by one, in batches. Batches that it gives stay as they are."""

    def __init__(self, argument: str, dataset: Any, batch_size: int) -> None:
        self.argument, self.dataset, self.batch_size = argument, dataset, batch_size

    def __iter__(self) -> Iterator[Any]:
        each = iter(self.dataset)
        while rows := list(islice(each, self.batch_size)):
            if getattr(pair_of(rows[0], self.argument)[0], "ndim", 3) == 4:
                yield from rows
            else:
                yield _listed(self.argument, rows)


def _listed(argument: str, rows: list[Any]) -> tuple[list[Any], ...]:
    """Return the images and the labels of examples, each as a list."""
    return tuple(list(part) for part in zip(*(pair_of(row, argument) for row in rows), strict=True))


def parts_of(batch: Any, name: str = "batch") -> list[Any]:
    """Return the images of a batch or an example, and its labels if it has any.

    Args:
        batch: a tuple or a list, whose first two parts count; a dict; or a tensor of images alone.
        name: what is read, for errors.

    Raises:
        ValueError: another form.
    """
    if isinstance(batch, Tensor | np.ndarray):
        return [batch]
    if isinstance(batch, Mapping):
        images, labels = ([batch[key] for key in keys if key in batch] for keys in (IMAGE_KEYS, LABEL_KEYS))
        if len(images) != 1 or len(labels) > 1:
            raise ValueError(
                f"{name}: expected a dict with one of the keys {', '.join(IMAGE_KEYS)} and one of "
                f"{', '.join(LABEL_KEYS)}, got {form_of(batch)}; rename them in the data set, or pass one loader"
            )
        return [*images, *labels]
    if isinstance(batch, list | tuple) and batch:
        return list(batch[:2])
    raise ValueError(f"{name}: expected images and labels, got {form_of(batch)}; see torch.utils.data.DataLoader")


def pair_of(batch: Any, name: str = "batches") -> tuple[Any, Any]:
    """Return the images and the labels of a batch or an example, unchecked.

    Raises:
        ValueError: another form; images without labels.
    """
    parts = parts_of(batch, name)
    if len(parts) < 2 and isinstance(batch, Mapping):
        raise ValueError(
            f"{name}: expected a dict with one of the keys {', '.join(LABEL_KEYS)}, got {form_of(batch)}; rename "
            "the key of the labels"
        )
    if len(parts) < 2:
        raise ValueError(
            f"{name}: expected images and labels, as a pair or as a dict of image and label, got images alone "
            f"({form_of(batch)}); [(images, labels)] is a list of one batch"
        )
    return parts[0], parts[1]


def form_of(batch: Any) -> str:
    """Return the form of a batch in a few words, for errors."""
    if isinstance(batch, Mapping):
        return f"a dict of {', '.join(map(str, batch)) or 'nothing'}"
    if isinstance(batch, list | tuple):
        return f"a {type(batch).__name__} of {len(batch)} parts"
    return f"a {type(batch).__module__}.{type(batch).__name__}".replace("builtins.", "")


def shape_of(images: Any) -> ImageShape | None:
    """Return `(C, H, W)` of the images of a batch, of which nothing is known; None for what are no images."""
    one = images[0] if isinstance(images, list | tuple) and images else images
    if hasattr(one, "getbands"):
        return (1 if one.mode in ("1", "L") else 3), one.height, one.width
    sizes = tuple(getattr(one, "shape", ()))
    if len(sizes) == 2 or (len(sizes) == 3 and one is images):  # (H, W), or a batch of them
        return 1, sizes[-2], sizes[-1]
    sizes = sizes[1:] if len(sizes) == 4 else sizes
    if len(sizes) != 3:
        return None
    last = sizes[2] in MODES and sizes[0] not in MODES
    return (sizes[2], sizes[0], sizes[1]) if last else sizes


def checked_pair(
    batch: object, image_shape: ImageShape | None, num_classes: int, class_names: Sequence[str] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the images and the labels of a batch, on the CPU: float32 `(B, C, H, W)` and int64 `(B,)`.

    Args:
        batch: one of `batches_of`.
        image_shape: `(C, H, W)` that the images must have; None takes that of the images.
        num_classes: K.
        class_names: the name of each class, for labels that are names.

    Raises:
        ValueError: a batch that is no pair; images or labels of another shape, type or range.
    """
    images, labels = pair_of(batch)
    images = as_images(images, image_shape or shape_of(images) or (1, 8, 8))
    return images.cpu().float(), class_labels(labels, num_classes, len(images), class_names).cpu()


def class_labels(
    labels: Any, num_classes: int, batch: int, class_names: Sequence[str] | None = None, name: str = "labels"
) -> Tensor:
    """Return the class of each image, int64 `(B,)`.

    Args:
        labels: indices, names, or one-hot rows `(B, K)`, see `Labels`; also a list of tensors.
        num_classes: K.
        batch: B.
        class_names: the name of each class. None for the indices as text.
        name: what is read, for errors.

    Raises:
        ValueError: labels of another shape, type or range; rows that blend classes.
    """
    if isinstance(labels, list):
        labels = [label.tolist() if isinstance(label, Tensor) else label for label in labels]
    found = label_tensor(labels, num_classes, batch, name, class_names)
    if found.ndim == 2:
        if not bool((found.amax(dim=1) == 1).all()):
            raise ValueError(f"{name}: expected one class an image, got rows of weights that are blends")
        found = found.argmax(dim=1)
    return check_labels(found, num_classes, batch, name)


def length_of(batches: Any) -> float:
    """Return the number of batches; NaN where it is not known, as of a `DataLoader` of an `IterableDataset`."""
    try:
        return len(batches)
    except TypeError:
        return math.nan
