"""The images of a split: in memory, or in files that are decoded when a batch asks for them."""

from __future__ import annotations

import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from labelvae.inputs.tensors import ImageShape

READ_AHEAD = 2
"""Batches that are decoded ahead of the one in use, for each thread."""


@dataclass(frozen=True)
class ImageSet:
    """Images of a split in memory.

    Attributes:
        images: uint8 `(N, C, H, W)`.
        labels: int64 `(N,)`.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> ImageShape:
        """`(C, H, W)`."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def subset(self, index: Tensor) -> ImageSet:
        """Return the images at `index` `(M,)`."""
        return ImageSet(self.images[index], self.labels[index])

    def on(self, device: torch.device) -> ImageSet:
        """Return the same images and labels, held on `device`."""
        return ImageSet(self.images.to(device), self.labels.to(device))

    @property
    def nbytes(self) -> int:
        """Bytes that the images take in memory."""
        return self.images.numel()

    def load(self) -> ImageSet:
        """Return the images in memory: these."""
        return self

    def batches(self, indices: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images uint8 `(B, C, H, W)` and labels `(B,)` at each of `indices` `(B,)`, where the images are
        held.
        """
        if not indices:
            return
        order = torch.cat([*indices]).to(self.labels.device)  # at once, or the host would wait at every batch
        for there in order.split([len(index) for index in indices]):
            yield self.images.index_select(0, there), self.labels.index_select(0, there)


class Names(Sequence[str]):
    """Many names in little memory: all their bytes in one piece, and where each begins.

    A million paths of 40 letters take 50 MB here and 120 MB as a list of strings.

    Args:
        names: Names, also such that hold bytes that are no UTF-8 (`os.fsdecode`).
    """

    def __init__(self, names: Sequence[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self._bytes = b"".join(encoded)
        self._ends = torch.tensor([0, *(len(name) for name in encoded)]).cumsum(0)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(f"index: expected 0 to {len(self) - 1}, got {index}")
        start, end = self._ends[index : index + 2].tolist()
        return os.fsdecode(self._bytes[start:end])


@dataclass(frozen=True)
class FileImages:
    """Images of a split in files, for more images than memory holds.

    Threads decode the next batches while the current one is in use. The pixels are those that an `ImageSet` of the
    same files would hold.

    Attributes:
        paths: Files of the whole data set.
        decode: Reads a file as uint8 `(C, H, W)`. It raises `ValueError` for a file that cannot be read.
        image_shape: `(C, H, W)`.
        index: Which of the files are in this split, int64 `(N,)`.
        labels: Labels of the split, int64 `(N,)`.
        skip_unreadable: Leave out files that cannot be read, with a warning, instead of raising `ValueError`.
    """

    paths: Sequence[str]
    decode: Callable[[str], Tensor]
    image_shape: ImageShape
    index: Tensor
    labels: Tensor
    skip_unreadable: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def nbytes(self) -> int:
        """Bytes that the images would take in memory."""
        return len(self) * math.prod(self.image_shape)

    def subset(self, index: Tensor) -> FileImages:
        """The images at `index` `(M,)`."""
        return replace(self, index=self.index[index], labels=self.labels[index])

    def on(self, device: torch.device) -> FileImages:
        """The same images; they stay in their files, whatever the device."""
        return self

    def load(self) -> ImageSet:
        """All of them in memory.

        Raises:
            ValueError: A file that cannot be read.
        """
        images = torch.empty(len(self), *self.image_shape, dtype=torch.uint8)
        labels, count = torch.empty_like(self.labels), 0
        for some, of in self.batches(torch.arange(len(self)).split(256)):
            images[count : count + len(of)], labels[count : count + len(of)] = some, of
            count += len(of)
        return ImageSet(images[:count], labels[:count])

    def batches(self, indices: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Images uint8 `(B, C, H, W)` and labels `(B,)` at each of `indices` `(B,)`, on the CPU.

        Raises:
            ValueError: A file that cannot be read.
        """
        threads = min(8, available_cores())
        upcoming = iter(indices)
        pending: deque[Future[tuple[Tensor, Tensor] | None]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                pending.extend(pool.submit(self._read, index) for index in islice(upcoming, READ_AHEAD * threads))
                while pending:
                    batch = pending.popleft().result()
                    pending.extend(pool.submit(self._read, index) for index in islice(upcoming, 1))
                    if batch is not None:
                        yield batch
            finally:  # also where the reader stops early
                pool.shutdown(cancel_futures=True)

    def _read(self, index: Tensor) -> tuple[Tensor, Tensor] | None:
        """Images and labels at `index`; None where not one of them can be read."""
        images, labels = [], []
        for place, label in zip(self.index[index].tolist(), self.labels[index].tolist(), strict=True):
            path = self.paths[place]
            try:
                images.append(self.decode(path))
                labels.append(label)
            except ValueError as error:
                if not self.skip_unreadable:
                    raise ValueError(
                        f"{path}: can no longer be read as an image ({error}); repair the file, or go on without it by "
                        "--resume --skip-unreadable"
                    ) from error
                warnings.warn(f"{path}: passed over, it cannot be read as an image ({error})", stacklevel=2)
        return (torch.stack(images), torch.tensor(labels)) if images else None


StoredImages = ImageSet | FileImages
"""Images of a split, in memory or in files."""


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
