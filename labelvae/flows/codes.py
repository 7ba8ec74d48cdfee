"""The codes of a model as batches, to train a flow on."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from labelvae.data.given_data import Batches, batches_of, checked_pair
from labelvae.inputs.checks import check_count, check_kind
from labelvae.models.inference import evaluation_mode
from labelvae.models.loaded import check_loaded
from labelvae.models.vae import ConditionalVAE
from labelvae.system.compiling import uncompiled


class Codes:
    """Batches of codes and labels for a Trainer: drawn from the posteriors of images, anew in every epoch.

    An epoch has every code once, in batches of about the same size.

    Args:
        vae: the model, of one class.
        batches: images `(B, C, H, W)` in [0, 1] and labels `(B,)`, in a form of `data.given_data`. Each image is
            encoded once.
        batch_size: codes a batch, at most.
        seed: seed of the order and of the draws.

    Raises:
        ValueError: no batches; images or labels of another shape, type or range; a model of several attributes.
    """

    def __init__(self, vae: ConditionalVAE, batches: Batches, batch_size: int = 256, seed: int = 0) -> None:
        vae = uncompiled(vae)
        check_kind("vae", vae, ConditionalVAE)
        check_loaded("vae", vae)
        batch_size = check_count("batch_size", batch_size, at_least=2)
        self.generator = torch.Generator("cpu").manual_seed(check_count("seed", seed, at_least=0))
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        with evaluation_mode(vae) as model:
            for batch in batches_of("batches", batches):
                images, own = checked_pair(batch, vae.image_shape, vae.num_classes, vae.class_names)
                posterior = model.encode(images.to(vae.device), own.to(vae.device))
                found.append((posterior.mean.cpu().float(), posterior.standard_deviation.cpu().float(), own))
        if not found:
            raise ValueError("batches: expected at least one batch of images, got none")
        self.means, self.deviations, self.labels = (torch.cat(parts) for parts in zip(*found, strict=True))
        self.batch_size = batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.labels), generator=self.generator)
        for part in order.tensor_split(len(self)):
            noise = torch.randn(self.means[part].shape, generator=self.generator)
            yield self.means[part] + self.deviations[part] * noise, self.labels[part]
