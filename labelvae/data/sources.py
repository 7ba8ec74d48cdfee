"""Where images come from: scikit-learn, torchvision's files, folders, or tables. All become 8-bit integers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor
from torchvision import datasets

from labelvae.attributes.rows import Attributes
from labelvae.data.folders import list_folder
from labelvae.data.forms import Form, common_form, decode, progress, refuse, say_skipped
from labelvae.data.image_sets import FileImages, ImageSet, StoredImages
from labelvae.data.settings import DataSettings
from labelvae.data.tables import declared_attributes, read_labels, table_rows
from labelvae.inputs.checks import as_list, as_size
from labelvae.inputs.conversions import image_bytes
from labelvae.system.memory import fits
from labelvae.system.whole_files import user_path


@dataclass(frozen=True)
class Source:
    """The images and labels that were read.

    Attributes:
        train: the training images.
        test: the test images, if the data set has its own.
        class_names: the name of each class.
        validation: the images for choosing settings, if the data set has its own.
        files: a hash of the files; empty for images that are identified by their pixels.
    """

    train: StoredImages
    test: StoredImages | None
    class_names: list[str]
    validation: StoredImages | None = None
    files: str = ""


def read_named(how: DataSettings, data_dir: Path, class_names: Sequence[str] | None) -> tuple[Source, Any]:
    """Read the data set that settings name, and the attributes of its labels, or None.

    Args:
        how: the settings.
        data_dir: where its files are.
        class_names: the order of the labels of class folders, see `list_folder`.

    Raises:
        ValueError: files that are missing, broken or not of this kind.
    """
    if how.name == "digits":
        return read_digits(), None
    if how.name == "table":
        return read_table(data_dir, None, how.attributes, how.image_size, how.skip_unreadable)
    if how.name == "folder":
        size = None if how.image_size is None else as_size("image_size", how.image_size)
        if (data_dir / "labels.csv").is_file() and not any(path.is_dir() for path in data_dir.iterdir()):
            raise ValueError(
                f"{data_dir}: holds labels.csv and no class folders; read it as a table: `labelvae train table`, "
                "--data table, or ImageData('table', ...)"
            )
        return read_folder(data_dir, size, class_names, how.skip_unreadable, how.memory_share), None
    return read_torchvision(how.name, data_dir), None


def read_digits() -> Source:
    """Read scikit-learn's 1,797 handwritten digits of 8x8 pixels (Alpaydin & Kaynak, 1998).

    Returns:
        The images and labels, without a test split.
    """
    from sklearn.datasets import load_digits  # half a second that no other data set needs

    digits = load_digits()
    images = torch.from_numpy(digits.images).mul(255.0 / 16.0).round().byte()
    names = [str(digit) for digit in range(10)]
    return Source(ImageSet(images[:, None], torch.from_numpy(digits.target).long()), None, names)


def read_torchvision(name: str, data_dir: Path) -> Source:
    """Read MNIST, FashionMNIST, KMNIST or CIFAR10 from torchvision's files, downloaded if they are missing.

    Args:
        name: "mnist", "fashion_mnist", "kmnist" or "cifar10".
        data_dir: the folder of the files.

    Returns:
        The images and labels, with a test split.

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


def read_folder(
    root: str | Path,
    image_size: tuple[int, int] | None = None,
    class_names: Sequence[str] | None = None,
    skip_unreadable: bool = False,
    memory_share: float = 0.5,
) -> Source:
    """Read a folder of images: `root/CLASS/*`, or `root/train/CLASS/*`, `root/val/CLASS/*` and `root/test/CLASS/*`.

    Images are turned upright, put on white where they are transparent, made grey if all of them are grey and else RGB,
    and scaled and cropped at the centre to one size. They are held in memory if they fit. Otherwise they stay in their
    files, and are decoded whenever a batch needs them. The pixels are the same.

    Args:
        root: the folder; `list_folder` says how it is read.
        image_size: `(H, W)`. By default the images' own size, if all have the same and it is at most 128x128; else
            64x64.
        class_names: the order of the classes, if a model has one already.
        skip_unreadable: leave out files that cannot be read, with a warning.
        memory_share: the largest share of the free memory that the images may take.

    Returns:
        The images and labels of each split that the folder has.

    Raises:
        ValueError: no such folder; classes that are missing or empty; images that cannot be read (named).
    """
    listing = list_folder(root, class_names)
    files = listing.fingerprint(root)
    form, unreadable = common_form(listing.paths, image_size)
    broken = {listing.paths[place]: reason for place, reason in unreadable.items()}
    if not skip_unreadable:
        refuse(broken)
    size, cpu = math.prod(form.image_shape), torch.device("cpu")
    if not fits(size, cpu, 0.9):
        raise ValueError(
            f"image_size: an image of {form.size[0]}x{form.size[1]} needs {size / 1e9:,.0f} GB of memory, more than "
            "there is; ask for smaller ones with --data.image-size"
        )
    if fits(2 * len(listing.paths) * size, cpu, memory_share):  # splits copy
        images = _read(listing.paths, form, broken, skip_unreadable)
        if broken:
            listing = listing.without([place for place, path in enumerate(listing.paths) if path in broken])
        sets: dict[str, StoredImages] = {
            name: ImageSet(images[index], listing.labels[index]) for name, index in listing.splits.items()
        }
    else:
        listing = listing.without(list(unreadable))
        read = partial(decode, form=form)
        sets = {
            name: FileImages(listing.paths, read, form.image_shape, index, listing.labels[index], skip_unreadable)
            for name, index in listing.splits.items()
        }
    say_skipped(broken)
    return Source(sets["train"], sets.get("test"), listing.class_names, sets.get("validation"), files)


def read_table_folder(
    root: Path, image_size: Any = None, attributes: Mapping[str, Any] | None = None, skip_unreadable: bool = False
) -> tuple[Tensor, Attributes, Tensor]:
    """Read a folder of images with `labels.csv`.

    Args:
        root: the folder.
        image_size: `(H, W)` to resize the images to, or None.
        attributes: the kinds of the columns. None infers them.

    Returns:
        The images, uint8 `(N, C, H, W)`; the attributes; and the rows, `(N, A)`.

    Images that cannot be read are left out with a warning where they may be skipped.

    Raises:
        ValueError: no such table, or a broken one; a file that is missing or no image.
    """
    table = root / "labels.csv"
    if not table.is_file():
        raise ValueError(f"{table}: no such file; expected a table with the columns file, and one an attribute")
    files, found, rows = read_labels(table, attributes)
    paths = [str(root / file) for file in files]
    missing = next((file for file, path in zip(files, paths, strict=True) if not Path(path).is_file()), None)
    if missing is not None:
        raise ValueError(f"{table}: column file: there is no {missing!r} under {root}")
    form, unreadable = common_form(paths, None if image_size is None else as_size("image_size", image_size))
    broken = {paths[place]: reason for place, reason in unreadable.items()}
    if not skip_unreadable:
        refuse(broken)
    pixels = _read(paths, form, broken, skip_unreadable)
    say_skipped(broken)
    kept = [place for place, path in enumerate(paths) if path not in broken]
    return pixels[kept], found, rows[kept]


def _read(paths: Sequence[str], form: Form, broken: dict[str, str], skip_unreadable: bool) -> Tensor:
    """Read all images. Unreadable ones are added to `broken`, and refused unless they may be skipped."""
    images = torch.empty(len(paths), *form.image_shape, dtype=torch.uint8)
    for place, path in enumerate(progress(paths, "reading images")):
        if path not in broken:
            try:
                images[place] = decode(path, form)
            except ValueError as error:
                broken[path] = str(error)
    if not skip_unreadable:
        refuse(broken)
    return images


def read_table(
    images: Any,
    table: Any,
    attributes: Mapping[str, Any] | None,
    image_size: tuple[int, int] | int | str | None,
    skip_unreadable: bool = False,
) -> tuple[Source, Attributes]:
    """Read images with a table of their labels, or a folder that holds one; see `ImageData.from_table`.

    Returns:
        The images with rows `(N, A)` as labels, and the attributes.

    Raises:
        ValueError: a missing or broken table, named by file, row and column; images that cannot be read.
    """
    if isinstance(images, str | Path):
        pixels, found, rows = read_table_folder(user_path(images), image_size, attributes, skip_unreadable)
    else:
        pixels = image_bytes(images)
        columns = {str(name): as_list(table[name]) for name in getattr(table, "columns", table)}
        found = declared_attributes(columns, attributes)
        rows = table_rows(columns, found)
    if len(rows) != len(pixels):
        raise ValueError(f"table: expected {len(pixels)} rows, one an image, got {len(rows)}")
    return Source(ImageSet(pixels, rows), None, []), found
