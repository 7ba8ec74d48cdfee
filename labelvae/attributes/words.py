"""Labels of several attributes as a command line says them: `digit=8,thickness=3.5`."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

from labelvae.attributes.choices import Category
from labelvae.attributes.continuous import Continuous
from labelvae.attributes.rows import Attributes
from labelvae.inputs.class_names import EVERY


def labels_of_words(text: str, attributes: Attributes, name: str = "label") -> list[dict[str, Any]]:
    """Read a label such as "digit=8,thickness=3.5", or several such as "digit=all,thickness=3.5".

    Args:
        text: names and values of attributes, separated by commas; of a single attribute, its value alone will do. The
            value all (or *) of a choice stands for each of its values.
        attributes: what there is.
        name: the name of the option, for the error.

    Returns:
        The labels, each its values by name, as `ConditionalVAE.relabel` takes them. A category's value is its name,
        because a number could be a name or an index. All other values are numbers.

    Raises:
        ValueError: text of another form, an attribute that there is not or is there twice, a value that is not its.

    >>> labels_of_words("pet=dog", Attributes({"pet": Category(["cat", "dog"])}))
    [{'pet': 'dog'}]
    """
    if "=" not in text and len(attributes) == 1:
        text = f"{next(iter(attributes))}={text}"
    found: dict[str, list[Any]] = {}
    for part in re.split(r",(?=[^,=]+=)", text):
        each, said, value = (word.strip() for word in part.partition("="))
        if not said or not each:
            raise ValueError(f"{name}: {expected_words(attributes)}, got {part.strip()!r}")
        if each not in attributes:
            raise ValueError(f"{name}: expected attributes among {', '.join(attributes)}, got {each!r}")
        if each in found:
            raise ValueError(f"{name}: expected {each} once, got it twice")
        found[each] = _values(attributes, each, value, name)
    return [dict(zip(found, values, strict=True)) for values in product(*found.values())]


def expected_words(attributes: Attributes) -> str:
    """Return what a command line expects of a label, in words."""
    values = "; ".join(f"{name}: {kind.expected}" for name, kind in attributes.items())
    return f"expected NAME=VALUE, several separated by commas ({values})"


def words_of_label(label: dict[str, Any], attributes: Attributes) -> str:
    """Return a label of `labels_of_words` as a command line says it, with units.

    >>> words_of_label({"age": 30}, Attributes({"age": Continuous(0, 99, "years")}))
    'age=30 years'
    """
    said = {name: value if isinstance(value, str) else attributes[name].text(value) for name, value in label.items()}
    return ",".join(f"{name}={value}" for name, value in said.items())


def _values(attributes: Attributes, each: str, value: str, name: str) -> list[Any]:
    kind = attributes[each]
    number = kind.number(value)
    if number is not None:
        numbers = [number]
    elif value in EVERY and not isinstance(kind, Continuous):
        numbers = kind.examples(max(2, kind.entries)).unique(sorted=True).tolist()
    else:
        raise ValueError(f"{name}: {each}: expected {kind.expected}, got {value!r}")
    return [kind.text(number) for number in numbers] if isinstance(kind, Category) else numbers
