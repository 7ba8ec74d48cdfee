"""Makes a model that comes with the package from a finished run, in half precision or in few bits.

    labelvae train mnist_varied --data-dir DIR
    python benchmarks/packaged_model.py --run runs/mnist_varied --data-dir DIR
    labelvae train cifar10_small --data-dir DIR
    python benchmarks/packaged_model.py --data cifar10 --run runs/cifar10_small --data-dir DIR
    labelvae train folder --data-dir DIR --data.image-size 64
    python benchmarks/packaged_model.py --data scenes --run runs/folder --data-dir DIR --bits 6 --guide-bits 6

or of what benchmarks/packaged_training.py made. Writes model, guide, card and pictures, and prints what that costs
on the test images. Parts that lie elsewhere than in the folder of the run are named by `--vae`, `--guide` and
`--judge`. `benchmarks/packaged_prior.py` fits the prior of MNIST's model afterwards.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from jsonargparse import auto_cli

from labelvae import ConditionalVAE, ImageData, LabelClassifier, evaluate
from labelvae.cli.parser import DashParser
from labelvae.data.loaders import ImageLoader
from labelvae.data.settings import DataSettings
from labelvae.evaluation.scores import Scores, save_scores, scores_table
from labelvae.flows import RealNVP
from labelvae.inputs.class_names import write_classes
from labelvae.losses.refinement import Refined
from labelvae.losses.refinement_files import FILE, save_radius
from labelvae.models.card import write_model_card
from labelvae.models.frozen import Classifier
from labelvae.models.hub import PACKAGED
from labelvae.photos.picture_files import save_picture
from labelvae.runs.photographs import photograph_settings
from labelvae.runs.presets import CIFAR10_SMALL, MNIST_VARIED
from labelvae.system.whole_files import write_whole
from labelvae.visual.contact_sheets import sheets
from labelvae.visual.grids import one_of_each

SCENES = replace(photograph_settings((3, 64, 64), 6480), data=DataSettings("folder", image_size=64))
PRESETS = {"mnist": MNIST_VARIED, "cifar10": CIFAR10_SMALL, "scenes": SCENES}
MOST_BYTES = {"mnist": 2_650_000, "cifar10": 10_000_000, "scenes": 3_000_000}
"""Of a packaged model, with its guide, card and pictures."""
SHOWN = {"mnist": ("wrong_labels", "every_class", "samples"), "cifar10": ("wrong_labels",), "scenes": ("wrong_labels",)}
"""Pictures on the card; those in colour are large."""


def main(
    run: Path,
    data: Literal["mnist", "cifar10", "scenes"] = "mnist",
    data_dir: Path = Path("data"),
    folder: bool = False,
    vae: Path | None = None,
    guide: Path | None = None,
    judge: Path | None = None,
    refine: float | None = None,
    residual_blur: float = 0.0,
    images: int | None = None,
    bits: int | None = None,
    guide_bits: int | None = None,
    made: str = "",
    out: Path | None = None,
) -> None:
    """Halves, compares and writes.

    Args:
        run: folder of the run.
        data: the data set, whose name the model gets.
        data_dir: where its files are.
        folder: they are images in class folders, not the data set's own files.
        vae: folder of the model, if not the run's.
        guide: folder of the guide, if not the run's.
        judge: folder of the judge, if not the run's; or any classifier of these images in a .pt2 file.
        refine: radius that is saved beside the model; without it, the preset's.
        residual_blur: blur, in pixels, of the residual that is added before the refinement; saved beside the radius.
        images: so many test images are scored, as many of each class; without it, all.
        bits: so many for a weight of the model; without it, half precision.
        guide_bits: so many for a weight of the guide; without it, half precision.
        made: how the model was made, for the card; without it, what the run says.
        out: folder of the packaged model; without it, its place in the package.
    """
    preset = PRESETS[data]
    out, radius = out or PACKAGED / data, preset.vae.refine if refine is None else refine
    known = ImageData(data_dir=data_dir, **asdict(replace(preset.data, name="folder") if folder else preset.data))
    model = ConditionalVAE.from_pretrained(vae or run / "vae")
    adviser = LabelClassifier.from_pretrained(guide or run / "guide")
    opinion = opinion_of(judge or run / "judge", model)
    test, real = known.loader("test"), known.loader("train")
    if images is not None:
        splits = (known.splits[name] for name in ("test", "train"))
        test, real = (ImageLoader(split.subset(one_of_each(split.labels, images)), 500) for split in splits)

    def scored(name: str, each: ConditionalVAE | Refined) -> None:
        scores.insert(0, evaluate(each, test, opinion, real=real, guide=adviser, name=name))

    scores: list[Scores] = []
    scored("float32", model)
    for name, part, most in (("vae", model, bits), ("guide", adviser, guide_bits)):
        (part.half() if most is None else part).save_pretrained(out / name, most)
        write_classes(out / name, known.class_names)
    save_radius(out / "vae", radius, residual_blur)
    model, adviser = ConditionalVAE.from_pretrained(out / "vae"), LabelClassifier.from_pretrained(out / "guide")
    kept = "float16" if bits is None else f"{bits} bits"
    scored(kept if radius > 0 else f"{kept}, as it comes", model)
    best = Refined(model, adviser, radius, residual_blur=residual_blur) if radius > 0 else model
    if radius > 0:
        scored(f"refined by {radius:g}, as it comes", best)
    print(scores_table(scores))
    some = known.splits["test"].subset(one_of_each(known.splits["test"].labels, 40)).load()
    with tempfile.TemporaryDirectory() as temporary:  # a run with these scores and pictures
        made_of = Path(temporary)
        shutil.copytree(out / "vae", made_of / "vae", ignore=shutil.ignore_patterns("*.png", "*.safetensors"))
        save_scores(scores, made_of / "scores.json")
        pictures = sheets(best, some.images.float() / 255.0, some.labels, known.class_names)
        for name in SHOWN[data]:
            save_picture(pictures[name], made_of / f"{name}.png")
        write_whole(made_of / "settings.yaml", _said(run, known, made))
        write_model_card(out / "vae", made_of, data, refined=radius > 0)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(
        f"{size:,} bytes under {out}, {json.loads((out / 'vae' / FILE).read_text()) if radius > 0 else 'not refined'}"
    )
    if size > MOST_BYTES[data]:
        raise SystemExit(f"error: at most {MOST_BYTES[data]:,} bytes come with the package")


def opinion_of(path: Path, vae: ConditionalVAE | RealNVP) -> Classifier:
    """Load a judge from a folder, or wrap any classifier of the model's images in a .pt2 file."""
    if path.suffix != ".pt2":
        return LabelClassifier.from_pretrained(path)
    return LabelClassifier.wrap(torch.export.load(path).module(), vae.image_shape, vae.num_classes)


def _said(run: Path, data: ImageData, made: str) -> str:
    """The head of a run's settings: how its model was made, of which images, with which versions."""
    if not made:
        return (run / "settings.yaml").read_text(encoding="utf-8")
    split = ", ".join(f"{len(images)} {name}" for name, images in data.splits.items())
    packages = ("labelvae", "torch", "torchvision", "torchmetrics", "lightning")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"# made by: {made}\n# images: {split}, fingerprint {data.fingerprint()}, classes: "
        f"{', '.join(data.class_names)}\n# with: {versions}, Python {platform.python_version()}\n"
    )


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
