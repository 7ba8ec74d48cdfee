"""What a model of several attributes does to fixed images, each attribute changed by itself."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from labelvae.attributes.choices import Category
from labelvae.attributes.continuous import Continuous
from labelvae.attributes.kind import Kind
from labelvae.models.vae import ConditionalVAE
from labelvae.visual.grids import grid

COLUMNS = 8
"""Values of an attribute that are shown."""


def shown_values(kind: Kind, values: Tensor) -> Tensor:
    """Choose values of an attribute to show, from one end to the other.

    Args:
        kind: what it is.
        values: the values in the data, `(N,)`, of which some may be NaN. Numbers go from where 2 % of them are smaller
            to where 2 % are larger, an angle once around.

    Returns:
        At most `COLUMNS` of them.
    """
    if isinstance(kind, Continuous):
        if kind.periodic:
            return torch.linspace(kind.low, kind.high, COLUMNS + 1)[:-1]
        ends = values[~values.isnan()].quantile(torch.tensor([0.02, 0.98]))
        return torch.linspace(float(ends[0]), float(ends[1]), COLUMNS)
    return torch.arange(float(len(kind.names) if isinstance(kind, Category) else 2))[:COLUMNS]


def attribute_sheet(vae: ConditionalVAE, images: Tensor, rows: Tensor, count: int = 3) -> Image.Image:
    """Draw images with each attribute changed by itself, the others as they are.

    Args:
        vae: a model of attributes.
        images: `(N, C, H, W)` in [0, 1]; the first `count` are drawn.
        rows: what they are, `(N, A)`; those that are drawn must be known.
        count: images that are drawn.

    Returns:
        The sheet: for each attribute a row an image, itself and then itself under values of the attribute.

    Raises:
        ValueError: a model of one class; labels that are not known.
    """
    if vae.attributes is None:
        raise ValueError("vae: expected a model of attributes, got one of one class; use style_transfer_grid")
    some, own = images[:count], rows[:count]
    lines, captions = [], []
    for place, (name, kind) in enumerate(vae.attributes.items()):
        values = shown_values(kind, rows[:, place])
        made = [vae.relabel(some, _with_value(own, place, float(value)), own_labels=own) for value in values]
        lines += [[image, *strip] for image, strip in zip(some, torch.stack(made, dim=1), strict=True)]
        said = [kind.text(float(value)).removesuffix(f" {getattr(kind, 'unit', '')}") for value in values]
        captions += [[""] * (len(said) + 1)] * (len(some) - 1) + [[name, *said]]
    return grid(lines, captions=captions)


def _with_value(rows: Tensor, place: int, value: float) -> Tensor:
    """Return rows `(B, A)` with one value for all of them. In rows, a category's value always is its index."""
    changed = rows.clone()
    changed[:, place] = value
    return changed
