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
from labelvae.evaluation.realism import Realism as Realism  # noqa: PLC0414  where they were before
from labelvae.evaluation.realism import frechet_distance as frechet_distance  # noqa: PLC0414
from labelvae.evaluation.transition import check_known
from labelvae.inputs.tensors import check_labels


def correlation(values: Tensor, others: Tensor) -> Tensor:
    """Compute the Pearson correlation over all entries of two centred tensors:

        sum(v w) / sqrt(sum(v^2) sum(w^2))

    Args:
        values: the first tensor, `(B, S)`.
        others: the second tensor, `(B, S)`.

    Returns:
        The correlation, a scalar in [-1, 1]; 0 if one of them does not vary, NaN if a value is.

    >>> values = torch.tensor([[-1.0], [0.0], [1.0]])
    >>> correlation(values, -2.0 * values).round(decimals=3), correlation(values, torch.zeros(3, 1))
    (tensor(-1.), tensor(0.))
    """
    norm = values.square().sum().sqrt() * others.square().sum().sqrt()
    return torch.where(norm <= 1e-12, torch.zeros_like(norm), (values * others).sum() / norm.clamp_min(1e-12))


class Effectiveness(Metric):
    """The share of counterfactuals that a judge takes for the asked label, overall and by asked class.

    With the judge J, the counterfactuals x' and the asked labels y' (Monteiro et al., 2023, arXiv 2303.01274):

        mean(argmax J(x') = y')

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
        if logits.ndim != 2 or logits.shape[1] != self.num_classes:
            raise ValueError(f"logits: expected shape (B, {self.num_classes}), got {tuple(logits.shape)}")
        logits, labels = check_known("logits", logits), check_labels(labels, self.num_classes, len(logits))
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

    With the guide G and the judge J (the second judge is the "oracle" of Hvilshøj et al., 2021, arXiv 2111.00177):

        mean(argmax G(x') = y') - mean(argmax J(x') = y')

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
        for name, logits in (("guide_logits", guide_logits), ("judge_logits", judge_logits)):
            check_known(name, logits)
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
    Pearson correlation of the two, with the class means m_y and m'_y':

        corr(s(x) - m_y, s(x') - m'_y')

    Thickness and slant of strokes are those of Morpho-MNIST (Castro et al., 2019, arXiv 1809.10780).

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
