"""The settings of the loss: the likelihood, the weight of every term, and the random changes of an image.

Plain dataclasses like those of `runs.settings`. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from labelvae.data.settings import Augmentation
from labelvae.inputs.checks import check_choice, check_flag, check_kind, check_number, plain_fields

Likelihood = Literal["gaussian", "bernoulli", "laplace"]
LabelLoss = Literal["categorical", "binary"]

LEAST_SCALE = 1e-3
"""Lower bound on the likelihood's scale. Without it a learned scale shrinks without limit on images that can be
reproduced exactly.
"""


@dataclass(frozen=True)
class Objective:
    """The likelihood and the weight of every term of the loss; `GuidedELBO` has the formula.

    Terms are in nats per image. So a weight has no unit, and means the same at any batch size. A weight of 0 leaves its
    term out. Weights are at least 0; a number out of range raises `ValueError`.

    Attributes:
        likelihood: likelihood of a pixel. Bernoulli takes grey levels as probabilities.
        scale: standard deviation (gaussian) or scale (laplace) of a pixel whose range is [0, 1], at least 0.001. The
            smaller it is, the more the reconstruction outweighs every other term.
        learn_scale: learn the scale (sigma-VAE). It can shrink until the label is ignored.
        beta: weight of the KL divergence of the posterior from the prior.
        free_bits: nats that each latent dimension may hold at no cost.
        label_weight: lambda, weight of the guide's cross-entropy on counterfactuals, under the wrong label.
        label_constraint: learn lambda for each asked class, starting from label_weight. It grows while counterfactuals
            of the class convince the guide less than real images do, and shrinks while they convince it more. So it
            suits any likelihood.
        own_label_weight: weight of the guide's cross-entropy on reconstructions, under the own label.
        perceptual_weight: weight of the distance between image and reconstruction in the guide's finest maps. It helps
            where a likelihood of single pixels blurs.
        label_smoothing: label smoothing of both cross-entropies, in [0, 1).
        label_loss: categorical is the cross-entropy of the softmax. Binary is a yes or no for each class.
        label_noise: share of the training labels that are replaced by wrong ones, everywhere in the loss, in [0, 1).
        latent_noise: largest standard deviation of the noise added to a code before it is decoded, in standard
            deviations of the prior. Each code draws its own.
        class_mean_weight: weight of the distance of each class's mean code from the prior's mean. This removes the
            label from the code.
        cycle_weight: weight of the latent cycle: a counterfactual is encoded to the code it came from.
        image_cycle_weight: weight of the image cycle: a counterfactual that is relabelled back gives the image again.
        cycle_noise: largest standard deviation of the noise added to a counterfactual before it is encoded again, in
            the range [0, 1] of a pixel. Each image draws its own. The noise keeps the code from hiding in specks.
        style_weight: weight of the change in style. The style is thickness and slant of strokes for images of one
            channel, and the mean colours of windows of a quarter of the size for other images.
        equivariance_weight: weight of equivariance: changing the style and relabelling give the same in either order.
        style_change: the changes of style for equivariance. Its blur and noise are not used.
        adversarial_weight: weight of the discriminator's score of the counterfactuals.
        guide_augmentation: random changes made to an image before the guide sees it.
        discriminator_augmentation: random changes made to an image and, alike, to its counterfactual, before the
            discriminator sees them (Zhao et al., 2020, arXiv 2006.10738). Its blur and noise are not used. Shifts by
            whole pixels (interpolation nearest) keep a checkerboard from growing.
        warm_up_share: share of the training, in [0, 1), over which the weights grow from 0. The weights of the
            reconstruction and of the discriminator's own loss are 1 from the start.
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
