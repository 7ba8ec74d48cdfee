"""The objective of a conditional VAE: an evidence lower bound, and the terms that make a *wrong* label followed.

`GuidedELBO` has the formula. Its terms are pure functions, see `terms`.
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
from labelvae.inputs.class_names import check_order
from labelvae.inputs.conversions import described
from labelvae.inputs.tensors import Labels, check_images, check_labels, noised_labels, wrong_labels
from labelvae.losses.adversarial import adversarial_terms, check_maps
from labelvae.losses.guidance import Guidance
from labelvae.losses.likelihoods import NAMED, Gaussian, PixelLikelihood, likelihood_of, settings_of
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
    """The guided evidence lower bound: the terms of a batch, and their weighted sum.

    For an image x with label y, draw a code z ~ q(z | x) and a wrong label y'. Let x~ = decode(z, y) be the
    reconstruction and x' = decode(z, y') the counterfactual. The loss is the sum of these terms, each times its weight,
    a field of `Objective`:

        term                  weight               is
        reconstruction        1                    -log p(x | z, y)
        kl                    beta                 KL(q(z | x) || N(0, I))
        counterfactual_label  label_weight         cross-entropy of the guide on x' for y'; the weight is lambda
        own_label             own_label_weight     cross-entropy of the guide on x~ for y
        perceptual            perceptual_weight    |f(x~) - f(x)|^2 / 2, f the finest maps of the guide
        class_mean            class_mean_weight    |m_y|^2 / 2, m_y the mean code of the class: removes y from z
        cycle                 cycle_weight         -log q(z | x'): x' is encoded to the code it came from
        image_cycle           image_cycle_weight   -log p(x | z', y), z' ~ q(z | x'): relabelled back, x returns
        style                 style_weight         |s(x') - s(x)|^2 / 2, s the thickness and slant of strokes, each
                                                   minus the mean of its class, or the colours of windows
        equivariance          equivariance_weight  -log p(T x' | z_T, y'), z_T ~ q(z | T x), T a random change of
                                                   style: a style means the same under every label
        adversarial           adversarial_weight   -discriminator(x', y')
        discriminator         1                    the discriminator's own hinge loss
        terms of your own     yours                functions of a `StepRecord`

    Terms are in nats per image; f and s are in standard deviations, and a discriminator's scores have no unit. Nothing
    compares the pixels of a counterfactual with those of its image: z and the style tie the two. With
    `label_constraint`, lambda is learned for each asked class: it grows while counterfactuals convince the guide less
    than real images do. The discriminator's own loss trains the discriminator only, and the other terms never train it.
    So one backward pass and one optimizer train everything.

    Args:
        guide: a pretrained classifier of the same images and classes: a `LabelClassifier`, or any network from images
            in [0, 1] to logits `(B, K)`. (`LabelClassifier.wrap` adds a normalization or another size.) It is frozen
            here for good. None leaves out the label terms and the perceptual term.
        discriminator: scores counterfactuals as images of their label, and is trained to. Used only if
            `adversarial_weight` is above 0. If it sees a classifier's maps, they are those of the guide.
        objective: the likelihood and the weights; None for `Objective()`.
        more_guides: further classifiers, frozen too. The label terms are means over all guides. An image that fools one
            network fools another less (Tramèr et al., 2018, arXiv 1705.07204).
        terms: terms of your own, as `{"name": (weight, function)}`. A function takes a `StepRecord` and returns `(B,)`,
            in nats. Such terms are warmed up and logged like the others.
        likelihood: `Gaussian(scale)`, `Laplace(scale)`, `Bernoulli()`, or an object of your own with a method
            `nll(images, logits)` that returns `(B,)`. None takes the likelihood that `objective` names.

    Raises:
        ValueError: `adversarial_weight` above 0 without a discriminator; a discriminator made for other maps than the
            guide's; `perceptual_weight` above 0 with a guide that has no maps; more guides without a first one, or one
            network twice; an argument of another type; a term of your own that fails or returns another shape.

    >>> from labelvae import LabelClassifier
    >>> vae = ConditionalVAE(image_shape=(1, 8, 8), num_classes=3)
    >>> guide = LabelClassifier(image_shape=(1, 8, 8), num_classes=3)
    >>> terms = GuidedELBO(guide)(vae, torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))
    >>> terms.total.backward()
    >>> sorted(terms.means())
    ['counterfactual_label', 'kl', 'reconstruction', 'total']
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
            check_kind(name, part, kind, optional=True)
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
        objective = self.objective
        self.likelihood = likelihood or likelihood_of(objective.likelihood, objective.scale, objective.learn_scale)
        if guide is None or isinstance(guide, Classifier):
            check_maps(discriminator, guide)
        log_scale = torch.tensor(math.log(self.objective.scale))
        self.log_scale = nn.Parameter(log_scale, requires_grad=self.objective.learn_scale)

    def reconstruction(self, images: Tensor, logits: Tensor) -> Tensor:
        """Compute -log p(x | z, y) under the likelihood.

        Args:
            images: the images x, `(B, C, H, W)` in [0, 1].
            logits: the decoder's answer, `(B, C, H, W)`. Its sigmoid is the reconstruction.

        Returns:
            The sum over channels and pixels, `(B,)`, in nats.
        """
        images, logits = images.float(), logits.float()
        if isinstance(self.likelihood, Gaussian) and type(self.likelihood) in NAMED.values():
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
        """Compute the terms of a batch.

        Args:
            vae: the model, with the encoder q(z | x) and the decoder.
            images: the images x, `(B, C, H, W)` in [0, 1].
            labels: their own labels y, int64 `(B,)`.
            wrong: the labels y' asked of the counterfactuals, int64 `(B,)`. None draws them uniformly.
            progress: the share of the training that is done, in [0, 1], for the warm-up.

        Returns:
            The unweighted terms, `(B,)`, in nats per image. `total` is the scalar to minimize.

        Raises:
            ValueError: images or labels of another shape, type or range; a guide or a discriminator of other images or
                classes; a decoder that does not see the label, with a term that needs counterfactuals.
        """
        objective = self.objective
        self._keep_scale()
        self.check_networks(vae)
        check_images(images, vae.image_shape)
        labels = check_labels(labels, vae.num_classes, len(images))
        wrong = wrong_labels(labels, vae.num_classes) if wrong is None else wrong
        wrong = check_labels(wrong, vae.num_classes, len(images), name="wrong")
        labels, wrong = noised_labels(labels, wrong, objective.label_noise if self.training else 0.0, vae.num_classes)

        # Everything is encoded in one batch and decoded in one batch: batch statistics then cover own labels,
        # wrong labels and changed styles alike.
        style = draw_change(images, objective.style_change) if objective.equivariance_weight > 0 else None
        seen = [images] if style is None else [images, change(images, style, objective.style_change)]
        posteriors = vae.encode(torch.cat(seen), labels.repeat(len(seen)))
        posterior = posteriors[: len(images)]
        z, *z_changed = posteriors.rsample().split(len(images))
        asked = [labels, wrong, wrong][: 2 + len(z_changed) if self._needs_counterfactuals else 1]
        codes = noised(torch.cat([z, z, *z_changed][: len(asked)]), objective.latent_noise)
        logits, *others = vae.decode_logits(codes, torch.cat(asked)).split(len(images))

        warm_up = linear_warm_up(progress, objective.warm_up_share)
        terms = {
            "reconstruction": self.reconstruction(images, logits),
            "kl": kl_divergence(posterior, objective.free_bits),
        }
        if self.guidance is not None:
            terms |= self.guidance.on_reconstructions(images, torch.sigmoid(logits), labels)
        if objective.class_mean_weight > 0:
            terms["class_mean"] = class_mean_loss(posterior.mean, labels)
        if others:
            counterfactual = torch.sigmoid(others[0])
            if self.guidance is not None and objective.label_weight > 0:
                terms["counterfactual_label"] = guided = self.guidance.label_loss(counterfactual, wrong)
                self.guidance.move_label_weight(images, labels, wrong, guided, warm_up)
            terms |= self._cycle_terms(vae, images, labels, z, counterfactual, wrong)
            if objective.style_weight > 0:
                terms["style"] = style_loss(images, labels, counterfactual, wrong, vae.num_classes)
            if style is not None:
                target = change(counterfactual.detach(), style, objective.style_change)
                terms["equivariance"] = self.reconstruction(target, others[1])
            if self.discriminator is not None:
                pair = (images, labels, counterfactual, wrong)
                terms |= adversarial_terms(self.discriminator, self.guide, *pair, objective.discriminator_augmentation)
        made = (images, labels, wrong, posterior, z, logits, others[0] if others else None)
        own = {} if self.own_terms is None else self.own_terms(record_of(*made, self.guide))
        weights = self._weights(warm_up, wrong)
        total = torch.stack([(weights[name] * term).mean() for name, term in (terms | own).items()]).sum()
        learned = self.guidance.label_weight if self.guidance is not None and objective.label_constraint else None
        return LossTerms(total=total, label_weight=learned, own_terms=own, **terms)

    def _keep_scale(self) -> None:
        """Take the learned scale back to the least one, below which the last step may have taken it."""
        if self.objective.learn_scale and self.training:
            with torch.no_grad():
                self.log_scale.clamp_min_(math.log(LEAST_SCALE))

    def _cycle_terms(
        self, vae: ConditionalVAE, images: Tensor, own: Labels, z: Tensor, counterfactual: Tensor, asked: Labels
    ) -> dict[str, Tensor]:
        """Encode counterfactuals again, and return the terms of both cycles that are used."""
        objective = self.objective
        terms: dict[str, Tensor] = {}
        if objective.cycle_weight > 0 or objective.image_cycle_weight > 0:
            again = vae.encode(augment(counterfactual, Augmentation(noise=objective.cycle_noise)), asked)
            if objective.cycle_weight > 0:
                terms["cycle"] = cycle_loss(z.detach(), again)
            if objective.image_cycle_weight > 0:
                terms["image_cycle"] = self.reconstruction(images, vae.decode_logits(again.rsample(), own))
        return terms

    @property
    def guide(self) -> Classifier | None:
        """The frozen guide, the first if there are several; None without one."""
        return None if self.guidance is None else self.guidance.guides[0]

    @property
    def _needs_counterfactuals(self) -> bool:
        objective = self.objective
        guided = self.guidance is not None and objective.label_weight > 0
        tied = max(objective.cycle_weight, objective.image_cycle_weight, objective.style_weight) > 0
        moved = objective.equivariance_weight > 0
        own = self.own_terms is not None and bool(self.own_terms.read_counterfactuals)
        return guided or tied or moved or own or self.discriminator is not None

    def _weights(self, warm_up: float | Tensor, asked: Tensor) -> dict[str, float | Tensor]:
        objective = self.objective
        return {
            "reconstruction": 1.0,
            "kl": warm_up * objective.beta,
            "counterfactual_label": warm_up * (0.0 if self.guidance is None else self.guidance.label_weight[asked]),
            "own_label": warm_up * objective.own_label_weight,
            "perceptual": warm_up * objective.perceptual_weight,
            "class_mean": warm_up * objective.class_mean_weight,
            "cycle": warm_up * objective.cycle_weight,
            "image_cycle": warm_up * objective.image_cycle_weight,
            "style": warm_up * objective.style_weight,
            "equivariance": warm_up * objective.equivariance_weight,
            "adversarial": warm_up * objective.adversarial_weight,
            "discriminator": 1.0,
            **({} if self.own_terms is None else {k: warm_up * w for k, w in self.own_terms.weights.items()}),
        }

    def check_networks(self, vae: ConditionalVAE) -> None:
        """Make sure that the model, the guides and the discriminator fit together.

        Raises:
            ValueError: a network of other images or classes; a decoder that does not see the label, with a term that
                needs counterfactuals; a term of your own that fails.
        """
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
                check_order(name, getattr(network, "class_names", None), vae.class_names, "the model")
