"""How real counterfactuals are to a network that no guide can flatter: it was only asked how far an image is turned.

    python benchmarks/label_free.py --model cifar10 --folder --data-dir DIR --judge lite2.pt2 --out runs/label_free

(Gidaris et al., 2018, arXiv 1803.07728.) The network is trained on the training images of CIFAR10 and kept under
`--out`. Counterfactuals of test images, as many of each class, are as `labelvae relabel` makes them, refined as it is
saved with the model. Settings are chosen with `--split validation`, for example `--residual-blur`. Prints the Fréchet
distance within the asked class over that of real held-out images, in the features of that network, beside the scores by
the judge.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import torch
from packaged_model import opinion_of
from unflattered import rotation_network

from labelvae import ConditionalVAE, ImageData, evaluate
from labelvae.data.loaders import ImageLoader
from labelvae.evaluation.scores import save_scores, scores_table
from labelvae.losses.refinement import Refined, refining
from labelvae.losses.refinement_files import guide_of
from labelvae.models.hub import guide_folder
from labelvae.runs.experiment import Experiment
from labelvae.runs.presets import CIFAR10_SMALL
from labelvae.system.allocator import keep_freed_memory
from labelvae.visual.grids import one_of_each


def main() -> None:
    """Train the network, unless it is there, and score the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cifar10", help="Folder or name of the model.")
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder of the images.")
    parser.add_argument("--folder", action="store_true", help="They lie in class folders.")
    parser.add_argument(
        "--judge", type=Path, required=True, help="Classifier of these images: a folder or a .pt2 file."
    )
    parser.add_argument("--images", type=int, default=2000, help="Test images, and five times as many real ones.")
    parser.add_argument("--split", choices=["test", "validation"], default="test", help="Which images are relabelled.")
    parser.add_argument("--residual-blur", type=float, help="In place of the one that is saved with the model.")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/label_free"), help="Folder of the network and the scores."
    )
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    source = replace(CIFAR10_SMALL.data, name="folder") if options.folder else CIFAR10_SMALL.data
    data = ImageData(data_dir=options.data_dir, **asdict(source))
    settings = replace(CIFAR10_SMALL, data=source, data_dir=options.data_dir, out=options.out, log="none")
    network, accuracy = rotation_network(Experiment(settings, data, claim=False))
    print(f"four turns of the test images: accuracy {accuracy:.3f}")
    vae = ConditionalVAE.from_pretrained(options.model)
    test, train = data.splits[options.split], data.splits["train"]
    loaders = [
        ImageLoader(split.subset(one_of_each(split.labels, count)), 500)
        for split, count in ((test, options.images), (train, 5 * options.images))
    ]
    judge = opinion_of(options.judge, vae)
    guide = None if guide_folder(options.model) is None else guide_of(options.model)
    best = refining(vae, options.model)
    if isinstance(best, Refined) and options.residual_blur is not None:
        best = Refined(vae, best.guide, best.radius, residual_blur=options.residual_blur)
    scores = [
        evaluate(model, loaders[0], judge, real=loaders[1], label_free=network, guide=guide, name=name)
        for name, model in (("not refined", vae), ("refined", best))
    ]
    print(scores_table(scores))
    for each in scores:
        print(f"{each.name}: {each.realism_label_free / each.realism_label_free_floor:.2f} x floor")
    save_scores(scores, options.out / "scores.json")


if __name__ == "__main__":
    main()
