"""A confidence is asked for, and hit: MNIST's 0 and 1, as in the table of GdVAE (Haselhoff et al., 2024, 2409.12952).

    python benchmarks/dial.py --data-dir DIR --judge runs/mnist/judge

Each chosen test image of a 0 or a 1 is asked to be the other with the confidences 0.05, 0.1 to 0.95, by
`relabel_to_confidence`. The guide chooses between 0 and 1 alone, as GdVAE's classifier does. The dial is turned in two
ways: the label moves, and then the code; or the code moves alone, under the label that is the likelier of the two.
Beside them stand the plain blend of labels, whose weight of the asked label is the confidence, and the images
themselves. Figures, over all images and confidences:

- rho and MSE: Pearson correlation and mean squared error (in hundredths) of the asked confidence and the guide's
  probability; hits: the share within 0.05; rho of the judge, which had no part in anything.
- Fréchet distances to the training images of 0 and 1, in the judge's features; with `--inception` also in those of
  Inception (`benchmarks/inception.py` says what it needs), which is what is published as FID. The floor is that of the
  test images.
- L1, the mean absolute change, in hundredths.

Leaves `table.md` and `dial.png`, a picture of each way of the dial.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Confidences of the picture."""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mnist", help="Folder of the model, or its name.")
    parser.add_argument("--guide", default="mnist", help="Folder of the classifier that is asked, or its name.")
    parser.add_argument("--judge", required=True, help="Folder of a classifier that had no part in the training.")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--pair", type=int, nargs=2, default=(0, 1), help="The two classes.")
    parser.add_argument("--count", type=int, default=500, help="Test images.")
    parser.add_argument("--inception", action="store_true", help="Measure the FID as well.")
    parser.add_argument("--out", type=Path, default=Path("runs/dial"))
    return parser.parse_args()


def main() -> None:
    """Measure the dial on one pair of classes."""
    options = arguments()
    import torch
    from inception import distance, inception_features, moments_of

    from labelvae import ConditionalVAE, ImageData, LabelClassifier
    from labelvae.evaluation.transition import logits_of
    from labelvae.models import relabel_to_confidence
    from labelvae.models.wrapped import matching
    from labelvae.system.whole_files import write_whole

    vae, judge = ConditionalVAE.from_pretrained(options.model), LabelClassifier.from_pretrained(options.judge)
    guide = matching("guide", only(LabelClassifier.from_pretrained(options.guide), options.pair), vae)
    data = ImageData("mnist", data_dir=options.data_dir)
    pair = torch.tensor(options.pair)
    real, test = (chosen(data, split, pair) for split in ("train", "test"))
    few = torch.randperm(len(test[0]), generator=torch.Generator().manual_seed(0))[: options.count]
    images, own = test[0][few], test[1][few]
    asked = pair.sum() - own
    grid = [round(0.05 * step, 2) for step in range(1, 20)]
    eye = torch.eye(vae.num_classes)
    ways: dict[str, Callable[[float], Tensor]] = {
        "label, then code": lambda wanted: relabel_to_confidence(vae, guide, images, asked, wanted, own),
        "code alone": lambda wanted: (
            relabel_to_confidence(vae, guide, images, asked, wanted, asked)
            if wanted >= 0.5
            else relabel_to_confidence(vae, guide, images, own, 1.0 - wanted, own)
        ),
        "blended labels": lambda wanted: vae.relabel(images, torch.lerp(eye[own], eye[asked], wanted)),
        "the image itself": lambda _: images,
    }
    spaces = {"judge": judge_features(judge)} | ({"Inception": inception_features()} if options.inception else {})
    moments = {name: moments_of(features(real[0])) for name, features in spaces.items()}
    names = ["rho", "MSE", "hits", "rho of the judge", *(f"Fréchet, {name}" for name in spaces), "L1"]
    lines = [f"| way | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
    made = {}
    for way, make in ways.items():
        made[way] = {wanted: make(wanted) for wanted in grid}
        whole = torch.cat(list(made[way].values()))
        wanted = torch.tensor(grid).repeat_interleave(len(images))
        rows, label = torch.arange(len(whole)), asked.repeat(len(grid))
        chance = logits_of(guide, whole).softmax(dim=1)[rows, label]
        judged = logits_of(judge, whole)[:, pair].softmax(dim=1)[rows, (label == pair[1]).long()]
        figures = [pearson(wanted, chance), 100 * float((wanted - chance).square().mean())]
        figures += [float(((wanted - chance).abs() <= 0.05).float().mean()), pearson(wanted, judged)]
        figures += [distance(moments[name], features(whole)) for name, features in spaces.items()]
        figures.append(100 * float((whole - images.repeat(len(grid), 1, 1, 1)).abs().mean()))
        lines.append(f"| {way} | {' | '.join(f'{figure:.3f}' for figure in figures)} |")
    floors = [f"{distance(moments[name], features(test[0])):.3f}" for name, features in spaces.items()]
    lines.append(f"| floor | - | - | - | - | {' | '.join(floors)} | - |")
    table = "\n".join(lines)
    print(table)
    write_whole(options.out / "table.md", table + "\n")
    draw(images, own, made, options.out / "dial.png")


def only(guide: Any, pair: tuple[int, int]) -> Any:
    """Return a guide that chooses between two classes: the others' logits are as low as can be."""
    import torch
    from torch import nn

    class Only(nn.Module):
        out: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.guide = guide
            out = torch.full((guide.num_classes,), -1e4)
            out[list(pair)] = 0.0
            self.register_buffer("out", out)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.guide(images) + self.out
            return logits

    return Only()


def chosen(data: Any, split: str, pair: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images and labels of a split that are of two classes."""
    import torch

    there = data.splits[split].load()
    kept = torch.isin(there.labels, pair)
    return there.images[kept].float() / 255.0, there.labels[kept]


def judge_features(judge: Any) -> Callable[[Tensor], Tensor]:
    """Return a function of images to the judge's features."""
    import torch

    from labelvae.models.inference import evaluation_mode

    def features(images: Tensor) -> Tensor:
        with evaluation_mode(judge) as network:
            return torch.cat([network.features(some) for some in images.split(500)])

    return features


def pearson(values: Tensor, others: Tensor) -> float:
    """Return the correlation of two rows of numbers."""
    import torch

    return float(torch.corrcoef(torch.stack([values.double(), others.double()]))[0, 1])


def draw(images: Tensor, own: Tensor, made: dict[str, dict[float, Tensor]], out: Path) -> None:
    """Draw six images, and each with five confidences of being the other, by label and code, then by code alone."""
    from labelvae.photos.picture_files import save_picture
    from labelvae.visual.grids import grid, one_of_each

    rows = [
        [images[i], *(made[way][wanted][i] for way in ("label, then code", "code alone") for wanted in SHOWN)]
        for i in one_of_each(own, 6).tolist()
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    save_picture(grid(rows, column_titles=["image", *(f"{wanted:g}" for wanted in SHOWN * 2)]), out)


if __name__ == "__main__":
    main()
