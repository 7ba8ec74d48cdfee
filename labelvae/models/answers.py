"""What a classifier of your own answers: are they logits `(B, K)`?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from labelvae.inputs.tensors import ImageShape
from labelvae.models.frozen import Classifier
from labelvae.models.inference import evaluation_mode


def check_answer(name: str, classifier: Classifier) -> None:
    """Make sure that a `forward` of your own returns logits `(B, K)`. On the meta device nothing is tried.

    Raises:
        ValueError: it returns something else.
    """
    library = __name__.partition(".")[0]
    own = "forward" in vars(classifier) or type(classifier).forward.__module__.partition(".")[0] != library
    if not own or classifier.device.type == "meta" or hasattr(classifier, "attributes"):
        return
    with evaluation_mode(classifier) as network:
        answer = network(grey_images(2, classifier.image_shape, classifier.device))
    check_shape(name, answer, 2, classifier.num_classes)


def check_shape(name: str, answer: Any, count: int, num_classes: int | None) -> None:
    """Raise `ValueError` unless an answer to `count` images is logits `(B, K)`; K may be open."""
    shape = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
    if isinstance(answer, Tensor) and shape == (count, num_classes or answer.shape[-1]):
        return
    hint = ""
    if isinstance(answer, Mapping | list | tuple):
        hint = "; return the logits alone, or put a module in front that picks them"
    wanted = f"logits of shape (B, {'K' if num_classes is None else num_classes})"
    raise ValueError(f"{name}: expected {wanted}, got {shape} for {counted(count)}{hint}")


def counted(images: int) -> str:
    """Return how many images an error speaks of."""
    return {2: "two images", 3: "three images"}[images]


def grey_images(count: int, shape: ImageShape, device: torch.device) -> Tensor:
    """Return images `(count, *shape)` from even grey to a slope of greys."""
    slope = torch.linspace(0, 1, math.prod(shape), device=device).view(shape)
    return torch.stack([torch.lerp(torch.full_like(slope, 0.5), slope, place / (count - 1)) for place in range(count)])


def logits_in(output: Any) -> Tensor:
    """Return the logits in a network's answer: the answer itself, or its part of that name."""
    if isinstance(output, Mapping) and "logits" in output:
        output = output["logits"]
    logits: Tensor = getattr(output, "logits", output)
    return logits
