"""Images with a class for every pixel, in memory, and the folders that they are read from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from labelvae.data.image_files import has_image_name, walk
from labelvae.data.pixels import UNREADABLE, eight_bits, fit, open_image, plain
from labelvae.inputs.checks import as_size, check_count, check_number
from labelvae.inputs.class_names import check_names
from labelvae.system.whole_files import user_path

MASK_FOLDERS = ("masks", "trimaps", "annotations", "labels", "annotations/trimaps")
"""Folders next to `images` that may hold the masks."""

MOST_CLASSES = 64
"""Most different values in masks. A photograph that is mistaken for a mask has more."""


class ShuffledOrder(Sampler[int]):
    """An order of images that is drawn anew every epoch, from a seed and the epoch.

    Args:
        count: the number of images.
        seed: the seed of the draws.

    Attributes:
        epoch: the epoch of the next order, counted from 0.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next order, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        yield from torch.randperm(self.count, generator=generator).tolist()
        self.epoch += 1


@dataclass(frozen=True)
class MaskedImages(Dataset[tuple[Tensor, Tensor]]):
    """Images and their masks.

    Attributes:
        images: the images, uint8 `(N, C, H, W)`.
        masks: the class of every pixel, uint8 `(N, H, W)`.
        class_names: the name of each class.

    Raises:
        ValueError: images or masks of another shape, type or range.

    >>> images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    >>> data = MaskedImages(images, images[:, 0], ["background", "cell"])
    >>> len(data), [tuple(part.shape) for part in data[0]]
    (2, [(3, 8, 8), (8, 8)])
    """

    images: Tensor
    masks: Tensor
    class_names: Sequence[str]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise ValueError(f"images: expected uint8 (N, C, H, W), got {self.images.dtype} {tuple(self.images.shape)}")
        expected = (len(self.images), *self.images.shape[2:])
        if self.masks.shape != expected or self.masks.dtype != torch.uint8:
            raise ValueError(f"masks: expected uint8 {expected}, got {self.masks.dtype} {tuple(self.masks.shape)}")
        object.__setattr__(self, "class_names", check_names("class_names", self.class_names))
        if len(self.masks) and int(self.masks.max()) >= len(self.class_names):
            known = len(self.class_names)
            raise ValueError(f"masks: expected classes in [0, {known}), got {int(self.masks.max())}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one image, float `(C, H, W)` in [0, 1], and its mask, int64 `(H, W)`."""
        return self.images[index].float() / 255.0, self.masks[index].long()

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, Tensor]]:
        """Return several images and masks. torch's `DataLoader` asks for a whole batch."""
        images, masks = self.images[indices].float() / 255.0, self.masks[indices].long()
        return list(zip(images, masks, strict=True))

    def subset(self, indices: Tensor) -> MaskedImages:
        """Return the images and masks at `indices` `(M,)`."""
        return replace(self, images=self.images[indices], masks=self.masks[indices])

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that identify these images, masks and class names."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), list(self.class_names))).encode())
        for part in (self.images, self.masks):
            digest.update(part.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def split(self, *shares: float, seed: int = 0) -> list[MaskedImages]:
        """Return the images in random parts: first the rest, then one part for each share.

        Args:
            *shares: the share of the images in each further part, in (0, 1). Their sum must be below 1.
            seed: the seed of the draw.

        Raises:
            ValueError: shares out of range; a part without an image.
        """
        for index, share in enumerate(shares):
            check_number(f"shares[{index}]", share, above=0, below=1)
        counts = [round(share * len(self)) for share in shares]
        counts = [len(self) - sum(counts), *counts]
        if min(counts) < 1:
            raise ValueError(f"shares: expected parts with at least one image of {len(self)}, got {counts}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return [self.subset(part) for part in order.split(counts)]

    def loader(self, batch_size: int = 16, shuffle: bool = False, seed: int = 0) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return a loader of batches.

        With `shuffle`, the order depends on the seed and the epoch alone, so a training that goes on after a stop sees
        the order that it would have seen. (Lightning tells the epoch to the loader's `sampler`.)
        """
        batch_size = check_count("batch_size", batch_size)
        order = ShuffledOrder(len(self), seed) if shuffle else None
        return DataLoader(self, batch_size, sampler=order, generator=torch.Generator())


def read_masked_folder(
    folder: str | Path, size: int | str | Sequence[int] | None = None, class_names: Sequence[str] | None = None
) -> MaskedImages:
    """Read a folder of images with their masks.

    The folder holds `images/`, and one of `masks/`, `trimaps/`, `labels/`, `annotations/` and `annotations/trimaps/`.
    The mask of `images/a/1.jpg` is the file of the same name, with any ending, such as `masks/a/1.png`. Masks are grey,
    or have a palette. The different values in all masks, sorted, are the classes 0, 1 and so on. So masks of 0 and 255
    have two classes.

    Args:
        folder: the folder.
        size: the height and width to scale and crop images and masks to. None takes them as they are, all of one size.
        class_names: the name of each class. None names them by their values.

    Returns:
        The images with their masks.

    Raises:
        ValueError: no such folder; an image without a mask; a mask of another size than its image, or one in colours;
            images of several sizes without `size`; another number of names.
    """
    root = user_path(folder)
    pictures = root / "images"
    beside = [root / name for name in MASK_FOLDERS]
    masks = [place for place in beside if place.is_dir() and any(map(has_image_name, os.listdir(place)))]
    masks = masks or [place for place in beside if place.is_dir()]
    if not pictures.is_dir() or not masks:
        raise ValueError(f"{root}: expected the folders images and masks (or {', '.join(MASK_FOLDERS[1:])})")
    found = {os.path.splitext(name)[0]: masks[0] / name for name in walk(str(masks[0])) if has_image_name(name)}
    names = [name for name in walk(str(pictures)) if has_image_name(name)]
    without = [name for name in names if os.path.splitext(name)[0] not in found]
    if not names or without:
        what = f"{len(without)} images without a mask, the first is {without[0]}" if without else "no image"
        raise ValueError(f"{root}: expected a mask in {masks[0].name} for every image, got {what}")
    pairs = [(pictures / name, found[os.path.splitext(name)[0]]) for name in names]
    return _read(pairs, size, class_names)


def read_pets(
    root: str | Path, size: int | str | Sequence[int] = 128, download: bool = False
) -> tuple[MaskedImages, MaskedImages]:
    """Read the Oxford-IIIT Pet images and their trimaps (Parkhi et al., 2012) with torchvision.

    Args:
        root: the folder with torchvision's `oxford-iiit-pet/`.
        size: the height and width to scale and crop images and trimaps to.
        download: download the files if they are missing.

    Returns:
        The images of `trainval` and of `test`, with the classes pet, background and border.

    Raises:
        ValueError: no such files there.
    """
    from torchvision.datasets import OxfordIIITPet

    parts = []
    for split in ("trainval", "test"):
        try:
            pets = OxfordIIITPet(user_path(root), split, target_types="segmentation", download=download)
        except (RuntimeError, OSError) as error:
            raise ValueError(f"{root}: no Oxford-IIIT Pet files there ({error}); pass download=True") from error
        pairs = list(zip(pets._images, pets._segs, strict=True))
        parts.append(_read(pairs, size, ["pet", "background", "border"], values=[1, 2, 3]))
    return parts[0], parts[1]


def _read(
    pairs: Sequence[tuple[Path, Path]],
    size: int | str | Sequence[int] | None,
    class_names: Sequence[str] | None,
    values: list[int] | None = None,
) -> MaskedImages:
    wanted = None if size is None else as_size("size", size)
    images: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    for image, mask in _pixels(pairs, wanted):
        if images and image.shape != images[0].shape:
            first, other = (f"{each.shape[0]}x{each.shape[1]}" for each in (images[0], image))
            raise ValueError(f"size: expected images of one size, got {first} and {other}; pass size=(H, W)")
        images.append(image)
        masks.append(mask)
    levels = np.stack(masks)
    found = np.flatnonzero(np.bincount(levels.ravel(), minlength=256)).tolist()
    values = values or found
    if len(values) > MOST_CLASSES:
        raise ValueError(
            f"masks: expected at most {MOST_CLASSES} different values, got {len(values)}; "
            "save masks without loss, as PNG, with one value for each class"
        )
    if not set(found) <= set(values):
        raise ValueError(f"masks: expected the values {values}, got {sorted(set(found) - set(values))} too")
    if len(values) < 2:
        raise ValueError(f"masks: expected at least two classes, got the value {values[0]} alone")
    if class_names is not None and len(class_names) != len(values):
        raise ValueError(f"class_names: expected {len(values)} names, for the values {values}, got {len(class_names)}")
    table = np.zeros(256, dtype=np.uint8)
    table[values] = np.arange(len(values))
    pixels = torch.from_numpy(np.stack(images)).movedim(3, 1).contiguous()
    return MaskedImages(pixels, torch.from_numpy(table[levels]), class_names or [str(value) for value in values])


def _pixels(
    pairs: Sequence[tuple[Path, Path]], size: tuple[int, int] | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield images `(H, W, 3)` and masks `(H, W)` as 8-bit integers."""
    for image_path, mask_path in pairs:
        image = _opened(image_path, lambda opened: eight_bits(plain(opened, "RGB")))
        mask = _opened(mask_path, _indices)
        if image.size != mask.size:
            sizes = [f"{each.width}x{each.height}" for each in (image, mask)]
            raise ValueError(f"{mask_path}: expected a mask as large as {image_path.name}, {sizes[0]}, got {sizes[1]}")
        if size is not None:
            image, mask = fit(image, size), ImageOps.fit(mask, size[::-1], Image.Resampling.NEAREST)
        yield np.asarray(image), np.asarray(mask)


def _opened(path: Path, read: Callable[[Image.Image], Image.Image]) -> Image.Image:
    try:
        with open_image(path) as opened:
            return read(opened)
    except UNREADABLE as error:
        raise ValueError(f"{path}: not an image that can be read ({error})") from error


def _indices(mask: Image.Image) -> Image.Image:
    """Return a mask's values as they are in the file: the indices of a palette, not its colours."""
    if mask.mode == "1":
        return mask.convert("L")
    if mask.mode in ("L", "P"):
        mask.load()
        return Image.fromarray(np.asarray(mask))
    pixels = np.asarray(mask)
    grey = pixels.ndim == 3 and bool((pixels[..., :3] == pixels[..., :1]).all()) and mask.mode in ("RGB", "RGBA")
    if not grey:
        raise ValueError(f"expected a mask of grey levels or palette indices, got mode {mask.mode}")
    return Image.fromarray(pixels[..., 0].copy())
