"""Images and labels in the forms that people have them, as tensors: numpy, PIL, lists, 8-bit, names, tables.

Only input with one plain meaning is accepted. Everything else raises a `ValueError` that names the argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

ImageShape: TypeAlias = tuple[int, int, int]
"""`(C, H, W)`: channels, height, width."""

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name for pictures with so many channels."""

LONG = 60
"""Letters of a value that an error shows."""


def described(value: Any) -> str:
    """Return a value in a few words; a tensor or an array as its type and shape.

    >>> described(torch.zeros(2, 3)), described("cat")
    ('torch.float32 (2, 3)', "'cat'")
    """
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype} {tuple(value.shape)}"
    if isinstance(value, Enum) and not isinstance(value, str | int):
        return str(value)
    if value is None or isinstance(value, str | bytes | int | float | Path):
        shown = repr(value)
        return shown if len(shown) <= LONG else shown[:LONG] + "..."
    return type(value).__name__


def plain_tensor(values: Tensor) -> Tensor:
    """Return a tensor as a plain one, if its class only annotates it. One that traces or shards stays as it is."""
    if type(values) in (Tensor, torch.nn.Parameter) or type(values).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return values
    return values.as_subclass(Tensor)


def imported(values: Any) -> Any:
    """Return an array of another library as a tensor, on its device and without a copy, and a buffer as an array.

    A sparse matrix becomes an array, and a column of Arrow a list. Anything else is returned as it is.
    """
    if isinstance(values, Tensor | np.ndarray | np.generic):
        return values
    if hasattr(values, "to_pylist"):  # Arrow's other conversions refuse text and gaps
        return values.to_pylist()
    if hasattr(values, "as_py"):  # one value of Arrow
        return values.as_py()
    if hasattr(values, "toarray") and hasattr(values, "nnz"):
        return values.toarray()
    if hasattr(values, "__dlpack__"):
        with suppress(Exception):  # numpy may read what torch does not
            return torch.utils.dlpack.from_dlpack(values)
    return np.asarray(values) if isinstance(values, memoryview) else values


def as_floats(values: Tensor, name: str) -> Tensor:
    """Return grey levels as floats. 8-bit values are divided by 255, True is 1, and floats stay as they are.

    Raises:
        ValueError: wider integers, whose white is unknown; complex or nested values.
    """
    values = plain_tensor(values)
    if values.is_nested:
        raise ValueError(f"{name}: expected images of one size, got a nested tensor; resize and stack them")
    if values.layout != torch.strided:
        values = values.to_dense()
    if values.is_quantized:
        values = values.dequantize()
    if values.is_floating_point():
        return values.float() if values.element_size() == 1 else values  # of 8 bits, with which torch cannot compute
    if values.dtype == torch.bool:
        return values.float()
    if values.dtype == torch.uint8:
        return values.float() / 255.0
    raise ValueError(
        f"{name}: expected floats in [0, 1] or 8-bit integers, got {values.dtype}; "
        "divide by the value of white (255, or 65535 for 16 bits)"
    )


def image_tensor(images: Any, shape: ImageShape, name: str = "images") -> Tensor:
    """Return images in any plain form as floats `(B, C, H, W)`. Their values are not checked.

    Args:
        images: tensors or arrays `(B, C, H, W)`, `(B, H, W, C)`, `(C, H, W)`, `(H, W, C)` and, for one channel,
            `(B, H, W)` or `(H, W)`; a PIL image; or a list of them. Floats, 8-bit integers or booleans.
        shape: `(C, H, W)` of the model's images.
        name: the name of the argument in errors.

    Raises:
        ValueError: another form, shape or type.
    """
    images = _unpacked(imported(images))
    if isinstance(images, Tensor):
        return _placed(as_floats(images, name), shape, name)
    if _is_picture(images):
        return _placed(_picture(images, shape, name), shape, name)
    if isinstance(images, np.ndarray) or (hasattr(images, "__array__") and not isinstance(images, Sequence)):
        return _placed(as_floats(_from_array(images, name), name), shape, name)
    got, file = described(images), images
    if isinstance(images, Iterable) and not isinstance(images, str | bytes | Mapping | Set):
        each = list(images)
        got = f"a list of {type(each[0]).__name__}" if each else "an empty list"
        file = each[0] if each else None
        if each and all(isinstance(one, Tensor | np.ndarray) or _is_picture(one) for one in each):
            return torch.cat([_one(one, shape, f"{name}[{place}]") for place, one in enumerate(each)])
        if each and all(isinstance(one, Sequence) and not isinstance(one, str | bytes) for one in each):
            return _placed(as_floats(_from_array(each, name), name), shape, name)
    hint = ""
    if isinstance(file, str | Path):
        hint = f"; labelvae.photos.read_scan({described(file)}, image_shape) reads a file"
    raise ValueError(f"{name}: expected a tensor, an array, a picture or a list of them, got {got}{hint}")


def _one(image: Any, shape: ImageShape, name: str) -> Tensor:
    placed = image_tensor(image, shape, name)
    if len(placed) != 1 or getattr(image, "ndim", 3) > 3:
        raise ValueError(f"{name}: expected one image, got {described(image)}; torch.cat joins batches")
    return placed


def _is_picture(value: Any) -> bool:
    return hasattr(value, "getbands") and hasattr(value, "convert")


def _is_grey(image: Any) -> bool:
    """Return whether a picture or an array has one channel."""
    return image.mode in ("1", "L") if _is_picture(image) else 1 in np.shape(image) or np.ndim(image) == 2


def _upright_on_white(image: Any, channels: int, name: str) -> Any:
    """Return a picture as a reader of its file sees it: turned by its EXIF data, and white where it is transparent."""
    from PIL import Image, ImageOps

    try:
        image = ImageOps.exif_transpose(image)
        clear = "A" in image.getbands() or "transparency" in image.info
        if channels != 4 and clear and not image.mode.startswith(("I", "F")):
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    except Exception as error:  # a file that is closed or broken, read only now
        raise ValueError(f"{name}: expected a picture that can be read, got one that cannot ({error})") from error
    return image


def _picture(image: Any, shape: ImageShape, name: str) -> Tensor:
    channels, height, width = shape
    image = _upright_on_white(image, channels, name)
    if image.size != (width, height):
        raise ValueError(
            f"{name}: expected {height}x{width} pixels, got a picture of {image.height}x{image.width}; "
            "labelvae.photos.fit_scan(picture, image_shape) fits it, read_scan(path, image_shape) reads and fits a file"
        )
    if image.mode.startswith(("I", "F")) or channels not in MODES:
        raise ValueError(
            f"{name}: expected a picture of 8 bits and 1, 3 or 4 channels, got mode {image.mode} for {channels}; "
            "labelvae.photos.read_scan(path, image_shape) reads a file of more bits"
        )
    try:
        pixels = torch.from_numpy(np.array(image.convert(MODES[channels])))
    except Exception as error:  # a file that is closed or broken, read only now
        raise ValueError(f"{name}: expected a picture that can be read, got one that cannot ({error})") from error
    return as_floats(pixels, name)


def _from_array(values: Any, name: str) -> Tensor:
    """Return an array of numbers as a tensor, whatever its byte order, strides or owner."""
    try:
        array = np.asarray(values)
    except Exception as error:  # the object's own conversion may raise anything
        what = (
            "images of one size, got some that are not"
            if isinstance(values, list)
            else f"an array, got {described(values)}"
        )
        raise ValueError(f"{name}: expected {what} ({error!s:.100})") from error
    if isinstance(values, np.ma.MaskedArray) and values.mask.any():
        raise ValueError(f"{name}: expected an array without gaps, got a masked one; fill it first")
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise ValueError(f"{name}: expected numbers, got {described(array)}")
    whole = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return torch.from_numpy(whole if whole.flags.writeable else whole.copy())


def _placed(images: Tensor, shape: ImageShape, name: str) -> Tensor:
    """Return images in one of the accepted orders of axes as `(B, C, H, W)`."""
    channels, height, width = shape
    last, there = (height, width, channels), tuple(images.shape)
    if images.ndim == 4 and there[1:] == shape:
        return images
    if images.ndim == 4 and there[1:] == last:
        return images.permute(0, 3, 1, 2)
    if images.ndim == 3 and there == shape:
        return images[None]
    if images.ndim == 3 and there == last:
        return images.permute(2, 0, 1)[None]
    if channels == 1 and images.ndim in (2, 3) and there[-2:] == (height, width):
        return images.reshape(-1, 1, height, width)
    sizes = "x".join(str(size) for size in (height, width))
    hint = ""
    if images.ndim in (2, 3, 4):
        fits = (height, width) in (there[-2:], there[-3:-1])
        hint = f"; this model knows {channels} channels" if fits else f"; resize them to {sizes} pixels"
        hint += "" if fits else ", or see labelvae.photos.fit_scan"
    raise ValueError(f"{name}: expected shape (B, {channels}, {height}, {width}), got {there}{hint}")


def image_bytes(images: Any, name: str = "images") -> Tensor:
    """Return a data set's images in any plain form as 8-bit integers `(N, C, H, W)`, to keep in memory.

    Args:
        images: tensors or arrays `(N, C, H, W)`, `(N, H, W, C)` with 1, 3 or 4 channels, `(N, H, W)` in grey, or a list
            of images of one size. 8-bit integers, booleans, or floats in [0, 1], which are rounded.
        name: the name of the argument in errors.

    Raises:
        ValueError: another form or type; floats outside [0, 1].
    """
    images = _unpacked(imported(images))
    if not isinstance(images, Tensor | np.ndarray):
        each = list(images) if isinstance(images, Iterable) and not isinstance(images, str | bytes | Mapping) else []
        if not each:
            got = "an empty list" if isinstance(images, list) else described(images)
            raise ValueError(f"{name}: expected a tensor or an array (N, C, H, W), got {got}")
        first = each[0]
        if isinstance(first, str | bytes | Path | Mapping):
            raise ValueError(
                f"{name}: expected images as arrays or pictures, got {described(first)}; PIL.Image.open reads a file, "
                "and ImageData('folder', ...) a folder"
            )
        picture = next(filter(_is_picture, each), None)
        if picture is not None:
            grey = all(_is_grey(one) for one in each)
            width, height = _upright_on_white(picture, 4, name).size
            shape = (1 if grey else 3, height, width)
            images = torch.cat([_one(one, shape, f"{name}[{place}]") for place, one in enumerate(each)])
        elif all(isinstance(one, Tensor) for one in each):
            if len({one.shape for one in each}) > 1:
                raise ValueError(f"{name}: expected images of one size, got {first.shape} and others; resize them")
            images = torch.stack(each)
        else:
            images = _from_array(each, name)
    images = images if isinstance(images, Tensor) else _from_array(images, name)
    if images.device.type == "meta" or images.ndim < 2:
        what = "which has no values" if images.ndim > 1 else "numbers; of a pair, the images come first"
        raise ValueError(f"{name}: expected images (N, C, H, W), got {described(images)}, {what}")
    if images.dtype != torch.uint8 or images.layout != torch.strided:
        images = _as_bytes(as_floats(images, name), name)
    images = plain_tensor(images)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim == 4 and images.shape[3] in MODES and images.shape[1] not in MODES:
        images = images.permute(0, 3, 1, 2).contiguous()
    count_last = images.ndim == 4 and images.shape[2] in MODES and images.shape[1] not in MODES  # of MATLAB
    if count_last or images.ndim != 4 or not images.numel():
        raise ValueError(
            f"{name}: expected (N, C, H, W), got {described(images)}{_axes_hint(tuple(images.shape), name)}"
        )
    found: Tensor = images
    return found


def _unpacked(images: Any) -> Any:
    """Return another library's array as one of numpy, and an array or a column of objects as a list of them."""
    if hasattr(images, "__array__") and not isinstance(images, Tensor | Sequence) and not _is_picture(images):
        with suppress(Exception):  # the object's own conversion may raise anything
            array = np.asanyarray(images)
            return list(array) if array.dtype.kind == "O" and array.ndim == 1 else array
    return images


def _axes_hint(shape: tuple[int, ...], name: str) -> str:
    """Return what to do about images whose axes are others; nothing if that is not known."""
    if 0 in shape:
        return "; there are no images"
    if len(shape) == 4:
        return f"; if the axes are (H, W, C, N), {name}.transpose(3, 2, 0, 1) of an array, .permute(...) of a tensor"
    if len(shape) != 2:
        return "; each image has an axis too many" if len(shape) == 5 else ""
    for channels in (1, 3):
        side = math.isqrt(shape[1] // channels)
        if channels * side * side == shape[1] and side >= 8:
            return f"; if each row is an image, {name}.reshape(-1, {channels}, {side}, {side})"
    return "; one image is no data set, and rows of pixels do not say their height and width"


def _as_bytes(images: Tensor, name: str) -> Tensor:
    if not images.numel():
        return images.to(torch.uint8)
    if bool(images.detach().isnan().any()):
        raise ValueError(f"{name}: expected values in [0, 1], got NaN; look at where it comes from")
    low, high = (float(value) for value in torch.aminmax(images.detach()))
    if not (low >= -1e-3 and high <= 1.0 + 1e-3):
        what = "8-bit values by 255" if high > 64 else "by the value of white"
        raise ValueError(
            f"{name}: expected values in [0, 1] or 8-bit integers, got values from {low:.4g} to {high:.4g}; "
            f"undo any normalization, or divide {what}"
        )
    return (images.detach().float() * 255.0).round().clamp(0, 255).to(torch.uint8)
