"""A flow: a map between data and Gaussian noise, one for each label, that goes both ways and knows its density."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from labelvae.inputs.checks import check_kind
from labelvae.inputs.labels import counted
from labelvae.inputs.peeking import readable
from labelvae.inputs.tensors import Labels, label_weights, moved
from labelvae.models.inference import chunks, evaluation_mode
from labelvae.models.saving import Pretrained


class ConditionalFlow(Pretrained):
    """A map between data x and noise u, one for each label y.

        u = f(x, y)        x = f^-1(u, y)        log p(x | y) = log N(u; 0, I) + log |det du/dx|

    Data go to noise under the label that they have, and come back under the label that is asked for (`carry`). Under
    their own label they come back as they were. Subclasses have `forward` and `inverse`.

    Args:
        config: the arguments of the subclass, see `Pretrained`.
        entries: N, entries of the noise.
        num_classes: K.
    """

    def __init__(self, config: Mapping[str, Any], entries: int, num_classes: int) -> None:
        super().__init__(config)
        self.entries = entries
        self.num_classes = num_classes

    def forward(self, x: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
        """Return the noise u `(B, N)` of data under their labels, and `log |det du/dx|` `(B,)`; differentiable."""
        raise NotImplementedError

    def inverse(self, u: Tensor, labels: Labels) -> Tensor:
        """Return the data of noise `(B, N)` under labels; differentiable."""
        raise NotImplementedError

    def log_prob(self, x: Tensor, labels: Labels) -> Tensor:
        """Return the log-density of data under their labels, `(B,)`, in nats; differentiable."""
        u, log_det = self.forward(x, labels)
        return log_normal(u) + log_det

    def carry(self, x: Tensor, own_labels: Labels, labels: Labels, chunk_size: int = 1024) -> Tensor:
        """Return data as `labels`: to noise under what they are, and back under what they are asked to be.

        Args:
            x: data, as `forward` takes them.
            own_labels: what they are.
            labels: what they are asked to be.
            chunk_size: data at a time.

        Returns:
            Of the shape and on the device of `x`.

        Raises:
            ValueError: data or labels of another shape, type or range.
        """
        fits = isinstance(x, Tensor) and x.ndim >= 2 and x.shape[0] > 0
        if not fits or (readable(x) and not bool(torch.isfinite(x).all())):
            got = f"{tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x: expected a tensor of finite data, at least one, got {got}")
        own = self.label_weights(own_labels, x.shape[0], "own_labels")
        asked = self.label_weights(labels, x.shape[0])
        with evaluation_mode(self) as flow:
            parts = [
                flow.inverse(flow(moved(x[part], self.device, "x"), own[part])[0], asked[part])
                for part in chunks(x.shape[0], chunk_size)
            ]
        return torch.cat([moved(part, x.device, "flow") for part in parts])

    def sample(self, labels: Labels, generator: torch.Generator | None = None, chunk_size: int = 1024) -> Tensor:
        """Return new data of labels, on the flow's device.

        Args:
            labels: an index or a name, for one; or `(B,)` or `(B, K)`.
            generator: of the noise; None takes torch's own.
            chunk_size: data at a time.

        Raises:
            ValueError: labels of another type or range.
        """
        check_kind("generator", generator, torch.Generator, optional=True)
        labels, count = counted(labels)
        asked = self.label_weights(labels, count)
        where = generator.device if generator is not None else "cpu"
        u = torch.randn(count, self.entries, generator=generator, device=where)
        with evaluation_mode(self) as flow:
            return torch.cat(
                [flow.inverse(u[part].to(self.device, self.dtype), asked[part]) for part in chunks(count, chunk_size)]
            )

    def label_weights(self, labels: Labels, batch: int, name: str = "labels") -> Tensor:
        """Return labels in any accepted form as weights over the classes `(B, K)`, on the flow's device.

        Raises:
            ValueError: labels of another number, type or range, or names that are not known.
        """
        return label_weights(labels, self.num_classes, batch, self.device, name, self.class_names).to(self.dtype)


def log_normal(u: Tensor) -> Tensor:
    """Return the log-density of `u` `(B, N)` under N(0, I), `(B,)`, in nats.

    >>> log_normal(torch.zeros(1, 2))
    tensor([-1.8379])
    """
    return -0.5 * (u.square() + math.log(2.0 * math.pi)).sum(dim=1)
