"""The figures of the results page, from what `benchmarks/relabel.py` left.

    python benchmarks/figures.py --run runs/relabel/mnist-15-minutes --data mnist --data-dir DIR --out docs/images
    python benchmarks/figures.py --study runs/relabel/mnist-4-minutes --data mnist --data-dir DIR --out docs/images

A run gives the rows and the loss curves of the conditional VAE and the plain one, the two-dimensional latent of every
class, and a picture for each recipe; a study gives the curves over the label weight, and guided beside unguided.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import torch
from einops import rearrange
from jsonargparse import auto_cli
from matplotlib.figure import Figure
from PIL import Image

from labelvae import ConditionalVAE, ImageData
from labelvae import presets as known
from labelvae.charts import rasterized
from labelvae.command_line import DashParser
from labelvae.figures import grid, one_of_each, to_picture
from labelvae.inputs import wrong_labels
from labelvae.picture_files import save_picture
from labelvae.settings import DataName

MANIFOLD_SIDE = 8
"""Images along each latent dimension of a class's manifold."""


def main(
    data: DataName = "digits",
    data_dir: Path = Path("data"),
    run: Path | None = None,
    study: Path | None = None,
    out: Path = Path("docs/images"),
) -> None:
    """Draws.

    Args:
        data: Which images.
        data_dir: Where their files are.
        run: Folder of a run over all recipes.
        study: Folder of a run over the label weight.
        out: Where the pictures go.
    """
    preset = getattr(known, data.upper())
    images = ImageData(data_dir=data_dir, **asdict(preset.data))
    some = images.splits["test"].subset(one_of_each(images.splits["test"].labels, 10))
    pixels, labels = some.images.float() / 255.0, some.labels
    out.mkdir(parents=True, exist_ok=True)
    if run is not None:
        conditional, plain = (ConditionalVAE.from_pretrained(run / f"{name}-0") for name in ("mlp", "vanilla"))
        rows = [pixels, conditional.reconstruct(pixels, labels), plain.reconstruct(pixels, labels)]
        titles = ["original", "conditional VAE", "VAE"]
        save_picture(grid([list(row) for row in rows], row_titles=titles), out / f"{data}_cvae_vae.png")
        save_picture(loss_curves(run), out / f"{data}_loss_curves.png")
        if conditional.latent_dim == 2:
            save_picture(manifold(conditional), out / f"{data}_manifold.png")
        for path in sorted(run.glob("*-0/wrong_labels.png")):
            name = f"{data}_{path.parent.name.removesuffix('-0')}"
            shutil.copyfile(path, out / f"{name}_wrong_labels.png")
        for name in ("every_class", "samples"):
            shutil.copyfile(run / "labelvae-0" / f"{name}.png", out / f"{data}_{name}.png")
    if study is not None:
        save_picture(label_weight_curves(study), out / f"{data}_label_weight.png")
        weight = f"lambda {preset.vae.objective.label_weight:g}-0"
        models = [ConditionalVAE.from_pretrained(study / name) for name in (weight, "lambda 0-0")]
        asked = wrong_labels(labels, images.num_classes, torch.Generator().manual_seed(0))
        rows = [pixels, *(model.relabel(pixels, asked, labels) for model in models)]
        captions = [[images.class_names[y] for y in labels]]
        captions += [[f"as {images.class_names[y]}" for y in asked]] * 2
        picture = grid([list(row) for row in rows], captions, row_titles=["original", "guided", "lambda = 0"])
        save_picture(picture, out / f"{data}_guided_unguided.png")


def manifold(vae: ConditionalVAE) -> Image.Image:
    """The plane of a two-dimensional latent, decoded as every class, at equal steps of probability."""
    steps = torch.special.ndtri(torch.linspace(0.03, 0.97, MANIFOLD_SIDE))
    codes = torch.cartesian_prod(steps.flip(0), steps).flip(1)
    with torch.no_grad():
        sheets = torch.stack([vae.eval().decode(codes, label) for label in range(vae.num_classes)])
    sheets = torch.nn.functional.pad(
        rearrange(sheets, "k (y x) c h w -> k c (y h) (x w)", y=MANIFOLD_SIDE), (0, 6, 0, 6), value=1.0
    )
    columns = -(-len(sheets) // 2)
    sheet = rearrange(sheets[: 2 * columns], "(r k) c h w -> c (r h) (k w)", k=columns)
    return to_picture(sheet, cell=max(sheet.shape[1:]))


def loss_curves(run: Path) -> Image.Image:
    """The training objective of the conditional VAE and of the plain one, over the images seen."""
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for name in ("mlp", "vanilla"):
        with (run / "log" / f"{name}-0" / "metrics.csv").open() as file:
            for line in csv.DictReader(file):
                if value := line.get(f"{name}-0/train/total"):
                    curves[name].append((int(line["step"]), float(value)))
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, label in (("mlp", "conditional VAE"), ("vanilla", "VAE")):
        steps, values = zip(*curves[name], strict=True)
        axes.plot(steps, values, label=label)
    axes.set(
        xlabel="step", ylabel="negative ELBO, nats per image", ylim=(None, sorted(values)[int(0.97 * len(values))])
    )
    axes.legend()
    return rasterized(figure)


def label_weight_curves(study: Path) -> Image.Image:
    """Effectiveness against style, realism and reconstruction, a point a label weight."""
    rows = json.loads((study / "label-weight.json").read_text())
    measures = ("style_thickness", "style_slant", "realism_over_floor", "psnr", "reversed_psnr", "leakage")
    names = ("thickness kept", "slant kept", "realism over its floor", "own label, dB", "reversed, dB", "leakage")
    figure = Figure(figsize=(11, 6), layout="constrained")
    for axes, measure, name in zip(figure.subplots(2, 3).flat, measures, names, strict=True):
        points = [(row["effectiveness"], row[measure], row["name"].removeprefix("lambda ")) for row in rows]
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], marker="o", linewidth=0.8)
        for x, y, weight in points:
            axes.annotate(weight, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=8)
        axes.set(xlabel="effectiveness", ylabel=name)
    figure.suptitle("over the label weight, lambda")
    return rasterized(figure)


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
