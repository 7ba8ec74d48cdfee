"""Whether the pattern and the brightness of a piece of clothing stay when it is relabelled.

    python benchmarks/patterns.py --models '[runs/fashion_mnist/vae]' --data fashion_mnist --data-dir DIR

Test images are relabelled under wrong labels. Two numbers are read inside the shape, before and after: the brightness,
which is the mean, and the pattern, which is the standard deviation of what a mean over 5x5 pixels leaves, at least two
pixels from the outline. Kept is the correlation of a number before and after, each against the mean of its class. The
pattern over real is the mean after, over that of real images of the asked class: less than 1 is too plain, more is a
mesh or noise. The last row is the images themselves, as if nothing had been changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from jsonargparse import auto_cli
from tables import table
from torch import Tensor
from torch.nn import functional as F

from labelvae import ConditionalVAE, ImageData
from labelvae.cli.parser import DashParser
from labelvae.data.settings import DataName
from labelvae.inputs.tensors import wrong_labels

DARKEST = 0.08
"""Grey level above which a pixel is part of the shape."""
HEADS = {
    "model": "model",
    "brightness": "brightness kept",
    "pattern": "pattern kept",
    "over_real": "pattern, over real",
}


def main(
    models: list[Path],
    data: DataName = "fashion_mnist",
    data_dir: Path = Path("data"),
    split: Literal["test", "validation"] = "test",
    count: int = 5000,
    seed: int = 0,
) -> None:
    """Measures and prints a table.

    Args:
        models: their folders.
        data: which images, of one channel on a black ground.
        data_dir: where their files are.
        split: which of them.
        count: images, at most, the first ones.
        seed: of the labels asked.
    """
    images = ImageData(data, data_dir)
    some = images.splits[split].load()
    pixels, labels = some.images[:count].float() / 255.0, some.labels[:count]
    asked = wrong_labels(labels, images.num_classes, torch.Generator().manual_seed(seed))
    rows = [
        {
            "model": str(model),
            **kept(pixels, labels, ConditionalVAE.from_pretrained(model).relabel(pixels, asked), asked),
        }
        for model in models
    ]
    rows.append({"model": "image itself", **kept(pixels, labels, pixels, asked)})
    print(table(rows, HEADS))


def kept(images: Tensor, labels: Tensor, made: Tensor, asked: Tensor) -> dict[str, float]:
    """The row of counterfactuals `made` of `images`, each `(N, 1, H, W)`; see the top of this file."""
    before, after = pattern(images), pattern(made)
    real, found = of_classes(before, labels), of_classes(after, asked)
    return {
        "brightness": correlation(brightness(images), labels, brightness(made), asked),
        "pattern": correlation(before, labels, after, asked),
        "over_real": float((found / real).mean()),
    }


def brightness(images: Tensor) -> Tensor:
    """The mean grey level of the shape, of images `(N, 1, H, W)`, `(N,)` in [0, 1]."""
    shape = (images > DARKEST).float()
    return (images * shape).sum(dim=(1, 2, 3)) / shape.sum(dim=(1, 2, 3)).clamp_min(1.0)


def pattern(images: Tensor) -> Tensor:
    """The standard deviation of fine detail inside the shape, of images `(N, 1, H, W)`, `(N,)` in [0, 1]."""
    closed = F.max_pool2d((images > DARKEST).float(), 5, stride=1, padding=2)  # dark stripes are part of the shape
    inside = -F.max_pool2d(-closed, 9, stride=1, padding=4)
    fine = images - F.avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)
    variance = (fine.square() * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3)).clamp_min(1.0)
    return variance.sqrt()


def of_classes(values: Tensor, labels: Tensor) -> Tensor:
    """The mean of values `(N,)` for each class, `(K,)`."""
    return torch.stack([values[labels == label].mean() for label in labels.unique()])


def correlation(before: Tensor, labels: Tensor, after: Tensor, asked: Tensor) -> float:
    """The correlation of two numbers of each image, each against the mean of its class."""
    before, after = (centred(values, of) for values, of in ((before, labels), (after, asked)))
    return float(F.cosine_similarity(before, after, dim=0))


def centred(values: Tensor, labels: Tensor) -> Tensor:
    """Values `(N,)` less the mean of their class."""
    means = of_classes(values, labels)
    return values - means[labels.unique(return_inverse=True)[1]]


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
