"""Batches of a split, in an order that depends only on the seed and the epoch.

Images that fit are held in memory, on the device if it has room. A batch is then one indexing operation. Images that do
not fit stay in their files, and threads decode the next batches while the network works on this one. Both ways give the
same batches, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from labelvae.data.image_sets import StoredImages
from labelvae.data.settings import LARGEST_SEED
from labelvae.inputs.checks import check_count, check_flag
from labelvae.system.memory import fits


class EpochOrder(SequentialSampler):
    """Tell a loader the epoch, as Lightning tells a DistributedSampler.

    It is a `SequentialSampler`, so Lightning keeps the loader's own order.

    Args:
        loader: the loader.
    """

    def __init__(self, loader: ImageLoader) -> None:
        super().__init__(loader.dataset)
        self.loader = loader

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next order, counted from 0."""
        self.loader.set_epoch(epoch)


class ImageLoader:
    """Batches of float images `(B, C, H, W)` in [0, 1] and labels `(B,)`, on a device.

    The order is a permutation drawn from the seed and the epoch, so a resumed run sees the same order as one that never
    stopped. Each of several processes takes its share, and every image is taken once.

    Args:
        images: the images of the split.
        batch_size: the images in a batch.
        device: the device of the batches.
        shuffle: draw a new order every epoch.
        drop_last: leave out a last batch that is not full, if there is a full one.
        seed: the seed of the order.
        rank: the number of this process among `world_size`.
        world_size: the number of processes.
        memory_share: an `ImageSet` moves to a GPU if it takes at most this share of the GPU's free memory.

    Attributes:
        dataset: the images of the split.

    Raises:
        ValueError: a batch size or a seed that is no number, or out of range; a choice that is not True or False.

    >>> from labelvae.data import ImageSet
    >>> images = ImageSet(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.arange(5))
    >>> [len(labels) for _, labels in ImageLoader(images, batch_size=2)]
    [2, 2, 1]
    """

    batch_sampler = None

    def __init__(
        self,
        images: StoredImages,
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
        self.batch_size = check_count("batch_size", batch_size)
        self.seed = check_count("seed", seed, at_least=0, at_most=LARGEST_SEED)
        self.shuffle, drop_last = check_flag("shuffle", shuffle), check_flag("drop_last", drop_last)
        self.device = torch.device(device)
        on_device = self.device.type != "cpu" and fits(images.nbytes, self.device, memory_share)
        self.dataset = images.on(self.device if on_device else torch.device("cpu"))
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._given = self._first = 0
        self.share = len(images) // world_size if drop_last else math.ceil((len(images) - rank) / world_size)
        self.drop_last = drop_last and self.share >= batch_size
        self.sampler = EpochOrder(self)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next order, counted from 0."""
        self._first = self._first if epoch == self.epoch else 0
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, and the number of its batches that were given."""
        return {"epoch": self.epoch, "batches": self._given}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next iteration begin after the batches that were given. The iterations after it are whole."""
        self.epoch, self._first = state_dict["epoch"], state_dict["batches"]

    def __len__(self) -> int:
        return self.share // self.batch_size if self.drop_last else math.ceil(self.share / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(len(self.dataset), generator=generator)
        else:
            order = torch.arange(len(self.dataset))
        order = order[self.rank :: self.world_size][: self.share]
        self._given, self._first = self._first, 0
        for images, labels in self.dataset.batches(order.split(self.batch_size)[self._given : len(self)]):
            pixels = images.to(self.device, non_blocking=True).float().div_(255.0)
            self._given += 1
            yield pixels, labels.to(self.device, non_blocking=True)
        self.epoch += 1
        self._given = 0
