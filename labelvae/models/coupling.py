"""Affine coupling layers that see the label (Dinh et al., 2017, "Density estimation using Real NVP", arXiv 1605.08803).

    u_a = x_a        u_b = x_b * exp(s(x_a, y)) + t(x_a, y)        log |det du/dx| = sum of s(x_a, y)

One half of the entries, x_a, stays. With the label y it says how the other half, x_b, is scaled and shifted. The
inverse needs s and t alone, so they may be any network. Which entries stay changes from layer to layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LARGEST_LOG_SCALE = 2.0
"""Largest log-scale of one layer: it multiplies an entry by at most exp(2), so that the inverse stays exact."""


class Coupling(nn.Module):
    """One affine coupling layer on codes `(B, N)` or on maps `(B, N, H, W)`.

    Args:
        order: the N entries or channels, those that stay first.
        kept: how many of them stay.
        network: from the part that stays `(B, kept, ...)` and label weights `(B, K)` to `(B, 2 (N - kept), ...)`: a
            log-scale for each entry that changes, then a shift for each.
    """

    order: Tensor

    def __init__(self, order: Tensor, kept: int, network: nn.Module) -> None:
        super().__init__()
        self.register_buffer("order", order)
        self.kept = kept
        self.network = network

    def forward(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return u, of the shape of `x`, and `log |det du/dx|`, `(B,)`."""
        kept, changed = self._halves(x)
        log_scale, shift = self._scale_and_shift(kept, label)
        return self._joined(kept, changed * log_scale.exp() + shift), log_scale.flatten(1).sum(dim=1)

    def inverse(self, u: Tensor, label: Tensor) -> Tensor:
        """Return the x whose u this is under the label."""
        kept, changed = self._halves(u)
        log_scale, shift = self._scale_and_shift(kept, label)
        return self._joined(kept, (changed - shift) * (-log_scale).exp())

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Refuse an order that does not name every entry once: a broken file, which would fail at the first use."""
        order = state_dict.get(prefix + "order")
        if order is not None and not torch.equal(
            order.cpu().sort().values, torch.arange(len(self.order), device="cpu")
        ):
            raise ValueError(f"{prefix}order: expected each of 0 to {len(self.order) - 1} once; save the flow again")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _halves(self, values: Tensor) -> tuple[Tensor, Tensor]:
        ordered = values[:, self.order]
        return ordered[:, : self.kept], ordered[:, self.kept :]

    def _joined(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([kept, changed], dim=1)[:, self.order.argsort()]

    def _scale_and_shift(self, kept: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.network(kept, label).to(kept.dtype).chunk(2, dim=1)
        return LARGEST_LOG_SCALE * torch.tanh(log_scale / LARGEST_LOG_SCALE), shift


class FlatNetwork(nn.Module):
    """Two hidden layers on entries and the label beside them; its first answer is 0, which changes nothing.

    Args:
        kept: entries that it sees.
        changed: entries that it scales and shifts.
        label_dim: K.
        hidden_dim: units of each hidden layer.
    """

    def __init__(self, kept: int, changed: int, label_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(kept + label_dim, hidden_dim), nn.SiLU(), nn.Linear(hidden_dim, hidden_dim), nn.SiLU()
        )
        self.last = nn.Linear(hidden_dim, 2 * changed)
        zero(self.last)

    def forward(self, kept: Tensor, label: Tensor) -> Tensor:
        """`(B, kept)` and label weights `(B, K)` to `(B, 2 changed)`."""
        answer: Tensor = self.last(self.hidden(torch.cat([kept, label.to(kept.dtype)], dim=1)))
        return answer


def flat_layers(entries: int, count: int, label_dim: int, hidden_dim: int) -> list[nn.Module]:
    """Return layers on `(B, entries)`: a random half stays, then the other half, then another random half.

    The halves are drawn by a fixed seed and saved with the weights.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    layers: list[nn.Module] = []
    order = torch.arange(entries, device="cpu")
    for index in range(count):
        order = order.flip(0) if index % 2 else torch.randperm(entries, generator=generator, device="cpu")
        kept = entries // 2
        layers.append(Coupling(order, kept, FlatNetwork(kept, entries - kept, label_dim, hidden_dim)))
    return layers


def zero(layer: nn.Linear | nn.Conv2d) -> None:
    """Set weights and biases to 0."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
