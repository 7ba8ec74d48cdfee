"""Images and labels, resident in memory as 8-bit integers, batched and shuffled where they lie.

Data sets that fit are held on the device; a batch is then one indexing operation, without workers, copies or
per-image Python. Three splits: train; validation, for choosing settings; test, for the final table only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from labelvae.checks import check_choice, check_count
from labelvae.inputs import ImageShape, check_image_shape, check_labels
from labelvae.reading import ImageSet, Source, read_digits, read_folder, read_torchvision
from labelvae.settings import DataName

Split = Literal["train", "validation", "test"]

MEMORY_SHARE = 0.5
"""Share of an accelerator's free memory that a split may take to be held there."""


class ResidentLoader:
    """Batches of float images in [0, 1] `(B, C, H, W)` and labels `(B,)`, on `device`.

    The order is a permutation drawn from the seed and the epoch, so a resumed run sees the order that an
    uninterrupted one would have seen. Of several processes each takes its share, every image once.

    Args:
        images: the split.
        batch_size: images a batch.
        device: where batches are wanted. The whole split moves there if it fits.
        shuffle: a new order every epoch.
        drop_last: leave out a last batch that is not full, where there is a full one.
        seed: of the order.
        rank: of this process among `world_size`.
    """

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
    ) -> None:
        check_count("batch_size", batch_size)
        self.device = torch.device(device)
        home = self.device if _fits(images.images, self.device) else torch.device("cpu")
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

    batch_sampler = None

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
            images = self.images[index].to(self.device, non_blocking=True)
            yield images.float().div_(255.0), self.labels[index].to(self.device, non_blocking=True)
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
        batch_size: images a batch.
        image_size: `(H, W)` that the images of a folder are resized to; None keeps their own where all are alike.
        validation_share: share of the training images held out for validation, by class.
        test_share: share held out for the test, by class, of data that has no test images of its own.
        seed: of the split, and of the order of the training images.

    Attributes:
        class_names: the name of each label.
        image_shape: `(C, H, W)`.
        splits: an `ImageSet` each for train, validation and test.

    Raises:
        ValueError: files that are missing, broken or not of this kind; the message says what to do.

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
        seed: int = 0,
    ) -> None:
        check_choice("name", name, get_args(DataName))
        if name == "digits":
            source = read_digits()
        elif name == "folder":
            source = read_folder(Path(data_dir), image_size)
        else:
            source = read_torchvision(name, Path(data_dir))
        self._start(source, batch_size, validation_share, test_share, seed)

    @classmethod
    def from_tensors(
        cls,
        images: Tensor,
        labels: Tensor,
        class_names: Sequence[str],
        batch_size: int = 128,
        validation_share: float = 0.1,
        test_share: float = 0.2,
        seed: int = 0,
    ) -> ImageData:
        """Your own images, uint8 `(N, C, H, W)`, and labels, int64 `(N,)`, in three splits.

        Raises:
            ValueError: images that are not uint8 or smaller than 8x8, labels of another number or range.
        """
        if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4:
            got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(
                f"images: expected uint8 (N, C, H, W), got {got}; floats become that by (images * 255).byte()"
            )
        check_labels(labels, len(class_names), len(images))
        data = cls.__new__(cls)
        source = Source(ImageSet(images, labels.long()), None, list(class_names))
        data._start(source, batch_size, validation_share, test_share, seed)
        return data

    def _start(self, source: Source, batch_size: int, validation_share: float, test_share: float, seed: int) -> None:
        super().__init__()
        check_count("batch_size", batch_size)
        train, test = source.train, source.test
        self.class_names = source.class_names
        self.num_classes = len(self.class_names)
        if self.num_classes < 2:
            raise ValueError(f"classes: expected at least 2, got {self.num_classes}: {self.class_names}")
        self.image_shape: ImageShape = check_image_shape(tuple(train.images.shape[1:]))
        self.batch_size = batch_size
        self.seed = seed
        if test is None:
            train, test = _split(train, test_share, seed, self.class_names)
        train, validation = _split(train, validation_share, seed + 1, self.class_names)
        self.splits: dict[Split, ImageSet] = {"train": train, "validation": validation, "test": test}

    def loader(self, split: Split, batch_size: int | None = None, device: torch.device | str = "cpu") -> ResidentLoader:
        """The batches of a split in their fixed order, every image once, on `device`; for evaluation."""
        return ResidentLoader(self.splits[split], batch_size or max(self.batch_size, 500), device)

    def train_dataloader(self) -> ResidentLoader:
        """The training batches, in a new order every epoch."""
        return self._loader("train", shuffle=True, drop_last=True)

    def val_dataloader(self) -> ResidentLoader:
        """The validation batches."""
        return self._loader("validation")

    def test_dataloader(self) -> ResidentLoader:
        """The test batches."""
        return self._loader("test")

    def _loader(self, split: Split, **how: Any) -> ResidentLoader:
        trainer = self.trainer
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return ResidentLoader(
            self.splits[split], self.batch_size, device, seed=self.seed, rank=rank, world_size=world_size, **how
        )


def _fits(images: Tensor, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.numel() <= MEMORY_SHARE * free


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
