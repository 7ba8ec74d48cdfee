"""The sizes of a network's maps, from an image down to its code."""

from __future__ import annotations

import math
from collections.abc import Sequence

from labelvae.inputs.tensors import ImageShape


def pyramid(image_shape: ImageShape, steps: int) -> list[tuple[int, int]]:
    """Return the sizes `(H, W)` of an image and of its `steps` halvings, rounded up.

    >>> pyramid((1, 28, 33), 3)
    [(28, 33), (14, 17), (7, 9), (4, 5)]
    """
    sizes = [(image_shape[1], image_shape[2])]
    for _ in range(steps):
        sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
    return sizes


def default_widths(image_shape: ImageShape) -> tuple[int, ...]:
    """Return the channels after each halving, so many that the coarsest maps have 3 to 6 pixels along the shorter side.

    >>> default_widths((1, 28, 28)), default_widths((3, 128, 128))
    ((32, 64, 128), (32, 64, 128, 128, 128))
    """
    steps = max(1, round(math.log2(min(image_shape[1:]) / 4)))
    return tuple(min(32 * 2**step, 128) for step in range(steps))


def check_places(
    image_shape: ImageShape, latent_dim: int, encoder_widths: Sequence[int], decoder_widths: Sequence[int]
) -> None:
    """Make sure that a spatial code of `latent_dim` entries fits the coarsest maps of both halves.

    Raises:
        ValueError: halves of different depth or without maps; a code that does not fill the maps evenly.
    """
    if not encoder_widths or len(encoder_widths) != len(decoder_widths):
        raise ValueError(
            "spatial_latent: expected an encoder and a decoder of as many widths, at least one, got "
            f"{len(encoder_widths)} and {len(decoder_widths)}"
        )
    height, width = pyramid(image_shape, len(encoder_widths))[-1]
    if latent_dim % (height * width):
        raise ValueError(
            f"latent_dim: expected a multiple of {height * width} for a spatial code of {height}x{width} places, "
            f"got {latent_dim}"
        )
