"""How much of a mesh a model leaves: the energy of the finest pattern that pixels can hold, over that of real images.

    python benchmarks/mesh.py --models '[runs/cifar10_small/vae]' --data folder --data-dir DIR

A mesh or a checkerboard, as upsampling and a discriminator that sees pixels in pairs leave behind (Odena et al., 2016,
"Deconvolution and Checkerboard Artifacts", distill.pub), repeats every two pixels: across, down, or both. Its energy at
these three frequencies is that of counterfactuals of test images under wrong labels over that of the images themselves,
1 where there is no mesh. With `--smoothing` the counterfactuals pass a filter first, to see what of their sharpness is
mesh.
"""

from __future__ import annotations

from pathlib import Path

import torch
from einops import rearrange
from jsonargparse import auto_cli
from tables import table
from torch import Tensor
from torch.nn import functional as F

from labelvae import ConditionalVAE, ImageData
from labelvae.cli.parser import DashParser
from labelvae.data.settings import DataName
from labelvae.evaluation.image_metrics import Sharpness
from labelvae.inputs.checks import check_number
from labelvae.inputs.tensors import wrong_labels

A_BATCH = 250
HEADS = {"model": "model", "across": "across", "down": "down", "both": "both ways", "sharpness": "sharpness"}


def main(
    models: list[Path],
    data: DataName = "cifar10",
    data_dir: Path = Path("data"),
    smoothing: float = 0.0,
    count: int = 2000,
    seed: int = 0,
) -> None:
    """Measures and prints a table.

    Args:
        models: their folders.
        data: which images, of even height and width.
        data_dir: where their files are.
        smoothing: weight of either neighbour in a filter over three pixels, across and then down; at most 0.25.
        count: test images, at most.
        seed: of the images and of the labels asked.
    """
    check_number("smoothing", smoothing, at_least=0, at_most=0.25)
    images = ImageData(data, data_dir)
    if any(side % 2 for side in images.image_shape[1:]):
        raise ValueError(f"data: expected images of even height and width, got {images.image_shape}; resize them")
    generator = torch.Generator().manual_seed(seed)
    test = images.splits["test"]
    some = test.subset(torch.randperm(len(test), generator=generator)[:count]).load()
    pixels, asked = some.images.float() / 255.0, wrong_labels(some.labels, images.num_classes, generator)
    real, rows = finest(pixels), []
    for model in models:
        vae = ConditionalVAE.from_pretrained(model)
        parts = zip(pixels.split(A_BATCH), asked.split(A_BATCH), some.labels.split(A_BATCH), strict=True)
        made = smoothed(torch.cat([vae.relabel(*part) for part in parts]), smoothing)
        sharpness = Sharpness()
        sharpness.update(pixels, real=True)
        sharpness.update(made, real=False)
        ratios = [*(finest(made) / real).tolist(), float(sharpness.compute())]
        rows.append({"model": str(model), **dict(zip(("across", "down", "both", "sharpness"), ratios, strict=True))})
    print(table(rows, HEADS))


def smoothed(images: Tensor, weight: float) -> Tensor:
    """Images `(N, C, H, W)` after a filter of three pixels across and down, its outer ones of this weight."""
    line = images.new_tensor([weight, 1.0 - 2.0 * weight, weight])
    kernel = (line[:, None] * line).repeat(images.shape[1], 1, 1, 1)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=images.shape[1])


def finest(images: Tensor) -> Tensor:
    """The mean energy of grey levels at a period of two pixels, of images `(N, C, H, W)`: across, down, both ways.

    Under a Hann window, so that edges do not count as patterns.
    """
    height, width = images.shape[2:]
    grey = images.mean(dim=1)
    grey = grey - grey.mean(dim=(1, 2), keepdim=True)
    window = rearrange(torch.hann_window(height, periodic=False), "h -> h 1") * torch.hann_window(width, periodic=False)
    energy = torch.fft.rfft2(grey * window).abs().square().mean(dim=0)
    half = height // 2
    return torch.stack([energy[:2, -1].mean(), energy[half, :2].mean(), energy[half, -1]])


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
