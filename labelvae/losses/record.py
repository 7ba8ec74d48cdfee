"""The answer of the objective: its terms by name."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from torch import Tensor


@dataclass(frozen=True)
class LossTerms:
    """The unweighted terms of the objective, each `(B,)` in nats per image. A term that is not used is None.

    `GuidedELBO` says what each term is.

    Attributes:
        total: the scalar to minimize: the weighted sum of the terms, averaged over the batch.
        label_weight: the lambda of each asked class, `(K,)`, without unit; None if lambda is not learned.
        own_terms: the terms of your own, by name, each `(B,)`.
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
        """Return the mean of each used term over the batch, by name, as detached scalars."""
        used = {term.name: getattr(self, term.name) for term in fields(self) if term.name != "own_terms"}
        used |= self.own_terms
        return {name: value.detach().mean() for name, value in used.items() if value is not None}
