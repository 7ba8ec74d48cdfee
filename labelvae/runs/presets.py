"""Settings that are known to work, by data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from labelvae.data.settings import Augmentation, DataSettings
from labelvae.losses.objective import Objective
from labelvae.runs.settings import ClassifierSettings, Settings, VAESettings
from labelvae.training.options import Optimization

DIGITS = Settings(
    out=Path("runs/digits"),
    rounds=9,
    data=DataSettings(name="digits", test_share=1 / 6, validation_share=0.2),
    guide=ClassifierSettings(
        widths=(64, 128),
        augmentation=Augmentation(rotation=10, scale=0.1, shear=0.15, shift=0.08, noise=0.2),
        optimization=Optimization(epochs=40, batch_size=64, learning_rate=3e-3, seed=1),
    ),
    judge=ClassifierSettings(
        kind="mlp",
        widths=(256, 256),
        augmentation=Augmentation(rotation=10, scale=0.1, shear=0.15, shift=0.08, noise=0.1),
        optimization=Optimization(epochs=60, batch_size=64, learning_rate=3e-3, seed=2),
    ),
    vae=VAESettings(
        latent_dim=12,
        encoder_widths=(48, 96),
        decoder_widths=(96, 48),
        discriminator_widths=(48, 96),
        discriminator_learning_rate=5e-4,
        objective=Objective(
            likelihood="gaussian",
            scale=0.12,
            label_weight=10,
            class_mean_weight=1.0,
            cycle_weight=0.5,
            cycle_noise=0.2,
            style_weight=4.0,
            adversarial_weight=2.0,
            guide_augmentation=Augmentation(rotation=5, shear=0.08, shift=0.05, noise=0.15),
        ),
        optimization=Optimization(epochs=80, batch_size=64, learning_rate=2e-3, weight_decay=0.0, seed=3),
    ),
)
"""scikit-learn's 8x8 digits; a minute and a half on two cores."""

MNIST = Settings(
    out=Path("runs/mnist"),
    data=DataSettings(name="mnist"),
    guide=ClassifierSettings(
        widths=(24, 48, 96),
        blocks=1,
        feature_dim=128,
        augmentation=Augmentation(rotation=12, scale=0.12, shear=0.15, shift=0.08, noise=0.7),
        optimization=Optimization(epochs=10, learning_rate=3e-3, seed=1),
    ),
    judge=ClassifierSettings(
        widths=(32, 64, 128),
        augmentation=Augmentation(rotation=10, scale=0.1, shear=0.1, shift=0.08),
        optimization=Optimization(epochs=10, learning_rate=3e-3, seed=2),
    ),
    vae=VAESettings(
        latent_dim=16,
        discriminator_widths=(48, 96, 96),
        discriminator_learning_rate=8e-4,
        objective=Objective(
            label_weight=30,
            class_mean_weight=12,
            image_cycle_weight=0.25,
            cycle_noise=0.4,
            style_weight=30,
            equivariance_weight=0.5,
            style_change=Augmentation(rotation=15, scale=0.15, shear=0.35, shift=0.08, thickness=0.9),
            adversarial_weight=6.0,
            guide_augmentation=Augmentation(rotation=8, scale=0.1, shear=0.1, shift=0.06, noise=0.7),
        ),
        optimization=Optimization(epochs=10, batch_size=64, tuned_batch_size=128, weight_decay=0.0, seed=3),
    ),
)
"""MNIST's digits, for a CPU or a GPU."""

MNIST_BRIEF = replace(
    MNIST,
    out=Path("runs/mnist_brief"),
    guide=replace(MNIST.guide, optimization=replace(MNIST.guide.optimization, epochs=3)),
    judge=replace(MNIST.judge, optimization=replace(MNIST.judge.optimization, epochs=3)),
    vae=replace(MNIST.vae, optimization=replace(MNIST.vae.optimization, epochs=1)),
)
"""MNIST's digits with fewer epochs, for a first look in some minutes."""

_VARIED = Augmentation(sizes=(0.58, 1.32), strokes=(0.48, 2.1), shift=0.17, share=0.5)


def _varied(how: ClassifierSettings) -> ClassifierSettings:
    """Return the settings of a classifier that also reads digits of other sizes, strokes and places."""
    changes = replace(how.augmentation, sizes=_VARIED.sizes, strokes=_VARIED.strokes, shift=_VARIED.shift)
    return replace(how, augmentation=changes)


MNIST_VARIED = replace(
    MNIST,
    out=Path("runs/mnist_varied"),
    guide=_varied(MNIST.guide),
    judge=_varied(MNIST.judge),
    vae=replace(
        MNIST.vae,
        latent_dim=28,
        encoder_widths=(24, 48, 96),
        hidden_dim=208,
        augmentation=replace(_VARIED, sizes=(0.58, 1.4), shift=0.18, share=0.6),
    ),
)
"""MNIST's digits as they are, and with 60 to 130 % of their size, half to twice their thickness, or moved by up to 4
pixels; a small model.
"""

_WORN = Augmentation(shift=0.07, flip=True, noise=0.12)
FASHION_MNIST = Settings(
    out=Path("runs/fashion_mnist"),
    data=DataSettings(name="fashion_mnist"),
    guide=replace(
        MNIST.guide,
        widths=(32, 64, 128),
        label_smoothing=0.05,
        augmentation=_WORN,
        optimization=Optimization(epochs=8, learning_rate=3e-3, weight_decay=0.2, seed=1),
    ),
    judge=replace(
        MNIST.judge,
        label_smoothing=0.05,
        augmentation=replace(_WORN, noise=0.0),
        optimization=Optimization(epochs=8, learning_rate=3e-3, seed=2),
    ),
    vae=VAESettings(
        latent_dim=64,
        hidden_dim=256,
        upsampling="nearest",
        encoder_widths=(32, 64, 128),
        discriminator_widths=(48, 96, 192),
        discriminator_learning_rate=8e-4,
        discriminator_sees_guide=True,
        objective=Objective(
            likelihood="gaussian",
            scale=0.1,
            label_weight=600,
            class_mean_weight=40,
            image_cycle_weight=0.25,
            cycle_noise=0.2,
            adversarial_weight=200,
            guide_augmentation=replace(_WORN, blur=0.6),
            discriminator_augmentation=Augmentation(shift=0.0715, interpolation="nearest"),
            warm_up_share=0.05,
        ),
        optimization=Optimization(epochs=5, batch_size=64, weight_decay=0.0, average_decay=0.998, seed=3),
    ),
)
"""Clothes: objects with patterns, not strokes, so that no term holds the thickness."""
KMNIST = replace(MNIST, out=Path("runs/kmnist"), data=DataSettings(name="kmnist"))
"""Kuzushiji, with the settings of MNIST."""

_PLACED = Augmentation(shift=0.0625, flip=True, interpolation="nearest")
_NATURAL = Objective(
    likelihood="gaussian",
    label_weight=100,
    label_constraint=True,
    class_mean_weight=20,
    cycle_weight=0.5,
    cycle_noise=0.1,
)

CIFAR10_SMALL = Settings(
    out=Path("runs/cifar10_small"),
    data=DataSettings(name="cifar10"),
    guide=ClassifierSettings(
        kind="pooled",
        widths=(48, 128, 256),
        blocks=1,
        feature_dim=128,
        label_smoothing=0.1,
        adversarial=4 / 255,
        augmentation=replace(_PLACED, blur=0.6),
        optimization=Optimization(epochs=4, learning_rate=3e-3, weight_decay=0.2, seed=1),
    ),
    judge=ClassifierSettings(
        kind="pooled",
        widths=(48, 96, 192),
        blocks=2,
        feature_dim=128,
        label_smoothing=0.1,
        augmentation=replace(_PLACED, shift=0.09375),
        optimization=Optimization(epochs=24, learning_rate=3e-3, weight_decay=0.2, seed=2),
    ),
    vae=VAESettings(
        latent_dim=384,
        spatial_latent=True,
        upsampling="nearest",
        encoder_widths=(48, 96, 192),
        blocks=1,
        discriminator_widths=(64, 128, 256, 256),
        discriminator_sees_guide=True,
        refine=2.0,
        objective=replace(
            _NATURAL,
            scale=0.07,
            label_weight=1500,
            style_weight=60,
            adversarial_weight=850,
            guide_augmentation=Augmentation(shift=0.1, flip=True, blur=0.6, noise=0.02),
            discriminator_augmentation=_PLACED,
            warm_up_share=0.02,
        ),
        optimization=Optimization(epochs=8, batch_size=64, weight_decay=0.0, average_decay=0.999, seed=3),
    ),
)
"""CIFAR10, for two cores."""

# For a card with 132 multiprocessors, whose matrix units take bfloat16. Counted with every term of the objective, a
# step needs 12.6 GFLOP an image. Widths are multiples of 128, the width of a tile of the matrix units. There is one
# residual block at each resolution, as in the preset with which the weights of the objective were tuned. Widths of 96,
# 192 and 384 with two blocks need a third more kernels for a sixth more operations. The decoder makes 2 x 256 images a
# step, so its coarsest maps (4x4) are 64 x 3 tiles. Half the batch has too few tiles for all multiprocessors, and twice
# the batch makes half the steps in the same time. The model's learning rates are those of the small preset: four times
# the batch would double them, twice the width would halve them. The guide is trained briefly: after 35
# epochs it is right on 0.85 of images, where it was on 0.64 after four, and refines worse (docs/results.md).
CIFAR10 = replace(
    CIFAR10_SMALL,
    out=Path("runs/cifar10"),
    guide=replace(
        CIFAR10_SMALL.guide,
        widths=(128, 256, 512),
        optimization=replace(CIFAR10_SMALL.guide.optimization, epochs=6, batch_size=512, tuned_batch_size=256),
    ),
    judge=replace(
        CIFAR10_SMALL.judge,
        widths=(128, 256, 384),
        optimization=replace(CIFAR10_SMALL.judge.optimization, epochs=30, batch_size=512, tuned_batch_size=256),
    ),
    vae=replace(
        CIFAR10_SMALL.vae,
        latent_dim=768,
        encoder_widths=(128, 256, 384),
        discriminator_widths=(128, 256, 512, 512),
        optimization=replace(CIFAR10_SMALL.vae.optimization, epochs=60, batch_size=256, tuned_batch_size=256),
    ),
)
"""CIFAR10 for one modern GPU: wider networks; five minutes on an H100."""

FOLDER = Settings(
    out=Path("runs/folder"),
    data=DataSettings(name="folder"),
    guide=ClassifierSettings(
        widths=(32, 64, 128),
        augmentation=Augmentation(rotation=5, scale=0.1, shift=0.08, blur=0.5, noise=0.1),
        optimization=Optimization(epochs=5, least_steps=1500, batch_size=64, learning_rate=3e-3, seed=1),
    ),
    judge=ClassifierSettings(
        widths=(24, 48, 96),
        blocks=1,
        augmentation=Augmentation(rotation=5, scale=0.1, shift=0.08),
        optimization=Optimization(epochs=5, least_steps=1500, batch_size=64, learning_rate=3e-3, seed=2),
    ),
    vae=VAESettings(
        latent_dim=128,
        hidden_dim=256,
        upsampling="nearest",
        discriminator_widths=(48, 96, 192, 192),
        discriminator_sees_guide=True,
        objective=replace(
            _NATURAL,
            scale=0.08,
            adversarial_weight=400,
            guide_augmentation=Augmentation(shift=0.08, blur=0.6, noise=0.12),
        ),
        optimization=Optimization(epochs=5, least_steps=3000, batch_size=64, weight_decay=0.0, seed=3),
    ),
)
"""Images in class folders, of any size from 8x8: grey photographs, drawings, objects on an even ground."""

STROKES = replace(
    FOLDER,
    guide=replace(MNIST.guide, optimization=FOLDER.guide.optimization),
    judge=replace(MNIST.judge, optimization=FOLDER.judge.optimization),
    vae=replace(MNIST.vae, optimization=replace(MNIST.vae.optimization, epochs=5, least_steps=3000)),
)
"""Strokes in class folders, such as signs or letters; taken in place of `FOLDER` where the images are strokes."""

_NO_GEOMETRY = Augmentation(shift=0.08, noise=0.1, interpolation="nearest")

TABLE = replace(
    FOLDER,
    out=Path("runs/table"),
    data=DataSettings(name="table"),
    guide=replace(FOLDER.guide, augmentation=_NO_GEOMETRY),
    judge=replace(FOLDER.judge, augmentation=replace(_NO_GEOMETRY, noise=0.0)),
    vae=replace(
        FOLDER.vae,
        discriminator_sees_guide=False,
        objective=replace(_NATURAL, scale=0.08, guide_augmentation=replace(_NO_GEOMETRY, shift=0.04)),
    ),
)
"""Images with a table of attributes. Nothing turns, shears or resizes them: a label may be what that would change."""
