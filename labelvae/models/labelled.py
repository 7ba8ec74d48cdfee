"""A model's label, one class or several attributes, and its way from what users give to what a network sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from labelvae.attributes.continuous import Continuous
from labelvae.attributes.rows import Attributes
from labelvae.inputs.checks import LARGEST_SIZE, check_count
from labelvae.inputs.labels import counted
from labelvae.inputs.tensors import Labels, label_weights
from labelvae.models.articles import with_article
from labelvae.models.saving import Pretrained


def label_arguments(num_classes: int | None, attributes: Any) -> tuple[dict[str, Any], Attributes | None, int]:
    """Return the configuration of a model's label, its attributes (or None), and L, the number of its weights.

    Raises:
        ValueError: both or neither of the arguments; an argument out of range.
    """
    if (num_classes is None) == (attributes is None):
        got = "neither" if attributes is None else "both"
        raise ValueError(f"num_classes: expected num_classes=K for one class, or attributes={{...}}, got {got}")
    if attributes is None:
        count = check_count("num_classes", num_classes, at_least=2, at_most=LARGEST_SIZE)
        return {"num_classes": count}, None, count
    found = Attributes(attributes)
    return {"attributes": found.plain()}, found, found.entries


class Weights:
    """Weights `(B, L)` of several attributes, as a class: rows of values may have the same shape."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights


class Labelled(Pretrained):
    """A network whose label is one class, or several attributes.

    Attributes:
        attributes: the attributes of a label; None if a label is one of `num_classes` classes.
    """

    attributes: Attributes | None = None

    def _set_label(self, num_classes: int | None, attributes: Attributes | None) -> None:
        self.attributes = attributes
        one = attributes.one_class if attributes is not None else None
        self._num_classes = num_classes if one is None else one.entries
        if one is not None:
            self.class_names = list(one.names)

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """K, if a label is one class.

        Raises:
            ValueError: a label is made of several attributes.
        """
        if self._num_classes is None:
            raise ValueError(
                f"num_classes: expected {with_article(type(self).__name__)} of one class, got one of the attributes "
                f"{', '.join(self.attributes or ())}; use what takes attributes (see docs/labels.md)"
            )
        return self._num_classes

    def label_weights(
        self,
        labels: Labels | Mapping[str, Any] | Weights,
        batch: int,
        name: str = "labels",
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Return labels in any accepted form as the weights `(B, L)` that a network sees.

        Args:
            labels: the labels: indices, class names, weights, or values of attributes.
            batch: B, the number of images.
            name: the name of the argument in errors.
            device: the device of the weights.

        Raises:
            ValueError: labels of another number, type or range; unknown names.
        """
        if isinstance(labels, Weights):
            return labels.weights.to(device)
        if self.attributes is None or (self.attributes.one_class and not isinstance(labels, Mapping)):
            return label_weights(labels, self.num_classes, batch, device, name, self.class_names)
        return self.attributes.weights(self.attributes.rows(labels, batch, name).to(device))

    def weighed(self, weights: Tensor) -> Any:
        """Return weights `(B, L)` as labels that `label_weights` accepts."""
        return weights if self.attributes is None else Weights(weights)

    def all_known(self, labels: Any, name: str = "labels") -> Any:
        """Return labels as they are, or rows `(B, A)` of attributes, of which every value is known.

        Raises:
            ValueError: a value that is not.
        """
        plain = self.attributes is None or (self.attributes.one_class and not isinstance(labels, Mapping))
        if plain or self.attributes is None or labels is None or isinstance(labels, Weights):
            return labels
        return self.attributes.known(self.attributes.rows(labels, None, name), name)

    def asked_and_own(self, images: Tensor, labels: Any, own_labels: Any) -> tuple[Tensor, Any]:
        """Return the weights `(B, L)` of the asked labels, and the images' own labels if they are known.

        Attributes that are not asked for are taken from `own_labels`.

        Args:
            images: the images, `(B, C, H, W)`.
            labels: the asked labels.
            own_labels: the images' own labels, or a classifier that reads them (`AttributeClassifier`).

        Raises:
            ValueError: an attribute that is neither asked for nor known.
        """
        plain = self.attributes is None or (self.attributes.one_class and not isinstance(labels, Mapping))
        if plain or self.attributes is None or isinstance(labels, Weights):
            if self.attributes is not None and isinstance(own_labels, torch.nn.Module):
                own_labels = self._own_rows(images, own_labels)[:, 0].long()  # type: ignore[index]
            return self.label_weights(labels, images.shape[0]), own_labels
        own = self._own_rows(images, own_labels)
        asked = self.attributes.rows(labels, images.shape[0])
        columns = labels if isinstance(labels, Mapping) else getattr(labels, "columns", None)
        told = [columns is None or name in columns for name in self.attributes]
        told_here = torch.tensor(told, device=asked.device)
        self.attributes.known(torch.where(told_here, asked, torch.zeros_like(asked)))
        missing = [name for name, known in zip(self.attributes, told, strict=True) if not known]
        if missing and own is None:
            raise ValueError(
                f"own_labels: expected what each image is, to keep its {', '.join(missing)}, got None; pass "
                "own_labels={...}, or own_labels=classifier to have an AttributeClassifier read it"
            )
        if own is not None:
            asked = torch.where(told_here, asked, own.to(asked.device))
            self.attributes.known(asked, "own_labels")
        return self.attributes.weights(asked), own

    def _own_rows(self, images: Tensor, own_labels: Any) -> Tensor | None:
        if own_labels is None or self.attributes is None:
            return None
        if isinstance(own_labels, torch.nn.Module) and hasattr(own_labels, "read"):
            theirs: Any = own_labels.attributes
            if theirs != self.attributes:
                raise ValueError(
                    f"own_labels: expected a classifier of the model's attributes {', '.join(self.attributes)}, got "
                    f"one of {', '.join(theirs)} or of other ranges"
                )
            return own_labels.rows(images)  # type: ignore[no-any-return,operator]
        return self.attributes.rows(own_labels, images.shape[0], "own_labels")

    def counted_labels(self, labels: Any) -> tuple[Any, int]:
        """Return the labels of new images, and their number.

        Raises:
            ValueError: an attribute that is missing.
        """
        if self.attributes is None or (self.attributes.one_class and not isinstance(labels, Mapping)):
            return counted(labels)
        rows = self.attributes.known(self.attributes.rows(labels))
        return rows, len(rows)

    def label_way(self, images: Tensor, start: Any, end: Any, steps: int, own_labels: Any) -> tuple[list[Tensor], Any]:
        """Return the weights `(B, L)` at each step from one label to another, and the images' own labels.

        Numbers move in their own unit. An angle goes the shorter way round, or as it is written if that is a whole turn
        or more. Classes are blended.
        """
        shares = [step / (steps - 1) for step in range(steps)]
        plain = self.attributes is None or (self.attributes.one_class and not isinstance(start, Mapping))
        if plain or self.attributes is None:
            first = self.label_weights(start, images.shape[0], "start")
            last = self.label_weights(end, images.shape[0], "end")
            return [torch.lerp(first, last, share) for share in shares], self.weighed(first)
        labels = self.attributes
        own = self._own_rows(images, own_labels)
        begin = labels.rows(start, images.shape[0], "start")
        begin = begin if own is None else torch.where(begin.isnan(), own.to(begin.device), begin)
        labels.known(begin, "start")
        finish = labels.rows(end, images.shape[0], "end")
        finish = torch.where(finish.isnan(), begin.to(finish.device), finish)
        for place, kind in enumerate(labels.values()):
            if isinstance(kind, Continuous) and kind.periodic:
                way = finish[:, place] - begin[:, place]
                shorter = kind.difference(finish[:, place], begin[:, place])
                finish[:, place] = begin[:, place] + torch.where(way.abs() < kind.span, shorter, way)
        ends = [labels.split(labels.weights(each)) for each in (begin, finish)]
        found = []
        for share in shares:
            between = labels.split(labels.weights(torch.lerp(begin, finish, share)))
            parts = [
                between[name] if isinstance(kind, Continuous) else torch.lerp(ends[0][name], ends[1][name], share)
                for name, kind in labels.items()
            ]
            found.append(torch.cat(parts, dim=1))
        return found, begin if own is None else own
