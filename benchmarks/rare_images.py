"""A class that is rare, or rare in one style: do relabelled images of the other classes teach a classifier about it?

    python benchmarks/rare_images.py --data mnist --data-dir DIR --shares 0.01 0.03 0.1
    python benchmarks/rare_images.py --data fashion_mnist --data-dir DIR --rare 6 --shares 0.01 0.03 0.1
    python benchmarks/rare_images.py --data folder --data-dir SCENES --rare 3 --shares 0.01 0.03 0.1
    python benchmarks/rare_images.py --data mnist --data-dir DIR --lacking red --shares 0 0.01
    python benchmarks/rare_images.py --data mnist --data-dir DIR --lacking thin --shares 0 0.01

Of the rare class a share is left. With `--lacking` the class is there in one style alone, and the share is of its
images in the other style. `red`: all digits are coloured, the rare ones green and the others green or red at random.
`thin`: strokes of the rare class are thicker than its median, and those of the others are as they are. A classifier is
trained on what is left, and on that with as many images more as the class lacks:

- repeated: images that are left, again
- relabelled: images of the other classes, drawn at random, relabelled by a model
- half and half: of both
- unbalanced: as relabelled, by a model and a guide trained on what is left; otherwise both are trained on `repeated`
- wise guide: with `--lacking red`, as relabelled, by a guide that has seen every digit in both
  colours; the model has not
- by hand: with `--lacking`, repeated images brought to the other style by the formula that made it

The accuracy is that on test images of the rare class (with `--lacking`, of those in the style that it lacks) and of
all. Rows are added to `rows.jsonl` in the output folder as they come, and those that are there are not made again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labelvae.data.augmentation import augment
from labelvae.data.image_sets import ImageSet
from labelvae.data.settings import Augmentation
from labelvae.runs.presets import FASHION_MNIST, FOLDER, MNIST
from labelvae.runs.settings import ClassifierSettings, Settings, VAESettings

WAYS = ("left", "repeated", "relabelled", "half and half", "unbalanced", "wise guide", "by hand")
MODELS = {"relabelled": "balanced", "half and half": "balanced", "unbalanced": "unbalanced", "wise guide": "wise"}
"""The model of each way that has one."""
STYLES = ("red", "thin")
RED, GREEN = (1.0, 0.25, 0.15), (0.2, 0.9, 0.3)
THINNER = Augmentation(strokes=(0.4, 0.8))
WIDTHS = (24, 48, 96)
"""Channels of guide, model and discriminator."""
LEAST = 5
"""Images of the rare class that are left at least, where nothing but their number is lacking."""


@dataclass(frozen=True)
class Situation:
    """Training and test images, and what the training lacks.

    Attributes:
        train: the training images, all of them.
        test: the test images.
        rare: the rare class.
        kept: indices of the training images that are left.
        looked_at: a mask `(N,)` of the test images that show whether the class is known.
        style: the style that the class lacks, or None.
    """

    train: ImageSet
    test: ImageSet
    rare: int
    kept: Tensor
    looked_at: Tensor
    style: str | None


def coloured(images: Tensor, red: Tensor) -> Tensor:
    """Colour digits, uint8 `(N, 1, H, W)`: red where the mask `(N,)` says so, and green elsewhere."""
    colours = torch.where(red[:, None], torch.tensor(RED), torch.tensor(GREEN))
    return (images.float() * colours[:, :, None, None]).round().clamp(0, 255).byte()


def lacking(style: str | None, train: ImageSet, test: ImageSet, rare: int, share: float, seed: int) -> Situation:
    """Take images of the rare class away.

    Args:
        style: the style that the class lacks, of `STYLES`; None takes images of any style.
        train: the training images.
        test: the test images.
        rare: the class.
        share: of the images in that style, the part that is left.
        seed: of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    of_class, seen = train.labels == rare, test.labels == rare
    if style == "red":
        red, red_test = (torch.rand(len(each), generator=generator) < 0.5 for each in (train, test))
        train = ImageSet(coloured(train.images, red), train.labels)
        test = ImageSet(coloured(test.images, red_test), test.labels)
        taken, looked_at = of_class & red, seen & red_test
    elif style == "thin":
        from labelvae.data.differentiable_style import stroke_thickness

        width, width_test = (stroke_thickness(each.images.float() / 255.0) for each in (train, test))
        edge = width[of_class].median()
        taken, looked_at = of_class & (width < edge), seen & (width_test < edge)
    else:
        taken, looked_at = of_class, seen
    some = taken.nonzero().flatten()
    some = some[torch.randperm(len(some), generator=generator)]
    left = max(LEAST if style is None else 0, round(share * len(some)))
    kept = torch.cat([(~taken).nonzero().flatten(), some[:left]])
    return Situation(train, test, rare, kept, looked_at, style)


def training_set(way: str, there: Situation, model: Any, seed: int) -> ImageSet:
    """Return the images that a classifier is trained on.

    Args:
        way: one of `WAYS`.
        there: the situation.
        model: a model that relabels; None where the way has none.
        seed: of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    left = there.train.subset(there.kept)
    rare, others = ((left.labels == there.rare).nonzero().flatten(), (left.labels != there.rare).nonzero().flatten())
    missing = int((there.train.labels == there.rare).sum()) - len(rare)
    repeated = left.subset(rare[torch.randint(len(rare), (missing,), generator=generator)])
    some = left.subset(others[torch.randperm(len(others), generator=generator)[:missing]])
    added: list[Tensor] = []
    if way in ("repeated", "half and half"):
        added.append(repeated.images[missing // 2 if way == "half and half" else 0 :])
    if way in MODELS:
        some = some.subset(torch.arange(missing // 2 if way == "half and half" else missing))
        made = model.relabel(some.images.float() / 255.0, there.rare, some.labels)
        added.append((made * 255.0).round().byte())
    if way == "by hand":
        added.append(by_hand(repeated.images, there.style, generator))
    images = torch.cat([left.images, *added])
    labels = torch.cat([left.labels, torch.full((len(images) - len(left),), there.rare)])
    return ImageSet(images, labels)


def by_hand(images: Tensor, style: str | None, generator: torch.Generator) -> Tensor:
    """Bring images of the rare class to the style that it lacks, by a formula."""
    if style == "red":
        return coloured(uncoloured(images), torch.ones(len(images), dtype=torch.bool))
    return (augment(images.float() / 255.0, THINNER, generator) * 255.0).round().clamp(0, 255).byte()


def uncoloured(images: Tensor) -> Tensor:
    """Return the digits `(N, 1, H, W)`, 0 to 255, of red and green ones."""
    red, green, _ = images.float().unbind(1)
    is_red = red.sum(dim=(1, 2)) > green.sum(dim=(1, 2))
    return torch.where(is_red[:, None, None], red / max(RED), green / max(GREEN)).unsqueeze(1)


def recoloured(images: ImageSet, seed: int) -> ImageSet:
    """Return digits in colours that are drawn at random."""
    red = torch.rand(len(images), generator=torch.Generator().manual_seed(seed)) < 0.5
    return ImageSet(coloured(uncoloured(images.images), red), images.labels)


def settings_of(data: str, colours: bool) -> Settings:
    """Return a preset, made so small that a minute can train it."""
    preset, latent = {"mnist": (MNIST, 16), "fashion_mnist": (FASHION_MNIST, 32), "folder": (FOLDER, 64)}[data]
    objective = replace(preset.vae.objective, equivariance_weight=0.0)
    if colours:
        objective = replace(objective, style_weight=4.0, label_weight=60, adversarial_weight=0.0)
    vae = replace(preset.vae, latent_dim=latent, encoder_widths=WIDTHS, discriminator_widths=WIDTHS)
    vae = replace(vae, discriminator_sees_guide=False, objective=objective)
    guide = replace(preset.guide, widths=WIDTHS, blocks=0)
    return replace(preset, vae=vae, guide=guide, judge=replace(preset.judge, widths=(16, 32, 64), blocks=0))


def fit(task: Any, images: ImageSet, how: ClassifierSettings | VAESettings, steps: int, seed: int) -> None:
    """Train for some steps."""
    from lightning.pytorch import Trainer

    from labelvae.data.loaders import ImageLoader

    batches = ImageLoader(images, how.optimization.batch_size, shuffle=True, drop_last=True, seed=seed)
    trainer = Trainer(
        accelerator="cpu",
        precision="bf16-mixed",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, batches)


def classifier_of(how: ClassifierSettings, images: ImageSet, classes: int, steps: int, seed: int) -> Any:
    """Return a trained classifier, frozen."""
    from lightning.pytorch import seed_everything

    from labelvae.runs.building import classifier_task, new_classifier

    seed_everything(seed, verbose=False)
    network = new_classifier(how, images.image_shape, classes)
    fit(classifier_task(how, network, channels_last=True), images, how, steps, seed)
    return network.freeze()


def model_of(how: VAESettings, guide: Any, images: ImageSet, steps: int, seed: int) -> Any:
    """Return a trained model."""
    from lightning.pytorch import seed_everything

    from labelvae.runs.building import new_vae, vae_task

    seed_everything(seed, verbose=False)
    vae = new_vae(how, images.image_shape, guide.num_classes)
    fit(vae_task(how, vae, guide, channels_last=True), images, how, steps, seed)
    return vae.eval()


def accuracies(classifier: Any, there: Situation) -> tuple[float, float]:
    """Return the share of the test images that are looked at, and of all, that a classifier takes for what they are."""
    from labelvae.evaluation.transition import logits_of

    right = logits_of(classifier, there.test.images.float() / 255.0).argmax(dim=1) == there.test.labels
    return float(right[there.looked_at].float().mean()), float(right.float().mean())


def measured(
    what: dict[str, Any], options: argparse.Namespace, there: Situation, models: dict[str, Any]
) -> dict[str, Any]:
    """Train and test one classifier, and before it a model, if the way needs one that is not among `models`."""
    start, how = time.process_time(), settings_of(options.data, options.lacking == "red")
    way, seed, classes = what["way"], what["seed"], int(there.train.labels.max()) + 1
    kind = MODELS.get(way, "")
    if kind and kind not in models:
        seen = training_set("left" if kind == "unbalanced" else "repeated", there, None, seed)
        by_guide = recoloured(seen, seed) if kind == "wise" else seen
        guide = classifier_of(how.guide, by_guide, classes, options.steps[0], 10 * seed + 1)
        models[kind] = model_of(how.vae, guide, seen, options.steps[1], 10 * seed + 3)
        draw(models[kind], there, options.out / ("-".join(map(str, what.values())) + ".png"))
    model = models.get(kind)
    images = training_set(way, there, model, seed)
    classifier = classifier_of(how.judge, images, classes, options.steps[2], 10 * seed + 2)
    rare, every = accuracies(classifier, there)
    return {"rare": rare, "all": every, "images": len(images), "seconds": time.process_time() - start}


def draw(model: Any, there: Situation, path: Path) -> None:
    """Draw ten training images above what the model makes of them as the rare class."""
    from labelvae.photos.picture_files import save_picture
    from labelvae.visual.grids import grid

    left = there.train.subset(there.kept)
    some = left.subset((left.labels != there.rare).nonzero().flatten()[:12])
    images = some.images.float() / 255.0
    save_picture(grid([list(images), list(model.relabel(images, there.rare, some.labels))]), path)


def table(rows: list[dict[str, Any]]) -> str:
    """Return means and deviations over the seeds as Markdown: a line for each way, by situation and share."""
    lines = ["| images | lacking | share left | trained on | rare class | all classes | seeds |", "| --- " * 7 + "|"]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["data"], row["lacking"], row["share"], WAYS.index(row["way"]))):
        groups.setdefault((row["data"], row["lacking"], row["share"], row["way"]), []).append(row)
    for (data, style, share, way), group in groups.items():
        cells = []
        for part in ("rare", "all"):
            values = [row[part] for row in group]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        lines.append(f"| {data} | {style} | {share:g} | {way} | {cells[0]} | {cells[1]} | {len(group)} |")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", choices=["mnist", "fashion_mnist", "folder"])
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="Where the images are.")
    parser.add_argument("--size", type=int, default=32, help="Height and width of a folder's images.")
    parser.add_argument("--rare", type=int, default=8, help="The rare class.")
    parser.add_argument("--lacking", choices=STYLES, help="Style that the class lacks.")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.03, 0.1], help="What is left.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--images", type=int, default=12_000, help="Training images before any is taken away.")
    parser.add_argument("--steps", type=int, nargs=3, default=[120, 300, 250], help="Of guide, model and classifier.")
    parser.add_argument("--out", type=Path, default=Path("runs/rare_images"))
    return parser.parse_args()


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    options = arguments()
    from labelvae import ImageData

    torch.set_num_threads(1)
    size = options.size if options.data == "folder" else None
    data = ImageData(options.data, options.data_dir, image_size=size)
    train, test = (data.splits[name].load() for name in ("train", "test"))
    path = options.out / "rows.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    for seed in options.seeds:
        for share in options.shares:
            order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[: options.images]
            there = lacking(options.lacking, train.subset(order), test, options.rare, share, seed)
            models: dict[str, Any] = {}
            for way in options.ways:
                if (way == "by hand" and options.lacking is None) or (way == "wise guide" and options.lacking != "red"):
                    continue
                what = {
                    "data": options.data,
                    "lacking": options.lacking or "images",
                    "class": options.rare,
                    "share": share,
                    "way": way,
                    "seed": seed,
                    "of": options.images,
                    "steps": "+".join(map(str, options.steps)),
                }
                if any(all(row[key] == value for key, value in what.items()) for row in rows):
                    continue
                rows.append(what | measured(what, options, there, models))
                with path.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                print(rows[-1], file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
