"""Turn objects: ask a photograph for an angle at which no photograph was taken, and compare with the one that was.

    python examples/angle.py --data-dir DIR

COIL-20 has 20 objects on a turntable, each photographed every 5 degrees (Nene, Nayar and Murase, 1996). Columbia
University publishes the data set for research at https://www.cs.columbia.edu/CAVE/software/softlib/coil-20.php. DIR
holds its processed images, `obj1__0.png` to `obj20__71.png`: the object from 1 on, and the angle in steps of 5 degrees.
They are reduced to 32x32 pixels.

Every second photograph is for training (`--every 4`: every fourth). The photographs in between are only for the scores.
Pictures for the angles in between are made from the training photographs alone: the motion between neighbours is
estimated, and each neighbour is moved a part of the way. The model learns from photographs and made pictures. Its
decoder is of its own kind, and has a ring of maps for each object, which it interpolates at the asked angle.
"""

import argparse
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.functional.image import structural_similarity_index_measure as similarity
from torchvision.transforms.functional import gaussian_blur, pil_to_tensor

from labelvae import (
    AttributeClassifier,
    AttributeELBO,
    Augmentation,
    Category,
    ClassifierTraining,
    ConditionalVAE,
    Continuous,
    Objective,
    VAETraining,
)
from labelvae.photos.picture_files import save_picture
from labelvae.visual.grids import style_transfer_grid

OBJECTS, VIEWS = 20, 72
ATTRIBUTES = {"object": Category(OBJECTS), "angle": Continuous(0, 360, "degrees", periodic=True)}
CHANGING = [thing for thing in range(OBJECTS) if thing not in (14, 15)]  # those two look the same from every side


def photographs(folder: Path) -> Tensor:
    """Read the photographs of a folder: `(20, 72, 1, 32, 32)` in [0, 1], by object and angle."""
    files = [folder / f"obj{thing + 1}__{view}.png" for thing in range(OBJECTS) for view in range(VIEWS)]
    opened = [Image.open(file).convert("L").resize((32, 32), Image.Resampling.BOX) for file in files]
    return torch.stack([pil_to_tensor(each) for each in opened]).unflatten(0, (OBJECTS, VIEWS)) / 255


def moved(images: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """Look up images `(B, 1, H, W)` at each pixel's place plus a flow `(B, 2, H, W)`, in pixels."""
    places = F.affine_grid(torch.eye(2, 3).expand(len(images), 2, 3), list(images.shape), align_corners=False)
    steps = flow.permute(0, 2, 3, 1) * (2 / images.shape[-1])
    return F.grid_sample(images, places + steps, mode=mode, padding_mode="border", align_corners=False)


def between(views: Tensor, share: float, steps: int = 60) -> Tensor:
    """Make the pictures between neighbouring views, by motion.

    A point of the new picture moves through the four views around it with a velocity and an acceleration. Both are
    smooth over the picture, and are fitted so that the views agree along the path, on blurred views first.

    Args:
        views: the views around a turn, `(objects, views, 1, H, W)` in [0, 1].
        share: the share of the way from each view to the next, in (0, 1).
        steps: the gradient steps at each resolution.

    Returns:
        As many pictures, of the same shape.
    """
    times = [index - share for index in (-1, 0, 1, 2)]
    around = [views.roll(-index, dims=1).flatten(0, 1) for index in (-1, 0, 1, 2)]
    motion = torch.zeros(len(around[0]), 4, 4, 4)
    size = list(views.shape[-2:])

    def flows(motion: Tensor) -> list[Tensor]:
        velocity, acceleration = F.interpolate(motion, size, mode="bicubic").chunk(2, dim=1)
        return [time * velocity + time**2 * acceleration for time in times]

    for cells, blur in ((4, 3.0), (8, 1.5), (8, 0.7), (16, 0.5)):
        motion = F.interpolate(motion, (cells, cells), mode="bicubic").requires_grad_()
        optimizer = torch.optim.Adam([motion], 0.1)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
        soft = [gaussian_blur(each, [2 * int(3 * blur + 1) + 1] * 2, [blur, blur]) for each in around]
        for _ in range(steps):
            before, first, second, after = map(moved, soft, flows(motion))
            apart = [first - second, 0.3 * (before - first), 0.3 * (after - second)]
            fit = sum((each.square() + 1e-3).sqrt().sum() for each in apart)
            fine = F.interpolate(motion, size, mode="bicubic")
            rough = fine.diff(dim=2).square().sum((0, 2, 3)) + fine.diff(dim=3).square().sum((0, 2, 3))
            loss = fit + 0.1 * rough[:2].sum() + rough[2:].sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        motion = motion.detach()
    first, second = (moved(around[index], flows(motion)[index], "bicubic") for index in (1, 2))
    return torch.lerp(first, second, share).clamp(0, 1).view_as(views)


class Ring(nn.Module):
    """A decoder with a ring of maps for each object, `(B, D)` codes and `(B, 20 + 2)` labels to `(B, 1, 32, 32)`."""

    def __init__(self, latent_dim: int, knots: int, channels: int = 16, width: int = 64) -> None:
        super().__init__()
        self.knots, self.start = knots, (channels, 8, 8)
        self.rings = nn.Parameter(torch.randn(OBJECTS * knots, channels * 64))
        self.code = nn.Linear(latent_dim, channels * 64)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(width // 2, width // 2, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width // 2, width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(width // 4, 1, 3, padding=1),
        )

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Return pixel logits: weights of the objects, sine and cosine are the label."""
        thing, sine, cosine = label[:, :OBJECTS], label[:, OBJECTS], label[:, OBJECTS + 1]
        place = torch.atan2(sine, cosine) * (self.knots / (2 * torch.pi))
        away = place[:, None] - torch.arange(self.knots, device=label.device)
        away = torch.remainder(away + self.knots / 2, self.knots) - self.knots / 2
        weights = (1 - away.abs()).clamp_min(0)  # linear between two knots
        maps = (thing[:, :, None] * weights[:, None]).flatten(1) @ self.rings + self.code(z)
        logits: Tensor = self.layers(maps.unflatten(1, self.start))
        return logits


def main() -> None:
    """Pictures in between, judge, model, scores, a strip and a film."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path("data/coil-20-proc"), help="where the photographs are")
    parser.add_argument("--out", type=Path, default=Path("runs/angle"))
    parser.add_argument("--every", type=int, choices=(2, 4), default=2, help="which photographs are for training")
    parser.add_argument("--epochs", type=int, nargs=2, default=(60, 200), help="of the judge and of the model")
    given = parser.parse_args()
