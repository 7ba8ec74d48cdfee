"""The classification accuracy score: a ResNet-56 learns from made images and is tested on real ones.

    python benchmarks/accuracy_score.py --model cifar10 --data folder --data-dir DIR --ways real relabelled sampled

(Ravuri & Vinyals, 2019, arXiv 1905.10887; the network of He et al., 2015, arXiv 1512.03385, section 4.2.) Each way
has as many images as there are training images: `real` ones; `relabelled`, each training image as another class drawn
by seed, which is the label that it teaches; `sampled`, a new image for each training label. Images are made as
`labelvae relabel` makes them, refined if a radius is saved with the model. Leaves `rows.json` under the output
folder, and each network as `WAY.pt2`, which can be a judge; with `--refine 0`, under `WAY-0`. Go on after a stop with
the same command: images and epochs that are there are kept.
"""

from __future__ import annotations

import argparse
import json
import time
from io import BytesIO
from pathlib import Path
from typing import Any

WAYS = ("real", "relabelled", "sampled")
PORTION = 1_000
"""Images that are made, and written, at a time."""


def main() -> None:
    """Make the images of every way, train on them and test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cifar10", help="Folder or name of the model.")
    parser.add_argument("--data", choices=("cifar10", "folder"), default="cifar10")
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder of the images.")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--refine", type=float, help="Radius of the refinement; that of the model by default.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy_score"), help="Folder of the results.")
    options = parser.parse_args()
    from labelvae.system.allocator import keep_freed_memory

    keep_freed_memory()  # before torch is imported
    import torch

    from labelvae import ImageData
    from labelvae.system.whole_files import write_whole

    torch.set_num_threads(options.threads)
    data = ImageData(options.data, options.data_dir)
    saved = options.out / "rows.json"
    rows = json.loads(saved.read_text()) if saved.is_file() else {}
    for way in options.ways:
        name = way if way == "real" or options.refine is None else f"{way}-{options.refine:g}"
        if name not in rows:
            rows[name] = score(way, name, data, options)
            write_whole(saved, json.dumps(rows, indent=2) + "\n")
        print(name, rows[name], flush=True)


def score(way: str, name: str, data: Any, options: argparse.Namespace) -> dict[str, float]:
    """Train a ResNet-56 on the images of a way; return its accuracy on the real test images."""
    from learning import accuracies, learned
    from lightning.pytorch import seed_everything
    from resnet import resnet56

    images = data.splits["train"].load() if way == "real" else made(way, name, data, options)
    seed_everything(7, verbose=False)
    start = time.process_time()
    network = learned(resnet56(data.num_classes), images, data, options.epochs, options.out / f"{name}.pt2")
    seconds = time.process_time() - start
    accuracy, *classes = accuracies(network, data, "test")
    row = {"accuracy": accuracy, "worst class": min(classes), "images": len(images)}
    return row | {"epochs": options.epochs, "CPU s since the last start": round(seconds)}


def made(way: str, name: str, data: Any, options: argparse.Namespace) -> Any:
    """Make the images that teach in place of the real ones, portion by portion, each written at once."""
    import torch

    from labelvae import ConditionalVAE
    from labelvae.data.image_sets import ImageSet
    from labelvae.losses.refinement import refining
    from labelvae.system.whole_files import write_whole

    model = refining(ConditionalVAE.from_pretrained(options.model), options.model, options.refine)
    train = data.splits["train"]
    steps = torch.randint(1, data.num_classes, (len(train),), generator=torch.Generator().manual_seed(7))
    asked = (train.labels + steps) % data.num_classes if way == "relabelled" else train.labels
    portions = []
    for number, index in enumerate(torch.arange(len(train)).split(PORTION)):
        file = options.out / name / f"{number:03}.pt"
        if not file.is_file():
            if way == "relabelled":
                some = train.subset(index).load()
                new = model.relabel(some.images.float() / 255.0, asked[index], some.labels)
            else:
                new = model.sample(asked[index], torch.Generator().manual_seed(number))
            buffer = BytesIO()
            torch.save((new * 255.0).round().byte(), buffer)
            write_whole(file, buffer.getvalue())
            print(f"{name}: {index[-1] + 1} of {len(train)} images", flush=True)
        portions.append(torch.load(file, weights_only=True))
    return ImageSet(torch.cat(portions), asked)


if __name__ == "__main__":
    main()
