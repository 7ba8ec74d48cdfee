"""The objective: an evidence lower bound, and what makes a *wrong* label followed.

For an image x with label y, a code z ~ q(z | x), a wrong label y' drawn for it, the reconstruction
x~ = decode(z, y) and the counterfactual x' = decode(z, y'),

    loss = reconstruction          -log p(x | z, y)
         + beta kl                 KL(q(z | x) || N(0, I))
         + counterfactual_label    cross-entropy of the guide on x', asked for y'
         + own_label               cross-entropy of the guide on x~, asked for y
         + perceptual              |f(x~) - f(x)|^2 / 2, f the finest maps of the guide, in standard deviations
         + class_mean              |m_y|^2 / 2, m_y the mean code of the class: the label is stripped from z
         + cycle                   -log q(z | x'): x' is encoded to the code it came from
         + image_cycle             -log p(x | z', y), z' ~ q(z | x'): relabelled back, the image is itself again
         + style                   |s(x') - s(x)|^2 / 2, s the colours of windows, or thickness and slant of strokes
                                   against their class's mean, in standard deviations
         + equivariance            -log p(T x' | z_T, y'), z_T ~ q(z | T x): to change the style (T) and to
                                   relabel may swap places, so a style means the same under every label
         + adversarial             -discriminator(x', y')
         + discriminator                  the discriminator's own hinge loss
         + terms of your own       functions of what the step made (`StepRecord`)

each with its weight. Of several guides the label terms are means. The weight of counterfactual_label, lambda, can be
learned for each asked class: it grows while counterfactuals convince the guide less than real images do
(`label_constraint`). What ties a counterfactual to its original is z and its style, no comparison of pixels. Every term
is a pure function that returns `(B,)`, in nats per image (a discriminator's scores have no unit). The discriminator's
own loss reaches the discriminator alone, and the other terms never do, so one backward pass and one optimizer over all
parameters train everything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from labelvae.data.augmentation import augment, change, draw_change, noised
from labelvae.data.settings import Augmentation
from labelvae.inputs.checks import check_kind, check_same_data
from labelvae.inputs.conversions import described
from labelvae.inputs.tensors import check_images, check_labels, noised_labels, wrong_labels
from labelvae.losses.adversarial import adversarial_terms, check_maps
from labelvae.losses.guidance import Guidance
from labelvae.losses.likelihoods import Gaussian, PixelLikelihood, likelihood_of, settings_of
from labelvae.losses.objective import LEAST_SCALE, Objective
from labelvae.losses.own_terms import OwnTerms, Term, record_of
from labelvae.losses.record import LossTerms
from labelvae.losses.terms import (
    class_mean_loss,
    cycle_loss,
    kl_divergence,
    linear_warm_up,
    style_loss,
)
from labelvae.models.discriminator import Discriminator
from labelvae.models.frozen import Classifier
from labelvae.models.vae import ConditionalVAE
from labelvae.system.compiling import uncompiled


class GuidedELBO(nn.Module):
    """Computes the terms for a batch and weighs them.

    >>> from labelvae import LabelClassifier
    >>> vae = ConditionalVAE(image_shape=(1, 8, 8), num_classes=3)
    >>> guide = LabelClassifier(image_shape=(1, 8, 8), num_classes=3)
    >>> terms = GuidedELBO(guide)(vae, torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))
    >>> terms.total.backward()
    >>> sorted(terms.means())
    ['counterfactual_label', 'kl', 'reconstruction', 'total']

    Args:
        guide: a pretrained classifier of the same images and classes, which is frozen here for good: a
            `LabelClassifier`, or any network from images in [0, 1] to logits (`LabelClassifier.wrap` adds a
            normalization or another size). None leaves the label terms and the perceptual one out. To take another
            one, make another loss.
        discriminator: scores counterfactuals as images of their label, and learns to; used where
            `adversarial_weight` is above 0. The maps beside its own, if it was made to see any, are the guide's.
        objective: the likelihood and the weights.
        more_guides: other classifiers beside the guide, frozen too, over all of which the label terms are means; what
            fools one network fools another less (Tramèr et al., 2018, arXiv 1705.07204).
        terms: terms of your own, as `{"name": (weight, function)}`: a function takes a `StepRecord` and returns `(B,)`,
            in nats. They are warmed up and logged like the others.
        likelihood: `Gaussian(scale)`, `Laplace(scale)`, `Bernoulli()`, or an object of your own with
            `nll(images, logits)`, which returns `(B,)`; None takes the one that `objective` names.

    Raises:
        ValueError: `adversarial_weight` without a discriminator; a discriminator that sees other maps than the
            guide's; `perceptual_weight` with a guide that has no maps; more guides without a first, or one of them
            twice; an argument of another type; a term of your own that fails or has another shape.
    """

    def __init__(
        self,
        guide: nn.Module | None = None,
        discriminator: Discriminator | None = None,
        objective: Objective | None = None,
        more_guides: Sequence[nn.Module] = (),
        terms: Mapping[str, tuple[float, Term]] | None = None,
        likelihood: PixelLikelihood | None = None,
    ) -> None:
        super().__init__()
        guide, discriminator = uncompiled(guide), uncompiled(discriminator)
        self.objective = objective or Objective()
        parts = (("guide", guide, nn.Module), ("discriminator", discriminator, Discriminator))
        for name, part, kind in (*parts, ("objective", objective, Objective)):
            if part is not None:
                check_kind(name, part, kind)
        check_kind("more_guides", more_guides, Sequence)
        more_guides = [uncompiled(each) for each in more_guides]
        for place, each in enumerate(more_guides):
            check_kind(f"more_guides[{place}]", each, nn.Module)
        if self.objective.adversarial_weight > 0 and discriminator is None:
            raise ValueError(
                "discriminator: adversarial_weight is above 0, got None; "
                "pass discriminator=Discriminator(image_shape, num_classes)"
            )
        if guide is None and more_guides:
            raise ValueError(f"more_guides: got {len(more_guides)} beside no guide; pass the first one as guide")
        if len({id(each) for each in (guide, *more_guides)}) <= len(more_guides):
            raise ValueError("more_guides: one of them is there twice, or is the guide; each must be another network")
        self.guidance = None if guide is None else Guidance(guide, more_guides, self.objective)
        self.discriminator = discriminator if self.objective.adversarial_weight > 0 else None
        self.own_terms = OwnTerms(terms) if terms else None
        if likelihood is not None:
            if not callable(getattr(likelihood, "nll", None)) or isinstance(likelihood, type):
                raise ValueError(
                    f"likelihood: expected an object with nll(images, logits), got {described(likelihood)}; "
                    "Gaussian(0.1) is one"
                )
            self.objective = replace(self.objective, **settings_of(likelihood))
        how = self.objective
        self.likelihood = likelihood or likelihood_of(how.likelihood, how.scale, how.learn_scale)
        if guide is None or isinstance(guide, Classifier):
            check_maps(discriminator, guide)
        log_scale = torch.tensor(math.log(self.objective.scale))
        self.log_scale = nn.Parameter(log_scale, requires_grad=self.objective.learn_scale)

    def reconstruction(self, images: Tensor, logits: Tensor) -> Tensor:
        """-log p(x | z, y) under the likelihood, `(B,)`, in nats, of images given the decoder's logits."""
        images, logits = images.float(), logits.float()
        if isinstance(self.likelihood, Gaussian):
            return self.likelihood.nll(images, logits, self.log_scale)
        found = self.likelihood.nll(images, logits)
        if not isinstance(found, Tensor) or found.shape != (len(images),):
            got = tuple(found.shape) if isinstance(found, Tensor) else described(found)
            raise ValueError(f"likelihood: expected nll to return {(len(images),)}, one number an image, got {got}")
        return found.float()

    def forward(
        self,
        vae: ConditionalVAE,
        images: Tensor,
        labels: Tensor,
        wrong: Tensor | None = None,
        progress: float | Tensor = 1.0,
    ) -> LossTerms:
        """The terms for a batch.

        Args:
            vae: the model.
            images: `(B, C, H, W)` in [0, 1].
            labels: their own labels, `(B,)`.
            wrong: the labels asked of the counterfactuals, `(B,)`; None draws wrong ones.
            progress: share of the training that is done, in [0, 1], for the warm-up.

        Raises:
            ValueError: images or labels of another shape, type or range; a guide or a discriminator of other images or
                classes; a model whose decoder sees no label, where a term needs counterfactuals.
        """
        how = self.objective
        if how.learn_scale and self.training:
            with torch.no_grad():  # the last step may have taken it below
                self.log_scale.clamp_min_(math.log(LEAST_SCALE))
        self.check_networks(vae)
        check_images(images, vae.image_shape)
        labels = check_labels(labels, vae.num_classes, len(images))
        wrong = wrong_labels(labels, vae.num_classes) if wrong is None else wrong
        wrong = check_labels(wrong, vae.num_classes, len(images), name="wrong")
        labels, wrong = noised_labels(labels, wrong, how.label_noise if self.training else 0.0, vae.num_classes)

        # Everything is encoded in one batch and decoded in one batch: batch statistics then cover own labels,
        # wrong labels and changed styles alike.
        style = draw_change(images, how.style_change) if how.equivariance_weight > 0 else None
        seen = [images] if style is None else [images, change(images, style, how.style_change)]
        posteriors = vae.encode(torch.cat(seen), labels.repeat(len(seen)))
        posterior = posteriors[: len(images)]
        z, *z_changed = posteriors.rsample().split(len(images))
        asked = [labels, wrong, wrong][: 2 + len(z_changed) if self._needs_counterfactuals else 1]
        codes = noised(torch.cat([z, z, *z_changed][: len(asked)]), how.latent_noise)
        logits, *others = vae.decode_logits(codes, torch.cat(asked)).split(len(images))

        warm_up = linear_warm_up(progress, how.warm_up_share)
        terms = {"reconstruction": self.reconstruction(images, logits), "kl": kl_divergence(posterior, how.free_bits)}
        if self.guidance is not None:
            terms |= self.guidance.on_reconstructions(images, torch.sigmoid(logits), labels)
        if how.class_mean_weight > 0:
            terms["class_mean"] = class_mean_loss(posterior.mean, labels)
        if others:
            counterfactual = torch.sigmoid(others[0])
            if self.guidance is not None and how.label_weight > 0:
                terms["counterfactual_label"] = guided = self.guidance.label_loss(counterfactual, wrong)
                self.guidance.move_label_weight(images, labels, wrong, guided, warm_up)
            if how.cycle_weight > 0 or how.image_cycle_weight > 0:
                again = vae.encode(augment(counterfactual, Augmentation(noise=how.cycle_noise)), wrong)
                if how.cycle_weight > 0:
                    terms["cycle"] = cycle_loss(z.detach(), again)
                if how.image_cycle_weight > 0:
                    back = vae.decode_logits(again.rsample(), labels)
                    terms["image_cycle"] = self.reconstruction(images, back)
            if how.style_weight > 0:
                terms["style"] = style_loss(images, labels, counterfactual, wrong, vae.num_classes)
            if style is not None:
                target = change(counterfactual.detach(), style, how.style_change)
                terms["equivariance"] = self.reconstruction(target, others[1])
            if self.discriminator is not None:
                pair = (images, labels, counterfactual, wrong)
                terms |= adversarial_terms(self.discriminator, self.guide, *pair, how.discriminator_augmentation)
        made = (images, labels, wrong, posterior, z, logits, others[0] if others else None)
        own = {} if self.own_terms is None else self.own_terms(record_of(*made, self.guide))
        weights = self._weights(warm_up, wrong)
        total = torch.stack([(weights[name] * term).mean() for name, term in (terms | own).items()]).sum()
        learned = self.guidance.label_weight if self.guidance is not None and how.label_constraint else None
        return LossTerms(total=total, label_weight=learned, own_terms=own, **terms)

    @property
    def guide(self) -> Classifier | None:
        """The classifier in the loss, the first where there are several."""
        return None if self.guidance is None else self.guidance.guides[0]

    @property
    def _needs_counterfactuals(self) -> bool:
        how = self.objective
        guided = self.guidance is not None and how.label_weight > 0
        tied = max(how.cycle_weight, how.image_cycle_weight, how.style_weight, how.equivariance_weight) > 0
        own = self.own_terms is not None and bool(self.own_terms.read_counterfactuals)
        return guided or tied or own or self.discriminator is not None

    def _weights(self, warm_up: float | Tensor, asked: Tensor) -> dict[str, float | Tensor]:
        how = self.objective
        return {
            "reconstruction": 1.0,
            "kl": warm_up * how.beta,
            "counterfactual_label": warm_up * (0.0 if self.guidance is None else self.guidance.label_weight[asked]),
            "own_label": warm_up * how.own_label_weight,
            "perceptual": warm_up * how.perceptual_weight,
            "class_mean": warm_up * how.class_mean_weight,
            "cycle": warm_up * how.cycle_weight,
            "image_cycle": warm_up * how.image_cycle_weight,
            "style": warm_up * how.style_weight,
            "equivariance": warm_up * how.equivariance_weight,
            "adversarial": warm_up * how.adversarial_weight,
            "discriminator": 1.0,
            **({} if self.own_terms is None else {k: warm_up * w for k, w in self.own_terms.weights.items()}),
        }

    def check_networks(self, vae: ConditionalVAE) -> None:
        """A `ValueError` unless the model, the guides and the discriminator are for each other."""
        if self.guidance is not None:
            self.guidance.adopt(vae.image_shape, vae.num_classes)
        check_maps(self.discriminator, self.guide)
        if self.own_terms is not None:
            self.own_terms.try_on(vae, self.guide)
        if self._needs_counterfactuals and not vae.decoder_sees_label:
            raise ValueError(
                f"objective: a decoder with decoder_label={vae.decoder_label!r} has no counterfactuals to train on; "
                "set label_weight, both cycle weights, and the weights of style, equivariance and adversarial to 0, "
                "and take no terms of your own that read it"
            )
        guides = [] if self.guidance is None else self.guidance.guides
        names = ["guide", *(f"more_guides[{place}]" for place in range(len(guides)))]
        for name, network in [*zip(names, guides, strict=False), ("discriminator", self.discriminator)]:
            if network is not None:
                check_same_data(name, network, vae)
