"""The figures of the results page, from what `benchmarks/relabel.py` left.

    python benchmarks/figures.py --run runs/relabel/mnist-10-epochs --data mnist --data-dir DIR --out docs/images
    python benchmarks/figures.py --study runs/relabel/mnist-1-epochs --data mnist --data-dir DIR --out docs/images

A run gives the rows and the loss curves of the conditional VAE and the plain one, the two-dimensional latent of every
class, and a picture for each recipe; a study gives the curves over the label weight and over the latent size, and
guided beside unguided.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jsonargparse import auto_cli
from matplotlib.figure import Figure
from PIL import Image
from studies import Preset
from torch import Tensor

from labelvae import ConditionalVAE, ImageData
from labelvae.cli.parser import DashParser
from labelvae.inputs.tensors import wrong_labels
from labelvae.photos.picture_files import save_picture
from labelvae.runs import presets as known
from labelvae.visual.charts import rasterized
from labelvae.visual.grids import grid, one_of_each, to_picture

COMMON = {"psnr": "own label, dB", "reversed_psnr": "reversed, dB", "leakage": "leakage"}
MEASURES = {
    1: {
        "style_thickness": "thickness kept",
        "style_slant": "slant kept",
        "realism_over_floor": "realism over its floor",
    },
    3: {
        "style_layout": "layout kept",
        "sharpness": "sharpness over real",
        "realism_label_free_over_floor": "realism, by turned images",
    },
}
"""What a study's curves show, by the channels of the images."""

MANIFOLD_SIDE = 8
"""Images along each latent dimension of a class's manifold."""


def main(
    data: Preset = "digits",
    data_dir: Path = Path("data"),
    folder: bool = False,
    run: Path | None = None,
    study: Path | None = None,
    out: Path = Path("docs/images"),
) -> None:
    """Draws.

    Args:
        data: whose preset.
        data_dir: where the files of the images are.
        folder: they are images in class folders.
        run: folder of a run over all recipes.
        study: folder of a run over the label weight, the latent size, or both.
        out: where the pictures go.
    """
    preset = getattr(known, data.upper())
    source = replace(preset.data, name="folder") if folder else preset.data
    images = ImageData(data_dir=data_dir, **asdict(source))
    some = images.splits["test"].subset(one_of_each(images.splits["test"].labels, 10)).load()
    pixels, labels = some.images.float() / 255.0, some.labels
    out.mkdir(parents=True, exist_ok=True)
    if run is not None:
        if (run / "mlp-0").is_dir():
            draw_pair(run, pixels, labels, f"{out / data}")
        for path in sorted(run.glob("*-0/wrong_labels.png")):
            name = f"{data}_{path.parent.name.removesuffix('-0')}"
            shutil.copyfile(path, out / f"{name}_wrong_labels.png")
        for name in ("every_class", "samples", "failures"):
            if (run / "labelvae-0" / f"{name}.png").is_file():
                shutil.copyfile(run / "labelvae-0" / f"{name}.png", out / f"{data}_{name}.png")
    if study is not None:
        measures = MEASURES[images.image_shape[0]] | COMMON
        for name, draw in (("label-weight", label_weight_curves), ("latent-size", latent_size_curves)):
            if (study / f"{name}.json").is_file():
                rows = json.loads((study / f"{name}.json").read_text())
                save_picture(draw(rows, measures), out / f"{data}_{name.replace('-', '_')}.png")
        weights = [f"lambda {weight:g}-0" for weight in (preset.vae.objective.label_weight, 0)]
        if all((study / weight).is_dir() for weight in weights):
            models = [ConditionalVAE.from_pretrained(study / weight) for weight in weights]
            picture = guided_unguided(models, pixels, labels, images.class_names)
            save_picture(picture, out / f"{data}_guided_unguided.png")


def draw_pair(run: Path, pixels: Tensor, labels: Tensor, out: str) -> None:
    """Reconstructions and loss curves of the conditional VAE and the plain one, to files whose names begin with out."""
    conditional, plain = (ConditionalVAE.from_pretrained(run / f"{name}-0") for name in ("mlp", "vanilla"))
    rows = [pixels, conditional.reconstruct(pixels, labels), plain.reconstruct(pixels, labels)]
    titles = ["original", "conditional VAE", "VAE"]
    save_picture(grid([list(row) for row in rows], row_titles=titles), Path(f"{out}_cvae_vae.png"))
    save_picture(loss_curves(run), Path(f"{out}_loss_curves.png"))
    if conditional.latent_dim == 2:
        save_picture(manifold(conditional), Path(f"{out}_manifold.png"))


def guided_unguided(
    models: list[ConditionalVAE], pixels: Tensor, labels: Tensor, class_names: Sequence[str]
) -> Image.Image:
    """Images `(B, C, H, W)` above their counterfactuals by a guided model and by one without the label loss."""
    asked = wrong_labels(labels, len(class_names), torch.Generator().manual_seed(0))
    rows = [pixels, *(model.relabel(pixels, asked, labels) for model in models)]
    captions = [[class_names[y] for y in labels], *[[f"as {class_names[y]}" for y in asked]] * 2]
    return grid([list(row) for row in rows], captions, row_titles=["original", "guided", "lambda = 0"])


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
    """The training objective of the conditional VAE and of the plain one, over the steps."""
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


def label_weight_curves(rows: list[dict[str, Any]], measures: dict[str, str]) -> Image.Image:
    """Every measure against effectiveness, a point a row with the weight it is named by; a learned one stands apart."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    for axes, (measure, name) in zip(figure.subplots(2, 3).flat, measures.items(), strict=True):
        points = [(row["effectiveness"], row[measure], row["name"].rpartition(" ")[2]) for row in rows]
        fixed = [(x, y) for x, y, value in points if value != "learned"]
        axes.plot([x for x, _ in fixed], [y for _, y in fixed], linewidth=0.8)
        for x, y, value in points:
            axes.plot(x, y, "s" if value == "learned" else "o", color="C0")
            axes.annotate(value, (x, y), textcoords="offset points", xytext=(4, 4), fontsize=8)
        axes.set(xlabel="effectiveness", ylabel=name)
    figure.suptitle("over the label weight, lambda")
    return rasterized(figure)


def latent_size_curves(rows: list[dict[str, Any]], measures: dict[str, str]) -> Image.Image:
    """Effectiveness and every measure but reversibility against the size of the latent, a point a row."""
    sizes = [int(row["name"].rpartition(" ")[2]) for row in rows]
    shown = {"effectiveness": "effectiveness"} | {key: name for key, name in measures.items() if key != "reversed_psnr"}
    figure = Figure(figsize=(11, 6), layout="constrained")
    for axes, (measure, name) in zip(figure.subplots(2, 3).flat, shown.items(), strict=True):
        axes.plot(sizes, [row[measure] for row in rows], "o-", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set(xlabel="dimensions of the latent", ylabel=name)
    return rasterized(figure)


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
