"""A short training of a preset's guide and model, and a fingerprint of the weights: does a change alter the arithmetic?

    python benchmarks/same_steps.py                                      this version
    PYTHONPATH=OTHER/CHECKOUT python benchmarks/same_steps.py            another one, on the same machine
    python benchmarks/same_steps.py --channels-last --losses             to rounding: the losses

Where every fingerprint is the same, two versions train the same model, and every figure of quality is the same too. One
thread, images made up, Lightning left out.
"""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import Any, Literal

import torch
from jsonargparse import auto_cli
from lightning.pytorch import seed_everything

from labelvae.cli.parser import DashParser
from labelvae.data.image_sets import ImageSet
from labelvae.data.loaders import ImageLoader
from labelvae.runs import presets
from labelvae.runs.building import classifier_task, new_classifier, new_vae, vae_task
from labelvae.training.optimizers import clip_gradients, scheduled_adamw

SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10_small": (3, 32, 32)}


def main(
    names: list[Literal["digits", "mnist", "cifar10_small"]] = ["digits", "mnist"],  # noqa: B006  read only
    steps: int = 10,
    channels_last: bool = False,
    losses: bool = False,
) -> None:
    """Train, and print.

    Args:
        names: the presets.
        steps: steps of a guide, and of a model.
        channels_last: keep the channels of a pixel next to each other in memory.
        losses: print the loss of every step in place of a fingerprint.
    """
    torch.set_num_threads(1)
    for name in names:
        for bfloat16 in (False, True):
            preset, shape = getattr(presets, name.upper()), SHAPES[name]
            seed_everything(3, verbose=False)
            pixels = torch.randint(256, (1000, *shape), dtype=torch.uint8)
            labels, cpu = torch.arange(1000) % 10, torch.device("cpu")
            loader = ImageLoader(ImageSet(pixels, labels), 64, cpu, shuffle=True, drop_last=True, seed=3)
            guide = new_classifier(preset.guide, shape, 10)
            guide.whiten(pixels[:64].float() / 255.0)
            task: Any = classifier_task(preset.guide, guide, channels_last=channels_last)
            found = [trained(task, loader, steps, bfloat16)]
            vae = new_vae(preset.vae, shape, 10)
            task = vae_task(preset.vae, vae, guide.freeze(), channels_last=channels_last)
            found.append(trained(task, loader, steps, bfloat16))
            for part, network, values in zip(("guide", "model"), (guide, vae), found, strict=True):
                said = " ".join(f"{value:.6g}" for value in values) if losses else fingerprint(network)
                print(name, part, "bfloat16" if bfloat16 else "float32", said, flush=True)


def trained(task: Any, loader: Any, steps: int, bfloat16: bool) -> list[float]:
    """The losses of a training without a trainer."""
    if task.channels_last:
        task.to(memory_format=torch.channels_last)
    task.train()
    made = scheduled_adamw(task.parameter_groups(), task.learning_rate, task.weight_decay, 100, task.schedule)
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    losses = []
    for given, labels in islice(loader, steps):
        images = given.to(memory_format=torch.channels_last) if task.channels_last else given
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            total = task.step(images, labels, 0.5)["total"]  # with every term warmed up
        total.backward()
        clip_gradients(optimizer)
        optimizer.step()
        schedule.step()
        losses.append(total.item())
    return losses


def fingerprint(network: torch.nn.Module) -> str:
    """The first letters of a hash of all weights and statistics."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
