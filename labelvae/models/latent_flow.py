"""A flow on the codes of a model: what its codes are like for each label, learned after its training.

A `ConditionalVAE` is trained with the prior N(0, I) for every label. Its codes follow that only roughly, and differ
from label to label as far as the code still tells the label. A small flow learns the difference, as in LeapFactual
(2025, arXiv 2510.14623). As the model's `prior` it draws the codes of `sample`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from labelvae.inputs.checks import LARGEST_DEPTH, LARGEST_SIZE, check_count, check_kind
from labelvae.inputs.tensors import Labels, check_rows
from labelvae.models.coupling import flat_layers
from labelvae.models.flow import ConditionalFlow
from labelvae.models.loaded import check_both


class LatentFlow(ConditionalFlow):
    """Codes to Gaussian noise and back, under a label.

    Args:
        latent_dim: D, entries of a code, at least 2.
        num_classes: K, at least 2.
        couplings: layers.
        hidden_dim: units inside each layer.

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
        check_both(self, "x", x)
        label = self.label_weights(labels, x.shape[0])
        u, log_det = x.to(self.dtype), torch.zeros(x.shape[0], dtype=self.dtype, device=self.device)
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
        check_both(self, "u", u)
        label, u = self.label_weights(labels, u.shape[0]), u.to(self.dtype)
        for layer in reversed(self.layers):
            u = layer.inverse(u, label)  # type: ignore[operator]
        return u


def check_flow(name: str, flow: Any, vae: Any) -> LatentFlow:
    """Return a flow, checked to be one on the codes of a model.

    Raises:
        ValueError: no `LatentFlow`; one on other codes or classes; a model of several attributes.
    """
    check_kind(name, flow, LatentFlow)
    if (flow.entries, flow.num_classes) != (vae.latent_dim, vae.num_classes):
        raise ValueError(
            f"{name}: expected a flow on codes of {vae.latent_dim} entries and {vae.num_classes} classes, got one on "
            f"{flow.entries} entries and {flow.num_classes} classes; use the flow of this model"
        )
    checked: LatentFlow = flow
    return checked
