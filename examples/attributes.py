"""Ask for a digit, a thickness and a slant: a label of several attributes, measured on MNIST itself.

    python examples/attributes.py --data-dir DIR

Thickness and slant are measured on each training image by the library's own statistics; guide and model learn them with
the digit. A model draws softer strokes than a pen, and a guide that has seen none of them reads them as too thin. So
guide and model learn in turn: the model's images are measured too, and the guide learns from them as well. What the
model makes of the test images is measured in the same way, and its digits are read by the packaged guide, which is in
no loss here. MNIST's files are downloaded to DIR if they are not there.
"""

import argparse
from copy import deepcopy
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor

from labelvae import (
    AttributeClassifier,
    AttributeELBO,
    Attributes,
    Augmentation,
    Category,
    ClassifierTraining,
    ConditionalVAE,
    Continuous,
    ImageData,
    LabelClassifier,
    Objective,
    VAETraining,
)
from labelvae.evaluation import attribute_scores, slant, thickness
from labelvae.photos.picture_files import save_picture
from labelvae.runs.machine import device_of, machine_of
from labelvae.visual.attribute_sheets import attribute_sheet

ATTRIBUTES = Attributes(
    {"digit": Category(10), "thickness": Continuous(1, 7, "pixels"), "slant": Continuous(-0.8, 1.0, "radians")}
)


def measured(images: Tensor, digits: Tensor) -> Tensor:
    """Rows `(N, 3)` of images `(N, 1, 28, 28)` in [0, 1]; the few values out of range are brought to its end."""
    return torch.stack([digits, thickness(images).clamp(1, 7), slant(images).clamp(-0.8, 1.0)], dim=1).float()


class Measuring:
    """Judges counterfactuals: measures strokes, and reads digits with a classifier that was in no loss."""

    attributes = ATTRIBUTES

    def __init__(self) -> None:
        self.reader = LabelClassifier.from_pretrained("mnist")

    def rows(self, images: Tensor) -> Tensor:
        """Rows `(B, 3)` of images `(B, 1, 28, 28)` in [0, 1]."""
        with torch.no_grad():
            return measured(images, torch.cat([self.reader(part).argmax(dim=1) for part in images.split(1000)]))


class Settled(Callback):
    """Keeps a guide's batch statistics as they are, so that a reading does not depend on the rest of the batch."""

    def on_train_epoch_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Leave training mode at the start of an epoch."""
        task.eval()


def main() -> None:
    """Guide and model in turn, two calls, scores and a picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="where MNIST's files are")
    parser.add_argument("--out", type=Path, default=Path("runs/attributes"))
    parser.add_argument("--images", type=int, default=60_000, help="training images")
    parser.add_argument(
        "--epochs", type=int, nargs="+", default=[2, *[1] * 8, 2, 1, 2], help="of guide and model, in turn"
    )
    given = parser.parse_args()
    if len(given.epochs) % 2:
        parser.error("--epochs: expected pairs, of guide and model")
    seed_everything(0, verbose=False)

    mnist = ImageData("mnist", given.data_dir)
    train, test = (mnist.splits[name].load() for name in ("train", "test"))
    train = train.subset(torch.arange(len(train))[: given.images])
    rows = measured(train.images.float() / 255, train.labels)
    bfloat16 = machine_of(device_of("auto")).bfloat16

    def fit(task: LightningModule, epochs: int, images: Tensor, rows: Tensor, *callbacks: Callback) -> None:
        data = ImageData.from_table(images, ATTRIBUTES.table(rows), ATTRIBUTES, validation_share=0.01, test_share=0.01)
        trainer = Trainer(
            max_epochs=epochs,
            precision="bf16-mixed" if bfloat16 else "32-true",
            callbacks=[*callbacks],
            logger=False,
            enable_checkpointing=False,
        )
        trainer.fit(task, data.loader("train", 64, shuffle=True, drop_last=True))

    moved = Augmentation(shift=0.08, noise=0.25, interpolation="nearest")  # neither changes thickness or slant
    guide = AttributeClassifier((1, 28, 28), ATTRIBUTES, widths=(24, 48, 96), feature_dim=128)
    vae = ConditionalVAE((1, 28, 28), attributes=ATTRIBUTES)
    objective = Objective(label_weight=30.0, class_mean_weight=4.0, guide_augmentation=moved)
    seen, seen_rows = train.images, rows
    for of_guide, of_vae in zip(given.epochs[::2], given.epochs[1::2], strict=True):
        first = seen is train.images
        learning = ClassifierTraining(guide, moved, learning_rate=3e-3 if first else 1e-3)
        fit(learning, of_guide, seen, seen_rows, *([] if first else [Settled()]))
        fit(VAETraining(vae, AttributeELBO(deepcopy(guide), objective)), of_vae, train.images, rows)
        some = torch.randperm(len(train))[:20_000]
        made = (vae.relabel(train.images[some], rows[some.roll(1)]) * 255).round().byte()  # each as another image is
        made_rows = measured(made.float() / 255, torch.full((len(made),), torch.nan))  # which digit it is, nobody knows
        seen, seen_rows = torch.cat([train.images, made]), torch.cat([rows, made_rows])
    vae.save_pretrained(given.out / "vae")
    guide.save_pretrained(given.out / "guide")

    images = test.images.float() / 255
    rows = measured(images, test.labels)
    eights = vae.relabel(images[:100], {"digit": 8, "thickness": 3.5}, own_labels=guide)  # the guide reads the slant
    thick = vae.relabel(images[:100], {"thickness": 3.5}, own_labels=rows[:100])
    print(f"thickness 3.5 was asked; measured {thickness(eights).mean():.2f} as 8, {thickness(thick).mean():.2f} as is")
    deviation = dict(zip(ATTRIBUTES, rows.std(dim=0).tolist(), strict=True))
    for name, scores in attribute_scores(vae, Measuring(), images, rows, torch.Generator().manual_seed(0)).items():
        print(f"{name}: " + ", ".join(f"{score} {value:.4f}" for score, value in scores.items()))
        if "kept_mean_error" in scores:
            shares = [abs(scores[f"kept_{score}"]) / deviation[name] for score in ("mean_error", "mean_absolute_error")]
            print(f"{name}: not asked for, it moves by {shares[0]:.1%} of its deviation, each image by {shares[1]:.1%}")
    save_picture(attribute_sheet(vae, images, rows, count=4), given.out / "attributes.png")
    print(f"models and attributes.png are under {given.out}")


if __name__ == "__main__":
    main()
