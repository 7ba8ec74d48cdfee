"""The objective of a model whose label is made of several attributes; see `AttributeELBO`.

The label loss asks for every attribute of the drawn row: attributes that changed are followed, and attributes that did
not change are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labelvae.attributes.rows import asked_rows
from labelvae.data.augmentation import augment, noised
from labelvae.inputs.checks import check_kind
from labelvae.inputs.tensors import check_images
from labelvae.losses.guidance import CONSTRAINT_RATE, LARGEST_LOG_CHANGE
from labelvae.losses.guided_elbo import GuidedELBO
from labelvae.losses.objective import Objective
from labelvae.losses.terms import kl_divergence, linear_warm_up
from labelvae.models.attribute_classifier import AttributeClassifier
from labelvae.models.vae import ConditionalVAE
from labelvae.system.compiling import uncompiled

OF_ONE_CLASS = (
    "perceptual_weight",
    "style_weight",
    "equivariance_weight",
    "adversarial_weight",
    "label_noise",
    "label_smoothing",
)
"""Settings that must be 0 with several attributes: they are made for labels of one class."""


@dataclass(frozen=True)
class AttributeTerms:
    """The terms of one batch.

    Attributes:
        total: the scalar to minimize: the weighted sum of the terms, averaged over the batch.
        terms: each term that is used, by name, unweighted, `(B,)`, in nats per image.
        by_attribute: the guide's loss on the counterfactuals, by attribute, `(B,)`, in nats per image.
    """

    total: Tensor
    terms: dict[str, Tensor]
    by_attribute: dict[str, Tensor]

    def means(self) -> dict[str, Tensor]:
        """Return the mean of each term over the batch, by name, as detached scalars in nats per image."""
        named = self.terms | {f"counterfactual_label/{name}": loss for name, loss in self.by_attribute.items()}
        return {"total": self.total.detach()} | {name: value.detach().mean() for name, value in named.items()}


class AttributeGuidance(nn.Module):
    """The frozen guide, with a lambda for each attribute."""

    def __init__(self, guide: AttributeClassifier, objective: Objective) -> None:
        super().__init__()
        self.members = nn.ModuleList([guide.freeze()])
        self.objective = objective
        self.log_change: Tensor
        zeros = torch.zeros(len(guide.attributes))
        self.register_buffer("log_change", zeros, persistent=objective.label_constraint)

    @property
    def guide(self) -> AttributeClassifier:
        """The guide."""
        return self.members[0]  # type: ignore[return-value]

    @property
    def label_weight(self) -> Tensor:
        """The present lambda of each attribute, `(A,)`, without unit."""
        return self.objective.label_weight * self.log_change.exp()

    def nll(self, images: Tensor, rows: Tensor) -> Tensor:
        """Return the guide's loss on randomly changed images for the rows `(B, A)`: `(B, A)`, in nats."""
        seen = augment(images, self.objective.guide_augmentation)
        return torch.stack(list(self.guide.nll(seen, rows).values()), dim=1)

    def move_label_weight(
        self, images: Tensor, rows: Tensor, asked: Tensor, loss: Tensor, warm_up: float | Tensor
    ) -> None:
        """Move the lambda of each attribute by one step, if lambda is learned.

        The step is one of dual ascent on the constraint mean(loss) <= mean(loss of real images), for each attribute.
        The means are over the known values.

        Args:
            images: the real images, `(B, C, H, W)` in [0, 1].
            rows: their own rows, `(B, A)`.
            asked: the rows of the counterfactuals, `(B, A)`.
            loss: the guide's loss on the counterfactuals, `(B, A)`, in nats.
            warm_up: the factor of the warm-up, in [0, 1].
        """
        if not (self.objective.label_constraint and self.training):
            return
        quarter = math.ceil(len(images) / 4)
        with torch.no_grad():
            real = self.nll(images[:quarter], rows[:quarter])
            here, there = (~values.isnan().to(loss.device) for values in (asked, rows[:quarter]))
            excess = loss.sum(dim=0) / here.sum(dim=0) - real.sum(dim=0) / there.sum(dim=0)
            excess = excess.nan_to_num(0.0).to(self.log_change.dtype)  # nothing is known
            moved = self.log_change + CONSTRAINT_RATE * warm_up * excess.clamp(-1.0, 1.0)
            self.log_change.copy_(moved.clamp(-LARGEST_LOG_CHANGE, LARGEST_LOG_CHANGE))


class AttributeELBO(GuidedELBO):
    """The objective of a model whose label is made of several attributes.

    For an image x with a row y of attributes, draw a code z ~ q(z | x), and another row y' in which some or all
    attributes have the values of other images of the batch. Let x~ = decode(z, y) and x' = decode(z, y'). The loss is
    the sum of these terms, each times its weight, a field of `Objective`:

        term                  weight              is
        reconstruction        1                   -log p(x | z, y)
        kl                    beta                KL(q(z | x) || N(0, I))
        counterfactual_label  label_weight        -log p(y' | x') of the guide, over all attributes
        own_label             own_label_weight    -log p(y | x~) of the guide
        class_mean            class_mean_weight   half the squared covariance of z with the row: removes y from z
        cycle                 cycle_weight        -log q(z | x'): x' is encoded to the code it came from
        image_cycle           image_cycle_weight  -log p(x | z', y), z' ~ q(z | x'): relabelled back, x returns

    With `label_constraint`, the weight of counterfactual_label is learned for each attribute. An unknown value (NaN)
    leaves its part of the loss out.

    Args:
        guide: a pretrained classifier of the same images and attributes. It is frozen here for good. None leaves the
            label terms out.
        objective: the likelihood and the weights. `label_weight` is the weight of each attribute.

    Raises:
        ValueError: a guide of another kind; a setting that is made for labels of one class, see `OF_ONE_CLASS`;
            another `label_loss`.

    >>> from labelvae.attributes import Category, Continuous
    >>> attributes = {"object": Category(3), "angle": Continuous(0, 360, "degrees", periodic=True)}
    >>> vae = ConditionalVAE((1, 8, 8), attributes=attributes)
    >>> loss = AttributeELBO(AttributeClassifier((1, 8, 8), attributes))
    >>> terms = loss(vae, torch.rand(4, 1, 8, 8), torch.tensor([[0, 10], [1, 20], [2, 30], [0, 40]]))
    >>> terms.total.backward()
    """

    def __init__(self, guide: AttributeClassifier | None = None, objective: Objective | None = None) -> None:
        objective = objective or Objective()
        check_kind("objective", objective, Objective)
        guide = uncompiled(guide)
        check_kind("guide", guide, AttributeClassifier, optional=True)
        for name in OF_ONE_CLASS:
            if getattr(objective, name) > 0:
                raise ValueError(f"{name}: expected 0 with several attributes, got {getattr(objective, name)}")
        if objective.label_loss != "categorical":
            raise ValueError(
                "label_loss: each attribute has the loss of its own kind, so this setting has no effect with several "
                f"attributes; expected 'categorical', got {objective.label_loss!r}"
            )
        super().__init__(objective=objective)
        self.guidance = None if guide is None else AttributeGuidance(guide, objective)  # type: ignore[assignment]

    @property
    def guide(self) -> AttributeClassifier | None:
        """The frozen guide, or None."""
        return None if self.guidance is None else self.guidance.members[0]  # type: ignore[return-value]

    def forward(  # type: ignore[override]
        self,
        vae: ConditionalVAE,
        images: Tensor,
        labels: Tensor,
        wrong: Tensor | None = None,
        progress: float | Tensor = 1.0,
    ) -> AttributeTerms:
        """Compute the terms of a batch.

        Args:
            vae: the model.
            images: the images, `(B, C, H, W)` in [0, 1].
            labels: their own rows, `(B, A)`. NaN is an unknown value.
            wrong: the rows asked of the counterfactuals, `(B, A)`. None draws them, see `asked_rows`.
            progress: the share of the training that is done, in [0, 1], for the warm-up.

        Returns:
            The terms, in nats per image. `total` is the scalar to minimize.

        Raises:
            ValueError: images or labels of another shape, type or range; a guide of other images or attributes.
        """
        objective = self.objective
        self._keep_scale()
        self.check_networks(vae)
        check_images(images, vae.image_shape)
        assert vae.attributes is not None
        rows = vae.attributes.rows(labels, len(images))
        asked = asked_rows(rows)[0] if wrong is None else vae.attributes.rows(wrong, len(images), "wrong")
        own_weights, asked_weights = (vae.weighed(vae.attributes.weights(each)) for each in (rows, asked))
        both = vae.weighed(torch.cat([own_weights.weights, asked_weights.weights]))

        posterior = vae.encode(images, own_weights)
        z = posterior.rsample()
        codes = noised(torch.cat([z, z]), objective.latent_noise)
        logits, other = vae.decode_logits(codes, both).chunk(2)
        warm_up = linear_warm_up(progress, objective.warm_up_share)
        terms = {
            "reconstruction": self.reconstruction(images, logits),
            "kl": kl_divergence(posterior, objective.free_bits),
        }
        weighted = [terms["reconstruction"], warm_up * objective.beta * terms["kl"]]

        def add(name: str, weight: float, term: Tensor) -> None:
            terms[name] = term
            weighted.append(warm_up * weight * term)

        counterfactual = torch.sigmoid(other)
        by_attribute: dict[str, Tensor] = {}
        guidance: AttributeGuidance | None = self.guidance  # type: ignore[assignment]
        if guidance is not None and objective.label_weight > 0:
            nll = guidance.nll(counterfactual, asked)
            guidance.move_label_weight(images, rows, asked, nll, warm_up)
            by_attribute = dict(zip(vae.attributes, nll.unbind(dim=1), strict=True))
            terms["counterfactual_label"] = nll.sum(dim=1)
            weighted.append(warm_up * (guidance.label_weight * nll).sum(dim=1))
        if guidance is not None and objective.own_label_weight > 0:
            add("own_label", objective.own_label_weight, guidance.nll(torch.sigmoid(logits), rows).sum(dim=1))
        if objective.class_mean_weight > 0:
            add("class_mean", objective.class_mean_weight, label_covariance(posterior.mean, own_weights.weights))
        for name, term in self._cycle_terms(vae, images, own_weights, z, counterfactual, asked_weights).items():
            add(name, getattr(objective, f"{name}_weight"), term)
        return AttributeTerms(torch.stack([term.mean() for term in weighted]).sum(), terms, by_attribute)

    def check_networks(self, vae: ConditionalVAE) -> None:
        """Make sure that the model and the guide fit together.

        Raises:
            ValueError: a model of one class; a decoder that does not see the label; a guide of other images or
                attributes.
        """
        if vae.attributes is None:
            raise ValueError(
                "vae: expected a model of attributes, got one of one class; make it with attributes={...}, or "
                "use GuidedELBO"
            )
        if not vae.decoder_sees_label:
            raise ValueError(
                f"decoder_label: expected a decoder that sees the label, got {vae.decoder_label!r}; use 'batchnorm'"
            )
        guide = self.guide
        if guide is not None and (guide.attributes, guide.image_shape) != (vae.attributes, vae.image_shape):
            raise ValueError(
                f"guide: reads {', '.join(guide.attributes)} from images {guide.image_shape}, the model has "
                f"{', '.join(vae.attributes)} and images {vae.image_shape}; make one for the same data and ranges"
            )


def label_covariance(means: Tensor, weights: Tensor) -> Tensor:
    """Estimate half the squared covariance of codes with labels, without bias.

    Where the covariance is 0, no linear probe reads the label from the code. The estimate is the Hilbert-Schmidt
    independence criterion with linear kernels (Song et al., 2012, JMLR 13): each image is compared with the other
    images of the batch, so a single value may be negative. A mean that all codes share does not count.

    Args:
        means: the posterior means, `(B, D)`.
        weights: the weights of the labels, `(B, L)`.

    Returns:
        One number an image, `(B,)`, in nats; 0 for fewer than four images.
    """
    if len(means) < 4:
        return means.float().sum(dim=1) * 0.0
    means, weights = means.float() - means.float().mean(dim=0), weights.float()
    centred = weights - weights.mean(dim=0)
    centred = centred / centred.square().sum(dim=1).mean().sqrt().clamp_min(1e-3)
    with torch.autocast(means.device.type, enabled=False):
        alike = _centred_pairs(centred) * _centred_pairs(means)
    return 0.5 * alike.sum(dim=1) / (len(means) - 3)


def _centred_pairs(rows: Tensor) -> Tensor:
    """Return the products of rows `(B, D)` with each other, centred without bias and 0 on the diagonal: `(B, B)`."""
    count, products = len(rows), rows @ rows.T
    products = products - torch.diag(products.diagonal())
    sums = products.sum(dim=1)
    centred = products - (sums[:, None] + sums) / (count - 2) + sums.sum() / ((count - 1) * (count - 2))
    return centred - torch.diag(centred.diagonal())
