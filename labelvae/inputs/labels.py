"""Labels in the forms that people have them, as one tensor: indices, names, one-hot rows, blends, tables.

Only input with one plain meaning is accepted. Everything else raises a `ValueError` that names the argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set, Sized
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelvae.inputs.class_names import folded, label_of
from labelvae.inputs.conversions import described, imported, plain_tensor
from labelvae.inputs.peeking import readable

MOST_NAMES = 12
"""Most names that an error lists."""


def label_tensor(
    labels: Any, num_classes: int, batch: int, name: str = "labels", class_names: Sequence[str] | None = None
) -> Tensor:
    """Return labels in any plain form as class indices, int64 `(B,)`, or as weights over the classes, `(B, K)`.

    Class indices are not compared with the number of classes here.

    Args:
        labels: an index or a name for all images; `(B,)` indices or names, also as whole floats or as a column
            `(B, 1)`; `(B, K)` one-hot rows or weights; `(1, K)` weights for all images, or `(K,)` if they are not
            whole. Tensors, arrays, lists, generators and columns of tables are accepted. A table's order counts, its
            index does not.
        num_classes: K.
        batch: B.
        name: the name of the argument in errors.
        class_names: the name of each class. None for the indices as text. If all are numbers, but not the indices, text
            is a name only.

    Raises:
        ValueError: anything else, also truth values: they are more often the result of a comparison than labels.
    """
    values = _numbers(labels, num_classes, name, class_names)
    if values.is_nested:
        raise ValueError(f"{name}: expected class indices, got a nested tensor; join its parts by torch.cat")
    if values.layout != torch.strided:
        values = values.to_dense()
    if values.is_complex() or values.is_quantized:
        raise ValueError(f"{name}: expected class indices, got {described(values)}")
    if values.dtype == torch.bool and tuple(values.shape) not in ((batch, num_classes), (1, num_classes)):
        raise ValueError(
            f"{name}: expected class indices, got {described(values)}; labels.astype(int) makes them 0 and 1"
        )
    if values.ndim == 2:
        return _rows(values, num_classes, batch, name)
    if values.ndim == 1 and values.is_floating_point() and readable(values):
        _refuse_missing(values.detach().isnan(), name)
    if values.ndim == 1 and values.is_floating_point() and readable(values) and len(values) == num_classes:
        whole = bool((values == values.round()).all())
        if not whole:
            return _rows(values[None], num_classes, batch, name)
        if len(values) == batch and bool((values.sum() == 1) & (values >= 0).all()):
            raise ValueError(
                f"{name}: {described(values)} may be {batch} class indices or one row of weights; "
                "give integers, or a row of shape (1, K)"
            )
    if values.ndim > 1 or (values.ndim == 1 and values.shape[0] != batch):
        raise ValueError(f"{name}: expected one class index an image, shape ({batch},), got {tuple(values.shape)}")
    return _whole(values, name).expand(batch)


def counted(labels: Any, name: str = "labels") -> tuple[Any, int]:
    """Return labels and their number. An index, a name or one row of weights counts as one label.

    Labels that allow one pass only are returned as a list.

    Raises:
        ValueError: no label.
    """
    labels = labels if hasattr(labels, "column_names") else imported(labels)  # a table keeps the names of its columns
    if isinstance(labels, Iterable) and not isinstance(labels, Sized):
        labels = list(labels)
    alone = isinstance(labels, str | bytes) or not isinstance(labels, Sized) or getattr(labels, "ndim", 1) == 0
    count = 1 if alone or _is_blend(labels) else len(labels)
    if count == 0:
        raise ValueError(f"{name}: expected at least one label, got none")
    return labels, count


def _is_blend(labels: Any) -> bool:
    """Return whether labels are one row of weights that are not whole numbers."""
    if not isinstance(labels, Tensor):
        floats = isinstance(labels, list | tuple) and all(isinstance(one, float) for one in labels)
        if not floats and getattr(getattr(labels, "dtype", None), "kind", "") != "f":
            return False
        labels = torch.as_tensor(np.asarray(labels, dtype=float))
    return (
        labels.ndim == 1 and labels.is_floating_point() and readable(labels) and bool((labels != labels.round()).any())
    )


def _rows(values: Tensor, num_classes: int, batch: int, name: str) -> Tensor:
    """Return indices `(B, 1)` as `(B,)`, and one-hot rows or weights as floats `(B, K)`."""
    if tuple(values.shape) == (batch, 1):
        return _whole(values[:, 0], name)
    if tuple(values.shape) not in ((batch, num_classes), (1, num_classes)):
        raise ValueError(
            f"{name}: expected one weight a class, shape ({batch}, {num_classes}), got {tuple(values.shape)}"
        )
    weights = values if values.is_floating_point() else values.float()
    if readable(weights):
        sums, rounding = weights.detach().float().sum(dim=1), max(1e-3, torch.finfo(weights.dtype).eps)
        if not bool(((sums - 1.0).abs() <= rounding).all()) or bool((weights < 0).any()):
            flags = bool(((weights == 0) | (weights == 1)).all())
            hint = "softmax(dim=1) makes logits weights"
            hint = (
                "an image of several classes or of none goes into ImageData.from_table, a column a class"
                if flags
                else hint
            )
            raise ValueError(
                f"{name}: expected non-negative weights that sum to one in each row, got {described(values)} of other "
                f"values; {hint}"
            )
    if weights.dtype in (torch.float16, torch.bfloat16):
        weights = weights.float() / weights.float().sum(dim=1, keepdim=True)
    return weights.float().expand(batch, -1)


def _whole(values: Tensor, name: str) -> Tensor:
    """Return whole numbers as int64."""
    if values.is_floating_point():
        if not readable(values):
            raise ValueError(f"{name}: expected integer class indices, got {values.dtype}; use labels.long()")
        given = values.detach()
        odd = given[(given != given.round()) | (given.abs() >= 2.0**31)]  # NaN and infinity among them
        if len(odd):
            raise ValueError(f"{name}: expected whole class indices, got {float(odd[0])}")
        values = given
    return values.long()


def _numbers(labels: Any, num_classes: int, name: str, class_names: Sequence[str] | None) -> Tensor:
    """Return what was given as a tensor of numbers, with names replaced by labels."""
    few = labels if isinstance(labels, list) else [labels]
    if few and all(type(each) is int and abs(each) < 2**31 for each in few):  # also where a compiler looks on
        return torch.tensor(labels, device="cpu")
    labels = labels if isinstance(labels, Tensor) else imported(_ordered(labels, class_names))
    if isinstance(labels, Tensor):
        return plain_tensor(labels)
    if isinstance(labels, str | bytes):
        return torch.tensor(_index(labels, num_classes, name, class_names), device="cpu")
    if labels is None or isinstance(labels, Mapping | Set):
        raise ValueError(f"{name}: expected class indices, got {described(labels)}")
    if hasattr(labels, "to_numpy"):  # a table's column
        labels = labels.to_numpy()
    elif isinstance(labels, Iterable) and not hasattr(labels, "__array__"):
        labels = [imported(each) if hasattr(each, "as_py") else each for each in labels]
        _refuse_missing([is_missing(each) for each in labels], name)
        if labels and all(isinstance(each, str | bytes) for each in labels):  # numpy would cut the members of an Enum
            indices = [_index(each, num_classes, name, class_names) for each in labels]
            return torch.tensor(indices, device="cpu")
        if any(isinstance(each, Tensor) for each in labels):
            rows = [torch.as_tensor(each) for each in labels]
            if len({(row.shape, row.is_floating_point()) for row in rows}) > 1:
                raise ValueError(f"{name}: expected labels of one form, got a list of several")
            return torch.stack(rows)
    try:
        array = np.asarray(labels)
    except Exception as error:  # the object's own conversion may raise anything
        raise ValueError(f"{name}: expected class indices, got {described(labels)}") from error
    return _from_array(array, labels, num_classes, name, class_names)


def _ordered(labels: Any, class_names: Sequence[str] | None) -> Any:
    """Return a table's rows, with the columns in the order of the classes if they are called so, not by their place.

    Anything but a table is returned as it is.
    """
    columns = [str(each) for each in getattr(labels, "column_names", getattr(labels, "columns", ()))]
    places = list(range(len(columns)))
    if class_names is not None and len(columns) > 1 and set(columns) == set(class_names):
        places = [columns.index(each) for each in class_names]
    if columns and hasattr(labels, "to_pylist"):  # of Arrow
        rows = [list(row.values()) for row in labels.to_pylist()]
        return [[row[place] for place in places] for row in rows]
    return labels.to_numpy()[:, places] if columns and hasattr(labels, "to_numpy") else labels


def is_missing(value: Any) -> bool:
    """Return whether a value stands for none: None, NaN, or those of pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def _refuse_missing(missing: Any, name: str) -> None:
    """Refuse labels of which some are missing. The first is named."""
    for place, lost in enumerate(missing if isinstance(missing, list) else missing.tolist()):
        if lost:
            raise ValueError(
                f"{name}: expected class indices or names, image {place} has none (None, NaN or masked); leave images "
                "without a label out"
            )


def _from_array(
    array: np.ndarray, labels: Any, num_classes: int, name: str, class_names: Sequence[str] | None
) -> Tensor:
    if isinstance(labels, np.ma.MaskedArray) and labels.ndim == 1:
        _refuse_missing(np.ma.getmaskarray(labels), name)
    if array.dtype.kind in "OT":  # text of many lengths, or numbers kept one by one
        each: list[Any] = [float(one) if isinstance(one, Decimal) else one for one in array.reshape(-1).tolist()]
        if array.ndim == 1:
            _refuse_missing([is_missing(one) for one in each], name)
        if each and all(isinstance(one, np.ndarray | list | tuple) for one in each):  # a row in each cell
            return _numbers([list(one) for one in each], num_classes, name, class_names)
        if each and all(isinstance(one, str | bytes) for one in each):
            indices = [_index(one, num_classes, name, class_names) for one in each]
            return torch.tensor(indices, device="cpu").reshape(array.shape)
        if any(isinstance(one, bool) or not isinstance(one, int | float | np.number) for one in each):
            odd = next(one for one in each if isinstance(one, bool) or not isinstance(one, int | float | np.number))
            if isinstance(odd, str) and any(not isinstance(one, str | bytes) for one in each):
                raise ValueError(f"{name}: expected class indices or names, got a list of several kinds")
            hint = "; give its .name or its .value" if isinstance(odd, Enum) else ""
            raise ValueError(f"{name}: expected class indices, got {described(odd)}{hint}")
        large = next((one for one in each if abs(one) >= 2**31), None)
        if large is not None:
            raise ValueError(f"{name}: expected class indices from 0 to {num_classes - 1}, got {described(large)}")
        array = np.array(each, dtype=float).reshape(array.shape)
    if array.dtype.kind in "US":
        mixed = isinstance(labels, list) and any(isinstance(one, bool | float) or one is None for one in labels)
        if mixed:
            raise ValueError(f"{name}: expected class indices or names, got a list of several kinds")
        indices = [_index(one, num_classes, name, class_names) for one in array.reshape(-1).tolist()]
        return torch.tensor(indices, dtype=torch.long, device="cpu").reshape(array.shape)
    if array.dtype.kind not in "iufb" or (isinstance(labels, np.ma.MaskedArray) and labels.mask.any()):
        raise ValueError(f"{name}: expected class indices, got {described(labels)}")
    if array.dtype.kind in "iu" and array.size and int(array.max()) >= 2**31:
        raise ValueError(f"{name}: expected class indices from 0 to {num_classes - 1}, got {int(array.max())}")
    kinds = {"f": array.dtype.newbyteorder("=") if array.dtype.itemsize <= 8 else np.float64, "b": bool}
    return torch.from_numpy(np.array(array, dtype=kinds.get(array.dtype.kind, np.int64)))


def _index(word: str | bytes, num_classes: int, name: str, class_names: Sequence[str] | None) -> int:
    """Return the label that a name means, or the index that it spells."""
    text = word.decode(errors="replace") if isinstance(word, bytes) else word
    names = [str(label) for label in range(num_classes)] if class_names is None else class_names
    alone = text not in names and _are_other_numbers(names)
    with suppress(ValueError):
        if not alone or folded(text) in map(folded, names):
            return label_of(text, names)
    known = f"an index from 0 to {num_classes - 1}"
    if class_names is not None:
        listed = ", ".join(class_names[:MOST_NAMES]) + (", ..." if len(class_names) > MOST_NAMES else "")
        known = f"one of {listed} (or {'an index as a number' if alone else known})"
    hint = "" if class_names is not None else "; class_names of the model is not set"
    raise ValueError(f"{name}: expected class indices or names, {known}, got {described(text)}{hint}")


def _are_other_numbers(names: Sequence[str]) -> bool:
    """Return whether all names are numbers, but not the indices: text that is no name is then no index either."""
    try:
        return [float(name) for name in names] != list(range(len(names)))
    except ValueError:
        return False
