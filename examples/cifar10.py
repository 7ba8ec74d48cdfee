"""Relabel CIFAR10 on a GPU: images in colour, a robust guide, a discriminator that sees what the guide sees.

    python examples/cifar10.py --data-dir DIR

CIFAR10's files are downloaded to DIR if they are not there. Read `digits.py` first; this page says only what is new.
The settings are those of `labelvae train cifar10`. For two cores there is `labelvae train cifar10_small`.
"""

import argparse
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer, seed_everything

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
from labelvae.evaluation import scores_table
from labelvae.losses import Refined, save_radius
from labelvae.runs import device_of, machine_of
from labelvae.training import Bar, MovingAverage
from labelvae.visual import one_of_each, sheets


def main(data_dir: Path, out: Path, width: int, max_steps: int) -> None:
    """Train a guide, a judge and a model; score the model with and without refinement; draw."""
    seed_everything(0, verbose=False)
    try:
        data = ImageData("cifar10", data_dir, batch_size=256)
    except ValueError as error:  # files that are missing or broken
        raise SystemExit(f"error: {error}") from None
    shape, classes = data.image_shape, data.num_classes

    # What makes it fast on a GPU: arithmetic in bfloat16; the channels of a pixel next to each other in memory; and the
    # training step recorded once as a CUDA graph, so that Python need not start every kernel anew.
    # `ImageData` keeps the images on the GPU.
    device = device_of("auto")
    bfloat16 = machine_of(device).bfloat16
    speed: dict[str, Any] = {"channels_last": True, "graphed": device.type == "cuda"}

    def fit(name: str, task: ClassifierTraining | VAETraining, epochs: int, *callbacks: Callback) -> None:
        print(f"training the {name}")
        trainer = Trainer(
            max_epochs=epochs,
            max_steps=max_steps,
            precision="bf16-mixed" if bfloat16 else "32-true",
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[Bar(), *callbacks],
        )
        trainer.fit(task, datamodule=data)

    # A guide for photographs must be hard to fool. `adversarial` attacks every training image: it is first changed by
    # up to 4 grey levels, so that the guide is wrong about it. What convinces such a guide, a person recognises more
    # often. Six epochs are enough: trained for longer, it was right more often and guided worse.
    kind: dict[str, Any] = {"kind": "pooled", "feature_dim": 128}
    guide = LabelClassifier(shape, classes, widths=(width, 2 * width, 4 * width), blocks=1, **kind)
    placed = Augmentation(shift=0.0625, flip=True, interpolation="nearest")
    blurred = Augmentation(shift=0.0625, flip=True, interpolation="nearest", blur=0.6)
    how: dict[str, Any] = {"label_smoothing": 0.1, "learning_rate": 3e-3, "weight_decay": 0.2}
    fit("guide", ClassifierTraining(guide, blurred, adversarial=4 / 255, **how, **speed), epochs=6)

    judge = LabelClassifier(shape, classes, widths=(width, 2 * width, 3 * width), blocks=2, **kind)
    moved = Augmentation(shift=0.09375, flip=True, interpolation="nearest")
    fit("judge", ClassifierTraining(judge, moved, **how, **speed), epochs=30)

    # The code keeps its place: it is the channels of the coarsest maps, and not a list of numbers. So the layout of a
    # photograph stays, while its parts become another class.
    vae = ConditionalVAE(
        shape,
        classes,
        latent_dim=6 * width,
        spatial_latent=True,
        upsampling="nearest",
        encoder_widths=(width, 2 * width, 3 * width),
        blocks=1,
    )
    objective = Objective(
        likelihood="gaussian",
        scale=0.07,
        label_weight=1500,
        label_constraint=True,  # lambda is learned, see mnist.py
        class_mean_weight=20,
        cycle_weight=0.5,
        cycle_noise=0.1,
        style_weight=60,  # in colour, style is layout: the colours of each part of the image
        adversarial_weight=850,
        guide_augmentation=Augmentation(shift=0.1, flip=True, blur=0.6, noise=0.02),
        discriminator_augmentation=placed,
        warm_up_share=0.02,
    )
    # The discriminator gets the guide's maps next to its own, so it need not find out by itself what a wing looks like.
    widths = (width, 2 * width, 4 * width, 4 * width)
    discriminator = Discriminator(shape, classes, widths, beside=guide.map_widths)
    loss = GuidedELBO(guide, discriminator, objective)
    # What is kept is not the weights of the last step, but their moving average over about a thousand steps.
    fit("model", VAETraining(vae, loss, **speed), 60, MovingAverage(0.999))

    # Refinement: a few steps along the gradient of the guide change a relabelled image a little more. The radius is the
    # largest change, the root of the sum of its squares. `Refined` is a model with its guide, and takes the model's
    # place everywhere. The radius is saved next to the model, so that `labelvae relabel --model OUT` refines as well.
    for network in (vae, guide, judge):
        network.to(device)  # Lightning has left them on the CPU
    refined = Refined(vae, guide, radius=2.0)
    vae.class_names = guide.class_names = data.class_names
    for name, saved in {"vae": vae, "guide": guide, "judge": judge}.items():
        saved.save_pretrained(out / name)
    save_radius(out / "vae", refined.radius)

    train, test = data.loader("train"), data.loader("test")
    alone = evaluate(vae, test, judge, real=train, guide=guide, name="model alone")
    print(scores_table([evaluate(refined, test, judge, real=train, guide=guide, name="refined"), alone]))
    images, labels = next(iter(test))
    few = one_of_each(labels, 40)
    for name, sheet in sheets(refined, images[few], labels[few], data.class_names).items():
        sheet.save(out / f"{name}.png")
    print(f"models and pictures are under {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default="data", help="folder of CIFAR10's files")
    parser.add_argument("--out", type=Path, default="runs/cifar10_page", help="folder for models and pictures")
    parser.add_argument("--width", type=int, default=128, help="channels of the finest maps; all others follow it")
    parser.add_argument("--max-steps", type=int, default=-1, help="steps of each training, to try the page")
    main(**vars(parser.parse_args()))
