"""Images and labels, resident in memory as 8-bit integers, batched and shuffled where they lie.

Data sets that fit are held on the device; a batch is then one indexing operation, without workers, copies or
per-image Python. Three splits: train; validation, for choosing settings; test, for the final table only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from labelvae.checks import check_choice, check_count
from labelvae.classes import check_names
from labelvae.conversions import image_bytes
from labelvae.inputs import Images, ImageShape, Labels, check_image_shape, check_labels
from labelvae.labels import label_tensor
from labelvae.reading import ImageSet, Source, read_digits, read_folder, read_torchvision
from labelvae.settings import DataName, DataSettings

Split = Literal["train", "validation", "test"]


class ResidentLoader:
    """Batches of float images in [0, 1] `(B, C, H, W)` and labels `(B,)`, on `device`.

    The order is a permutation drawn from the seed and the epoch, so a resumed run sees the order that an
    uninterrupted one would have seen. Of several processes each takes its share, every image once.

    Args:
        images: the split.
        batch_size: images a batch.
        device: where batches are wanted.
        shuffle: a new order every epoch.
        drop_last: leave out a last batch that is not full, where there is a full one.
        seed: of the order.
        rank: of this process among `world_size`.
        memory_share: the split moves to a GPU if it takes at most this share of its free memory.
    """

    batch_sampler = None

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        device: torch.device | str = "cpu",
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        memory_share: float = 0.5,
    ) -> None:
        batch_size = check_count("batch_size", batch_size)
        self.device = torch.device(device)
        home = self.device if _fits(images.images, self.device, memory_share) else torch.device("cpu")
        self.images, self.labels = images.images.to(home), images.labels.to(home)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.share = len(images) // world_size if drop_last else math.ceil((len(images) - rank) / world_size)
        self.drop_last = drop_last and self.share >= batch_size

    @property
    def sampler(self) -> ResidentLoader:
        """What Lightning tells the epoch to, as it tells a DistributedSampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order comes next, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.share // self.batch_size if self.drop_last else math.ceil(self.share / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(len(self.labels), generator=generator)
        else:
            order = torch.arange(len(self.labels))
        order = order[self.rank :: self.world_size][: self.share].to(self.labels.device)
        for index in order.split(self.batch_size)[: len(self)]:
            images = self.images.index_select(0, index).to(self.device, non_blocking=True)
            yield images.float().div_(255.0), self.labels.index_select(0, index).to(self.device, non_blocking=True)
        self.epoch += 1


class ImageData(LightningDataModule):
    """A data set in three splits.

    `digits` is scikit-learn's 1,797 handwritten digits of 8x8 pixels and needs no file. `mnist`,
    `fashion_mnist`, `kmnist` and `cifar10` are read from torchvision's files under `data_dir`, downloaded
    there if they are missing. `folder` reads images under `data_dir`, as `train/CLASS/*.png` and
    `test/CLASS/*.png`, or as `CLASS/*.png`, which is then split.

    Args:
        name: which data set.
        data_dir: where its files are.
        batch_size: images a batch of `train_dataloader` and the like.
        image_size: `(H, W)` that the images of a folder are resized to; None keeps their own where all are alike.
        validation_share: share of the training images held out for validation, by class, below 0.5.
        test_share: share held out for the test, by class, of data that has no test images of its own.
        memory_share: share of a GPU's free memory that a split may take to be held there.
        seed: of the split, and of the order of the training images.

    Attributes:
        class_names: the name of each label.
        num_classes: K.
        image_shape: `(C, H, W)`.
        splits: an `ImageSet` each for train, validation and test.

    Raises:
        ValueError: files that are missing, broken or not of this kind; an argument out of range. The message
            says what to do.

    >>> data = ImageData("digits")
    >>> data.image_shape, data.num_classes, {name: len(split) for name, split in data.splits.items()}
    ((1, 8, 8), 10, {'train': 1295, 'validation': 143, 'test': 359})
    """

    def __init__(
        self,
        name: DataName = "digits",
        data_dir: str | Path = "data",
        batch_size: int = 128,
        image_size: tuple[int, int] | None = None,
        validation_share: float = 0.1,
        test_share: float = 0.2,
        memory_share: float = 0.5,
        seed: int = 0,
    ) -> None:
        if not isinstance(data_dir, str | Path):
            raise ValueError(f"data_dir: expected a folder, got {data_dir!r}")
        how = DataSettings(name, image_size, validation_share, test_share, memory_share, seed)
        if name == "digits":
            source = read_digits()
        elif name == "folder":
            source = read_folder(Path(data_dir), image_size)
        else:
            source = read_torchvision(name, Path(data_dir))
        self._start(source, batch_size, how)

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
        """Take your own images and labels, in three splits.

        Args:
            images: `(N, C, H, W)`, `(N, H, W, C)` with 1, 3 or 4 channels, `(N, H, W)` in grey, or a list of images or
                pictures of one size: 8-bit integers, or floats in [0, 1], which are rounded to 8 bits.
            labels: N class indices or names; one-hot rows too.
            class_names: the name of each label.
            batch_size: images a batch.
            validation_share: share of the training images held out for validation, by class.
            test_share: share held out for the test, by class.
            memory_share: share of a GPU's free memory that a split may take to be held there.
            seed: of the split, and of the order of the training images.

        Raises:
            ValueError: images of another form or smaller than 8x8, labels of another number or range, names that are
                none or there twice.
        """
        names = check_names("class_names", class_names)
        pixels = image_bytes(images)
        found = label_tensor(labels, len(names), len(pixels), class_names=names)
        if found.ndim == 2:
            if not bool((found.amax(dim=1) == 1).all()):
                raise ValueError("labels: expected one class an image, got rows of weights that are blends")
            found = found.argmax(dim=1)
        source = Source(ImageSet(pixels, check_labels(found, len(names), len(pixels)).clone()), None, names)
        data = cls.__new__(cls)
        data._start(source, batch_size, DataSettings("digits", None, validation_share, test_share, memory_share, seed))
        return data

    def _start(self, source: Source, batch_size: int, how: DataSettings) -> None:
        super().__init__()
        batch_size = check_count("batch_size", batch_size)
        self.class_names = source.class_names
        self.num_classes = len(self.class_names)
        if self.num_classes < 2:
            raise ValueError(f"classes: expected at least 2, got {self.num_classes}: {self.class_names}")
        self.image_shape: ImageShape = check_image_shape(tuple(source.train.images.shape[1:]))
        self.batch_size = batch_size
        self.seed = how.seed
        self.memory_share = how.memory_share
        train, test = source.train, source.test
        if test is None:
            train, test = _split(train, how.test_share, how.seed, self.class_names)
        train, validation = _split(train, how.validation_share, how.seed + 1, self.class_names)
        self.splits: dict[Split, ImageSet] = {"train": train, "validation": validation, "test": test}

    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell these images, labels and splits from any others."""
        digest = hashlib.sha256()
        for split in self.splits.values():
            digest.update(split.images.cpu().numpy().tobytes())
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
    ) -> ResidentLoader:
        """The batches of a split, every image once, on `device`.

        Raises:
            ValueError: a split that is not train, validation or test.
        """
        check_choice("split", split, get_args(Split))
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return ResidentLoader(
            self.splits[split],
            batch_size,
            device,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
            rank=rank,
            world_size=world_size,
            memory_share=self.memory_share,
        )

    def train_dataloader(self) -> ResidentLoader:
        """The training batches, in a new order every epoch, on the trainer's device."""
        return self.loader("train", self.batch_size, self._device, shuffle=True, drop_last=True, seed=self.seed)

    def val_dataloader(self) -> ResidentLoader:
        """The validation batches, on the trainer's device."""
        return self.loader("validation", self.batch_size, self._device)

    def test_dataloader(self) -> ResidentLoader:
        """The test batches, on the trainer's device."""
        return self.loader("test", self.batch_size, self._device)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")


def _fits(images: Tensor, device: torch.device, memory_share: float) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.numel() <= memory_share * free


def _split(images: ImageSet, share: float, seed: int, class_names: Sequence[str]) -> tuple[ImageSet, ImageSet]:
    """The images in two, `share` of every class (at least one image) in the second."""
    generator = torch.Generator().manual_seed(seed)
    kept, held_out = [], []
    for label, name in enumerate(class_names):
        members = (images.labels == label).nonzero().flatten()
        if len(members) < 2:
            raise ValueError(
                f"class {name!r}: has {len(members)} images, at least 3 are needed to train, validate and test"
            )
        members = members[torch.randperm(len(members), generator=generator)]
        count = max(1, round(share * len(members)))
        held_out.append(members[:count])
        kept.append(members[count:])
    return images.subset(torch.cat(kept).sort().values), images.subset(torch.cat(held_out).sort().values)
