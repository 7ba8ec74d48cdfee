"""Checks of numbers and choices, shared by settings and models. They need no torch, so settings stay light."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from itertools import islice
from typing import Any, cast


def plain_number(value: Any) -> Any:
    """Return a single number of numpy, torch or TensorFlow as Python's own. Anything else is returned as it is."""
    if isinstance(value, int | float):
        return value if type(value) in (int, float, bool) or not hasattr(value, "item") else value.item()
    if getattr(value, "ndim", None) == 0 and hasattr(value, "numpy") and not hasattr(value, "item"):
        value = value.numpy()
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        with suppress(RuntimeError, ValueError, NotImplementedError):  # a tensor without a value
            return value.item()
    return value


def is_finite(value: Any) -> bool:
    """Return whether a number is finite. An integer that no float can hold is not."""
    with suppress(OverflowError):
        return math.isfinite(value)
    return False


def as_list(values: Any) -> Any:
    """Return an array of numpy or torch as a list of Python's own numbers. Anything else is returned as it is."""
    if getattr(values, "ndim", None) and hasattr(values, "tolist"):
        with suppress(RuntimeError, NotImplementedError):  # a tensor without values
            return values.tolist()
    return plain_number(values)


def plain_fields(settings: Any) -> None:
    """Turn every single number of numpy or torch in a dataclass into Python's own, so that it can be saved."""
    for each in fields(settings):
        object.__setattr__(settings, each.name, plain_number(getattr(settings, each.name)))


def check_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> float:
    """Return a finite number within its bounds, as Python's own.

    Args:
        name: the name of the argument in errors.
        value: the number.
        above: a lower bound that is not allowed itself.
        at_least: a lower bound that is allowed.
        below: an upper bound that is not allowed itself.
        at_most: an upper bound that is allowed.

    Raises:
        ValueError: not a number (text is none), or a number out of bounds.

    >>> check_number("beta", -1.0, at_least=0)
    Traceback (most recent call last):
    ValueError: beta: expected a finite number of at least 0, got -1.0
    """
    bounds = [f"above {above}"] * (above is not None) + [f"of at least {at_least}"] * (at_least is not None)
    bounds += [f"below {below}"] * (below is not None) + [f"of at most {at_most}"] * (at_most is not None)
    value = plain_number(value)
    number = isinstance(value, int | float) and not isinstance(value, bool) and is_finite(value)
    inside = number and (above is None or value > above) and (at_least is None or value >= at_least)
    if not inside or (below is not None and value >= below) or (at_most is not None and value > at_most):
        wanted = " ".join(["a finite number", " and ".join(bounds)]).strip()
        raise ValueError(f"{name}: expected {wanted}, got {value!r:.80}")
    return cast("float", value)


LARGEST_SIZE = 2**16
"""Most channels, units, latent dimensions or pixels along a side. A configuration that asks for more is broken."""

LARGEST_DEPTH = 64
"""Most widths, and most residual blocks at a resolution."""

LARGEST_THREADS = 1024
"""Most threads."""


def check_count(name: str, value: Any, at_least: int = 1, at_most: int | None = None) -> int:
    """Return an integer within its bounds, both of which are allowed, as Python's own.

    Raises:
        ValueError: not an integer (8.0 is none), or one out of bounds.
    """
    value = plain_number(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ValueError(f"{name}: expected an integer of at least {at_least}, got {value!r:.80}")
    if at_most is not None and value > at_most:
        raise ValueError(f"{name}: expected an integer of at most {at_most:,}, got {value!r}")
    return value


def check_flag(name: str, value: Any) -> bool:
    """Return True or False, as Python's own.

    Raises:
        ValueError: anything else.
    """
    value = plain_number(value)
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected True or False, got {value!r:.80}")
    return value


def check_widths(name: str, values: Any, at_least: int = 1) -> tuple[int, ...]:
    """Return the widths of a network as a tuple of positive integers, at least `at_least` of them.

    Raises:
        ValueError: anything else.
    """
    values = as_list(values)
    if isinstance(values, str | bytes) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise ValueError(f"{name}: expected a list of widths such as (32, 64), got {values!r:.80}")
    widths = tuple(islice(values, LARGEST_DEPTH + 1))
    if not at_least <= len(widths) <= LARGEST_DEPTH:
        raise ValueError(f"{name}: expected {at_least} to {LARGEST_DEPTH} widths, got {len(widths) or 'none'}")
    return tuple(check_count(f"{name}[{index}]", width, at_most=LARGEST_SIZE) for index, width in enumerate(widths))


def check_span(name: str, values: Any, *, at_least: float, at_most: float) -> tuple[float, float]:
    """Return a smallest and a largest number within bounds, as a tuple.

    Raises:
        ValueError: not two numbers; a number out of bounds; the largest number first.

    >>> check_span("sizes", [0.6, 1.3], at_least=0.1, at_most=10)
    (0.6, 1.3)
    """
    values = as_list(values)
    ends = () if isinstance(values, str) or not isinstance(values, Iterable) else tuple(islice(values, 3))
    if len(ends) != 2:
        raise ValueError(f"{name}: expected a smallest and a largest number such as (0.8, 1.2), got {values!r:.80}")
    smallest, largest = (
        float(check_number(f"{name}[{index}]", end, at_least=at_least, at_most=at_most))
        for index, end in enumerate(ends)
    )
    if smallest > largest:
        raise ValueError(f"{name}: expected the smallest number first, got {values!r:.80}")
    return smallest, largest


def as_size(name: str, value: Any) -> tuple[int, int]:
    """Return a height and a width in the forms that users write.

    Raises:
        ValueError: another form; a side out of range.

    >>> as_size("size", 64), as_size("size", "64x48"), as_size("size", "[64, 48]"), as_size("size", (64, 48))
    ((64, 64), (64, 48), (64, 48), (64, 48))
    """
    value = as_list(value)
    pattern = r"\s*[\[(]?\s*(\d{1,9})(?:\s*[x,;\s]\s*(\d{1,9}))?\s*[\])]?\s*"
    words = re.fullmatch(pattern, value) if isinstance(value, str) else None
    if words:
        value = int(words[1]), int(words[2] or words[1])
    if isinstance(value, int) and not isinstance(value, bool):
        value = value, value
    sides = () if isinstance(value, str) or not isinstance(value, Iterable) else tuple(islice(value, 3))
    if len(sides) != 2:
        raise ValueError(f"{name}: expected a height and a width such as 64, 64x48 or [64, 48], got {value!r}")
    height, width = (check_count(f"{name}[{index}]", side, at_most=LARGEST_SIZE) for index, side in enumerate(sides))
    return height, width


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Make sure that a value is one of several choices.

    Raises:
        ValueError: it is not.
    """
    allowed = tuple(choices)
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")


def in_words(count: int, one: str, several: str) -> str:
    """Return a number of things with their name.

    >>> in_words(1, "image", "images"), in_words(2, "image is", "images are")
    ('1 image', '2 images are')
    """
    return f"{count} {one if count == 1 else several}"


def check_kind(name: str, value: Any, kind: type, optional: bool = False) -> None:
    """Make sure that a value is an instance of a class, or None if it is optional.

    Raises:
        ValueError: it is not.
    """
    if optional and value is None:
        return
    if not isinstance(value, kind):
        expected, got = kind.__name__, type(value).__name__
        if expected == got:
            expected, got = f"{kind.__module__}.{expected}", f"{type(value).__module__}.{got}"
        raise ValueError(f"{name}: expected {expected}, got {got}")


def check_same_data(name: str, network: Any, other: Any, whose: str = "the model") -> None:
    """Check that two networks are for images of one shape and one number of classes.

    Args:
        name: argument that `network` was given as.
        network: has `num_classes` and `image_shape`.
        other: has them too.
        whose: what `other` is.

    Raises:
        ValueError: they differ.
    """
    if (network.num_classes, network.image_shape) != (other.num_classes, other.image_shape):
        raise ValueError(
            f"{name}: knows {network.num_classes} classes of images {network.image_shape}, {whose} "
            f"{other.num_classes} classes of images {other.image_shape}; give one for the same data"
        )
