"""A data set in three splits, as 8-bit integers in memory or in its files.

A data set that fits is held on the device. A batch is then one indexing operation, without workers, copies or Python
code for each image. The splits are train; validation, for choosing settings; and test, for the final table only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from lightning.pytorch import LightningDataModule

from labelvae.attributes.rows import Attributes
from labelvae.data.datasets import read_datasets
from labelvae.data.given_data import class_labels
from labelvae.data.image_sets import ImageSet, StoredImages
from labelvae.data.labelled_files import Source
from labelvae.data.loaders import ImageLoader
from labelvae.data.settings import DataName, DataSettings, Shares
from labelvae.data.sources import read_named, read_table
from labelvae.data.split_folders import SplitName
from labelvae.data.splits import in_three
from labelvae.inputs.checks import check_choice, check_count
from labelvae.inputs.class_names import check_names
from labelvae.inputs.conversions import image_bytes
from labelvae.inputs.tensors import Images, ImageShape, Labels, check_image_shape, present
from labelvae.system.whole_files import user_path

Split = SplitName


class ImageData(LightningDataModule):
    """A data set in three splits: train, validation and test.

    `digits` is scikit-learn's 1,797 handwritten digits of 8x8 pixels, and needs no file. `mnist`, `fashion_mnist`,
    `kmnist` and `cifar10` are read from torchvision's files in `data_dir`, and downloaded if they are missing. `folder`
    reads images from `data_dir`, as `CLASS/*.png`, or as `train/CLASS/*.png`, `val/CLASS/*.png` and `test/CLASS/*.png`.
    A split that is missing is taken from the training images. `table` reads images with `labels.csv`, see `from_table`;
    `celeba` the faces and attributes of CelebA, see `data.read_celeba`.

    Args:
        name: the data set.
        data_dir: the folder of its files.
        batch_size: the images in a batch of `train_dataloader` and the like.
        image_size: `(H, W)`, or one number for both, to resize the images of a folder to. None keeps their own size, if
            all have the same and it is at most 128x128, and takes 64x64 otherwise.
        validation_share: the share of the training images held out for validation, by class, in (0, 0.5).
        test_share: the share held out for the test, by class, in (0, 0.5), if the data set has no test images.
        memory_share: the largest share of the free memory that images may take, in [0, 1). Images that are too many for
            a GPU stay in the machine's memory. Images of a folder that are too many for that stay in their files, and
            threads decode them while the network trains.
        seed: the seed of the split, and of the order of the training images.
        skip_unreadable: leave out images of a folder that cannot be read, with a warning.
        class_names: the order of a folder's classes, if a model has one already. By default the classes are sorted,
            with the numbers in their names by value.
        attributes: what the columns of `labels.csv` are, see `from_table`; or CelebA's names, as keys.

    Attributes:
        class_names: the name of each class.
        attributes: the attributes of a label, with `from_table`; else None.
        num_classes: K; 0 if a label is made of attributes.
        image_shape: `(C, H, W)` of the images.
        origin: the settings and the folder that the images were read by; None for images from elsewhere.
        splits: each split's images: an `ImageSet`, or a `FileImages` if they stay in their files.

    Raises:
        ValueError: files that are missing, broken or of another kind; an argument out of range.

    >>> data = ImageData("digits")
    >>> data.image_shape, data.num_classes, {name: len(split) for name, split in data.splits.items()}
    ((1, 8, 8), 10, {'train': 1295, 'validation': 143, 'test': 359})
    """

    attributes: Attributes | None = None
    origin: tuple[DataSettings, Path] | None = None
    splits: dict[Split, StoredImages]

    def __init__(
        self,
        name: DataName = "digits",
        data_dir: str | bytes | os.PathLike[str] = "data",
        batch_size: int = 128,
        image_size: tuple[int, int] | int | str | None = None,
        validation_share: float = 0.1,
        test_share: float = 0.2,
        memory_share: float = 0.5,
        seed: int = 0,
        skip_unreadable: bool = False,
        class_names: Sequence[str] | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(data_dir, str | bytes | os.PathLike) or not data_dir:
            raise ValueError(f"data_dir: expected a folder, got {data_dir!r}")
        how = DataSettings(
            name, image_size, validation_share, test_share, memory_share, seed, skip_unreadable, attributes
        )
        self.origin = (how, user_path(os.fsdecode(data_dir)))
        source, self.attributes = read_named(*self.origin, class_names)
        self._start(source, batch_size, how.shares)

    @classmethod
    def from_tensors(
        cls,
        images: Images,
        labels: Labels,
        class_names: Sequence[str],
        batch_size: int = 128,
        validation_share: float = 0.1,
        test_share: float = 0.2,
        memory_share: float = 0.5,
        seed: int = 0,
    ) -> ImageData:
        """Return your own images and labels as a data set in three splits.

        Args:
            images: `(N, C, H, W)`, `(N, H, W, C)` with 1, 3 or 4 channels, `(N, H, W)` in grey, or a list of images or
                pictures of one size. 8-bit integers, or floats in [0, 1], which are rounded to 8 bits.
            labels: N class indices, class names, or one-hot rows `(N, K)`.
            class_names: the name of each class.
            batch_size: the images in a batch.
            validation_share: the share of the training images held out for validation, by class.
            test_share: the share held out for the test, by class.
            memory_share: the largest share of a GPU's free memory that a split may take.
            seed: the seed of the split, and of the order of the training images.

        Raises:
            ValueError: images of another form or smaller than 8x8; labels of another number or range; names that are
                empty or there twice.
        """
        names = check_names("class_names", class_names)
        pixels = image_bytes(images)
        found = class_labels(labels, len(names), len(pixels), names)
        source = Source(ImageSet(pixels, found.clone()), None, names)
        data = cls.__new__(cls)
        data._start(source, batch_size, Shares(validation_share, test_share, memory_share, seed))
        return data

    @classmethod
    def from_datasets(  # type: ignore[override]
        cls,
        train: Any,
        test: Any = None,
        validation: Any = None,
        class_names: Sequence[str] | None = None,
        batch_size: int = 128,
        validation_share: float = 0.1,
        test_share: float = 0.2,
        memory_share: float = 0.5,
        seed: int = 0,
    ) -> ImageData:
        """Return the images and labels of a torch `Dataset` or `DataLoader` as a data set in three splits.

        Each image is read once, so random transforms are drawn once. Use an `Augmentation` for new changes in every
        epoch.

        Args:
            train: images in [0, 1] or of 8 bits, with labels, in a form of `data.given_data`.
            test: the test images. None holds out a share of `train`.
            validation: the images for choosing settings. None holds out a share of `train`.
            class_names: the name of each class. None takes the data set's `classes`, or else the labels themselves.
            batch_size: the images in a batch.
            validation_share: the share of the training images held out for validation, by class.
            test_share: the share held out for the test, by class.
            memory_share: the largest share of the free memory that images may take. More images stay in their data set.
            seed: the seed of the split, and of the order of the training images.

        Raises:
            ValueError: another form; images of several sizes or out of range; labels that are no classes.
        """
        source = read_datasets({"train": train, "test": test, "validation": validation}, class_names, memory_share)
        data = cls.__new__(cls)
        data._start(source, batch_size, Shares(validation_share, test_share, memory_share, seed))
        return data

    @classmethod
    def from_table(
        cls,
        images: Any,
        table: Any = None,
        attributes: Mapping[str, Any] | None = None,
        image_size: tuple[int, int] | int | str | None = None,
        batch_size: int = 128,
        validation_share: float = 0.1,
        test_share: float = 0.2,
        seed: int = 0,
    ) -> ImageData:
        """Return images whose labels are several attributes or numbers as a data set in three splits.

        The labels of a split are rows `(N, A)`. NaN is an unknown value.

        Args:
            images: a folder with `labels.csv`, or the path of such a table, whose first column is the file, and every
                other column an attribute; or images as in `from_tensors`.
            table: for images that are no folder: a dict from attributes to N values, a data frame, a list of N dicts,
                or rows `(N, A)` in the order of `attributes`.
            attributes: the kinds of the columns. None infers them, see `inferred_attributes`. An angle must be
                declared.
            image_size: `(H, W)` to resize the images of a folder to, see `ImageData`.
            batch_size: the images in a batch.
            validation_share: the share of the training images held out for validation.
            test_share: the share held out for the test.
            seed: the seed of the split, and of the order of the training images.

        Raises:
            ValueError: a missing or broken table, named by file, row and column; images that cannot be read.
        """
        data = cls.__new__(cls)
        source, data.attributes = read_table(images, table, attributes, image_size)
        data._start(source, batch_size, Shares(validation_share, test_share, seed=seed))
        return data

    def _start(self, source: Source, batch_size: int, shares: Shares) -> None:
        super().__init__()
        batch_size = check_count("batch_size", batch_size)
        self.class_names = source.class_names
        self.num_classes = len(self.class_names)
        if self.attributes is None and self.num_classes < 2:
            raise ValueError(f"classes: expected at least 2, got {self.num_classes}: {self.class_names}")
        self.image_shape: ImageShape = check_image_shape(source.train.image_shape)
        self.batch_size = batch_size
        self.seed = shares.seed
        self.memory_share = shares.memory_share
        split = (shares.validation_share, shares.test_share, shares.seed)
        self._files = f"{source.files} {split}" if source.files else ""
        of_each = self.class_names if self.attributes is None else None
        self.splits = in_three(source.train, source.validation, source.test, shares, of_each)

    def __str__(self) -> str:
        """Return the shape of the images, what a label is, and the sizes of the splits, in words."""
        label = f"{self.num_classes} classes" if self.attributes is None else ", ".join(self.attributes)
        sizes = ", ".join(f"{len(split)} for {name}" for name, split in self.splits.items())
        return f"images {self.image_shape} with {label}: {sizes}"

    @property
    def label_form(self) -> int | Attributes:
        """K, or what a label is made of."""
        return self.num_classes if self.attributes is None else self.attributes

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that identify these images, labels and splits.

        Images of a folder are identified by their files' names and sizes, other images by their pixels.
        """
        return self._hash(self._files)

    def is_of(self, fingerprint: str) -> bool:
        """Return whether a fingerprint is of these data. (Older versions hashed the pixels of a folder.)"""
        resident = all(isinstance(split, ImageSet) for split in self.splits.values())
        return fingerprint == self.fingerprint() or (resident and fingerprint == self._hash(""))

    def _hash(self, files: str) -> str:
        digest = hashlib.sha256(files.encode())
        for split in self.splits.values():
            if not files:
                digest.update(split.load().images.cpu().numpy().tobytes())
            digest.update(split.labels.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def loader(
        self,
        split: Split,
        batch_size: int = 500,
        device: torch.device | str = "cpu",
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
    ) -> ImageLoader:
        """Return batches of a split: float images `(B, C, H, W)` in [0, 1] and int64 labels `(B,)`, on `device`.

        Each time that a loader is gone through is an epoch. With `shuffle`, `seed` and the epoch decide the order.
        `batch_size` is not that of `train_dataloader`. `drop_last` leaves out a last batch that is not full.

        Raises:
            ValueError: a split that is none of the three; a device that is not there; an argument out of range.
        """
        check_choice("split", split, get_args(Split))
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return ImageLoader(
            self.splits[split],
            batch_size,
            present("device", device),
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
            rank=rank,
            world_size=world_size,
            memory_share=self.memory_share,
        )

    def train_dataloader(self) -> ImageLoader:
        """Return the training batches on the trainer's device, in a new order every epoch.

        With a trainer that overfits some batches, every epoch has the same batches.
        """
        shuffle = not (self.trainer and self.trainer.overfit_batches)  # type: ignore[attr-defined]
        return self.loader("train", self.batch_size, self._device, shuffle=shuffle, drop_last=True, seed=self.seed)

    def val_dataloader(self) -> ImageLoader:
        """Return the validation batches, on the trainer's device."""
        return self.loader("validation", self.batch_size, self._device)

    def test_dataloader(self) -> ImageLoader:
        """Return the test batches, on the trainer's device."""
        return self.loader("test", self.batch_size, self._device)

    def predict_dataloader(self) -> ImageLoader:
        """Return the test batches, on the trainer's device."""
        return self.test_dataloader()

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
