"""Turn objects: relabel a photograph as another angle, and compare it with the photograph that was really taken there.

python examples/angle.py coil20.npz [--every 2]

COIL-20: 20 objects on a turntable, 72 photographs of 32x32 pixels each, 5 degrees apart (Nene, Nayar and Murase, 1996).
The file holds `images` (1440, 32, 32), `objects` and `degrees`. Every second photograph is for training; each of these
is then asked for the angles in between. Prints PSNR to the true photographs beside two references, and draws a strip.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from labelvae import (
    AttributeClassifier,
    AttributeELBO,
    Augmentation,
    Category,
    ClassifierTraining,
    ConditionalVAE,
    Continuous,
    Objective,
    VAETraining,
)
from labelvae.photos.picture_files import save_picture
from labelvae.visual.grids import style_transfer_grid

ATTRIBUTES = {"object": Category(20), "angle": Continuous(0, 360, "degrees", periodic=True)}
STILL = (14, 15)  # objects that look the same from every side


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Decibels of images in [0, 1] against the true ones, `(B,)`."""
    return -10.0 * torch.log10((images - truth).square().flatten(1).mean(dim=1))


def main() -> None:
    """Guide, model, and the angles in between."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--every", type=int, default=2, help="which photographs are for training")
    parser.add_argument("--epochs", type=int, nargs=2, default=(100, 150), help="of the guide and of the model")
    parser.add_argument("--out", type=Path, default=Path("runs/angle"))
    given = parser.parse_args()
    seed_everything(0, verbose=False)
    with np.load(given.file) as file:
        images = torch.from_numpy(file["images"])[:, None].float() / 255.0
        rows = torch.from_numpy(np.stack([file["objects"], file["degrees"]], axis=1)).float()
    train = rows[:, 1] % (5 * given.every) == 0
    loader = DataLoader(TensorDataset(images[train], rows[train]), 60, shuffle=True, drop_last=True)

    def fit(task: ClassifierTraining | VAETraining, epochs: int) -> None:
        Trainer(max_epochs=epochs, accelerator="auto", logger=False, enable_checkpointing=False).fit(task, loader)

    guide = AttributeClassifier((1, 32, 32), ATTRIBUTES, widths=(32, 64))
    fit(ClassifierTraining(guide, Augmentation(noise=0.1, shift=0.03)), given.epochs[0])
    vae = ConditionalVAE(
        (1, 32, 32),
        attributes=ATTRIBUTES,
        hidden_dim=256,
        encoder_widths=(32, 64, 64),
        decoder_widths=(128, 64, 48),
    )
    fit(
        VAETraining(vae, AttributeELBO(guide, Objective("gaussian", scale=0.1, beta=30.0)), learning_rate=3e-3),
        given.epochs[1],
    )
    vae.save_pretrained(given.out)

    print(f"{'object':>6} {'ours':>6} {'blend':>6} {'nearest':>7}   PSNR in dB at the angles in between")
    table = [scores(vae, images, rows, train, thing) for thing in range(20)]
    for thing, found in enumerate(table):
        print(f"{thing:6} {found[0]:6.1f} {found[1]:6.1f} {found[2]:7.1f}")
    means = torch.tensor([found for thing, found in enumerate(table) if thing not in STILL]).mean(dim=0)
    print(f"  mean {means[0]:6.1f} {means[1]:6.1f} {means[2]:7.1f}   over the objects that change with the angle")

    turned = images[train & (rows[:, 1] == 0)][::4]
    strip = vae.interpolate(turned, {"object": range(0, 20, 4), "angle": 0}, {"angle": 360}, steps=13)
    save_picture(style_transfer_grid(turned, strip, [f"{30 * step}" for step in range(13)]), given.out / "turned.png")


def scores(vae: ConditionalVAE, images: Tensor, rows: Tensor, train: Tensor, thing: int) -> tuple[float, float, float]:
    """PSNR of the model, of a blend of the two nearest views, and of the nearest view, for one object."""
    own = rows[:, 0] == thing
    views, held_out = images[own & train], images[own & ~train]
    angles = rows[own & ~train, 1]
    asked = {"object": thing, "angle": angles.repeat(len(views))}
    made = vae.relabel(views.repeat_interleave(len(angles), dim=0), asked)
    ours = psnr(made, held_out.repeat(len(views), 1, 1, 1)).mean()
    blended, nearest = [], []
    for angle, truth in zip(angles, held_out, strict=True):
        away = vae.attributes["angle"].distance(rows[own & train, 1], angle)  # type: ignore[index]
        near = away.argsort(stable=True)[:2]
        share = (1.0 / away[near])[:, None, None, None]
        blended.append(psnr(((share * views[near]).sum(dim=0) / share.sum())[None], truth[None]))
        nearest.append(psnr(views[near[:1]], truth[None]))
    return float(ours), float(torch.cat(blended).mean()), float(torch.cat(nearest).mean())


if __name__ == "__main__":
    main()
