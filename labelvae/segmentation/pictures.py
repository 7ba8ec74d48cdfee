"""Pictures of a segmentation: image, truth and prediction side by side, and the curves of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from labelvae.visual.charts import rasterized
from labelvae.visual.grids import grid
from labelvae.visual.letters import chart_text

COLOURS = ((40, 40, 46), (255, 196, 61), (214, 74, 74), (70, 150, 214), (96, 180, 110), (160, 110, 200))
"""Colours of the first classes. They repeat."""


def coloured(masks: Tensor) -> Tensor:
    """Return masks `(N, H, W)` as images `(N, 3, H, W)` in [0, 1], with one colour for each class."""
    colours = torch.tensor(COLOURS, dtype=torch.float32, device=masks.device) / 255.0
    return colours[masks.long() % len(COLOURS)].movedim(-1, 1)


def segmentation_grid(images: Tensor, masks: Tensor, found: Mapping[str, Tensor]) -> Image.Image:
    """Return a picture with one row for each image: the image, its truth, and every prediction.

    Args:
        images: the images, `(N, C, H, W)` in [0, 1], with 1 or 3 channels.
        masks: the true class of every pixel, integers `(N, H, W)`.
        found: the predicted classes, integers `(N, H, W)`, by the title of their column.
    """
    columns = [images.expand(-1, 3, -1, -1), coloured(masks), *(coloured(each) for each in found.values())]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return grid(rows, column_titles=["image", "truth", *found])


def learning_curves(histories: Mapping[str, Sequence[Mapping[str, float]]], value: str, title: str) -> Image.Image:
    """Return a chart of one value of each training over the epochs.

    Args:
        histories: the `SegmentationTraining.history` of each training, by name.
        value: the name of the value, such as "pixel_accuracy".
        title: the title of the vertical axis.
    """
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = figure.add_subplot()
    lines = [
        axes.plot(range(1, len(history) + 1), [epoch[value] for epoch in history])[0] for history in histories.values()
    ]
    axes.set(xlabel="epoch", ylabel=chart_text(title))
    axes.legend(lines, [chart_text(str(name)) for name in histories], frameon=False)
    return rasterized(figure)
