"""Two thin Lightning tasks: pretrain a classifier, and train a conditional VAE."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from labelvae.attributes.rows import Attributes
from labelvae.data.augmentation import augment
from labelvae.data.settings import Augmentation
from labelvae.inputs.checks import check_kind, check_number
from labelvae.inputs.tensors import Labels, check_images
from labelvae.losses.attack import noise_step
from labelvae.losses.attribute_elbo import AttributeELBO, AttributeTerms
from labelvae.losses.guided_elbo import GuidedELBO
from labelvae.losses.record import LossTerms
from labelvae.losses.terms import label_loss
from labelvae.models.attribute_classifier import AttributeClassifier
from labelvae.models.frozen import Classifier
from labelvae.models.vae import ConditionalVAE
from labelvae.system.compiling import uncompiled
from labelvae.training.base import Task
from labelvae.training.batches import check_batch_labels, unpack_images
from labelvae.training.descriptions import SavedLoss, plain_loss, plain_network
from labelvae.training.options import Schedule
from labelvae.training.pruning import check_pruning


class ClassifierTraining(Task):
    """Pretrain a guide or a judge with cross-entropy on randomly changed images.

    Args:
        classifier: the classifier to train, in place: a `LabelClassifier`; a network of your own in
            `LabelClassifier.wrap`; or an `AttributeClassifier`, whose heads each have their own likelihood.
        augmentation: random changes of the training images. Noise among them makes a guide robust.
        label_smoothing: the label smoothing of the cross-entropy, in [0, 1).
        learning_rate: the largest step size of AdamW.
        weight_decay: the weight decay of AdamW.
        schedule: how the learning rate moves, see `learning_rate_factor`.
        prefix: the beginning of the names in the log, for example "guide/".
        channels_last: keep the channels of a pixel next to each other in memory.
        compiled: compile the training step. Without a compiler it runs uncompiled, with one warning.
        adversarial: the size of the attack on each training image, in [0, 1), see `noise_step`. 0 attacks nothing.
        graphed: record the training step as a CUDA graph, see `graphs`. Used on one CUDA device only.

    Raises:
        ValueError: an argument out of range; a frozen classifier. (`GuidedELBO` freezes its guide.)

    >>> from labelvae import LabelClassifier
    >>> task = ClassifierTraining(LabelClassifier(image_shape=(1, 8, 8), num_classes=3))
    >>> sorted(task.step(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]), progress=0.0))
    ['total']
    """

    def __init__(
        self,
        classifier: Classifier | AttributeClassifier,
        augmentation: Augmentation | None = None,
        label_smoothing: float = 0.0,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        schedule: Schedule = "cosine",
        prefix: str = "",
        channels_last: bool = False,
        compiled: bool = False,
        adversarial: float = 0.0,
        graphed: bool = False,
    ) -> None:
        super().__init__(learning_rate, weight_decay, schedule, prefix, channels_last, compiled, graphed)
        label_smoothing = check_number("label_smoothing", label_smoothing, at_least=0, below=1)
        classifier = uncompiled(classifier)
        adversarial = check_number("adversarial", adversarial, at_least=0, below=1)
        if isinstance(classifier, AttributeClassifier):
            for name, value in (("label_smoothing", label_smoothing), ("adversarial", adversarial)):
                if value:
                    raise ValueError(f"{name}: expected 0 for an AttributeClassifier, got {value}")
        else:
            if isinstance(classifier, nn.Module) and not isinstance(classifier, Classifier):
                raise ValueError(
                    f"classifier: expected a LabelClassifier, got {type(classifier).__name__}; "
                    "LabelClassifier.wrap(network, image_shape, num_classes) makes one of it"
                )
            check_kind("classifier", classifier, Classifier)
        if classifier.frozen or not any(weight.requires_grad for weight in classifier.parameters()):
            raise ValueError("classifier: is frozen and cannot be trained; train a guide before GuidedELBO takes it")
        self.classifier = classifier
        self.augmentation = augmentation or Augmentation()
        self.label_smoothing = label_smoothing
        self.adversarial = adversarial

    def hyperparameters(self) -> dict[str, Any]:
        """Return the arguments as plain values, for a checkpoint."""
        own = {name: getattr(self, name) for name in ("label_smoothing", "adversarial")}
        own |= {"classifier": plain_network(self.classifier), "augmentation": asdict(self.augmentation)}
        return super().hyperparameters() | own

    @property
    def network(self) -> Classifier | AttributeClassifier:
        """The classifier."""
        return self.classifier

    @property
    def label_form(self) -> int | Attributes:
        """The number of classes K, or the classifier's attributes."""
        found = self.classifier
        return found.attributes if isinstance(found, AttributeClassifier) else found.num_classes

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, K)` of images `(B, C, H, W)` in [0, 1]."""
        logits: Tensor = self.classifier(images)
        return logits

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the classifier's weights."""
        return [{"params": list(self.classifier.parameters())}]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Whiten with the images of the first step, unless that was done before."""
        if self.global_step == 0:
            self.classifier.whiten(unpack_images(batch, self.label_form)[0])

    def step(self, images: Tensor, labels: Tensor, progress: float | Tensor) -> dict[str, Tensor]:
        """Return the mean cross-entropy as "total"; see `Task.step`."""
        check_images(images, self.classifier.image_shape)
        labels = check_batch_labels(labels, self.label_form, len(images))
        seen = augment(images, self.augmentation)
        if isinstance(self.classifier, AttributeClassifier):
            return _summed(self.classifier.nll(seen, labels))
        if self.adversarial:
            seen = noise_step(self.classifier, seen, labels, self.adversarial)
        return {"total": label_loss(self.classifier(seen), labels, self.label_smoothing).mean()}

    def held_out_terms(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return accuracy and mean cross-entropy on held-out images; see `Task.held_out_terms`."""
        labels = check_batch_labels(labels, self.label_form, len(images))
        if isinstance(self.classifier, AttributeClassifier):
            return _summed(self.classifier.nll(images, labels))
        logits = self.classifier(images)
        return {"accuracy": (logits.argmax(dim=1) == labels).float().mean(), "total": label_loss(logits, labels).mean()}

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the probabilities `(B, K)` of a batch, with or without labels; or the attributes read, `(B, A)`."""
        images, _ = unpack_images(batch, self.label_form)
        if isinstance(self.classifier, AttributeClassifier):
            return self.classifier.rows(images)
        return self.forward(images).softmax(dim=1)


def _summed(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean of each attribute's loss, and their sum."""
    means = {name: loss.mean() for name, loss in losses.items()}
    return means | {"total": torch.stack(list(means.values())).sum()}


class VAETraining(Task):
    """Train a conditional VAE, and the discriminator of its loss if there is one, with one optimizer.

    Args:
        vae: the model to train, in place.
        loss: the objective. Its guide is not trained. A model of several attributes needs an `AttributeELBO`.
        learning_rate: the largest step size of AdamW.
        weight_decay: the weight decay of AdamW.
        discriminator_learning_rate: the largest step size of the discriminator.
        schedule: how the learning rate moves, see `learning_rate_factor`.
        prefix: the beginning of the names in the log.
        channels_last: keep the channels of a pixel next to each other in memory.
        compiled: compile the training step. Without a compiler it runs uncompiled, with one warning.
        augmentation: random changes of the training images, before anything sees them. None changes nothing.
        graphed: record the training step as a CUDA graph, see `graphs`. Used on one CUDA device only.

    Raises:
        ValueError: an argument out of range; a model and a loss that do not fit together.

    >>> from labelvae import LabelClassifier
    >>> vae = ConditionalVAE(image_shape=(1, 8, 8), num_classes=3)
    >>> task = VAETraining(vae, GuidedELBO(LabelClassifier(image_shape=(1, 8, 8), num_classes=3)))
    >>> sorted(task.step(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]), progress=0.0))
    ['counterfactual_label', 'kl', 'reconstruction', 'total']
    """

    def __init__(
        self,
        vae: ConditionalVAE,
        loss: GuidedELBO,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.0,
        discriminator_learning_rate: float = 4e-4,
        schedule: Schedule = "cosine",
        prefix: str = "",
        channels_last: bool = False,
        compiled: bool = False,
        augmentation: Augmentation | None = None,
        graphed: bool = False,
    ) -> None:
        super().__init__(learning_rate, weight_decay, schedule, prefix, channels_last, compiled, graphed)
        discriminator_learning_rate = check_number("discriminator_learning_rate", discriminator_learning_rate, above=0)
        vae, loss = uncompiled(vae), uncompiled(loss)
        check_kind("vae", vae, ConditionalVAE)
        check_kind("loss", loss, GuidedELBO)
        check_kind("augmentation", augmentation, Augmentation, optional=True)
        loss.check_networks(vae)
        self.vae = vae
        self.loss = loss
        self.augmentation = augmentation or Augmentation()
        self.discriminator_learning_rate = discriminator_learning_rate
        self._frozen: dict[str, Tensor] = {}

    def hyperparameters(self) -> dict[str, Any]:
        """Return the arguments as plain values, for a checkpoint."""
        own = {"vae": plain_network(self.vae), "loss": plain_loss(self.loss)}
        own |= {"augmentation": asdict(self.augmentation)}
        return super().hyperparameters() | own | {"discriminator_learning_rate": self.discriminator_learning_rate}

    def compare(self, hyperparameters: Mapping[str, Any]) -> None:
        """Warn of what a checkpoint's loss had and this one lacks, and of settings that are others now."""
        before, now = SavedLoss.read(hyperparameters.get("loss")), SavedLoss.read(plain_loss(self.loss))
        missing = [part for part in before.own_parts if part not in now.own_parts]
        if missing:
            said = f"{' and '.join(missing)} of your own, which this loss does not have; training would go on without"
            warnings.warn(f"loss: the checkpoint was made with {said}", stacklevel=3)
        if changed := before.changes(now):
            warnings.warn(f"loss: the checkpoint was made with {'; '.join(changed)}", stacklevel=3)

    @property
    def network(self) -> ConditionalVAE:
        """The model."""
        return self.vae

    @property
    def label_form(self) -> int | Attributes:
        """The number of classes K, or the model's attributes."""
        attributes = self.vae.attributes
        return attributes if attributes is not None and isinstance(self.loss, AttributeELBO) else self.vae.num_classes

    def forward(self, images: Tensor, labels: Labels, own_labels: Labels | None = None) -> Tensor:
        """Return images `(B, C, H, W)` as other labels; see `ConditionalVAE.relabel`."""
        return self.vae.relabel(images, labels, own_labels)

    def setup(self, stage: str) -> None:
        """Prepare the training, see `Task.setup`.

        Raises:
            ValueError: a callback that would prune the frozen guide.
        """
        check_pruning(self.trainer.callbacks, self.loss.guidance)  # type: ignore[attr-defined]
        super().setup(stage)
        if self.loss.guidance is not None:
            self._frozen = {name: value.clone() for name, value in self.loss.guidance.members.state_dict().items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Compare the loss with the saved one, and take the guide of the checkpoint for the frozen one."""
        super().on_load_checkpoint(checkpoint)
        saved, start = checkpoint.get("state_dict", {}), "loss.guidance.members."
        self._frozen |= {name: saved[start + name].clone() for name in self._frozen if start + name in saved}

    def on_fit_start(self) -> None:
        """Prepare as `Task.on_fit_start` does, and drop the model's prior."""
        super().on_fit_start()
        self.vae.drop_prior()

    def teardown(self, stage: str) -> None:
        """Restore the frozen guide to the last bit, after an average over its weights has rounded it."""
        super().teardown(stage)
        if self.loss.guidance is not None:
            self.loss.guidance.members.load_state_dict(self._frozen)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the weights of the model and of the loss, and the discriminator's with their own step size."""
        groups: list[dict[str, Any]] = [{"params": [*self.vae.parameters()]}]
        if self.loss.log_scale.requires_grad:
            groups += [{"params": [self.loss.log_scale], "weight_decay": 0.0}]
        own = [part for part in (self.loss.own_terms, self.loss.likelihood) if isinstance(part, nn.Module)]
        trained = [weight for part in own for weight in part.parameters() if weight.requires_grad]
        groups += [{"params": trained, "weight_decay": 0.0}] if trained else []
        if self.loss.discriminator is not None:
            weights = [*self.loss.discriminator.parameters()]
            how = {"lr": self.discriminator_learning_rate, "betas": (0.0, 0.99), "weight_decay": 0.0}
            groups += [{"params": weights, **how}]
        return groups

    def step(self, images: Tensor, labels: Tensor, progress: float | Tensor) -> dict[str, Tensor]:
        """Return the weighted objective as "total", and the means of its terms; see `Task.step`."""
        check_images(images, self.vae.image_shape)
        seen = augment(images, self.augmentation)
        terms: LossTerms | AttributeTerms = self.loss(self.vae, seen, labels, progress=progress)
        return terms.means() | {"total": terms.total}

    def held_out_terms(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the terms on held-out images, fully warmed up; see `Task.held_out_terms`."""
        return self.loss(self.vae, images, labels).means()  # type: ignore[no-any-return]

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Relabel every image as every class.

        Args:
            batch: images, with their labels if the encoder sees the label.
            batch_idx: the number of the batch.
            dataloader_idx: the number of its loader.

        Returns:
            The relabelled images, `(B, K, C, H, W)` in [0, 1].

        Raises:
            ValueError: a model of several attributes.
        """
        images, own = unpack_images(batch, self.label_form)
        if isinstance(self.label_form, Attributes):
            raise ValueError(
                "predict: a model of several attributes has no list of all labels; call vae.relabel(images, {...})"
            )
        return torch.stack([self.forward(images, label, own) for label in range(self.vae.num_classes)], dim=1)
