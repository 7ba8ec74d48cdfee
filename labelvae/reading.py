"""Where images come from: scikit-learn, torchvision's files, or a folder a class; all become 8-bit integers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision import datasets
from tqdm import tqdm

from labelvae.image_sets import ImageSet
from labelvae.picture_files import ENDINGS, is_picture

DEFAULT_SIZE = 64
"""Height and width where the images differ in size and none was asked for."""

LARGEST_OWN_SIZE = 128
"""Images larger than this are not kept at their own size unless it is asked for."""

GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""What a file may hold, whatever its name says; Pillow knows others that start programs (EPS)."""

UNREADABLE = Exception
"""What opening an image may raise: broken files make Pillow's readers raise nearly anything."""


@dataclass(frozen=True)
class Source:
    """What was read: images for training, images for the test if the data set has its own, the name of each label."""

    train: ImageSet
    test: ImageSet | None
    class_names: list[str]


def read_digits() -> Source:
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels (Alpaydin & Kaynak, 1998)."""
    from sklearn.datasets import load_digits  # half a second that no other data set needs

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(255.0 / 16.0).round().byte()
    names = [str(digit) for digit in range(10)]
    return Source(ImageSet(images[:, None], torch.from_numpy(digits.target).long()), None, names)


def read_torchvision(name: str, data_dir: Path) -> Source:
    """MNIST, FashionMNIST, KMNIST or CIFAR10 from torchvision's files under `data_dir`, downloaded if they are missing.

    Raises:
        ValueError: no usable files, and no network to download them.
    """
    kind = {
        "mnist": datasets.MNIST,
        "fashion_mnist": datasets.FashionMNIST,
        "kmnist": datasets.KMNIST,
        "cifar10": datasets.CIFAR10,
    }[name]
    sets = []
    for train in (True, False):
        try:
            files: Any = _found_or_downloaded(kind, data_dir, train)
        except (RuntimeError, URLError, OSError, ValueError, AssertionError, EOFError) as error:
            where = data_dir / "cifar-10-batches-py" if name == "cifar10" else data_dir / kind.__name__ / "raw"
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ValueError(
                f"{name}: no usable files were found under {where}, and the download failed ({first}); put "
                "torchvision's files there or name their folder with --data-dir (data_dir=); "
                "'digits' needs no files at all"
            ) from error
        images, labels = torch.as_tensor(files.data), torch.as_tensor(files.targets).long()
        images = images.permute(0, 3, 1, 2).contiguous() if images.ndim == 4 else images[:, None]
        sets.append(ImageSet(images, labels))
    names = [str(digit) for digit in range(10)] if name == "mnist" else list(files.classes)
    return Source(sets[0], sets[1], names)


def _found_or_downloaded(kind: Any, data_dir: Path, train: bool) -> Any:
    try:
        return kind(str(data_dir), train=train)
    except RuntimeError:
        return kind(str(data_dir), train=train, download=True)


def read_folder(root: Path, image_size: tuple[int, int] | None = None) -> Source:
    """Reads `root/train/CLASS/*` and `root/test/CLASS/*`, or `root/CLASS/*`.

    Images are turned upright, laid on white where they are transparent, made grey if all of them are, else RGB,
    and scaled and cropped at the centre to one size: `image_size` (H, W), or their own if all are alike and at
    most 128x128, or 64x64.

    Raises:
        ValueError: no such folder, fewer than two classes, a class without images, classes that only the
            test has, images that cannot be read (named).
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; expected train/CLASS/*.png (or .jpg) or CLASS/*.png inside it")
    has_test = (root / "train").is_dir() and (root / "test").is_dir()
    train_root = root / "train" if (root / "train").is_dir() else root
    class_names = _classes(train_root)
    if len(class_names) < 2:
        raise ValueError(
            f"{train_root}: expected one folder of images a class, at least 2, got {class_names or 'none'}; "
            "sort the images into folders named after their class"
        )
    files = [_list(train_root, class_names)]
    if has_test:
        unknown = sorted(set(_classes(root / "test")) - set(class_names))
        if unknown:
            raise ValueError(f"{root / 'test'}: has classes that {train_root} does not: {', '.join(unknown)}")
        files.append(_list(root / "test", class_names))
    paths = [path for split in files for path, _ in split]
    mode, size = _common_form(paths)
    images = _read(paths, mode, image_size or size)
    labels = torch.tensor([label for split in files for _, label in split])
    cut = len(files[0])
    test = ImageSet(images[cut:], labels[cut:]) if has_test else None
    return Source(ImageSet(images[:cut], labels[:cut]), test, class_names)


def _list(root: Path, class_names: list[str]) -> list[tuple[Path, int]]:
    files: list[tuple[Path, int]] = []
    others: list[Path] = []
    for label, name in enumerate(class_names):
        folder = root / name
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        found = [path for path in inside if _is_image(path)]
        if not found:
            raise ValueError(f"{folder}: the class {name!r} has no images; expected .png, .jpg or similar files")
        files += [(path, label) for path in found]
        others += [path for path in inside if not _is_image(path) and not path.name.startswith(".")]
    if others:
        known = ", ".join(ENDINGS)
        warnings.warn(f"{others[0]}: {len(others)} such are passed over; images end in {known}", stacklevel=2)
    return files


def _classes(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _is_image(path: Path) -> bool:
    return is_picture(path) and not path.name.startswith(".")


def _common_form(paths: list[Path]) -> tuple[str, tuple[int, int]]:
    """The mode ("L" or "RGB") and size `(H, W)` that suit all images; headers only are read."""
    grey, sizes, broken = True, set(), []
    for path in _progress(paths, "looking at images"):
        try:
            with open_image(path) as image:
                grey = grey and image.mode in GREY
                turned = image.getexif().get(0x0112, 1) >= 5  # stored on its side
                sizes.add((image.width, image.height) if turned else (image.height, image.width))
        except UNREADABLE as error:
            broken.append((path, error))
    _refuse(broken)
    size = sizes.pop() if len(sizes) == 1 else (DEFAULT_SIZE, DEFAULT_SIZE)
    return "L" if grey else "RGB", size if max(size) <= LARGEST_OWN_SIZE else (DEFAULT_SIZE, DEFAULT_SIZE)


def _read(paths: list[Path], mode: str, size: tuple[int, int]) -> Tensor:
    shape = (len(paths), 1 if mode == "L" else 3, *size)
    try:
        images = torch.empty(shape, dtype=torch.uint8)
    except RuntimeError as error:
        raise ValueError(
            f"image_size: {shape[0]:,} images of {size[0]}x{size[1]} need {math.prod(shape) / 1e9:,.0f} GB of memory, "
            "more than there is; ask for smaller ones with --data.image-size"
        ) from error
    broken = []
    for index, path in enumerate(_progress(paths, "reading images")):
        try:
            images[index] = _decode(path, mode, size)
        except UNREADABLE as error:
            broken.append((path, error))
    _refuse(broken)
    return images


def _decode(path: Path, mode: str, size: tuple[int, int]) -> Tensor:
    with open_image(path) as file:
        upright = plain(file, mode)
    if upright.size != size[::-1]:
        upright = ImageOps.fit(upright, size[::-1], Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(upright))
    return pixels[None] if mode == "L" else pixels.permute(2, 0, 1)


def open_image(path: Path) -> Image.Image:
    """An image whose header is read; of a known format and of a size that can be meant.

    Raises:
        ValueError: no file there. What a broken or refused file raises is Pillow's: catch `UNREADABLE`.
    """
    if not path.is_file():
        raise ValueError("no file, or a link that leads to none")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(path, formats=FORMATS)


def plain(image: Image.Image, mode: str) -> Image.Image:
    """The image turned upright, laid on white where it is transparent, with 8 bits, in `mode` ("L" or "RGB").

    Raises:
        ValueError: floating-point or 32-bit pixels.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits
        if upright.mode == "I" and image.format not in ("PNG", "PPM"):  # whose 16 bits Pillow may hold as 32
            raise ValueError("32-bit pixels have no agreed range; save the image with 8 or 16 bits")
        upright = Image.fromarray((np.asarray(upright, dtype=np.float64) / 257.0).clip(0, 255).astype(np.uint8))
    elif upright.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; save the image with 8 or 16 bits")
    if upright.has_transparency_data:
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
    return upright.convert(mode)


def _refuse(broken: Sequence[tuple[Path, Exception]]) -> None:
    if broken:
        named = "; ".join(f"{path} ({error})" for path, error in broken[:5])
        more = f"; and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise ValueError(f"{len(broken)} images cannot be read: {named}{more}; repair them or take them away")


def _progress(paths: list[Path], title: str) -> tqdm[Path]:
    return tqdm(paths, desc=title, unit="image", leave=False, delay=2)
