"""What stays of a digit that becomes another one: MNIST in the measures of LeapFactual's table (arXiv 2510.14623).

    python benchmarks/morphometry.py --data-dir DIR

Each test image is relabelled as a digit that it is not, drawn at random. A small network of two layers, trained here to
about the accuracy of the published judge (96.58 %), reads the result: ACC is the share that it reads as asked, AUC the
mean area under the ROC curve of each digit against the rest. The other columns, D, are mean absolute relative errors
against the image's reconstruction under its own label: |m(counterfactual) - m(reconstruction)| / |m(reconstruction)|,
of six measures m, defined as for Morpho-MNIST (Castro et al., 2019, JMLR 20(178)) and computed here anew: area, length,
slant and thickness of the stroke, width and height of the parallelogram around it. Less is not always better: an 8
needs a longer stroke than a 1. A slant near zero makes a large D of a small difference.

The published rows are of five runs; their test images are those of MNIST in the form of Morpho-MNIST.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, zoom
from skimage.morphology import skeletonize
from sklearn.metrics import roc_auc_score
from tables import table
from torch import Tensor, nn
from tqdm import tqdm

from labelvae import ConditionalVAE, ImageData
from labelvae.flows import WithFlow
from labelvae.inputs.tensors import wrong_labels
from labelvae.system.whole_files import write_whole

FINE = 4
"""By how much a digit is enlarged before it is measured."""

OUTSIDE = 0.02
"""Share of the stroke that may lie outside the parallelogram, half of it on each side."""

MEASURES = ("area", "length", "slant", "thickness", "width", "height")

HEADS = {"accuracy": "ACC", "area_under": "AUC", **{name: f"D {name}" for name in MEASURES}}

PUBLISHED = {
    "CVAE": (0.9422, 0.9979, 0.2556, 0.2999, 3.461, 0.0859, 0.3069, 0.0288),
    "LeapFactual": (0.9868, 0.9990, 0.1665, 0.2128, 2.503, 0.0807, 0.2061, 0.0265),
    "LeapFactual_R": (0.9906, 0.9999, 0.2295, 0.2732, 3.314, 0.0895, 0.2784, 0.0303),
}
"""Table 2 of the paper: ACC, AUC and the measures."""


def measured(image: np.ndarray) -> tuple[float, ...]:
    """Measure a digit.

    Args:
        image: `(H, W)` in [0, 1], bright on dark.

    Returns:
        `MEASURES`: area in pixels, lengths in pixels, and the slant, a horizontal shear as an angle in radians,
        positive to the right. NaN for an empty image.
    """
    stroke = zoom(image, FINE, order=3, mode="grid-constant", grid_mode=True).clip(0, 1) > 0.5
    if not stroke.any():
        return (math.nan,) * len(MEASURES)
    bones = skeletonize(stroke)
    rows, columns = np.nonzero(stroke)
    down, across = rows - rows.mean(), columns - columns.mean()
    shear = -(down * across).mean() / max((down * down).mean(), 1e-9)
    straight = np.sort(across + shear * down)  # the slant taken away
    upright = np.sort(down)
    cut = int(OUTSIDE / 2 * len(rows))
    width, height = (each[len(each) - 1 - cut] - each[cut] + 1 for each in (straight, upright))
    radii = distance_transform_edt(stroke)[bones]
    return (
        stroke.sum() / FINE**2,
        length(bones) / FINE,
        math.atan(shear),
        2 * float(radii.mean()) / FINE,
        width / FINE,
        height / FINE,
    )


def length(bones: np.ndarray) -> float:
    """Length of a skeleton `(H, W)` in its pixels: 1 for each pair of neighbours, the root of 2 for diagonal ones.

    A diagonal pair that another pixel joins already is not counted.
    """
    straight = float((bones[1:] & bones[:-1]).sum() + (bones[:, 1:] & bones[:, :-1]).sum())
    a, b, c, d = bones[:-1, :-1], bones[1:, 1:], bones[1:, :-1], bones[:-1, 1:]
    diagonal = float((a & b & ~c & ~d).sum() + (c & d & ~a & ~b).sum())
    return max(straight + math.sqrt(2.0) * diagonal, 1.0)


def measures_of(images: Tensor) -> np.ndarray:
    """`MEASURES` of images `(B, 1, H, W)`, `(B, 6)`."""
    return np.array([measured(image[0].numpy()) for image in tqdm(images, leave=False)])


def trained_judge(images: Tensor, labels: Tensor, until: float, held: tuple[Tensor, Tensor]) -> nn.Module:
    """Train a network of two layers until it reads `until` of held-out images, or for ten epochs."""
    torch.manual_seed(5)
    judge = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.Adam(judge.parameters(), 1e-3)
    for _ in range(10):
        for part in torch.randperm(len(images)).split(128):
            loss = nn.functional.cross_entropy(judge(images[part]), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if float((judge(held[0]).argmax(dim=1) == held[1]).float().mean()) >= until:
            break
    return judge.eval()


def row(name: str, figures: Sequence[float]) -> dict[str, str]:
    """A row of the table, with four places for each figure."""
    return {"name": name, **{head: f"{figure:.4f}" for head, figure in zip(HEADS, figures, strict=True)}}


def main() -> None:
    """Relabel, read and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mnist", help="Folder of a model, or its name.")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--count", type=int, help="Only so many test images.")
    parser.add_argument("--out", type=Path, default=Path("runs/morphometry"))
    options = parser.parse_args()

    vae = ConditionalVAE.from_pretrained(options.model)
    data = ImageData("mnist", options.data_dir)
    train, held, test = (data.splits[name].load() for name in ("train", "validation", "test"))
    images, labels = test.images[: options.count].float() / 255, test.labels[: options.count]
    judge = trained_judge(train.images.float() / 255, train.labels, 0.96, (held.images.float() / 255, held.labels))
    asked = wrong_labels(labels, 10, torch.Generator().manual_seed(0))
    own = measures_of(vae.reconstruct(images, labels))
    ways = {"labelvae": vae.relabel(images, asked)}
    if vae.prior is not None:
        ways["labelvae, by its prior"] = WithFlow(vae, vae.prior).relabel(images, asked, labels)
    rows: list[dict[str, str]] = []
    for name, made in ways.items():
        with torch.no_grad():
            beliefs = judge(made).softmax(dim=1).double()
        changes = np.abs(measures_of(made) - own) / np.abs(own)
        figures = [
            float((beliefs.argmax(dim=1) == asked).double().mean()),
            float(roc_auc_score(asked, beliefs / beliefs.sum(dim=1, keepdim=True), multi_class="ovr")),
            *np.nanmean(changes, axis=0).tolist(),
        ]
        rows.append(row(name, figures))
    rows += [row(f"{name}, published", figures) for name, figures in PUBLISHED.items()]
    with torch.no_grad():
        right = float((judge(images).argmax(dim=1) == labels).float().mean())
    said = table(rows, {"name": "model", **HEADS})
    options.out.mkdir(parents=True, exist_ok=True)
    write_whole(options.out / "table.md", said + "\n")
    print(f"{said}\n\n{len(images)} images; the judge reads {right:.4f} of the real ones")


if __name__ == "__main__":
    main()
