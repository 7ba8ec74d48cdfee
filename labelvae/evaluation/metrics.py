"""What relabelling is judged by: torchmetrics classes over pure functions.

Read them together. A model that answers with the mean of the class has full effectiveness and no style; one
that copies the image has full style and no effectiveness. The vocabulary is that of the counterfactual
literature (Monteiro et al., 2023, arXiv 2303.01274; Melistas et al., 2024, arXiv 2403.20287).
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
    """The Fréchet distance between two Gaussians, a scalar (Heusel et al., 2017, arXiv 1706.08500).

    |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)), with the trace of the root from the eigenvalues of
    S^(1/2) S' S^(1/2), which is symmetric.
    """
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0.0).sqrt() @ vectors.mT
    cross = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp_min(0.0).sqrt().sum()
    trace = covariance.trace() + other_covariance.trace() - 2.0 * cross
    distance: Tensor = (mean - other_mean).square().sum() + trace.clamp_min(0.0)
    return distance


def correlation(values: Tensor, others: Tensor) -> Tensor:
    """Pearson correlation over all entries of two centred tensors `(B, S)`, a scalar; 0 where one does not vary."""
    norm = values.square().sum().sqrt() * others.square().sum().sqrt()
    return torch.where(norm > 1e-12, (values * others).sum() / norm.clamp_min(1e-12), torch.zeros_like(norm))


class Effectiveness(Metric):
    """The share of counterfactuals that a judge takes for the asked label, in [0, 1], overall and by asked class."""

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
        """Judge's logits `(B, K)` on counterfactuals, and the labels that were asked `(B,)`."""
        labels = check_labels(labels, self.num_classes, len(logits))
        one_hot = F.one_hot(labels, self.num_classes).double()
        self.asked += one_hot.sum(dim=0)
        self.agreed += (one_hot * (logits.argmax(dim=1) == labels)[:, None]).sum(dim=0)

    def compute(self) -> Tensor:
        """`(1 + K,)`: overall, then by asked class (NaN for one that was never asked)."""
        return torch.cat([(self.agreed.sum() / self.asked.sum())[None], self.agreed / self.asked])

    def by_name(self) -> dict[str, Tensor]:
        """Return "effectiveness", and "effectiveness_class_0" and so on, each a scalar; higher is better for all."""
        names = ["effectiveness", *(f"effectiveness_class_{label}" for label in range(self.num_classes))]
        return dict(zip(names, self.compute(), strict=True))


class GuideJudgeGap(Metric):
    """Guide agreement minus judge agreement with the asked label: effectiveness that only the guide believes."""

    higher_is_better = False
    full_state_update = False
    difference: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("difference", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, guide_logits: Tensor, judge_logits: Tensor, labels: Tensor) -> None:
        """Logits `(B, K)` of guide and judge on counterfactuals, and the asked labels `(B,)`."""
        agreed = [(logits.argmax(dim=1) == labels).double().sum() for logits in (guide_logits, judge_logits)]
        self.difference += agreed[0] - agreed[1]
        self.count += len(labels)

    def compute(self) -> Tensor:
        """A scalar in [-1, 1]."""
        return self.difference / self.count


class Style(Metric):
    """How much of a style statistic survives: the class-centred correlation, in [-1, 1].

    The input's statistic minus the mean of its own class, against the counterfactual's minus the mean of the
    counterfactuals of its asked class. Centring takes away what the label itself explains.
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
        """The statistic `(B, S)` of inputs and of counterfactuals; own and asked labels `(B,)`."""
        self.before.append(before.double())
        self.after.append(after.double())
        self.own.append(own)
        self.asked.append(asked)

    def compute(self) -> Tensor:
        """A scalar in [-1, 1]."""
        before = class_centred(dim_zero_cat(self.before), dim_zero_cat(self.own), self.num_classes)
        after = class_centred(dim_zero_cat(self.after), dim_zero_cat(self.asked), self.num_classes)
        return correlation(before, after)


class Realism(Metric):
    """Counterfactuals against real images of the asked label, in a judge's features: distance and diversity.

    `compute` returns the pooled Fréchet distance, the mean of the distances by class (a copy under a wrong label has
    a small pooled distance and a large one by class), and the diversity: the variance within a class over that of
    real images, 1 where a class is as diverse as it is, 0 where one image stands for it.
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
        """Features `(B, F)` of real images with their labels, or of counterfactuals with the asked ones, `(B,)`."""
        labels = check_labels(labels, self.num_classes, len(features))
        features, row = features.double(), 0 if real else 1
        for label in labels.unique().tolist():
            part = features[labels == label]
            self.counts[row, label] += len(part)
            self.sums[row, label] += part.sum(dim=0)
            self.products[row, label] += part.mT @ part

    def compute(self) -> Tensor:
        """`(3,)`: pooled, and the means over the classes that have two images or more on both sides."""
        pooled = frechet_distance(*_moments(self.counts.sum(1), self.sums.sum(1), self.products.sum(1)))
        classes = (self.counts >= 2).all(dim=0).nonzero().flatten().tolist()
        each = [_moments(self.counts[:, k], self.sums[:, k], self.products[:, k]) for k in classes]
        if not each:
            return torch.stack([pooled, *torch.full_like(pooled, torch.nan).repeat(2)])
        distances = [frechet_distance(*moments) for moments in each]
        diversities = [fake.trace() / real.trace().clamp_min(1e-12) for _, real, _, fake in each]
        return torch.stack([pooled, torch.stack(distances).mean(), torch.stack(diversities).mean()])

    def by_name(self) -> dict[str, Tensor]:
        """Return "realism", "realism_by_class" and "diversity", each a scalar; distances are better low."""
        return dict(zip(("realism", "realism_by_class", "diversity"), self.compute(), strict=True))


def _moments(counts: Tensor, sums: Tensor, products: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and covariance of real images, then of counterfactuals, from counts `(2,)`, sums and sums of products."""
    means = sums / counts[:, None]
    scatter = products - counts[:, None, None] * means[:, :, None] * means[:, None, :]
    covariances = scatter / (counts - 1.0).clamp_min(1.0)[:, None, None]
    return means[0], covariances[0], means[1], covariances[1]


class Leakage(Metric):
    """Accuracy of a linear probe that reads the own label from the posterior mean, in [0, 1].

    Logistic regression on standardized codes, fitted on one seeded random half of what was seen and scored on
    the other. Chance is the share of the commonest class.
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
        """Posterior means `(B, D)` and the images' own labels `(B,)`."""
        self.codes.append(codes.float())
        self.labels.append(labels)

    def compute(self) -> Tensor:
        """A scalar in [0, 1]; NaN with fewer than two classes in the half that is fitted."""
        codes, labels = dim_zero_cat(self.codes).cpu(), dim_zero_cat(self.labels).cpu()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        fitted, scored = order.tensor_split(2)
        if len(labels[fitted].unique()) < 2:
            return torch.tensor(torch.nan)
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        probe.fit(codes[fitted].numpy(), labels[fitted].numpy())
        return torch.tensor(probe.score(codes[scored].numpy(), labels[scored].numpy()))
