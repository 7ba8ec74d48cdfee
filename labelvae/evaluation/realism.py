"""How real counterfactuals look: their features compared with those of real images of the asked label."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from labelvae.inputs.tensors import check_labels

MOST_FEATURES, FEW_FEATURES = 2048, 512
"""Features that are compared one by one, and into how many groups of neighbours more are averaged. The distance takes
time with the cube of their number, and memory with the square: ten thousand, of a network that flattens its maps, would
take hours.
"""


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """Compute the Fréchet distance between two Gaussians (Heusel et al., 2017, arXiv 1706.08500):

        |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))

    The trace of the root comes from the eigenvalues of the symmetric matrix S^(1/2) S' S^(1/2).

    Args:
        mean: m, `(F,)`.
        covariance: S, `(F, F)`.
        other_mean: m', `(F,)`.
        other_covariance: S', `(F, F)`.

    Returns:
        The distance, a scalar, at least 0.

    >>> frechet_distance(torch.zeros(2), torch.eye(2), torch.ones(2), torch.eye(2))
    tensor(2.)
    """
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0.0).sqrt() @ vectors.mT
    cross = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp_min(0.0).sqrt().sum()
    trace = covariance.trace() + other_covariance.trace() - 2.0 * cross
    distance: Tensor = (mean - other_mean).square().sum() + trace.clamp_min(0.0)
    return distance


class Realism(Metric):
    """Counterfactuals compared with real images of the asked label, in a judge's features: distance and diversity.

    The distance is `frechet_distance` (Heusel et al., 2017, arXiv 1706.08500), once for all classes together and once
    as the mean over the classes:

        |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))

    m and S are mean and covariance of the features of real images, m' and S' those of counterfactuals. (A copy of
    the image under a wrong label has a small distance for all classes together, and a large one by class.) The
    diversity is the variance within a class over that of real images: 1 is as diverse as real images, 0 is one image
    for the whole class.

    More than `MOST_FEATURES` are averaged, neighbours together, into `FEW_FEATURES`.

    Args:
        num_classes: K.
        feature_dim: F.
        **kwargs: arguments of `torchmetrics.Metric`.

    >>> metric, features, labels = Realism(num_classes=2, feature_dim=3), torch.rand(8, 3), torch.arange(8) % 2
    >>> metric.update(features, labels, real=True)
    >>> metric.update(features, labels, real=False)
    >>> metric.compute().round(decimals=3)
    tensor([0., 0., 1.], dtype=torch.float64)
    """

    higher_is_better = False
    full_state_update = False
    counts: Tensor
    sums: Tensor
    products: Tensor

    def __init__(self, num_classes: int, feature_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes, self.feature_dim = num_classes, feature_dim
        feature_dim = feature_dim if feature_dim <= MOST_FEATURES else FEW_FEATURES
        shape = (2, num_classes)
        self.add_state("counts", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(*shape, feature_dim, dtype=torch.float64), dist_reduce_fx="sum")
        products = torch.zeros(*shape, feature_dim, feature_dim, dtype=torch.float64)
        self.add_state("products", products, dist_reduce_fx="sum")

    def update(self, features: Tensor, labels: Tensor, real: bool) -> None:
        """Add a batch of real images or of counterfactuals.

        Args:
            features: the features, `(B, F)`.
            labels: the labels of real images, or the asked labels of counterfactuals, int64 `(B,)`.
            real: whether the images are real.

        Raises:
            ValueError: features of another shape, or NaN or infinity among them; labels of another shape, type or
                range.
        """
        if features.ndim != 2 or features.shape[1] != self.feature_dim:
            raise ValueError(f"features: expected shape (B, {self.feature_dim}), got {tuple(features.shape)}")
        broken = int((~torch.isfinite(features)).any(dim=1).sum())
        if broken:
            raise ValueError(
                f"features: expected finite numbers, got NaN or infinity for {broken} of {len(features)} images; look "
                "at the network that they are of"
            )
        labels = check_labels(labels, self.num_classes, len(features))
        features, row = features.double(), 0 if real else 1
        if features.shape[1] > MOST_FEATURES:
            features = F.adaptive_avg_pool1d(features[:, None], FEW_FEATURES)[:, 0]
        for label in labels.unique().tolist():
            part = features[labels == label]
            self.counts[row, label] += len(part)
            self.sums[row, label] += part.sum(dim=0)
            self.products[row, label] += part.mT @ part

    def compute(self) -> Tensor:
        """Return the pooled distance, the mean distance by class, and the mean diversity, `(3,)`.

        The means are over the classes with at least two real images and two counterfactuals. All are NaN where
        there are no real images or no counterfactuals.
        """
        if bool((self.counts.sum(dim=1) == 0).any()):
            return self.sums.new_full((3,), torch.nan)
        pooled = frechet_distance(*_moments(self.counts.sum(1), self.sums.sum(1), self.products.sum(1)))
        classes = (self.counts >= 2).all(dim=0).nonzero().flatten().tolist()
        each = [_moments(self.counts[:, k], self.sums[:, k], self.products[:, k]) for k in classes]
        if not each:
            return torch.stack([pooled, *torch.full_like(pooled, torch.nan).repeat(2)])
        distances = [frechet_distance(*moments) for moments in each]
        diversities = [fake.trace() / real.trace().clamp_min(1e-12) for _, real, _, fake in each]
        return torch.stack([pooled, torch.stack(distances).mean(), torch.stack(diversities).mean()])

    def by_name(self) -> dict[str, Tensor]:
        """Return "realism", "realism_by_class" and "diversity", each a scalar. Low distances are better."""
        return dict(zip(("realism", "realism_by_class", "diversity"), self.compute(), strict=True))


def _moments(counts: Tensor, sums: Tensor, products: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mean and covariance of real images, then of counterfactuals, from counts `(2,)`, sums and products."""
    means = sums / counts[:, None]
    scatter = products - counts[:, None, None] * means[:, :, None] * means[:, None, :]
    covariances = scatter / (counts - 1.0).clamp_min(1.0)[:, None, None]
    return means[0], covariances[0], means[1], covariances[1]
