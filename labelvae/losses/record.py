"""What the objective answers with: its terms by name."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from torch import Tensor


@dataclass(frozen=True)
class LossTerms:
    """The unweighted terms of the objective, each `(B,)` in nats per image; None where a term is not used.

    Attributes:
        total: the weighted sum, mean over the batch, a scalar: what is minimized.
        label_weight: lambda where it is learned, of each asked class, `(K,)` without unit.
        own_terms: the terms from outside, by name.
    """

    total: Tensor
    reconstruction: Tensor
    kl: Tensor
    counterfactual_label: Tensor | None = None
    own_label: Tensor | None = None
    perceptual: Tensor | None = None
    class_mean: Tensor | None = None
    cycle: Tensor | None = None
    image_cycle: Tensor | None = None
    style: Tensor | None = None
    equivariance: Tensor | None = None
    adversarial: Tensor | None = None
    discriminator: Tensor | None = None
    label_weight: Tensor | None = None
    own_terms: dict[str, Tensor] = field(default_factory=dict)

    def means(self) -> dict[str, Tensor]:
        """Every used term's mean over the batch, by name: detached scalars."""
        used = {term.name: getattr(self, term.name) for term in fields(self) if term.name != "own_terms"}
        used |= self.own_terms
        return {name: value.detach().mean() for name, value in used.items() if value is not None}
