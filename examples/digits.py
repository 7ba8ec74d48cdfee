"""Relabel handwritten digits: the whole chain, from images to a picture of the result, in a minute or two.

    python examples/digits.py

Scikit-learn's 1,797 digits of 8x8 pixels need no download and no GPU. Read this page from top to bottom.
`labelvae train digits` trains the same model, and adds what a longer run needs: checkpoints, logs, and a second model
without the guide to compare with.
"""

import argparse
from pathlib import Path

import torch
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
from labelvae.evaluation import ClassMean, ImageItself, Relabeller, scores_table
from labelvae.training import Bar
from labelvae.visual import one_of_each, sheets


def main(out: Path, max_steps: int) -> None:
    """Train a guide, a judge and a model; score them; draw."""
    seed_everything(0, verbose=False)
    torch.set_num_threads(1)  # on images this small a second thread only waits

    # 1. The images, in three splits. Everything is trained on `train`; `validation` is there to choose settings by.
    #    The scores at the end are those of `test`, which nothing has seen before.
    data = ImageData("digits", batch_size=64, validation_share=0.2, test_share=1 / 6)

    def fit(name: str, task: ClassifierTraining | VAETraining, epochs: int) -> None:
        print(f"training the {name}")
        trainer = Trainer(
            max_epochs=epochs,
            max_steps=max_steps,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[Bar()],  # Lightning's progress bar, with the loss
        )
        trainer.fit(task, datamodule=data)

    # 2. The guide is a classifier. It will stand inside the loss of the model, and say what a relabelled image looks
    #    like. It learns from images that are turned, moved and noisy. So a stroke convinces it, and a speck does not.
    guide = LabelClassifier(data.image_shape, data.num_classes, widths=(64, 128))
    changes = Augmentation(rotation=10, scale=0.1, shear=0.15, shift=0.08, noise=0.2)
    fit("guide", ClassifierTraining(guide, changes, learning_rate=3e-3), epochs=40)

    # 3. The judge is another classifier, with another architecture. It is in no loss and gives the scores at the end.
    #    The guide cannot give them: the model was trained to please it.
    judge = LabelClassifier(data.image_shape, data.num_classes, kind="mlp", widths=(256, 256))
    changes = Augmentation(rotation=10, scale=0.1, shear=0.15, shift=0.08, noise=0.1)
    fit("judge", ClassifierTraining(judge, changes, learning_rate=3e-3), epochs=60)

    # 4. The model. The encoder turns an image into a code of 12 numbers, and does not see the label.
    #    The decoder turns a code and a label into an image. Same code, other label: the same hand writes another digit.
    vae = ConditionalVAE(
        data.image_shape, data.num_classes, latent_dim=12, encoder_widths=(48, 96), decoder_widths=(96, 48)
    )

    # 5. The objective: the evidence lower bound of a VAE, and terms for relabelled images. At every step each image is
    #    also decoded under a wrong label, drawn by chance, and the guide must see that label. All terms are in nats.
    objective = Objective(
        likelihood="gaussian",
        scale=0.12,  # standard deviation of a pixel: how exact a reconstruction must be
        label_weight=10,  # lambda: how much it counts that the guide sees the wrong label
        class_mean_weight=1.0,  # the codes of all classes have one mean, so that a code does not tell the label
        cycle_weight=0.5,  # a relabelled image has the code that it was made from
        style_weight=4.0,  # strokes stay as thick and as slanted as they were
        adversarial_weight=2.0,  # the discriminator takes a relabelled image for a real one
        guide_augmentation=Augmentation(rotation=5, shear=0.08, shift=0.05, noise=0.15),
    )
    discriminator = Discriminator(data.image_shape, data.num_classes, widths=(48, 96))
    loss = GuidedELBO(guide, discriminator, objective)  # the guide is frozen from here on
    fit("model", VAETraining(vae, loss, learning_rate=2e-3, discriminator_learning_rate=5e-4), epochs=80)

    # 6. Scores. Every test image is relabelled as three wrong labels. Two references keep the figures honest: the image
    #    itself has all of the style and none of the label, and the mean of the class has it the other way round.
    train, test = data.loader("train"), data.loader("test")
    models: dict[str, Relabeller] = {
        "labelvae": vae,
        "image itself": ImageItself(),
        "class mean": ClassMean(train, data.num_classes),
    }
    scores = [
        evaluate(model, test, judge, real=train, guide=guide, name=name, rounds=3) for name, model in models.items()
    ]
    print(scores_table(scores))

    # 7. Save the networks, and draw what the model does to test images, each class in turn.
    vae.class_names = data.class_names
    for name, network in {"vae": vae, "guide": guide, "judge": judge}.items():
        network.save_pretrained(out / name)
    images, labels = next(iter(test))
    few = one_of_each(labels, 40)
    for name, sheet in sheets(vae, images[few], labels[few], data.class_names).items():
        sheet.save(out / f"{name}.png")

    # 8. Use it: a saved model loads by its folder, and takes labels by their names.
    saved = ConditionalVAE.from_pretrained(out / "vae")
    eights = saved.relabel(images[:5], "8")
    print(f"five images as eights: {tuple(eights.shape)}; the models and pictures are under {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default="runs/digits_page", help="folder for models and pictures")
    parser.add_argument("--max-steps", type=int, default=-1, help="steps of each training, to try the page")
    main(**vars(parser.parse_args()))
