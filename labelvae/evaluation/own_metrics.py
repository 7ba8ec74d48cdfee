"""Metrics of your own in an evaluation: torchmetrics classes that get the arguments they name."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from labelvae.inputs.conversions import described
from labelvae.system.errors import first_line

GIVEN = {
    "images": "the held-out images, (B, C, H, W) in [0, 1]",
    "labels": "their own labels, (B,)",
    "asked": "the wrong labels that were asked, (B,)",
    "counterfactuals": "the images as those labels, (B, C, H, W) in [0, 1]",
    "logits": "the judge's logits of the counterfactuals, (B, K)",
    "preds": "the counterfactuals, as torchmetrics' own image metrics name them; of its metrics of classes, the logits",
    "target": "the images, likewise; of metrics of classes, the asked labels",
}
"""The names that arguments of a metric's `update` may have, and what the arguments then are."""


OF_CLASSES = "torchmetrics.classification"
"""Package of torchmetrics' metrics of classes."""


class OwnMetrics:
    """Metrics of your own, by name. The given metrics are copied, and stay as they are.

    Args:
        metrics: torchmetrics metrics by name. The arguments of their `update` are those in `GIVEN`.
        taken: the names that scores have already.

    Raises:
        ValueError: an argument of another form; a name that is taken; a metric that asks for something else.
    """

    def __init__(self, metrics: Mapping[str, Metric] | None, taken: set[str]) -> None:
        if metrics is not None and not isinstance(metrics, Mapping):
            raise ValueError(f'metrics: expected {{"name": metric}}, got {described(metrics)}')
        self.metrics: dict[str, tuple[Metric, list[str]]] = {}
        for name, metric in (metrics or {}).items():
            if not isinstance(name, str) or not name or name in taken or name.startswith(("style_", "effectiveness_")):
                raise ValueError(f"metrics: {name!r} is no name for a figure, or another figure has it; take another")
            given: Any = metric
            if not isinstance(given, Metric):
                hint = "; make one: its class was given" if isinstance(given, type) else ""
                raise ValueError(f"metrics: expected a torchmetrics Metric as {name}, got {described(metric)}{hint}")
            self.metrics[name] = (deepcopy(metric).cpu(), _asked_for(name, metric))
            self.metrics[name][0].reset()

    def update(self, **given: Tensor) -> None:
        """Give each metric the arguments that it names, on the CPU.

        Raises:
            ValueError: a metric that fails.
        """
        images = given | {"preds": given["counterfactuals"], "target": given["images"]}
        classes = given | {"preds": given["logits"], "target": given["asked"]}
        for name, (metric, wanted) in self.metrics.items():
            shown = classes if type(metric).__module__.startswith(OF_CLASSES) else images
            try:
                metric.update(**{each: shown[each].detach().cpu() for each in wanted})
            except Exception as error:  # code from outside may raise anything
                raise ValueError(f"metrics: {name} fails on {', '.join(wanted)} ({first_line(error):.200})") from error

    def results(self) -> dict[str, float]:
        """Return the results by name. A dict or several numbers give one result for each entry.

        Raises:
            ValueError: a result that is not a number.
        """
        return {
            key: value for name, (metric, _) in self.metrics.items() for key, value in _flat(name, metric.compute())
        }


def _asked_for(name: str, metric: Metric) -> list[str]:
    parameters = signature(type(metric).update).parameters
    every = [
        each
        for each in list(parameters.values())[1:]
        if each.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    ]
    unknown = [each.name for each in every if each.name not in GIVEN and each.default is Parameter.empty]
    if unknown or not every:
        raise ValueError(
            f"metrics: {name} asks for {', '.join(unknown) or 'nothing that is named'}; its update may take "
            f"{', '.join(GIVEN)}, so put it into a Metric of your own that does"
        )
    return [each.name for each in every if each.name in GIVEN]


def _flat(name: str, result: Any) -> list[tuple[str, float]]:
    if isinstance(result, Mapping):
        return [pair for key, value in result.items() for pair in _flat(f"{name}_{key}", value)]
    try:
        values = torch.as_tensor(result).double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"metrics: expected {name} to compute numbers, got {described(result)}") from error
    if values.numel() == 1:
        return [(name, float(values))]
    return [(f"{name}_{place}", value) for place, value in enumerate(values.flatten().tolist())]
