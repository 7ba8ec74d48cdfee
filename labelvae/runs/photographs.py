"""Settings for photographs in colour, by their size and number."""

from __future__ import annotations

import math
from dataclasses import replace

from labelvae.data.settings import Augmentation
from labelvae.inputs.checks import check_count
from labelvae.inputs.tensors import ImageShape, check_image_shape
from labelvae.models.pyramids import pyramid
from labelvae.runs.presets import CIFAR10_SMALL, FOLDER
from labelvae.runs.settings import Settings
from labelvae.training.options import Optimization

MANY = 5000
"""Number of training images from which on the number of steps no longer grows."""

WIDTHS = {
    1.25: ((48, 96, 192), (64, 128, 256, 256)),
    2.25: ((32, 64, 192), (48, 96, 192, 256)),
    math.inf: ((24, 48, 128), (32, 64, 128, 192)),
}
"""Channels after each halving of the model and of the discriminator, by the largest side over 32 pixels. The finest
maps take most of the time.
"""


def photograph_settings(image_shape: ImageShape, count: int) -> Settings:
    """Choose the settings for photographs in colour by their size and number.

    They are those of `CIFAR10_SMALL`, apart from what depends on the size. Let s be the side of the images over 32
    pixels. The reconstruction is a sum over pixels. So its scale grows with the square root of s, and the other weights
    grow with s. The radius of the refinement is a Euclidean distance, and grows with s. The attack on the guide has the
    same Euclidean length at every size, so its largest change of a pixel falls with s. A place of the code stands for
    8x8 pixels at every size from 32x32. The number of steps depends on the number and the size of the images.

    Args:
        image_shape: `(C, H, W)` of the images.
        count: the number of training images.

    >>> settings = photograph_settings((3, 64, 64), 6480)
    >>> settings.vae.encoder_widths, settings.vae.refine
    ((32, 64, 192), 4.0)
    """
    shape, count = check_image_shape(image_shape), check_count("count", count)
    grown = math.sqrt(shape[1] * shape[2]) / 32
    halvings = min(3, max(1, math.floor(math.log2(min(shape[1:]) / 4))))
    widths, discriminator_widths = next(widths for most, widths in WIDTHS.items() if grown <= most)
    guide, judge, vae = CIFAR10_SMALL.guide, CIFAR10_SMALL.judge, CIFAR10_SMALL.vae
    return replace(
        FOLDER,
        guide=replace(
            guide,
            widths=(24, 64, 128, 256)[: halvings + 1],
            blocks=0,
            adversarial=round(guide.adversarial / grown, 4),
            augmentation=replace(guide.augmentation, shift=0.08),
            optimization=_trained(guide.optimization, 1100, count),
        ),
        judge=replace(
            judge,
            widths=(24, 48, 96, 192)[: halvings + 1],
            blocks=1,
            optimization=_trained(judge.optimization, 1100, count),
        ),
        vae=replace(
            vae,
            latent_dim=24 * math.prod(pyramid(shape, halvings)[-1]),
            encoder_widths=widths[:halvings],
            discriminator_widths=discriminator_widths[: halvings + 1],
            augmentation=Augmentation(flip=True),
            refine=round(vae.refine * grown, 2),
            objective=replace(
                vae.objective,
                scale=round(vae.objective.scale * math.sqrt(grown), 3),
                label_constraint=False,
                label_weight=round(3000 * grown),
                adversarial_weight=round(vae.objective.adversarial_weight * grown),
                class_mean_weight=round(vae.objective.class_mean_weight * grown, 1),
            ),
            optimization=replace(
                _trained(vae.optimization, round(5000 * min(1.0, 2 / grown)), count),
                batch_size=32,
                average_decay=0.998,
            ),
        ),
    )


def _trained(how: Optimization, steps: int, count: int) -> Optimization:
    """Return a training of so many steps: fewer for few images, more if three epochs take longer."""
    least = steps * min(max(count, MANY // 4), MANY) // MANY
    return replace(how, epochs=3, least_steps=least, batch_size=64, tuned_batch_size=64)
