"""The terms of the objective as pure functions. Each returns one number an image, `(B,)`, in nats per image.

`guided_elbo` weighs them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from labelvae.data.differentiable_style import class_centred, style_of
from labelvae.models.latent import DiagonalGaussian


def gaussian_nll(images: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Compute the negative log-likelihood of a normal distribution around each pixel.

    With m = mean and s = exp(log_scale), summed over channels and pixels:

        -log N(x; m, s^2) = sum((x - m)^2 / (2 s^2) + log s + log(2 pi) / 2)

    A learned scale makes a sigma-VAE (Rybkin et al., 2021, arXiv 2006.13202).

    Args:
        images: the images x, `(B, C, H, W)` in [0, 1].
        mean: the mean of each pixel, `(B, C, H, W)`.
        log_scale: the logarithm of the standard deviation, a scalar.

    Returns:
        The negative log-likelihood, `(B,)`, in nats.

    >>> images = torch.zeros(2, 1, 8, 8)
    >>> gaussian_nll(images, images + 0.5, torch.tensor(0.0)) / 64
    tensor([1.0439, 1.0439])
    """
    squared = ((images - mean) * torch.exp(-log_scale)).square()
    return (0.5 * squared + log_scale + 0.5 * math.log(2.0 * math.pi)).flatten(1).sum(dim=1)


def laplace_nll(images: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Compute the negative log-likelihood of a Laplace distribution around each pixel.

    With m = mean and b = exp(log_scale), summed over channels and pixels:

        -log Laplace(x; m, b) = sum(|x - m| / b + log(2 b))

    Args:
        images: the images x, `(B, C, H, W)` in [0, 1].
        mean: the location of each pixel, `(B, C, H, W)`.
        log_scale: the logarithm of the scale, a scalar.

    Returns:
        The negative log-likelihood, `(B,)`, in nats.

    >>> images = torch.zeros(2, 1, 8, 8)
    >>> laplace_nll(images, images + 0.5, torch.tensor(0.0)) / 64
    tensor([1.1931, 1.1931])
    """
    return ((images - mean).abs() * torch.exp(-log_scale) + log_scale + math.log(2.0)).flatten(1).sum(dim=1)


def bernoulli_nll(images: Tensor, logits: Tensor) -> Tensor:
    """Compute the cross-entropy of the decoder's answer with grey levels, which count as probabilities.

    With p = sigmoid(logits), summed over channels and pixels:

        -sum(x log p + (1 - x) log(1 - p))

    Args:
        images: the images, `(B, C, H, W)` in [0, 1].
        logits: the decoder's answer, `(B, C, H, W)`.

    Returns:
        The cross-entropy, `(B,)`, in nats.

    >>> bernoulli_nll(torch.rand(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)) / 64
    tensor([0.6931, 0.6931])
    """
    return F.binary_cross_entropy_with_logits(logits, images, reduction="none").flatten(1).sum(dim=1)


def kl_divergence(posterior: DiagonalGaussian, free_bits: float = 0.0) -> Tensor:
    """Compute the divergence of the posterior from the prior, summed over the latent dimensions.

    With mean m and standard deviation s of each dimension (Kingma & Welling, 2014, arXiv 1312.6114, appendix B):

        KL(q(z | x) || N(0, I)) = sum(m^2 + s^2 - 1 - log s^2) / 2

    Args:
        posterior: the posterior q(z | x), over codes `(B, D)`.
        free_bits: the nats that a dimension may hold at no cost. A dimension with fewer nats, as a mean over the batch,
            counts as `free_bits` and gets no gradient (Kingma et al., 2016, arXiv 1606.04934).

    Returns:
        The divergence, `(B,)`, in nats.

    >>> posterior = DiagonalGaussian(torch.ones(2, 3), torch.zeros(2, 3))
    >>> kl_divergence(posterior), kl_divergence(posterior, free_bits=1.0)
    (tensor([1.5000, 1.5000]), tensor([3., 3.]))
    """
    kl = posterior.kl_per_dimension()
    if free_bits > 0:
        kl = torch.where(kl.mean(dim=0, keepdim=True) < free_bits, torch.full_like(kl, free_bits), kl)
    return kl.sum(dim=1)


def label_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Compute the cross-entropy of a guide's logits with labels:

        -sum_k t_k log softmax(logits)_k

    Without smoothing, t is 1 for the label and 0 for every other class.

    Args:
        logits: the logits, `(B, K)`.
        labels: the labels, int64 `(B,)`.
        smoothing: the label smoothing, in [0, 1).

    Returns:
        The cross-entropy, `(B,)`, in nats.

    >>> label_loss(torch.zeros(2, 4), torch.tensor([0, 3]))  # log 4
    tensor([1.3863, 1.3863])
    """
    return F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)


def binary_label_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Compute the binary cross-entropy of a guide's logits with labels, summed over the classes:

        -sum_k (t_k log p_k + (1 - t_k) log(1 - p_k)),  p = sigmoid(logits)

    Without smoothing, t is 1 for the label and 0 for every other class.

    Args:
        logits: the logits, `(B, K)`. Each is a yes or no for its class.
        labels: the labels, int64 `(B,)`.
        smoothing: the label smoothing, in [0, 1).

    Returns:
        The cross-entropy, `(B,)`, in nats.

    >>> binary_label_loss(torch.zeros(2, 4), torch.tensor([0, 3]))  # 4 log 2
    tensor([2.7726, 2.7726])
    """
    target = F.one_hot(labels, logits.shape[1]).float() * (1.0 - smoothing) + 0.5 * smoothing
    return F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none").sum(dim=1)


def perceptual_loss(maps: Tensor, target: Tensor) -> Tensor:
    """Compute the distance of a classifier's maps of reconstructions from its maps of the images.

    With the maps f, and the standard deviation s of each channel over `target`, which counts as at least 0.05:

        |(f(x~) - f(x)) / s|^2 / 2

    (Johnson et al., 2016, arXiv 1603.08155; in a VAE, Hou et al., 2017, arXiv 1610.00291.)

    Args:
        maps: the maps of the reconstructions, `(B, C, h, w)`.
        target: the maps of the images, `(B, C, h, w)`.

    Returns:
        The sum over all units, `(B,)`, in nats under Gaussians of these deviations.

    >>> target = torch.tensor([0.0, 2.0]).view(2, 1, 1, 1)
    >>> perceptual_loss(target + 1.0, target)
    tensor([0.5000, 0.5000])
    """
    target = target.float()
    deviation = target.std(dim=(0, 2, 3), keepdim=True, correction=0).clamp_min(0.05)
    return 0.5 * ((maps.float() - target) / deviation).square().flatten(1).sum(dim=1)


def class_mean_loss(means: Tensor, labels: Tensor) -> Tensor:
    """Estimate how far the mean code m_y of the image's class is from the prior's mean:

        KL(N(m_y, I) || N(0, I)) = |m_y|^2 / 2

    Where every class has the prior's mean, no linear probe reads the label from the code. The estimate is unbiased:
    each code is multiplied with the mean of the *other* codes of its class in the batch. So a single value may be
    negative. It is 0 for an image whose label no other image has.

    Args:
        means: the posterior means, `(B, D)`.
        labels: the labels, int64 `(B,)`.

    Returns:
        The estimate, `(B,)`, in nats.

    >>> class_mean_loss(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
    tensor([1.5000, 1.5000, 0.0000])
    """
    means = means.float()
    same = (labels[:, None] == labels[None, :]).float().fill_diagonal_(0.0)
    with torch.autocast(means.device.type, enabled=False):  # it would multiply in bfloat16
        others = same @ means / same.sum(dim=1, keepdim=True).clamp_min(1.0)
    return 0.5 * (means * others).sum(dim=1)


def cycle_loss(z: Tensor, posterior: DiagonalGaussian) -> Tensor:
    """Compute -log q(z | x'): how far the code z is from the posterior of its counterfactual x'.

    Its mean bounds how much of the code the counterfactual lost (InfoGAN, Chen et al., 2016, arXiv 1606.03657).

    Args:
        z: the codes, `(B, D)`.
        posterior: the posterior q(z | x'), over codes `(B, D)`.

    Returns:
        The negative log-density, `(B,)`, in nats.

    >>> cycle_loss(torch.zeros(1, 2), DiagonalGaussian(torch.zeros(1, 2), torch.zeros(1, 2)))  # log(2 pi)
    tensor([1.8379])
    """
    return -posterior.log_prob(z)


def style_loss(images: Tensor, labels: Tensor, counterfactuals: Tensor, asked: Tensor, num_classes: int) -> Tensor:
    """Compute how far the style of counterfactuals is from that of their images.

    With the statistics s, and the standard deviation d of each within a class, which counts as at least 0.05:

        |(s(x') - s(x)) / d|^2 / 2

    For images of one channel, s is thickness and slant of strokes, each minus the mean of its label in
    the batch: a 1 that is thick for a 1 is to become an 8 that is thick for an 8. For other images, s is the mean
    colours of windows, as they are.

    Args:
        images: the images x, `(B, C, H, W)` in [0, 1].
        labels: their own labels, int64 `(B,)`.
        counterfactuals: the counterfactuals x', `(B, C, H, W)` in [0, 1].
        asked: the labels asked of the counterfactuals, int64 `(B,)`.
        num_classes: K.

    Returns:
        The sum over the statistics, `(B,)`, in nats under Gaussians of these deviations.

    >>> images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 0, 1, 1])
    >>> style_loss(images, labels, images, 1 - labels, num_classes=2)
    tensor([0., 0., 0., 0.])
    """
    before, after = style_of(images), style_of(counterfactuals)
    centred = class_centred(before, labels, num_classes)
    if images.shape[1] == 1:
        before, after = centred, class_centred(after, asked, num_classes)
    deviation = centred.square().mean(dim=0).sqrt().clamp_min(0.05)
    return 0.5 * ((after - before) / deviation).square().sum(dim=1)


def hinge_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Compute the discriminator's hinge loss (Lim & Ye, 2017, arXiv 1705.02894):

        max(0, 1 - real) + max(0, 1 + fake)

    Args:
        real_scores: its scores of images, `(B,)`.
        fake_scores: its scores of counterfactuals, `(B,)`.

    Returns:
        The loss, `(B,)`, without unit.

    >>> hinge_loss(torch.tensor([0.5, 2.0]), torch.tensor([-0.5, -2.0]))
    tensor([1., 0.])
    """
    return F.relu(1.0 - real_scores) + F.relu(1.0 + fake_scores)


def linear_warm_up(progress: float | Tensor, share: float) -> float | Tensor:
    """Return a factor that grows linearly from 0 at the start of the training to 1.

    Args:
        progress: the share of the training that is done, in [0, 1].
        share: the share of the training after which the factor is 1. With 0 the factor is always 1.

    >>> linear_warm_up(0.05, share=0.1), linear_warm_up(0.5, share=0.1), linear_warm_up(0.0, share=0.0)
    (0.5, 1.0, 1.0)
    """
    if share <= 0:
        return 1.0
    if isinstance(progress, Tensor):  # of a compiled step
        return (progress / share).clamp(0.0, 1.0)
    return min(1.0, max(0.0, progress) / share)
