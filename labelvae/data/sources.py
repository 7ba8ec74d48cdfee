"""Where images come from: scikit-learn, torchvision's files, folders, or tables. All become 8-bit integers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torchvision import datasets

from labelvae.attributes.rows import Attributes
from labelvae.data.doubtful_columns import say_doubtful
from labelvae.data.given_tables import columns_of
from labelvae.data.image_files import inside
from labelvae.data.image_sets import ImageSet
from labelvae.data.labelled_files import Source, read_celeba, read_folder, read_table_folder
from labelvae.data.settings import WITH_ATTRIBUTES, DataSettings
from labelvae.data.tables import declared_attributes, table_rows
from labelvae.inputs.checks import as_size
from labelvae.inputs.conversions import image_bytes
from labelvae.system.errors import first_line
from labelvae.system.whole_files import user_path


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
    size = None if how.image_size is None else as_size("image_size", how.image_size)
    if how.name in WITH_ATTRIBUTES:
        read = read_table_folder if how.name == "table" else read_celeba
        return read(data_dir, size, how.attributes, how.skip_unreadable, how.memory_share)
    if how.name == "folder":
        if os.path.isfile(data_dir / "labels.csv") and not inside(str(data_dir))[1]:
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
            raise ValueError(
                f"{name}: no usable files were found under {where}, and the download failed ({first_line(error)}); put "
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


def read_table(
    images: Any,
    table: Any,
    attributes: Mapping[str, Any] | None,
    image_size: tuple[int, int] | int | str | None,
) -> tuple[Source, Attributes]:
    """Read images with a table of their labels, or a folder that holds one; see `ImageData.from_table`.

    Returns:
        The images with rows `(N, A)` as labels, and the attributes.

    Raises:
        ValueError: a missing or broken table, named by file, row and column; images that cannot be read.
    """
    if isinstance(images, str | Path):
        size = None if image_size is None else as_size("image_size", image_size)
        return read_table_folder(user_path(images), size, attributes)
    pixels = image_bytes(images)
    named = hasattr(table, "columns") or getattr(getattr(table, "dtype", None), "names", None)
    lists = isinstance(table, list | tuple) and table and all(isinstance(row, list | tuple) for row in table)
    if lists or (hasattr(table, "ndim") and not named):  # rows (N, A), as `Attributes.rows` takes them
        if attributes is None:
            raise ValueError("attributes: expected what each column of the table is, by name, got None")
        found = Attributes(attributes)
        rows = found.rows(table, len(pixels)).cpu()
    else:
        columns = columns_of(table, len(pixels))
        found = declared_attributes(columns, attributes)
        rows = table_rows(columns, found)
        say_doubtful(columns, found, attributes)
    if len(rows) != len(pixels):
        raise ValueError(f"table: expected {len(pixels)} rows, one an image, got {len(rows)}")
    return Source(ImageSet(pixels, rows), None, []), found
