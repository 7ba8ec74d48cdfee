"""Charts of a training run, as PIL images: confusion, the latent space in two dimensions, KL by dimension.

They are drawn with matplotlib's Agg, without a display and without its global state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from labelvae.visual.given import given_labels, given_numbers
from labelvae.visual.letters import chart_text

LARGEST_SIDE = 16.0
"""Longest side of the chart of confusion, in inches."""
MOST_NAMED = 35
"""Most classes that it names on each side, so that the names do not overlap."""


def confusion(asked: Tensor, judged: Tensor, class_names: Sequence[str]) -> Image.Image:
    """Draw how often each asked label was judged as each label.

    Args:
        asked: the labels that were asked, `(N,)`: the rows.
        judged: the judge's labels of the counterfactuals, `(N,)`: the columns.
        class_names: the name of each class.

    Returns:
        The chart: counts, shaded by their share of the row. Of many classes, some are named, and the counts left out.

    Raises:
        ValueError: labels of no class; another number of judged labels than of asked ones.
    """
    classes = len(class_names)
    asked, judged = (given_labels(*each, class_names, len(asked)) for each in (("asked", asked), ("judged", judged)))
    counts = torch.bincount(asked * classes + judged, minlength=classes**2).reshape(classes, classes).numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(5.0, 0.45 * classes + 1.5), LARGEST_SIDE)
    figure, axes = _axes(side, side)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    named = range(0, classes, math.ceil(classes / MOST_NAMED))
    names = [chart_text(str(class_names[label])) for label in named]
    axes.set_xticks(named, names, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(named, names)
    axes.set_xlabel("judged")
    axes.set_ylabel("asked")
    for row, column in np.argwhere(counts) if classes <= 20 else ():
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8, color=colour)
    return rasterized(figure)


def principal_plane(codes: Tensor) -> Tensor:
    """Project codes onto their first two principal axes.

    Args:
        codes: the codes, `(N, D)`.

    Returns:
        The coordinates, `(N, 2)`. The largest entry of each axis is positive, so that its direction is fixed.

    Raises:
        ValueError: no codes; codes of another shape; codes that are not finite.
    """
    codes = given_numbers("codes", codes, 2)
    if not codes.numel() or not bool(codes.isfinite().all()):
        raise ValueError(f"codes: expected finite numbers (N, D), got {'others' if codes.numel() else 'none'}")
    centred = (codes - codes.mean(dim=0)).double()
    axes = torch.linalg.svd(centred, full_matrices=False).Vh[:2]
    if len(axes) < 2:
        axes = torch.cat([axes, torch.zeros_like(axes)])
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    plane: Tensor = centred @ (axes * torch.where(largest < 0, -1.0, 1.0)).mT
    return plane


def latent_by_label(codes: Tensor, labels: Tensor, class_names: Sequence[str]) -> Image.Image:
    """Draw codes on their principal plane, coloured by label. The colours are mixed if the label is not in the code.

    Args:
        codes: the codes, `(N, D)`.
        labels: the labels of the images, `(N,)`.
        class_names: the name of each class.

    Returns:
        The chart.

    Raises:
        ValueError: codes that cannot be projected; labels of no class; another number of labels than of codes.
    """
    labels = given_labels("labels", labels, class_names, len(codes))
    figure, axes = _axes(6.5, 5.0)
    plane = principal_plane(codes).numpy()
    shown = axes.scatter(*plane.T, c=labels.numpy(), cmap="tab10" if len(class_names) <= 10 else "turbo", s=10)
    if len(class_names) <= 20:
        handles = shown.legend_elements(num=None)[0]
        present = [chart_text(str(class_names[label])) for label in labels.unique().tolist()]
        axes.legend(handles, present, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    _name_plane(axes)
    return rasterized(figure)


def latent_by_value(codes: Tensor, values: Tensor, name: str) -> Image.Image:
    """Draw codes on their principal plane, coloured by a statistic of their images.

    Args:
        codes: the codes, `(N, D)`.
        values: the values of the statistic, `(N,)`.
        name: the name of the statistic.

    Returns:
        The chart.

    Raises:
        ValueError: codes that cannot be projected; another number of values than of codes.
    """
    figure, axes = _axes(6.5, 5.0, (0.13, 0.12, 0.82, 0.84))
    values = given_numbers("values", values, 1)
    if len(values) != len(codes):
        raise ValueError(f"values: expected {len(codes)}, one for each code, got {len(values)}")
    shown = axes.scatter(*principal_plane(codes).numpy().T, c=values.numpy(), cmap="viridis", s=10)
    figure.colorbar(shown, ax=axes, label=chart_text(name))
    _name_plane(axes)
    return rasterized(figure)


def kl_bars(kl: Tensor) -> Image.Image:
    """Draw how much information each latent dimension holds, largest first.

    Args:
        kl: the mean divergence of each dimension from the prior, `(D,)`, in nats per image.

    Returns:
        The chart.

    Raises:
        ValueError: no numbers `(D,)`.
    """
    kl = given_numbers("kl", kl, 1)
    figure, axes = _axes(6.5, 3.5, (0.12, 0.17, 0.85, 0.71))
    axes.bar(range(len(kl)), kl.sort(descending=True).values.numpy(), width=0.8)
    axes.set_xlabel("latent dimension, sorted")
    axes.set_ylabel("KL, nats per image")
    axes.set_title(f"{float(kl.sum()):.1f} nats in all, {int((kl > 0.05).sum())} of {len(kl)} dimensions used")
    return rasterized(figure)


def learning_rate_curve(rates: Sequence[float], losses: Sequence[float], suggested: float | None) -> Image.Image:
    """Draw the loss over the learning rate.

    Args:
        rates: the learning rates, for a logarithmic axis.
        losses: the loss at each rate, in nats per image.
        suggested: a rate to mark with a line, or None.

    Returns:
        The chart.
    """
    figure, axes = _axes(6.0, 4.0)
    axes.plot(rates, losses)
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed, nats per image")
    if suggested is not None:
        axes.axvline(suggested, linestyle=":")
    return rasterized(figure)


def rasterized(figure: Figure) -> Image.Image:
    """Return a matplotlib figure as an RGB picture."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())


def _axes(width: float, height: float, place: tuple[float, float, float, float] | None = None) -> tuple[Figure, Any]:
    """Return a figure, in inches, and its axes, placed at (left, bottom, width, height) or automatically."""
    if place is not None:
        figure = Figure(figsize=(width, height))
        return figure, figure.add_axes(place)
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _name_plane(axes: Any) -> None:
    axes.set_xlabel("first principal axis of the code")
    axes.set_ylabel("second")
