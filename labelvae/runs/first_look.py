"""A sheet to look at while the digits train: what the packaged model of MNIST makes of five hands."""

from __future__ import annotations

from pathlib import Path

import torch

from labelvae.models.hub import PACKAGED
from labelvae.models.vae import ConditionalVAE
from labelvae.photos.picture_files import save_picture
from labelvae.visual.grids import style_transfer_grid


def first_look(out: Path) -> Path:
    """Draw five hands, each writing all ten digits, by the MNIST model that comes with the package.

    Args:
        out: folder of the run.

    Returns:
        The picture's file.
    """
    vae, path = ConditionalVAE.from_pretrained(PACKAGED / "mnist"), out / "first_look" / "mnist.png"
    hands = vae.sample(list(range(10)), torch.Generator().manual_seed(4))[[0, 3, 4, 7, 9]]
    digits = torch.stack([vae.relabel(hands, digit) for digit in range(10)], dim=1)
    save_picture(style_transfer_grid(hands, digits, [str(digit) for digit in range(10)]), path)
    print(f"to look at meanwhile, five hands and their ten digits by the packaged MNIST model: {path}", flush=True)
    return path
