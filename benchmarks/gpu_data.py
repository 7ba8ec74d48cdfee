"""The images of the steps: from torchvision's files, from a folder that is decoded once by all cores, or made up."""

from __future__ import annotations

import multiprocessing
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gpu_job import Job
from PIL import Image

if TYPE_CHECKING:
    from labelvae import ImageData

JPEG = "cifar10-jpeg"


def mnist(job: Job) -> None:
    """Reads MNIST before a step begins."""
    images_of(job, "mnist")


def cifar10(job: Job) -> None:
    """Reads CIFAR10 before a step begins."""
    images_of(job, "cifar10")


def images_of(job: Job, name: str) -> tuple[ImageData, str]:
    """The data set in three splits, and where it is from.

    Raises:
        ValueError: its files are not under `--data-dir`.
    """
    return _images(name, job.data_dir, job.scratch, job.rehearse)


@lru_cache(maxsize=1)
def _images(name: str, data_dir: Path, scratch: Path, rehearse: bool) -> tuple[ImageData, str]:
    from labelvae import ImageData  # it imports torch, which the processes that decode do without

    if rehearse:
        return _made_up((1, 28, 28) if name == "mnist" else (3, 32, 32)), "made up"
    folder = data_dir / ("MNIST" if name == "mnist" else "cifar-10-batches-py")
    if folder.is_dir():
        return ImageData("mnist" if name == "mnist" else "cifar10", data_dir), "the original images"
    if name == "cifar10" and (data_dir / JPEG).is_dir():
        return _decoded(data_dir / JPEG, scratch / "cifar10.npz"), "a copy as JPEG files"
    there = f"{folder} or {data_dir / JPEG}" if name == "cifar10" else str(folder)
    raise ValueError(f"data_dir: expected {there}, found neither; put torchvision's files there")


def _made_up(shape: tuple[int, int, int]) -> ImageData:
    import torch

    from labelvae import ImageData

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 10
    patterns = torch.rand(10, *shape, generator=generator)
    images = (0.8 * patterns[labels] + 0.2 * torch.rand(200, *shape, generator=generator)) * 255
    return ImageData.from_tensors(images.byte(), labels, [f"class {label}" for label in range(10)])


def _decoded(root: Path, cache: Path) -> ImageData:
    """`root`/train/CLASS/*.jpg and `root`/test/CLASS/*.jpg, all of one size, in the order of `ImageData("folder")`."""
    import torch

    from labelvae import ImageData
    from labelvae.data.image_sets import ImageSet
    from labelvae.data.labelled_files import Source
    from labelvae.data.settings import Shares

    names = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
    if not cache.is_file():
        start = time.perf_counter()
        folders = [root / split / name for split in ("train", "test") for name in names]
        with multiprocessing.get_context("spawn").Pool(min(len(folders), os.cpu_count() or 1)) as pool:
            found = pool.map(decode, folders, chunksize=1)
        with (cache.with_suffix(".part")).open("wb") as file:
            np.savez(file, **{str(place): images for place, images in enumerate(found)})  # type: ignore[arg-type]
        cache.with_suffix(".part").replace(cache)
        print(f"decoded {sum(map(len, found)):,} images in {time.perf_counter() - start:.1f} s", flush=True)
    with np.load(cache) as file:
        parts = [torch.from_numpy(file[str(place)]) for place in range(2 * len(names))]
    sets = []
    for split in (parts[: len(names)], parts[len(names) :]):
        labels = torch.repeat_interleave(torch.arange(len(names)), torch.tensor([len(part) for part in split]))
        sets.append(ImageSet(torch.cat(split), labels))

    class Decoded(ImageData):
        def __init__(self) -> None:
            self._start(Source(sets[0], sets[1], names), 128, Shares())

    return Decoded()


def decode(folder: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The images of a folder, uint8 `(N, 3, H, W)`, by name."""
    images = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("RGB")).transpose(2, 0, 1))
    return np.stack(images)
