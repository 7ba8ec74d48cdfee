"""Relabel MNIST: a weight that is learned, curves to watch, and a training that goes on after it was stopped.

    python examples/mnist.py --data-dir DIR

MNIST's files are downloaded to DIR if they are not there. Read `digits.py` first; this page says only what is new.
It trains briefly, for a first look. `labelvae train mnist --data-dir DIR` takes longer and scores better.
"""

import argparse
from pathlib import Path

from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

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
from labelvae.runs import device_of, machine_of
from labelvae.training import Bar, LastCheckpoint, Relabelled
from labelvae.visual import one_of_each, sheets


def main(data_dir: Path, out: Path, wandb: bool, max_steps: int) -> None:
    """Train a guide, a judge and a model, or go on where they were stopped; score them; draw."""
    seed_everything(0, verbose=False)
    try:
        data = ImageData("mnist", data_dir, batch_size=64)
    except ValueError as error:  # files that are missing or broken
        raise SystemExit(f"error: {error}") from None

    # Curves go to a CSV file under `out`, or to Weights & Biases, which shows pictures too. `offline` needs no account:
    # it writes files that `wandb sync` sends later.
    logger: Logger = CSVLogger(out, name="curves")
    if wandb:
        logger = WandbLogger(project="labelvae", save_dir=out, offline=True)

    # A processor or GPU that computes in bfloat16 trains in half the time. Losses stay in float32.
    bfloat16 = machine_of(device_of("auto")).bfloat16

    def fit(name: str, task: ClassifierTraining | VAETraining, epochs: int, *callbacks: Callback) -> None:
        print(f"training the {name}")
        # A checkpoint is written after every epoch. Where one is there, training goes on from it: stop this page with
        # Ctrl-C, and start it again. A network that has had all its epochs is loaded and not trained.
        checkpoint = out / "checkpoints" / f"{name}.ckpt"
        trainer = Trainer(
            max_epochs=epochs,
            max_steps=max_steps,
            precision="bf16-mixed" if bfloat16 else "32-true",
            logger=logger,
            callbacks=[Bar(), LastCheckpoint(checkpoint), *callbacks],
            enable_model_summary=False,
        )
        trainer.fit(task, datamodule=data, ckpt_path=checkpoint if checkpoint.is_file() else None, weights_only=True)

    guide = LabelClassifier(data.image_shape, data.num_classes, widths=(24, 48, 96), blocks=1, feature_dim=128)
    changes = Augmentation(rotation=12, scale=0.12, shear=0.15, shift=0.08, noise=0.7)
    fit("guide", ClassifierTraining(guide, changes, prefix="guide/"), epochs=3)  # `prefix`: of the names of its curves

    judge = LabelClassifier(data.image_shape, data.num_classes, widths=(32, 64, 128))
    changes = Augmentation(rotation=10, scale=0.1, shear=0.1, shift=0.08)
    fit("judge", ClassifierTraining(judge, changes, prefix="judge/"), epochs=3)

    # How much should the guide count? Too small a lambda, and the label is not followed; too large, and every 8 looks
    # alike. With `label_constraint` lambda is learned, for each asked class its own. It grows while the guide believes
    # relabelled images less than real ones, and shrinks while it believes them more.
    objective = Objective(
        label_weight=30,  # where lambda starts
        label_constraint=True,
        class_mean_weight=12,
        image_cycle_weight=0.25,  # relabelled and back again, an image is itself
        cycle_noise=0.4,
        style_weight=30,
        equivariance_weight=0.5,  # first slanted and then relabelled is the same as first relabelled and then slanted
        style_change=Augmentation(rotation=15, scale=0.15, shear=0.35, shift=0.08, thickness=0.9),
        adversarial_weight=6.0,
        guide_augmentation=Augmentation(rotation=8, scale=0.1, shear=0.1, shift=0.06, noise=0.7),
    )
    vae = ConditionalVAE(data.image_shape, data.num_classes, latent_dim=16)
    discriminator = Discriminator(data.image_shape, data.num_classes, widths=(48, 96, 96))
    loss = GuidedELBO(guide, discriminator, objective)

    # After each epoch, 500 validation images are relabelled, judged and drawn. The judge only looks on: nothing is
    # chosen by what it says.
    images, labels = next(iter(data.loader("validation")))
    watch = Relabelled(images, labels, data.class_names, judge, out / "progress.png", guide)
    fit("model", VAETraining(vae, loss, learning_rate=1.4e-3, discriminator_learning_rate=5.6e-4), 2, watch)

    weights = loss.guidance.label_weight.tolist() if loss.guidance else []
    learned = ", ".join(f"{name}: {value:.1f}" for name, value in zip(data.class_names, weights, strict=True))
    print("lambda, as learned for each asked class:", learned)

    vae.class_names = data.class_names
    for name, network in {"vae": vae, "guide": guide, "judge": judge}.items():
        network.save_pretrained(out / name)
    test = data.loader("test")
    print(scores_table([evaluate(vae, test, judge, real=data.loader("train"), guide=guide, name="labelvae")]))
    images, labels = next(iter(test))
    few = one_of_each(labels, 40)
    for name, sheet in sheets(vae, images[few], labels[few], data.class_names).items():
        sheet.save(out / f"{name}.png")
    print(f"models, pictures and curves are under {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default="data", help="folder of MNIST's files")
    parser.add_argument("--out", type=Path, default="runs/mnist_page", help="folder for everything that is made")
    parser.add_argument("--wandb", action="store_true", help="log to Weights & Biases, offline")
    parser.add_argument("--max-steps", type=int, default=-1, help="steps of each training, to try the page")
    main(**vars(parser.parse_args()))
