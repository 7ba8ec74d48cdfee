"""What a loss is made of, with units and defaults: the likelihood, the weight of every term, the changes of an image.

Plain dataclasses like those of `runs.settings`, without torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from labelvae.data.settings import Augmentation
from labelvae.inputs.checks import check_choice, check_flag, check_kind, check_number, plain_fields

Likelihood = Literal["gaussian", "bernoulli", "laplace"]
LabelLoss = Literal["categorical", "binary"]

LEAST_SCALE = 1e-3
"""Of a likelihood. A learned one stops here: on images that can be copied exactly it would shrink for ever."""


@dataclass(frozen=True)
class Objective:
    """The likelihood and the weight of every term. Terms are in nats per image, so a weight means one thing.

    Weights are at least 0. A number out of range raises `ValueError`.

    Attributes:
        likelihood: Of the pixels. Bernoulli takes grey levels as probabilities.
        scale: Standard deviation (gaussian) or scale (laplace) of a pixel, at least 0.001; the smaller, the more
            the reconstruction outweighs every other term.
        learn_scale: Learn the scale (sigma-VAE). It can shrink until the label is ignored.
        beta: Weight of the divergence of the posterior from the prior.
        free_bits: Nats that each latent dimension may hold for free.
        label_weight: Lambda, weight of the guide's cross-entropy on counterfactuals, under the wrong label.
        label_constraint: Learn lambda for each asked class, from label_weight on: it grows while its counterfactuals
            convince the guide less than real images do, and shrinks while they convince it more, so that it suits any
            likelihood.
        own_label_weight: Weight of the guide's cross-entropy on reconstructions, under the own label.
        perceptual_weight: Weight of the distance of reconstructions in the guide's finest maps; for images that a
            likelihood of single pixels blurs.
        label_smoothing: Of both cross-entropies, in [0, 1).
        label_loss: Categorical cross-entropy of the softmax, or a binary one for each class.
        label_noise: Share of the labels that are replaced by wrong ones while training, everywhere in the loss.
        latent_noise: Largest standard deviation of the noise put on a code before it is decoded, in those of the prior;
            each draws its own.
        class_mean_weight: Weight of the distance of the classes' mean codes from the prior's: strips the label from z.
        cycle_weight: Weight of the latent cycle: a counterfactual is encoded to the code it came from.
        image_cycle_weight: Weight of the image cycle: the image comes back from its counterfactual's code.
        cycle_noise: Largest standard deviation of the noise put on a counterfactual before it is encoded again,
            so that the code cannot hide in specks; each image draws its own.
        style_weight: Weight of the style that a counterfactual shall keep: thickness and slant of strokes where images
            have one channel, else the colours of windows of a quarter of the size.
        equivariance_weight: Weight of equivariance: to change the style and to relabel may swap places.
        style_change: The changes of style that equivariance is asked for; blur and noise are none.
        adversarial_weight: Weight of the discriminator's score of the counterfactuals.
        guide_augmentation: Changes put on an image before the guide sees it.
        discriminator_augmentation: Changes put on an image and on its counterfactual, alike, before the discriminator
            sees them (Zhao et al., 2020, arXiv 2006.10738); blur and noise are none. Shifts by whole pixels, nearest,
            move a mesh against its strides.
        warm_up_share: Share of the training over which all weights but the reconstruction's and the discriminator's own
            grow from 0, in [0, 1).
    """

    likelihood: Likelihood = "bernoulli"
    scale: float = 0.1
    learn_scale: bool = False
    beta: float = 1.0
    free_bits: float = 0.0
    label_weight: float = 5.0
    label_constraint: bool = False
    own_label_weight: float = 0.0
    perceptual_weight: float = 0.0
    label_smoothing: float = 0.0
    label_loss: LabelLoss = "categorical"
    label_noise: float = 0.0
    latent_noise: float = 0.0
    class_mean_weight: float = 0.0
    cycle_weight: float = 0.0
    image_cycle_weight: float = 0.0
    cycle_noise: float = 0.2
    style_weight: float = 0.0
    equivariance_weight: float = 0.0
    style_change: Augmentation = field(default_factory=lambda: Augmentation(shear=0.2, shift=0.05))
    adversarial_weight: float = 0.0
    guide_augmentation: Augmentation = field(default_factory=Augmentation)
    discriminator_augmentation: Augmentation = field(default_factory=Augmentation)
    warm_up_share: float = 0.1

    def __post_init__(self) -> None:
        plain_fields(self)
        for name in ("style_change", "guide_augmentation", "discriminator_augmentation"):
            check_kind(name, getattr(self, name), Augmentation)
        check_choice("likelihood", self.likelihood, get_args(Likelihood))
        check_number("scale", self.scale, at_least=LEAST_SCALE)
        check_flag("learn_scale", self.learn_scale)
        if self.learn_scale and self.likelihood == "bernoulli":
            raise ValueError("learn_scale: a bernoulli likelihood has no scale; take gaussian or laplace")
        check_flag("label_constraint", self.label_constraint)
        check_choice("label_loss", self.label_loss, get_args(LabelLoss))
        for name in ("label_smoothing", "label_noise", "warm_up_share"):
            check_number(name, getattr(self, name), at_least=0, below=1)
        weights = [each.name for each in fields(self) if each.name.endswith("_weight")]
        for name in ("beta", "free_bits", "latent_noise", "cycle_noise", *weights):
            check_number(name, getattr(self, name), at_least=0)
