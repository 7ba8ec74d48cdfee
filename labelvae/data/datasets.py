"""The images and labels of a torch `Dataset` or `DataLoader`, read once and kept as 8-bit integers."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from labelvae.data.forms import progress
from labelvae.data.given_data import batches_of, class_labels, classes_of, has_positions, pair_of
from labelvae.data.image_sets import FileImages, ImageSet, StoredImages
from labelvae.data.labelled_files import Source
from labelvae.inputs.checks import plain_number
from labelvae.inputs.class_names import check_names, folded
from labelvae.inputs.conversions import described, image_bytes
from labelvae.system.memory import fits

REPEATED = 0.01
"""Share of repeated images up to which a data set may hold some images twice by chance."""


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
        repeated: the number of images that are equal to an earlier one.
        hashes: a number for each image that differs from the others.

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
        self.hashes: set[int] = set()
        for images, labels in _pieces(name, given):
            if not self.shape:
                self.shape = tuple(images.shape[1:])
                size = 2 * images[0].numel() * (len(given) if positions else 1)
                keep = not positions or fits(size, torch.device("cpu"), memory_share)  # splits copy
            if tuple(images.shape[1:]) != self.shape:
                what = "resize them" if tuple(images.shape[2:]) != self.shape[1:] else "make all of them grey or RGB"
                raise ValueError(
                    f"{name}: expected images of one size, got {self.shape} and {tuple(images.shape[1:])} (image "
                    f"{len(self.labels)}); {what} in the data set"
                )
            self.labels += map(plain_number, labels)  # torch takes no uint64 of numpy
            hashed.update(images.numpy().tobytes())
            self.hashes.update(hash(image.tobytes()) for image in images.numpy())
            kept += [images] if keep else []
        if not self.labels:
            raise ValueError(f"{name}: expected images and labels, got none")
        self.images = torch.cat(kept) if keep else None
        self.digest = hashed.hexdigest()[:16]
        self.repeated = len(self.labels) - len(self.hashes)

    def stored(self, class_names: Sequence[str], of_train: Sequence[str] | None = None) -> StoredImages:
        """Return the images with their labels, in memory or in the data set.

        Args:
            class_names: the name of each class.
            of_train: the classes that the training images' own data set names. If this one names others, such as a
                folder that lacks a class, its indices are those of its own names.

        Raises:
            ValueError: labels that are no classes; names of classes that the training images lack.
        """
        count = len(self.labels)
        said = classes_of(self.given)
        if of_train and said and said != list(of_train) and not isinstance(self.labels[0], str):
            lost = next((name for name in said if name not in of_train), None)
            if lost is not None:
                raise ValueError(
                    f"{self.name}: has the classes {', '.join(said)}, the training images {', '.join(of_train)}, "
                    f"without {lost}; give every split the same classes"
                )
            places = torch.tensor([of_train.index(name) for name in said])
            labels = places[class_labels(self.labels, len(said), count, said, f"{self.name}: labels")]
        else:
            labels = class_labels(self.labels, len(class_names), count, class_names, f"{self.name}: labels").clone()
        if self.images is not None:
            return ImageSet(self.images, labels)
        channels, height, width = self.shape
        return FileImages(Positions(count), self._again, (channels, height, width), torch.arange(count), labels)

    def _again(self, position: str) -> Tensor:
        image, label = pair_of(self.given[int(position)], self.name)
        return _bytes(self.name, ([image], [label]))[0][0]


def names_of(read: Read) -> list[str]:
    """Return the names of the classes: the data set's own `classes`, or else the labels themselves, in their order.

    Raises:
        ValueError: names that are empty, there twice, or differ in spaces or upper and lower case only; labels that are
            no classes, such as numbers of which most are missing.
    """
    said = classes_of(read.given)
    if said is not None:
        return check_names(f"{read.name}: classes", said)
    if all(isinstance(label, str | bytes) for label in read.labels):
        return _different_words(read)
    odd = next((place for place, label in enumerate(read.labels) if not _is_class(label)), None)
    if odd is not None:
        raise ValueError(
            f"{read.name}: expected class indices, names or one-hot rows, got {described(read.labels[odd])} as the "
            f"label of image {odd}"
        )
    sizes = {torch.as_tensor(label).numel() for label in read.labels}
    if sizes != {1}:
        return [str(k) for k in range(max(sizes))]
    largest = max(int(torch.as_tensor(label)) for label in read.labels)
    if largest >= len(read.labels):  # some class has no image
        raise ValueError(
            f"{read.name}: expected class indices from 0, got {largest} as a label of {len(read.labels)} images; give "
            "names as text, or number the classes from 0"
        )
    return [str(k) for k in range(1 + largest)]


def _different_words(read: Read) -> list[str]:
    """Return the words that labels are, sorted."""
    words = {each.decode(errors="replace") if isinstance(each, bytes) else str.__str__(each) for each in read.labels}
    names = check_names(f"{read.name}: labels", sorted(words))
    alike: dict[str, str] = {}
    for each in names:
        other = alike.setdefault(folded(each), each)
        if other != each:
            raise ValueError(
                f"{read.name}: the labels {other!r} and {each!r} differ in spaces, accents or upper and lower case "
                "only; write one of them, or give class_names"
            )
    return names


def _is_class(label: Any) -> bool:
    """Tell whether a label is a number, or a row of numbers."""
    try:
        found = torch.as_tensor(label)
    except (TypeError, ValueError, RuntimeError):
        return False
    return found.numel() > 0 and not found.is_complex() and bool(found.isfinite().all())


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
    if given["train"] is None:
        raise ValueError("train: expected images and labels, got None")
    read = {name: Read(name, _in_order(each), memory_share) for name, each in given.items() if each is not None}
    train = read["train"]
    if len(read) < len(given) and train.repeated > REPEATED * len(train.labels):
        warnings.warn(
            f"train: {train.repeated} of {len(train.labels)} images are equal to earlier ones, so images that are held "
            "out of them are training images as well; give the data set without a sampler that repeats images, or pass "
            "validation= and test=",
            stacklevel=4,
        )
    names = names_of(read["train"]) if class_names is None else check_names("class_names", class_names)
    for name, each in read.items():
        if each.shape != read["train"].shape:
            raise ValueError(f"{name}: expected images of shape {read['train'].shape}, got {each.shape}")
    own = classes_of(read["train"].given)
    stored = {name: each.stored(names, own) for name, each in read.items()}
    for each in read.values():
        if each is not train:
            _say_trained_on(each, train)
    resident = all(isinstance(each, ImageSet) for each in stored.values())
    files = "" if resident else " ".join(each.digest for each in read.values())
    return Source(stored["train"], stored.get("test"), names, stored.get("validation"), files)


def _say_trained_on(read: Read, train: Read) -> None:
    """Warn if most images of a split are training images."""
    same = len(read.hashes & train.hashes)
    if same > len(read.hashes) / 2:
        warnings.warn(
            f"{read.name}: {same} of {len(read.hashes)} different images are training images too; scores on images "
            "that were trained on say little",
            stacklevel=5,
        )


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
    if isinstance(labels, Mapping):
        raise ValueError(
            f"{name}: expected one class an image, got a dict of {', '.join(map(str, labels))}; labels of several "
            "attributes go into ImageData.from_table"
        )
    several = len(getattr(labels, "shape", ())) > 0 or (isinstance(labels, Sequence) and not isinstance(labels, str))
    each = list(labels) if several else [labels]
    alone = not several or (getattr(images, "ndim", 4) == 3 and len(each) == 1)
    try:
        found = image_bytes([images] if alone else images).cpu()
    except ValueError as error:
        hint = "; take images in [0, 1], without Normalize: a classifier's own normalization goes into "
        hint = f"{hint}LabelClassifier.wrap" if "normalization" in str(error) else ""
        raise ValueError(f"{name}: {error}{hint}") from error
    if len(each) != len(found):
        raise ValueError(f"{name}: expected a label an image, got {len(found)} images and {len(each)} labels")
    return found, each
