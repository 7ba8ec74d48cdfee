"""The kinds of attributes, and how one comes back from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labelvae.attributes.choices import Binary, Category
from labelvae.attributes.continuous import Continuous
from labelvae.attributes.kind import Kind
from labelvae.inputs.conversions import described

KINDS: dict[str, type[Kind]] = {kind.word: kind for kind in (Category, Binary, Continuous)}

FIELDS = {"category": "names", "binary": "nothing", "continuous": "low, high, and maybe unit and periodic,"}
"""What plain values say of each kind."""


def kind_of(name: str, given: Any) -> Kind:
    """Return a kind that is given as one or as plain values.

    Raises:
        ValueError: anything else; a kind of that name that cannot be made.

    >>> kind_of("angle", {"kind": "continuous", "low": 0, "high": 360, "periodic": True}).entries
    2
    """
    if isinstance(given, Kind) and type(given) is not Kind:
        return given
    wanted = "Category(...), Binary() or Continuous(low, high)"
    if not isinstance(given, Mapping):
        raise ValueError(f"attributes: {name}: expected {wanted}, got {described(given)}")
    word = given.get("kind")
    if not isinstance(word, str) or word not in KINDS:
        raise ValueError(
            f"attributes: {name}: expected {wanted}, or a dict whose kind is {', '.join(KINDS)}, got {described(word)}"
        )
    try:
        return KINDS[word](**{key: value for key, value in given.items() if key != "kind"})
    except TypeError as error:
        got = ", ".join(map(str, given))
        raise ValueError(f"attributes: {name}: expected {FIELDS[word]} of a {word}, got {got}") from error
    except ValueError as error:
        raise ValueError(f"attributes: {name}: {error}") from error
