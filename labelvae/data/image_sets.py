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
"""Number of batches that each thread decodes ahead of the one in use."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The images of a split, in memory.

    Attributes:
        images: the images, uint8 `(N, C, H, W)`.
        labels: the labels, int64 `(N,)`; or rows of attributes, float `(N, A)`.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image `(C, H, W)` in [0, 1] and its label, so that the set is a torch `Dataset`."""
        return self.images[index].float() / 255.0, self.labels[index]

    @property
    def image_shape(self) -> ImageShape:
        """`(C, H, W)` of the images."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def subset(self, index: Tensor) -> ImageSet:
        """Return the images and labels at `index` `(M,)`."""
        return ImageSet(self.images[index], self.labels[index])

    def on(self, device: torch.device) -> ImageSet:
        """Return the same images and labels, held on `device`."""
        return ImageSet(self.images.to(device), self.labels.to(device))

    @property
    def nbytes(self) -> int:
        """Size of the images in memory, in bytes."""
        return self.images.numel()

    def load(self) -> ImageSet:
        """Return the images in memory: this set itself."""
        return self

    def batches(self, indices: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images uint8 `(B, C, H, W)` and labels `(B,)` for each index `(B,)`.

        They are on the device that holds the images.
        """
        if not indices:
            return
        order = torch.cat([*indices]).to(self.labels.device)  # at once, or the host would wait at every batch
        for there in order.split([len(index) for index in indices]):
            yield self.images.index_select(0, there), self.labels.index_select(0, there)


class Names(Sequence[str]):
    """Many names in little memory: all their bytes in one piece, and the place where each begins.

    A million paths of 40 letters take 50 MB here, and 120 MB as a list of strings.

    Args:
        names: the names. They may hold bytes that are no UTF-8 (`os.fsdecode`).
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


@dataclass(frozen=True, eq=False)
class FileImages:
    """The images of a split in files, for more images than memory holds.

    Threads decode the next batches while the current one is in use. The pixels are the same as in an `ImageSet` of
    these files.

    Attributes:
        paths: the files of the whole data set.
        decode: a function that reads a file as uint8 `(C, H, W)`. It raises `ValueError` if it cannot.
        image_shape: `(C, H, W)` of the images.
        index: the places in `paths` of this split's files, int64 `(N,)`.
        labels: the labels of the split, int64 `(N,)`.
        skip_unreadable: leave out files that cannot be read, with a warning.
    """

    paths: Sequence[str]
    decode: Callable[[str], Tensor]
    image_shape: ImageShape
    index: Tensor
    labels: Tensor
    skip_unreadable: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image `(C, H, W)` in [0, 1] and its label, so that the set is a torch `Dataset`.

        Raises:
            ValueError: a file that cannot be read.
        """
        found = replace(self, skip_unreadable=False)._read(torch.tensor([index]))
        assert found is not None
        return found[0][0].float() / 255.0, found[1][0]

    @property
    def nbytes(self) -> int:
        """Size of the images in memory, if they were loaded, in bytes."""
        return len(self) * math.prod(self.image_shape)

    def subset(self, index: Tensor) -> FileImages:
        """Return the images and labels at `index` `(M,)`."""
        return replace(self, index=self.index[index], labels=self.labels[index])

    def on(self, device: torch.device) -> FileImages:
        """Return these images. They stay in their files, whatever the device."""
        return self

    def load(self) -> ImageSet:
        """Return all images and labels in memory.

        Raises:
            ValueError: a file that cannot be read.
        """
        images = torch.empty(len(self), *self.image_shape, dtype=torch.uint8)
        labels, count = torch.empty_like(self.labels), 0
        for some, of in self.batches(torch.arange(len(self)).split(256)):
            images[count : count + len(of)], labels[count : count + len(of)] = some, of
            count += len(of)
        return ImageSet(images[:count], labels[:count])

    def batches(self, indices: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images uint8 `(B, C, H, W)` and labels `(B,)` for each index `(B,)`, on the CPU.

        Raises:
            ValueError: a file that cannot be read.
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
        """Return images and labels at `index`; None if none of them can be read."""
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
"""The images of a split, in memory or in files."""


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
