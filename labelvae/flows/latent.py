"""A flow on the codes of a model: what its codes are like for each label, learned after its training.

The prior of a `ConditionalVAE` is N(0, I) for every label. Its codes follow that only roughly, and differ from label to
label as far as the code still tells the label. A small flow learns the difference, as in LeapFactual (2025, arXiv
2510.14623).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from labelvae.evaluation.references import Batches, checked_pair
from labelvae.flows.coupling import flat_layers
from labelvae.flows.flow import ConditionalFlow
from labelvae.inputs.checks import LARGEST_DEPTH, LARGEST_SIZE, check_count, check_kind
from labelvae.inputs.tensors import Labels, check_rows
from labelvae.models.inference import evaluation_mode
from labelvae.models.vae import ConditionalVAE


class LatentFlow(ConditionalFlow):
    """Codes to Gaussian noise and back, under a label.

    Args:
        latent_dim: D, entries of a code, at least 2.
        num_classes: K, at least 2.
        couplings: Layers.
        hidden_dim: Units inside each layer.

    Raises:
        ValueError: an argument out of range.

    >>> flow = LatentFlow(latent_dim=16, num_classes=10)
    >>> flow.carry(torch.zeros(5, 16), own_labels=3, labels=8).shape
    torch.Size([5, 16])
    """

    def __init__(self, latent_dim: int, num_classes: int, couplings: int = 8, hidden_dim: int = 64) -> None:
        latent_dim = check_count("latent_dim", latent_dim, at_least=2, at_most=LARGEST_SIZE)
        num_classes = check_count("num_classes", num_classes, at_least=2, at_most=LARGEST_SIZE)
        couplings = check_count("couplings", couplings, at_most=LARGEST_DEPTH)
        hidden_dim = check_count("hidden_dim", hidden_dim, at_most=LARGEST_SIZE)
        super().__init__(
            {
                "latent_dim": latent_dim,
                "num_classes": num_classes,
                "couplings": couplings,
                "hidden_dim": hidden_dim,
            },
            latent_dim,
            num_classes,
        )
        self.layers = nn.ModuleList(flat_layers(latent_dim, couplings, num_classes, hidden_dim))

    def forward(self, x: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
        """Return the noise u `(B, D)` of codes under their labels, and `log |det du/dx|` `(B,)`; differentiable.

        Raises:
            ValueError: codes or labels of another shape, type or range.
        """
        check_rows("x", x, self.entries)
        label = self.label_weights(labels, len(x))
        u, log_det = x.to(self.dtype), torch.zeros(len(x), dtype=self.dtype, device=self.device)
        for layer in self.layers:
            u, more = layer(u, label)
            log_det = log_det + more
        return u, log_det

    def inverse(self, u: Tensor, labels: Labels) -> Tensor:
        """Return the codes `(B, D)` of noise `(B, D)` under labels; differentiable.

        Raises:
            ValueError: noise or labels of another shape, type or range.
        """
        check_rows("u", u, self.entries)
        label = self.label_weights(labels, len(u))
        for layer in reversed(self.layers):
            u = layer.inverse(u, label)  # type: ignore[operator]
        return u


class Codes:
    """Batches of codes and labels for a Trainer: drawn from the posteriors of images, anew in every epoch.

    Args:
        vae: The model, of one class.
        batches: Images `(B, C, H, W)` in [0, 1] and labels `(B,)`; each image is encoded once.
        batch_size: Codes a batch, at most as many as there are.
        seed: Of the order and the draws.

    Raises:
        ValueError: no batches; images or labels of another shape, type or range; a model of several attributes.
    """

    def __init__(self, vae: ConditionalVAE, batches: Batches, batch_size: int = 256, seed: int = 0) -> None:
        check_kind("vae", vae, ConditionalVAE)
        batch_size = check_count("batch_size", batch_size, at_least=2)
        self.generator = torch.Generator("cpu").manual_seed(check_count("seed", seed, at_least=0))
        if not isinstance(batches, Iterable):
            raise ValueError(
                f"batches: expected batches of images and labels, got {type(batches).__name__}; "
                "a DataLoader is, or data.loader('train') of an ImageData"
            )
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        with evaluation_mode(vae) as model:
            for batch in batches:
                images, own = checked_pair(batch, vae.image_shape, vae.num_classes, vae.class_names)
                posterior = model.encode(images.to(vae.device), own.to(vae.device))
                found.append((posterior.mean.cpu().float(), posterior.standard_deviation.cpu().float(), own))
        if not found:
            raise ValueError("batches: expected at least one batch of images, got none")
        self.means, self.deviations, self.labels = (torch.cat(parts) for parts in zip(*found, strict=True))
        self.batch_size = min(batch_size, len(self.labels))

    def __len__(self) -> int:
        return len(self.labels) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.labels), generator=self.generator)
        for part in order[: len(self) * self.batch_size].split(self.batch_size):
            noise = torch.randn(self.means[part].shape, generator=self.generator)
            yield self.means[part] + self.deviations[part] * noise, self.labels[part]
