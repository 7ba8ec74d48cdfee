"""Turn objects: ask a photograph for an angle at which no photograph was taken, and compare with the one that was.

    python examples/angle.py --data-dir DIR

COIL-20 has 20 objects on a turntable, each photographed every 5 degrees (Nene, Nayar and Murase, 1996). Columbia
University publishes the data set for research at https://www.cs.columbia.edu/CAVE/software/softlib/coil-20.php. DIR
holds its processed images, `obj1__0.png` to `obj20__71.png`: the object from 1 on, and the angle in steps of 5 degrees.
They are reduced to 32x32 pixels.

Every second photograph is for training (`--every 4`: every fourth). The photographs in between are only for the scores,
and for the judge, which is in no loss. Pictures for the angles in between are made from the training photographs alone:
the motion between neighbours is estimated, and each neighbour is moved a part of the way. The model learns from
photographs and made pictures. Its decoder is of its own kind: it learns a ring of pictures for each object. Object and
angle say all there is to see here, so the code of an image stays empty.
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
from labelvae.visual.grids import grid, style_transfer_grid, to_picture

OBJECTS, VIEWS = 20, 72
ATTRIBUTES = {"object": Category(OBJECTS), "angle": Continuous(0, 360, "degrees", periodic=True)}
ROWS = torch.cartesian_prod(torch.arange(OBJECTS), torch.arange(0, 360, 360 // VIEWS)).float().view(OBJECTS, VIEWS, 2)
CHANGING = [thing for thing in range(OBJECTS) if thing not in (14, 15)]  # those two look the same from every side
EDGES = 1.5  # the weight of differences between the two neighbours of a pixel, where its own level has 1


def photographs(folder: Path) -> Tensor:
    """Read the photographs of a folder: `(20, 72, 1, 32, 32)` in [0, 1], by object and angle."""
    files = [folder / f"obj{thing + 1}__{view}.png" for thing in range(OBJECTS) for view in range(VIEWS)]
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise SystemExit(
            f"error: {missing}: no such file; name the folder of COIL-20's processed images with --data-dir"
        )
    opened = [Image.open(file).convert("L").resize((32, 32), Image.Resampling.BOX) for file in files]
    found: Tensor = torch.stack([pil_to_tensor(each) for each in opened]).unflatten(0, (OBJECTS, VIEWS)) / 255
    return found


def moved(images: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """Look up images `(B, C, H, W)` at each pixel's place plus a flow `(B, 2, H, W)`, in pixels."""
    places = F.affine_grid(torch.eye(2, 3).expand(len(images), 2, 3), list(images.shape), align_corners=False)
    steps = flow.permute(0, 2, 3, 1) * (2 / images.shape[-1])
    return F.grid_sample(images, places + steps, mode=mode, padding_mode="border", align_corners=False)


def with_edges(images: Tensor) -> Tensor:
    """Return images `(B, 1, H, W)` with their differences across and down the picture as channels, `(B, 3, H, W)`."""
    wide = F.pad(images, (1, 1, 1, 1), mode="replicate")
    across = wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]
    down = wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]
    return torch.cat([images, EDGES * across, EDGES * down], dim=1)


def between(views: Tensor, share: float, steps: int = 60) -> Tensor:
    """Make the pictures between neighbouring views, by motion.

    A point of the new picture moves through the four views around it with a velocity and an acceleration. Both are
    smooth over the picture, and are fitted so that the views agree along the path, in their levels of grey and in how
    these change across and down the picture, on blurred views first.

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
        soft = [with_edges(gaussian_blur(each, [2 * int(3 * blur + 1) + 1] * 2, [blur, blur])) for each in around]
        for _ in range(steps):
            before, first, second, after = map(moved, soft, flows(motion))
            apart = [first - second, 0.3 * (before - first), 0.3 * (after - second)]
            fit = sum((each.square().sum(dim=1) + 1e-3).sqrt().sum() for each in apart)
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
    """A decoder with a ring of pictures for each object: 72 places around a turn, and a linear way between two.

    Args:
        latent_dim: D. The code adds one picture, the same for all objects and angles.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.pictures = nn.Parameter(torch.zeros(OBJECTS * VIEWS, 32 * 32))
        self.code = nn.Linear(latent_dim, 32 * 32)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Return logits `(B, 1, 32, 32)` of codes `(B, D)` and labels `(B, 20 + 2)`: objects, sine and cosine."""
        things, sine, cosine = label[:, :OBJECTS], label[:, OBJECTS], label[:, OBJECTS + 1]
        place = torch.atan2(sine, cosine) * (VIEWS / (2 * torch.pi))
        away = torch.remainder(place[:, None] - torch.arange(VIEWS, device=z.device) + VIEWS / 2, VIEWS) - VIEWS / 2
        near = (1 - away.abs()).clamp_min(0)
        where = (things[:, :, None] * near[:, None]).flatten(1)
        logits: Tensor = (10 * (where @ self.pictures) + self.code(z)).unflatten(1, (1, 32, 32))
        return logits


def psnr(images: Tensor, truth: Tensor) -> float:
    """Mean over the images `(..., 1, H, W)` in [0, 1] of the decibels against the true ones."""
    return float(-10 * torch.log10((images - truth).square().mean(dim=(-3, -2, -1))).mean())


def print_scores(vae: ConditionalVAE, judge: AttributeClassifier, photos: Tensor, seen: Tensor, every: int) -> None:
    """Compare each training photograph, asked for each angle without one, with the photograph taken there."""
    held_out = [view for view in range(VIEWS) if view % every]
    truth = photos[CHANGING][:, held_out]
    asked = ROWS[CHANGING][:, held_out].flatten(0, 1)
    starts = range(0, VIEWS, every)  # each photograph for training is asked for each angle without one
    first = [photos[CHANGING, start].repeat_interleave(len(held_out), dim=0) for start in starts]
    made = torch.stack([vae.relabel(images, asked).view_as(truth) for images in first])
    print(f"{'':>20} {'PSNR, dB':>8} {'SSIM':>6}   at the angles without a photograph for training")
    nearest = photos[CHANGING][:, [(view + every // 2 - 1) // every * every % VIEWS for view in held_out]]
    shares = torch.tensor([view % every / every for view in held_out]).view(-1, 1, 1, 1)
    before, after = ([(view // every + side) * every % VIEWS for view in held_out] for side in (0, 1))
    blend = torch.lerp(photos[CHANGING][:, before], photos[CHANGING][:, after], shares)
    table = {"labelvae": made, "pictures made": seen[CHANGING][:, held_out][None]}
    table |= {"blend of neighbours": blend[None], "nearest photograph": nearest[None]}
    for name, images in table.items():
        alike = similarity(images[0].flatten(0, 1), truth.flatten(0, 1), data_range=1.0)  # slow, so of the first ones
        assert isinstance(alike, Tensor)
        print(f"{name:>20} {psnr(images, truth):8.2f} {float(alike):6.3f}")
    known = photos[:, ::every].flatten(0, 1)
    kept = vae.reconstruct(known, ROWS[:, ::every].flatten(0, 1))
    print(f"reconstructions of the photographs for training: {psnr(kept, known):.2f} dB")
    for name, images in (("made", made[0]), ("true", truth)):
        read = judge.rows(images.flatten(0, 1))
        away = judge.attributes["angle"].distance(read[:, 1], asked[:, 1])
        right = (read[:, 0] == asked[:, 0]).float().mean()
        near = (away <= 10).float().mean()
        print(f"the judge reads {name} ones: angle within 10 degrees {near:.1%}, object right {right:.1%}")


def draw(vae: ConditionalVAE, photos: Tensor, out: Path) -> None:
    """Turn five objects once around, as a strip and a film; ask for another object at the same angle."""
    few, start = [0, 3, 4, 12, 17], photos[[0, 3, 4, 12, 17], 0]
    film = vae.interpolate(start, {"object": few, "angle": 0}, {"angle": 360}, steps=VIEWS + 1)[:, :-1]
    strip = film[:, 1::6]  # 5, 35, 65, ... degrees: none is an angle of training
    save_picture(style_transfer_grid(start, strip, [f"{angle}" for angle in range(5, 360, 30)]), out / "turned.png")
    frames = [grid([[to_picture(each, 64) for each in shown]]).convert("L").quantize(16) for shown in film.unbind(1)]
    frames[0].save(out / "turned.gif", save_all=True, append_images=frames[1:], duration=80, loop=0)
    views = list(range(1, VIEWS, 12))  # photographs that were not for training
    others = [vae.relabel(photos[0, views], {"object": thing}, own_labels=ROWS[0, views]) for thing in few[1:]]
    titles = [f"object {thing}" for thing in few[1:]]
    save_picture(style_transfer_grid(photos[0, views], torch.stack(others, dim=1), titles), out / "objects.png")


def main() -> None:
    """Pictures in between, judge, model, scores, a strip and a film."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path("data/coil-20-proc"), help="where the photographs are")
    parser.add_argument("--out", type=Path, default=Path("runs/angle"))
    parser.add_argument("--every", type=int, choices=(2, 4), default=2, help="which photographs are for training")
    parser.add_argument("--epochs", type=int, nargs=2, default=(25, 60), help="of the judge, and of the model")
    parser.add_argument("--motion-steps", type=int, default=60, help="to fit the motion, at each resolution")
    given = parser.parse_args()
    seed_everything(0, verbose=False)
    given.out.mkdir(parents=True, exist_ok=True)

    photos = photographs(given.data_dir)
    every, seen = given.every, photos.clone()
    for step in range(1, every):
        seen[:, step::every] = between(photos[:, ::every], step / every, given.motion_steps)

    def fit(task: ClassifierTraining | VAETraining, images: Tensor, epochs: int) -> None:
        batches = DataLoader(TensorDataset(images.flatten(0, 1), ROWS.flatten(0, 1)), 60, shuffle=True, drop_last=True)
        trainer = Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False)
        trainer.fit(task, batches)

    judge = AttributeClassifier((1, 32, 32), ATTRIBUTES, widths=(16, 32, 64))
    fit(ClassifierTraining(judge, Augmentation(noise=0.05), learning_rate=3e-3), photos, given.epochs[0])  # knows all
    vae = ConditionalVAE((1, 32, 32), attributes=ATTRIBUTES, latent_dim=4, encoder_widths=(8, 16), decoder=Ring(4))
    objective = Objective("bernoulli", beta=10.0)  # the label says all, so the code is to say little
    fit(VAETraining(vae, AttributeELBO(None, objective), learning_rate=3e-2), seen, given.epochs[1])
    vae.save_pretrained(given.out / "vae")
    print_scores(vae, judge, photos, seen, every)
    draw(vae, photos, given.out)
    print(f"the model, turned.png, turned.gif and objects.png are under {given.out}")


if __name__ == "__main__":
    main()
