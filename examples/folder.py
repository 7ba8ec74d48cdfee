"""Relabel images of your own, by the names of their classes, also where one class has few images.

    python examples/folder.py --data-dir DIR --image-size 32

DIR holds `train/CLASS/*.png` (or .jpg) and `test/CLASS/*.png`. Without `test`, or with `CLASS/*.png` alone, a fifth of
the images is held out by chance. Read `digits.py` first; this page says only what is new.
`labelvae train folder --data-dir DIR` does the same with checkpoints and logs, but does not balance the classes.
"""

import argparse
from pathlib import Path

from lightning.pytorch import Trainer, seed_everything

from labelvae import (
    Augmentation,
    ClassifierTraining,
    ConditionalVAE,
    Discriminator,
    GuidedELBO,
    ImageData,
    LabelClassifier,
    Objective,
    VAETraining,
    evaluate,
)
from labelvae.data import balanced
from labelvae.evaluation import scores_table
from labelvae.training import Bar
from labelvae.visual import grid, one_of_each, sheets


def main(data_dir: Path, out: Path, image_size: int | None, steps: int) -> None:
    """Train a guide, a judge and a model on a folder of images; score them by class; draw."""
    seed_everything(0, verbose=False)

    # The names of the folders are the classes. All images get one size; images of one size may keep theirs.
    try:
        data = ImageData("folder", data_dir, batch_size=64, image_size=image_size)
    except ValueError as error:  # files that are missing or broken
        raise SystemExit(f"error: {error}") from None
    for split, its in data.splits.items():
        counts = its.labels.bincount(minlength=data.num_classes).tolist()
        print(f"{split}:", ", ".join(f"{count} {each}" for each, count in zip(data.class_names, counts, strict=True)))

    # A class with few images is seldom seen, and so it is learned badly. `balanced` repeats its images until all
    # classes are equally frequent. It is for training images only: what is tested stays as it is.
    train = data.splits["train"]
    data.splits["train"] = train.subset(balanced(train.labels))

    # A folder may hold a hundred images or a million. So the length of a training is told in steps and not in epochs.
    def fit(name: str, task: ClassifierTraining | VAETraining, steps: int) -> None:
        print(f"training the {name}")
        trainer = Trainer(
            max_epochs=-1,
            max_steps=steps,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[Bar()],
        )
        trainer.fit(task, datamodule=data)

    guide = LabelClassifier(data.image_shape, data.num_classes, widths=(32, 64, 128))
    changes = Augmentation(rotation=5, scale=0.1, shift=0.08, blur=0.5, noise=0.1)
    fit("guide", ClassifierTraining(guide, changes, learning_rate=3e-3), steps // 2)

    judge = LabelClassifier(data.image_shape, data.num_classes, widths=(24, 48, 96), blocks=1)
    changes = Augmentation(rotation=5, scale=0.1, shift=0.08)
    fit("judge", ClassifierTraining(judge, changes, learning_rate=3e-3), steps // 2)

    # Nobody has tried weights on your images before. So lambda is learned (see mnist.py). The setting that you may want
    # to change first is `scale`: a smaller one makes reconstructions more exact, and leaves less room for the label.
    objective = Objective(
        likelihood="gaussian",
        scale=0.08,
        label_weight=100,
        label_constraint=True,
        class_mean_weight=20,
        cycle_weight=0.5,
        cycle_noise=0.1,
        adversarial_weight=400,
        guide_augmentation=Augmentation(shift=0.08, blur=0.6, noise=0.12),
    )
    vae = ConditionalVAE(data.image_shape, data.num_classes, latent_dim=128, hidden_dim=256, upsampling="nearest")
    widths = (48, 96, 192, 192)
    discriminator = Discriminator(data.image_shape, data.num_classes, widths, beside=guide.map_widths)
    fit("model", VAETraining(vae, GuidedELBO(guide, discriminator, objective)), steps)

    vae.class_names = guide.class_names = data.class_names
    for name, network in {"vae": vae, "guide": guide, "judge": judge}.items():
        network.save_pretrained(out / name)

    # Scores on images that were held out. Few test images make uncertain figures; five wrong labels for each help.
    # A mean over all images says little of a rare class, so read the figures of each class as well.
    test = data.loader("test")
    scores = evaluate(vae, test, judge, real=data.loader("train"), guide=guide, name="labelvae", rounds=5)
    print(scores_table([scores]))
    for name, share in zip(data.class_names, scores.effectiveness_by_class, strict=True):
        print(f"asked to be {name}: the judge agrees on {share:.3f}")

    images, labels = next(iter(test))
    few = one_of_each(labels, 40)
    for name, sheet in sheets(vae, images[few], labels[few], data.class_names).items():
        sheet.save(out / f"{name}.png")

    # A model knows the names of its classes, and takes them as labels. The model that is loaded from `out` does too.
    last = data.class_names[-1]
    changed = ConditionalVAE.from_pretrained(out).relabel(images[:5], last)
    grid([list(images[:5]), list(changed)], row_titles=["image", last]).save(out / "relabelled.png")
    print(f"for a picture of any size: labelvae relabel --model {out} --to '{last}' photo.jpg new.jpg")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the images")
    parser.add_argument("--out", type=Path, default="runs/folder_page", help="folder for models and pictures")
    parser.add_argument("--image-size", type=int, help="height and width that all images get")
    parser.add_argument("--steps", type=int, default=3000, help="steps of the model's training")
    main(**vars(parser.parse_args()))
