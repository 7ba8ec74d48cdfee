"""The metrics that relabelling is judged by: torchmetrics classes over pure functions.

Read them together. A model that always returns the mean of the class has full effectiveness and no style. A model that
copies the image has full style and no effectiveness. The names are those of the literature on counterfactuals (Monteiro
et al., 2023, arXiv 2303.01274; Melistas et al., 2024, arXiv 2403.20287).
"""

from __future__ import annotations

from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from labelvae.data.differentiable_style import class_centred
from labelvae.inputs.tensors import check_labels


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


def correlation(values: Tensor, others: Tensor) -> Tensor:
    """Compute the Pearson correlation over all entries of two centred tensors.

    Args:
        values: the first tensor, `(B, S)`.
        others: the second tensor, `(B, S)`.

    Returns:
        The correlation, a scalar in [-1, 1]; 0 if one of them does not vary.
    """
    norm = values.square().sum().sqrt() * others.square().sum().sqrt()
    return torch.where(norm > 1e-12, (values * others).sum() / norm.clamp_min(1e-12), torch.zeros_like(norm))


class Effectiveness(Metric):
    """The share of counterfactuals that a judge takes for the asked label, overall and by asked class.

    Args:
        num_classes: K.
        **kwargs: arguments of `torchmetrics.Metric`.

    >>> metric = Effectiveness(num_classes=2)
    >>> metric.update(torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]), torch.tensor([0, 1, 1]))
    >>> metric.compute()
    tensor([0.6667, 1.0000, 0.5000], dtype=torch.float64)
    """

    higher_is_better = True
    full_state_update = False
    asked: Tensor
    agreed: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.add_state("asked", torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("agreed", torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch of counterfactuals.

        Args:
            logits: the judge's logits, `(B, K)`.
            labels: the asked labels, int64 `(B,)`.
        """
        labels = check_labels(labels, self.num_classes, len(logits))
        one_hot = F.one_hot(labels, self.num_classes).double()
        self.asked += one_hot.sum(dim=0)
        self.agreed += (one_hot * (logits.argmax(dim=1) == labels)[:, None]).sum(dim=0)

    def compute(self) -> Tensor:
        """Return the shares, `(1 + K,)` in [0, 1]: overall, then by asked class; NaN for a class never asked."""
        return torch.cat([(self.agreed.sum() / self.asked.sum())[None], self.agreed / self.asked])

    def by_name(self) -> dict[str, Tensor]:
        """Return the shares by name: "effectiveness", "effectiveness_class_0", and so on, each a scalar."""
        names = ["effectiveness", *(f"effectiveness_class_{label}" for label in range(self.num_classes))]
        return dict(zip(names, self.compute(), strict=True))


class GuideJudgeGap(Metric):
    """Guide agreement minus judge agreement with the asked label: effectiveness that only the guide believes.

    >>> metric = GuideJudgeGap()
    >>> metric.update(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = False
    full_state_update = False
    difference: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("difference", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, guide_logits: Tensor, judge_logits: Tensor, labels: Tensor) -> None:
        """Add a batch of counterfactuals.

        Args:
            guide_logits: the guide's logits, `(B, K)`.
            judge_logits: the judge's logits, `(B, K)`.
            labels: the asked labels, int64 `(B,)`.
        """
        agreed = [(logits.argmax(dim=1) == labels).double().sum() for logits in (guide_logits, judge_logits)]
        self.difference += agreed[0] - agreed[1]
        self.count += len(labels)

    def compute(self) -> Tensor:
        """Return the gap, a scalar in [-1, 1]."""
        return self.difference / self.count


class Style(Metric):
    """How much of a style statistic survives: its class-centred correlation.

    From an image's statistic the mean of its class is subtracted. From a counterfactual's statistic the mean of the
    counterfactuals of its asked class is subtracted. This removes what the label itself explains. The metric is the
    Pearson correlation of the two.

    Args:
        num_classes: K.
        **kwargs: arguments of `torchmetrics.Metric`.

    >>> metric, statistic = Style(num_classes=2), torch.tensor([[1.0], [3.0], [2.0], [4.0]])
    >>> metric.update(statistic, 2 * statistic, own=torch.tensor([0, 0, 1, 1]), asked=torch.tensor([1, 1, 0, 0]))
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
    """

    higher_is_better = True
    full_state_update = False
    before: list[Tensor]
    after: list[Tensor]
    own: list[Tensor]
    asked: list[Tensor]

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        for name in ("before", "after", "own", "asked"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, before: Tensor, after: Tensor, own: Tensor, asked: Tensor) -> None:
        """Add a batch of images and their counterfactuals.

        Args:
            before: the statistic of the images, `(B, S)`.
            after: the statistic of the counterfactuals, `(B, S)`.
            own: the images' own labels, int64 `(B,)`.
            asked: the asked labels, int64 `(B,)`.
        """
        self.before.append(before.double())
        self.after.append(after.double())
        self.own.append(own)
        self.asked.append(asked)

    def compute(self) -> Tensor:
        """Return the correlation, a scalar in [-1, 1]."""
        before = class_centred(dim_zero_cat(self.before), dim_zero_cat(self.own), self.num_classes)
        after = class_centred(dim_zero_cat(self.after), dim_zero_cat(self.asked), self.num_classes)
        return correlation(before, after)


class Realism(Metric):
    """Counterfactuals compared with real images of the asked label, in a judge's features: distance and diversity.

    The distance is `frechet_distance`, once for all classes together and once as the mean over the classes. (A copy of
    the image under a wrong label has a small distance for all classes together, and a large one by class.) The
    diversity is the variance within a class over that of real images: 1 is as diverse as real images, 0 is one image
    for the whole class.

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
        self.num_classes = num_classes
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
        """
        labels = check_labels(labels, self.num_classes, len(features))
        features, row = features.double(), 0 if real else 1
        for label in labels.unique().tolist():
            part = features[labels == label]
            self.counts[row, label] += len(part)
            self.sums[row, label] += part.sum(dim=0)
            self.products[row, label] += part.mT @ part

    def compute(self) -> Tensor:
        """Return the pooled distance, the mean distance by class, and the mean diversity, `(3,)`.

        The means are over the classes with at least two real images and two counterfactuals.
        """
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


class Leakage(Metric):
    """The accuracy of a linear probe that reads the own label from the posterior mean.

    The probe is a logistic regression on standardized codes. It is fitted on a random half of the images, with a fixed
    seed, and scored on the other half. Chance is the share of the most common class.

    >>> metric, labels = Leakage(), torch.arange(40) % 2
    >>> metric.update(labels[:, None], labels)
    >>> float(metric.compute())
    1.0
    """

    higher_is_better = False
    full_state_update = False
    codes: list[Tensor]
    labels: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("codes", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, codes: Tensor, labels: Tensor) -> None:
        """Add a batch of codes.

        Args:
            codes: the posterior means, `(B, D)`.
            labels: the images' own labels, int64 `(B,)`.
        """
        self.codes.append(codes.float())
        self.labels.append(labels)

    def compute(self) -> Tensor:
        """Return the accuracy, a scalar in [0, 1]; NaN if the fitted half has fewer than two classes."""
        codes, labels = dim_zero_cat(self.codes).cpu(), dim_zero_cat(self.labels).cpu()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        fitted, scored = order.tensor_split(2)
        if len(labels[fitted].unique()) < 2:
            return torch.tensor(torch.nan)
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        probe.fit(codes[fitted].numpy(), labels[fitted].numpy())
        return torch.tensor(probe.score(codes[scored].numpy(), labels[scored].numpy()))
