"""Attributes that travel together: coloured digits of two sizes, correlated in training and independent in the test.

    python benchmarks/coloured_mnist.py --data-dir DIR

Of the training images 80 % of the odd digits are red and the others green, and 80 % of the digits from 5 on are large
and the others small: what is true of a digit may be read from its colour. In the test images colour and size are drawn
apart from the digit. The judge was trained on other draws of the training images, in which they are drawn apart, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor
from torch.nn import functional as F

from labelvae import (
    AttributeClassifier,
    AttributeELBO,
    Attributes,
    Augmentation,
    Binary,
    Category,
    ClassifierTraining,
    ConditionalVAE,
    ImageData,
    Objective,
    VAETraining,
)
from labelvae.evaluation import evaluate_attributes, scores_table
from labelvae.photos.picture_files import save_picture
from labelvae.visual.attribute_sheets import attribute_sheet

ATTRIBUTES = Attributes({"digit": Category(10), "red": Binary(), "large": Binary()})
TOGETHER = 0.8
"""Share of the training images whose colour, or size, is the usual one of their digit."""

RED, GREEN = (1.0, 0.25, 0.15), (0.2, 0.9, 0.3)
SMALL = 16
"""Pixels that the 28 of a small digit are brought to."""


def coloured(images: Tensor, digits: Tensor, together: float, seed: int) -> tuple[Tensor, Tensor]:
    """Colour digits and make some of them small.

    Args:
        images: uint8 `(N, 1, 28, 28)`.
        digits: `(N,)`.
        together: probability that an odd digit is red and an even one green, and, drawn by itself, that a digit from 5
            on is large and another one small; 0.5 makes all three independent.
        seed: of the draws.

    Returns:
        uint8 `(N, 3, 28, 28)`, and rows `(N, 3)` of digit, red and large.
    """
    generator = torch.Generator().manual_seed(seed)
    usual = torch.rand(2, len(digits), generator=generator) < together
    red, large = (digits % 2 == 1) == usual[0], (digits >= 5) == usual[1]
    grey, edge = images.float() / 255.0, (28 - SMALL) // 2
    small = F.interpolate(grey, size=(SMALL, SMALL), mode="bilinear", antialias=True, align_corners=False)
    sized = torch.where(large[:, None, None, None], grey, F.pad(small, (edge, edge, edge, edge)))
    colours = torch.where(red[:, None], torch.tensor(RED), torch.tensor(GREEN))
    made = (sized * colours[:, :, None, None] * 255.0).round().clamp(0, 255).byte()
    return made, torch.stack([digits, red, large], dim=1).float()


def table_of(images: Tensor, rows: Tensor) -> ImageData:
    """Images with their table, of which hardly any is held out: the test images are others."""
    return ImageData.from_table(images, ATTRIBUTES.table(rows), ATTRIBUTES, validation_share=0.01, test_share=0.01)


def fit(task: ClassifierTraining | VAETraining, data: ImageData, epochs: int) -> None:
    """Train for some epochs."""
    trainer = Trainer(max_epochs=epochs, accelerator="auto", logger=False, enable_checkpointing=False)
    trainer.fit(task, data.loader("train", 64, shuffle=True, drop_last=True))


def main() -> None:
    """Guide, judge, model; scores and a picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="where MNIST's files are")
    parser.add_argument("--out", type=Path, default=Path("runs/coloured_mnist"))
    parser.add_argument("--images", type=int, default=30_000, help="training images")
    parser.add_argument("--epochs", type=int, nargs=3, default=(4, 4, 8), help="of guide, judge and model")
    parser.add_argument("--label-weight", type=float, default=10.0)
    parser.add_argument("--class-mean-weight", type=float, default=4.0)
    parser.add_argument("--own-label-weight", type=float, default=0.0)
    given = parser.parse_args()
    mnist = ImageData("mnist", given.data_dir)
    train, test = (mnist.splits[name].load() for name in ("train", "test"))
    digits = train.images[: given.images], train.labels[: given.images]
    data, apart = (table_of(*coloured(*digits, share, seed)) for share, seed in ((TOGETHER, 0), (0.5, 1)))
    images, rows = coloured(test.images, test.labels, 0.5, 2)

    moved = Augmentation(shift=0.08, noise=0.2, interpolation="nearest")
    seed_everything(1, verbose=False)
    judge = AttributeClassifier(data.image_shape, ATTRIBUTES, widths=(32, 64, 128))
    fit(ClassifierTraining(judge, Augmentation(shift=0.08), learning_rate=3e-3), apart, given.epochs[1])
    seed_everything(0, verbose=False)
    guide = AttributeClassifier(data.image_shape, ATTRIBUTES, widths=(24, 48, 96), feature_dim=128)
    fit(ClassifierTraining(guide, moved, learning_rate=3e-3), data, given.epochs[0])
    vae = ConditionalVAE(data.image_shape, attributes=ATTRIBUTES)
    objective = Objective(
        label_weight=given.label_weight,
        class_mean_weight=given.class_mean_weight,
        own_label_weight=given.own_label_weight,
        guide_augmentation=moved,
    )
    fit(VAETraining(vae, AttributeELBO(guide, objective)), data, given.epochs[2])
    for name, network in (("vae", vae), ("guide", guide), ("judge", judge)):
        network.save_pretrained(given.out / name)

    pixels = images.float() / 255.0
    together = coloured(test.images, test.labels, TOGETHER, 3)
    scores = [
        evaluate_attributes(vae, judge, pixels, rows, "test, independent"),
        evaluate_attributes(vae, judge, together[0].float() / 255.0, together[1], "test, correlated"),
    ]
    print(scores_table(scores))
    save_picture(attribute_sheet(vae, pixels, rows, count=4), given.out / "attributes.png")
    print(f"models and attributes.png are under {given.out}")


if __name__ == "__main__":
    main()
