"""The terms of the objective as pure functions, each `(B,)`, in nats per image; `guided_elbo` weighs them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from labelvae.data.differentiable_style import class_centred, style_of
from labelvae.models.latent import DiagonalGaussian


def gaussian_nll(images: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log N(x; mean, scale^2), summed over channels and pixels, `(B,)`, in nats.

    With a learned scale: sigma-VAE (Rybkin et al., 2021, arXiv 2006.13202).
    """
    squared = ((images - mean) * torch.exp(-log_scale)).square()
    return (0.5 * squared + log_scale + 0.5 * math.log(2.0 * math.pi)).flatten(1).sum(dim=1)


def laplace_nll(images: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log Laplace(x; mean, scale), summed over channels and pixels, `(B,)`, in nats."""
    return ((images - mean).abs() * torch.exp(-log_scale) + log_scale + math.log(2.0)).flatten(1).sum(dim=1)


def bernoulli_nll(images: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of sigmoid(logits) with grey levels in [0, 1], summed over channels and pixels, `(B,)`, in nats."""
    return F.binary_cross_entropy_with_logits(logits, images, reduction="none").flatten(1).sum(dim=1)


def kl_divergence(posterior: DiagonalGaussian, free_bits: float = 0.0) -> Tensor:
    """KL(q || N(0, I)), `(B,)`, in nats.

    Dimensions that hold fewer than `free_bits` nats, as a mean over the batch, count as `free_bits` and get
    no gradient (Kingma et al., 2016, arXiv 1606.04934).
    """
    kl = posterior.kl_per_dimension()
    if free_bits > 0:
        kl = torch.where(kl.mean(dim=0, keepdim=True) < free_bits, torch.full_like(kl, free_bits), kl)
    return kl.sum(dim=1)


def label_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of a guide's logits `(B, K)` with labels `(B,)`, `(B,)`, in nats."""
    return F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)


def binary_label_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Binary cross-entropy of a guide's logits `(B, K)`, a yes or no for each class, summed, `(B,)`, in nats."""
    target = F.one_hot(labels, logits.shape[1]).float() * (1.0 - smoothing) + 0.5 * smoothing
    return F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none").sum(dim=1)


def perceptual_loss(maps: Tensor, target: Tensor) -> Tensor:
    """How far the maps `(B, C, h, w)` of reconstructions are from those of their images, `(B,)`, in nats.

    Under Gaussians, one for each unit, of its channel's deviation over the target, the maps of the batch's images; of
    0.05 where it is less (Johnson et al., 2016, arXiv 1603.08155; in a VAE, Hou et al., 2017, arXiv 1610.00291).
    """
    target = target.float()
    deviation = target.std(dim=(0, 2, 3), keepdim=True, correction=0).clamp_min(0.05)
    return 0.5 * ((maps.float() - target) / deviation).square().flatten(1).sum(dim=1)


def class_mean_loss(means: Tensor, labels: Tensor) -> Tensor:
    """KL(N(m_y, I) || N(0, I)) = |m_y|^2 / 2, `(B,)`, in nats, with m_y the mean code of the image's class.

    Where every class has the prior's mean, no linear probe reads the label from the code. An unbiased estimate
    from posterior means `(B, D)` and labels `(B,)` of one batch: each code against the mean of the *others* of
    its class; 0 for an image that is alone with its label.
    """
    means = means.float()
    same = (labels[:, None] == labels[None, :]).float().fill_diagonal_(0.0)
    with torch.autocast(means.device.type, enabled=False):  # it would multiply in bfloat16
        others = same @ means / same.sum(dim=1, keepdim=True).clamp_min(1.0)
    return 0.5 * (means * others).sum(dim=1)


def cycle_loss(z: Tensor, posterior: DiagonalGaussian) -> Tensor:
    """-log q(z | x'), `(B,)`, in nats: how far the code `(B, D)` is from what the counterfactual is encoded to.

    Its mean bounds what the counterfactual lost of the code (InfoGAN, Chen et al., 2016, arXiv 1606.03657).
    """
    return -posterior.log_prob(z)


def style_loss(images: Tensor, labels: Tensor, counterfactuals: Tensor, asked: Tensor, num_classes: int) -> Tensor:
    """How far style moves, `(B,)`, in nats under Gaussians of its statistics' own deviations within the class.

    The style is thickness and slant of strokes, `(B, 1, H, W)`, and the colours of windows in colour. Colours shall
    stay as they are. Of strokes, images are compared with the mean of their label `(B,)` in the batch, counterfactuals
    with the mean of what was asked: a 1 that is thick for a 1 shall become an 8 that is thick for an 8.
    """
    before, after = style_of(images), style_of(counterfactuals)
    centred = class_centred(before, labels, num_classes)
    if images.shape[1] == 1:
        before, after = centred, class_centred(after, asked, num_classes)
    deviation = centred.square().mean(dim=0).sqrt().clamp_min(0.05)
    return 0.5 * ((after - before) / deviation).square().sum(dim=1)


def hinge_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """The discriminator's loss, `(B,)`, on its scores `(B,)` of images and fakes (Lim & Ye, 2017, arXiv 1705.02894)."""
    return F.relu(1.0 - real_scores) + F.relu(1.0 + fake_scores)


def linear_warm_up(progress: float | Tensor, share: float) -> float | Tensor:
    """A weight that grows from 0 at the start of the training to 1 after `share` of it.

    >>> linear_warm_up(0.05, share=0.1), linear_warm_up(0.5, share=0.1), linear_warm_up(0.0, share=0.0)
    (0.5, 1.0, 1.0)
    """
    if share <= 0:
        return 1.0
    if isinstance(progress, Tensor):  # of a compiled step
        return (progress / share).clamp(0.0, 1.0)
    return min(1.0, max(0.0, progress) / share)
