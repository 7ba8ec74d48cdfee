"""What each epoch of a training buys on CIFAR10: a model after every epoch, scored, for blind readers to read.

    python benchmarks/over_epochs.py --folder --data-dir DIR --judge joint.pt2
    python benchmarks/over_epochs.py --folder --data-dir DIR --judge joint.pt2 --most-change 3 --out runs/bounded
    python benchmarks/blind_reading.py draw --model runs/over_epochs/after_1 --refine 2 --split validation \
        --mixed 8 --count 58 --seed 41 --data folder --data-dir DIR --out docs/blind/after_1

Trains the preset `cifar10_small` with the packaged guide. Models are kept as `after_1`, `after_2` and so on, beside
that guide. Each is scored on held-out images, not refined and refined as the preset is, by a judge that is in no loss,
and in the features of a network that was only asked how far an image is turned. Run it again to go on.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from packaged_model import opinion_of
from tables import table
from unflattered import rotation_network

from labelvae import ConditionalVAE, ImageData, VAETraining, evaluate
from labelvae.data.loaders import ImageLoader
from labelvae.losses import guidance
from labelvae.losses.refinement import Refined
from labelvae.losses.refinement_files import guide_of, save_radius
from labelvae.models.hub import PACKAGED
from labelvae.runs.experiment import Experiment
from labelvae.runs.presets import CIFAR10_SMALL
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.whole_files import write_whole
from labelvae.visual.grids import one_of_each

FIGURES = ["effectiveness", "effectiveness_worst_class", "guide_judge_gap", "judge_accuracy", "psnr", "reversed_psnr"]
FIGURES += ["sharpness", "diversity"]
HEADS = ["epoch", "refined", *FIGURES, "layout", "label-free, over floor", "least lambda", "largest lambda"]


class Kept(Callback):
    """Save the model after every epoch, with the lambda of each class.

    Args:
        out: the folder of the models.
        class_names: the names of the classes.
    """

    def __init__(self, out: Path, class_names: list[str]) -> None:
        self.out, self.class_names = out, class_names

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the moving average of the weights, which is in place here."""
        assert isinstance(pl_module, VAETraining)
        folder = self.out / f"after_{trainer.current_epoch + 1}"
        pl_module.vae.class_names = self.class_names
        pl_module.vae.save_pretrained(folder)
        save_radius(folder, CIFAR10_SMALL.vae.refine)
        assert pl_module.loss.guidance is not None
        write_whole(folder / "lambda.json", json.dumps(pl_module.loss.guidance.label_weight.tolist()) + "\n")


def main() -> None:
    """Train, keep, score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder of the images.")
    parser.add_argument("--folder", action="store_true", help="They lie in class folders.")
    parser.add_argument("--judge", type=Path, required=True, help="Classifier: a folder or a .pt2 file.")
    parser.add_argument("--epochs", type=int, default=CIFAR10_SMALL.vae.optimization.epochs)
    parser.add_argument("--most-change", type=float, help="Lambdas stay within this factor of the first, both ways.")
    parser.add_argument("--images", type=int, default=500, help="Held-out images that are scored.")
    parser.add_argument("--label-free", type=Path, help="Folder of the network of turns; OUT by default.")
    parser.add_argument("--out", type=Path, default=Path("runs/over_epochs"), help="Folder of the results.")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    if options.most_change is not None:
        guidance.LARGEST_LOG_CHANGE = math.log(options.most_change)
    source = replace(CIFAR10_SMALL.data, name="folder") if options.folder else CIFAR10_SMALL.data
    data = ImageData(data_dir=options.data_dir, **asdict(source))
    vae = CIFAR10_SMALL.vae
    how = replace(vae, optimization=replace(vae.optimization, epochs=options.epochs))
    settings = replace(CIFAR10_SMALL, data=source, data_dir=options.data_dir, out=options.out, log="none", vae=how)
    experiment = Experiment(settings, data, claim=False)
    shutil.copytree(PACKAGED / "cifar10" / "guide", options.out / "guide", dirs_exist_ok=True)
    guide = guide_of("cifar10").freeze()
    experiment._fit("vae", experiment._vae_task(how, guide), how.optimization, Kept(options.out, data.class_names))

    aside = replace(settings, out=options.label_free or options.out)
    network, _ = rotation_network(Experiment(aside, data, claim=False))
    saved = options.out / "rows.json"
    rows: list[dict[str, Any]] = json.loads(saved.read_text()) if saved.is_file() else []
    held_out, train = data.splits["validation"], data.splits["train"]
    loaders = [
        ImageLoader(split.subset(one_of_each(split.labels, count)), 500)
        for split, count in ((held_out, options.images), (train, 5 * options.images))
    ]
    for epoch in range(1 + max((row["epoch"] for row in rows), default=0), options.epochs + 1):
        folder = options.out / f"after_{epoch}"
        model = ConditionalVAE.from_pretrained(folder).eval()
        lambdas = json.loads((folder / "lambda.json").read_text())
        judge, some = opinion_of(options.judge, model), []
        for radius in (0.0, how.refine):
            one: ConditionalVAE | Refined = Refined(model, guide, radius) if radius else model
            found = evaluate(one, loaders[0], judge, real=loaders[1], guide=guide, label_free=network)
            scores = asdict(found)
            row = {"epoch": epoch, "refined": radius} | {name: scores[name] for name in FIGURES}
            row["layout"] = scores["style"].get("layout")
            row["label-free, over floor"] = found.realism_label_free / found.realism_label_free_floor
            some.append(row | {"least lambda": min(lambdas), "largest lambda": max(lambdas)})
            print(some[-1], flush=True)
        rows += some
        write_whole(saved, json.dumps(rows, indent=2) + "\n")
    text = table(rows, {name: name for name in HEADS})
    write_whole(options.out / "table.md", text + "\n")
    print(text)


if __name__ == "__main__":
    main()
