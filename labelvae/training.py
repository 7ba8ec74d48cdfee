"""Thin Lightning tasks: pretrain a classifier, train a conditional VAE.

One optimizer each, its learning rate warmed up linearly and taken down along a cosine. Nothing in a step
makes the host wait: the terms are summed on the device and logged every `log_every_n_steps`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional as F

from labelvae.augmentation import augment
from labelvae.classifier import LabelClassifier
from labelvae.losses import GuidedELBO, label_loss
from labelvae.settings import Augmentation, Optimization
from labelvae.vae import ConditionalVAE

WARM_UP_SHARE = 0.1
CLIP_NORM = 200.0
"""Largest norm of the gradient of a parameter group; losses are sums over pixels, so gradients are large."""


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear from 0 to 1 over the first tenth of `steps`, then a cosine down to 0.

    >>> [round(learning_rate_factor(step, 100), 2) for step in (0, 5, 10, 55, 100)]
    [0.09, 0.55, 1.0, 0.5, 0.0]
    """
    warm_up = WARM_UP_SHARE * steps
    if step < warm_up:
        return (step + 1.0) / (warm_up + 1.0)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1.0, steps - warm_up))))


class Task(LightningModule):
    """What both tasks share: the schedule, clipping, and logging without waiting.

    Args:
        optimization: epochs, step size and seed.
        prefix: of the names in the log, for example "guide/".
    """

    def __init__(self, optimization: Optimization, prefix: str = "") -> None:
        super().__init__()
        self.optimization = optimization
        self.prefix = prefix
        self.steps = 1
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is optimized."""
        raise NotImplementedError

    def on_fit_start(self) -> None:
        """Counts the steps that lie ahead, for schedules."""
        self.steps = max(1, int(self.trainer.estimated_stepping_batches))

    def configure_optimizers(self) -> Any:
        """AdamW with the warm-up and cosine schedule."""
        how = self.optimization
        optimizer = torch.optim.AdamW(
            self.parameter_groups(), lr=how.learning_rate, betas=(0.9, 0.99), weight_decay=how.weight_decay, fused=True
        )
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any) -> None:
        """Clips each parameter group by itself, so that a critic's gradient does not shrink the model's."""
        for group in optimizer.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], CLIP_NORM)

    def log_terms(self, terms: dict[str, Tensor]) -> None:
        """Adds a step's scalars to the sums, and sends their means to the loggers every `log_every_n_steps`."""
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1
        if self._count >= self.trainer.log_every_n_steps:  # type: ignore[attr-defined]
            means = {f"{self.prefix}train/{name}": value / self._count for name, value in self._sums.items()}
            self.log("loss", means[f"{self.prefix}train/total"], prog_bar=True, logger=False)
            for logger in self.loggers:
                logger.log_metrics({name: float(value) for name, value in means.items()}, step=self.global_step)
            self._sums, self._count = {}, 0


class ClassifierTraining(Task):
    """Pretrains a guide or a judge with cross-entropy on augmented images.

    Args:
        classifier: what is trained, in place.
        optimization: epochs, step size and seed.
        augmentation: changes to the training images; with noise among them the guide becomes robust.
        label_smoothing: of the cross-entropy, in [0, 1).
        prefix: of the names in the log.

    Raises:
        ValueError: the classifier is frozen already, as `GuidedELBO` freezes its guide.
    """

    def __init__(
        self,
        classifier: LabelClassifier,
        optimization: Optimization | None = None,
        augmentation: Augmentation | None = None,
        label_smoothing: float = 0.0,
        prefix: str = "",
    ) -> None:
        super().__init__(optimization or Optimization(), prefix)
        if classifier.frozen:
            raise ValueError(
                "classifier: is frozen and cannot be trained; train the guide before it goes into GuidedELBO"
            )
        self.classifier = classifier
        self.augmentation = augmentation or Augmentation()
        self.label_smoothing = label_smoothing

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The classifier's weights."""
        return [{"params": list(self.classifier.parameters())}]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The mean cross-entropy, in nats per image."""
        images, labels = batch
        loss = label_loss(self.classifier(augment(images, self.augmentation)), labels, self.label_smoothing).mean()
        self.log_terms({"total": loss.detach()})
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Accuracy and cross-entropy on held-out images."""
        images, labels = batch
        logits = self.classifier(images)
        values = {
            f"{self.prefix}val/accuracy": (logits.argmax(dim=1) == labels).float().mean(),
            f"{self.prefix}val/total": F.cross_entropy(logits, labels),
        }
        self.log_dict(values, batch_size=len(images), sync_dist=True)


class VAETraining(Task):
    """Trains a conditional VAE, and the critic of its loss if there is one, with one optimizer.

    Args:
        vae: what is trained, in place.
        loss: the objective; its guide stays as it is.
        optimization: epochs, step size and seed.
        critic_learning_rate: largest step size of the critic.
        prefix: of the names in the log.
    """

    def __init__(
        self,
        vae: ConditionalVAE,
        loss: GuidedELBO,
        optimization: Optimization | None = None,
        critic_learning_rate: float = 4e-4,
        prefix: str = "",
    ) -> None:
        super().__init__(optimization or Optimization(), prefix)
        self.vae = vae
        self.loss = loss
        self.critic_learning_rate = critic_learning_rate

    def on_fit_start(self) -> None:
        """Counts the steps; that the frozen guide is in evaluation mode is as it should be."""
        super().on_fit_start()
        warnings.filterwarnings("ignore", message="Found .* in eval mode at the start of training")

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The model's weights, the learned scale, and the critic's weights at their own step size."""
        groups: list[dict[str, Any]] = [{"params": [*self.vae.parameters()]}]
        if self.loss.log_scale.requires_grad:
            groups += [{"params": [self.loss.log_scale], "weight_decay": 0.0}]
        if self.loss.critic is not None:
            critic = [*self.loss.critic.parameters()]
            groups += [{"params": critic, "lr": self.critic_learning_rate, "betas": (0.0, 0.99), "weight_decay": 0.0}]
        return groups

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The weighted objective, in nats per image."""
        images, labels = batch
        terms = self.loss(self.vae, images, labels, progress=self.global_step / self.steps)
        self.log_terms(terms.means())
        total: Tensor = terms.total
        return total

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """The terms on held-out images, fully warmed up."""
        images, labels = batch
        values = {
            f"{self.prefix}val/{name}": value for name, value in self.loss(self.vae, images, labels).means().items()
        }
        self.log_dict(values, batch_size=len(images), sync_dist=True)
