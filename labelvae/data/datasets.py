"""The images and labels of a torch `Dataset` or `DataLoader`, read once and kept as 8-bit integers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from labelvae.data.forms import progress
from labelvae.data.given_data import batches_of, class_labels, has_positions, pair_of
from labelvae.data.image_sets import FileImages, ImageSet, StoredImages
from labelvae.data.labelled_files import Source
from labelvae.inputs.class_names import check_names
from labelvae.inputs.conversions import image_bytes
from labelvae.system.memory import fits


class Positions(Sequence[str]):
    """The positions in a data set, as the names of its images.

    Args:
        count: the length of the data set.
    """

    def __init__(self, count: int) -> None:
        self._number = count

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        if not 0 <= index < self._number:
            raise IndexError(f"index: expected 0 to {self._number - 1}, got {index}")
        return str(index)


class Read:
    """The images and labels found in one pass over a data set.

    Args:
        name: the name of the argument: "train", or another split.
        given: images and labels, see `data.given_data`.
        memory_share: the largest share of the free memory that the images may take. More images stay in the data set,
            if it has a length and positions, and are read again whenever a batch needs them.

    Attributes:
        labels: the labels, as they were given.
        digest: a hash of all pixels.

    Raises:
        ValueError: another form; images that differ in size, or that are neither 8-bit integers nor floats in [0, 1].
    """

    def __init__(self, name: str, given: Any, memory_share: float) -> None:
        self.name, self.given = name, given
        self.labels: list[Any] = []
        hashed = hashlib.sha256()
        kept: list[Tensor] = []
        self.images: Tensor | None = None
        self.shape: tuple[int, ...] = ()
        positions = has_positions(given)
        keep = True
        for images, labels in _pieces(name, given):
            if not self.shape:
                self.shape = tuple(images.shape[1:])
                size = 2 * images[0].numel() * (len(given) if positions else 1)
                keep = not positions or fits(size, torch.device("cpu"), memory_share)  # splits copy
            if tuple(images.shape[1:]) != self.shape:
                raise ValueError(
                    f"{name}: expected images of one size, got {self.shape} and {tuple(images.shape[1:])} (image "
                    f"{len(self.labels)}); resize them in the data set"
                )
            self.labels += labels
            hashed.update(images.numpy().tobytes())
            kept += [images] if keep else []
        if not self.labels:
            raise ValueError(f"{name}: expected images and labels, got none")
        self.images = torch.cat(kept) if keep else None
        self.digest = hashed.hexdigest()[:16]

    def stored(self, class_names: Sequence[str]) -> StoredImages:
        """Return the images with their labels, in memory or in the data set.

        Raises:
            ValueError: labels that are no classes.
        """
        count = len(self.labels)
        labels = class_labels(self.labels, len(class_names), count, class_names).clone()
        if self.images is not None:
            return ImageSet(self.images, labels)
        channels, height, width = self.shape
        return FileImages(Positions(count), self._again, (channels, height, width), torch.arange(count), labels)

    def _again(self, position: str) -> Tensor:
        image, label = pair_of(self.given[int(position)], self.name)
        return _bytes(self.name, ([image], [label]))[0][0]


def names_of(read: Read) -> list[str]:
    """Return the names of the classes: the data set's own `classes`, or else the labels themselves, in their order."""
    source: Any = read.given
    while source is not None:
        names = getattr(source, "classes", None)
        if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
            return list(names)
        source = getattr(source, "dataset", None)
    if all(isinstance(label, str) for label in read.labels):
        return sorted(set(read.labels))
    first = torch.as_tensor(read.labels[0])
    if first.ndim:
        return [str(k) for k in range(first.numel())]
    return [str(k) for k in range(1 + max(int(label) for label in read.labels))]


def read_datasets(given: Mapping[str, Any], class_names: Sequence[str] | None, memory_share: float) -> Source:
    """Read data sets or loaders by split. All but "train" may be None.

    Args:
        given: the data sets or loaders: "train", "test" and "validation".
        class_names: the name of each class. None takes them from the data.
        memory_share: the largest share of the free memory that the images of a split may take.

    Returns:
        The images and labels of each split.

    Raises:
        ValueError: another form; images of several sizes or out of range; labels that are no classes.
    """
    read = {name: Read(name, _in_order(each), memory_share) for name, each in given.items() if each is not None}
    names = names_of(read["train"]) if class_names is None else check_names("class_names", class_names)
    for name, each in read.items():
        if each.shape != read["train"].shape:
            raise ValueError(f"{name}: expected images of shape {read['train'].shape}, got {each.shape}")
    stored = {name: each.stored(names) for name, each in read.items()}
    resident = all(isinstance(each, ImageSet) for each in stored.values())
    files = "" if resident else " ".join(each.digest for each in read.values())
    return Source(stored["train"], stored.get("test"), names, stored.get("validation"), files)


def _in_order(given: Any) -> Any:
    """Return a loader that shuffles or drops images as one that does not, so that a split depends on its seed alone."""
    if type(given) is not DataLoader or given.batch_size is None:
        return given
    sampler = given.sampler
    shuffled = isinstance(sampler, RandomSampler) and not sampler.replacement
    if not (shuffled or (isinstance(sampler, SequentialSampler) and given.drop_last)):
        return given
    if len(sampler) != len(given.dataset):  # type: ignore[arg-type]  # of some images on purpose
        return given
    return DataLoader(given.dataset, given.batch_size, num_workers=given.num_workers, collate_fn=given.collate_fn)


def _pieces(name: str, given: Any) -> Iterator[tuple[Tensor, list[Any]]]:
    """Yield images uint8 `(B, C, H, W)` and their labels, batch by batch, or image by image."""
    batches = batches_of(name, given, repeated=True, batch_size=1)
    for batch in progress(batches, f"reading {name}") if has_positions(given) else batches:
        yield _bytes(name, batch)


def _bytes(name: str, batch: Any) -> tuple[Tensor, list[Any]]:
    images, labels = pair_of(batch, name)
    try:
        found = image_bytes(images).cpu()
    except ValueError as error:
        raise ValueError(
            f"{name}: {error}; take images in [0, 1], without Normalize: a classifier's own normalization goes into "
            "LabelClassifier.wrap"
        ) from error
    each = list(labels)
    if len(each) != len(found):
        raise ValueError(f"{name}: expected a label an image, got {len(found)} images and {len(each)} labels")
    return found, each
