"""What `evaluate` is given: the model, its classifiers, and the classes of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from inspect import signature
from typing import Any

from torch import nn

from labelvae.data.given_data import Batches, classes_of, pair_of, shape_of
from labelvae.inputs.class_names import check_order
from labelvae.inputs.tensors import ImageShape
from labelvae.models.answers import check_answer
from labelvae.models.frozen import Classifier
from labelvae.models.loaded import check_loaded
from labelvae.models.wrapped import adopted
from labelvae.system.compiling import uncompiled


def check_model(model: Any) -> None:
    """Raise `ValueError` unless the model has `relabel` and `reconstruct`."""
    for name, arguments in (("relabel", "images, labels, own_labels"), ("reconstruct", "images, labels")):
        method = getattr(model, name, None)
        fits = callable(method) and not isinstance(model, type)
        if method is not None and fits:
            with suppress(ValueError):  # a method of C without a signature
                try:
                    signature(method).bind(*arguments.split(", "))
                except TypeError:
                    fits = False
        if not fits:
            got = model.__name__ if isinstance(model, type) else type(model).__name__
            hint = "; pass what it wraps, its .module" if isinstance(getattr(model, "module", None), nn.Module) else ""
            raise ValueError(
                f"model: expected a ConditionalVAE or anything with its {name}({arguments}), got {got}{hint}"
            )


def image_shape_of(batches: Batches) -> ImageShape | None:
    """Return `(C, H, W)` of the first batch; None if it has no images."""
    first = next(iter(batches), None)
    return None if first is None else shape_of(pair_of(first)[0])


def as_classifier(name: str, given: nn.Module, shape: ImageShape | None, num_classes: int | None) -> Classifier:
    """Return a classifier, or wrap a plain network as one for images of a shape."""
    given = uncompiled(given)
    if isinstance(given, Classifier):
        needed = ("image_shape", "num_classes") + (() if name == "guide" else ("feature_dim",))
        missing = next((each for each in needed if getattr(given, each, None) is None), None)
        if missing is not None:
            raise ValueError(f"{name}: expected a Classifier that says its {missing}, got {type(given).__name__}")
        check_loaded(name, given)
        check_answer(name, given)
        return given
    if not isinstance(given, nn.Module) or shape is None:
        hint = "; LabelClassifier.wrap(module, image_shape, num_classes) makes one of a network of your own"
        raise ValueError(f"{name}: expected LabelClassifier, got {type(given).__name__}{hint}")
    return adopted(name, given, shape, num_classes)


def check_classes(model: Any, networks: Mapping[str, Any], sources: Mapping[str, Any]) -> None:
    """Make sure that the model, the networks and the images call their classes by the same names in the same order.

    Args:
        model: the model. If it has no names, the others are compared with the judge's.
        networks: the classifiers by argument, or None.
        sources: the images by argument, or None.

    Raises:
        ValueError: a class that has another index in one of them.
    """
    said = {"the model": getattr(model, "class_names", None)}
    said |= {f"the {name}": getattr(network, "class_names", None) for name, network in networks.items()}
    whose, known = next(((whose, names) for whose, names in said.items() if names), ("", None))
    for name, network in networks.items():
        check_order(name, getattr(network, "class_names", None), known, whose)
    for name, source in sources.items():
        check_order(name, classes_of(source), known, whose)
