"""From settings to untrained networks and their tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import nn

from labelvae.attributes.rows import Attributes
from labelvae.data.image_data import ImageData
from labelvae.data.settings import DataSettings
from labelvae.data.split_folders import split_folders
from labelvae.inputs.tensors import ImageShape
from labelvae.losses.attribute_elbo import AttributeELBO
from labelvae.losses.guided_elbo import GuidedELBO
from labelvae.losses.refinement import check_radius
from labelvae.models.attribute_classifier import AttributeClassifier
from labelvae.models.classifier import LabelClassifier
from labelvae.models.discriminator import Discriminator
from labelvae.models.vae import ConditionalVAE
from labelvae.runs.run_folder import class_order
from labelvae.runs.settings import ClassifierSettings, Settings, VAESettings
from labelvae.training.tasks import ClassifierTraining, VAETraining

Network = TypeVar("Network", bound=nn.Module)

MOST_PARAMETERS = 2**31
"""Largest number of weights, 8 GB. A configuration with more is taken for a mistake."""


def image_data(data: Any, settings: DataSettings) -> ImageData:
    """Return the images of a run as an `ImageData`, made of a `Dataset`, a `DataLoader` or a dict of them if needed.

    Raises:
        ValueError: another form; a dict without train.
    """
    if isinstance(data, ImageData):
        return data
    splits = data if isinstance(data, Mapping) else {"train": data}
    unknown = sorted(set(splits) - {"train", "test", "validation"}, key=str)
    if unknown or "train" not in splits:
        raise ValueError(f"data: expected the keys train, test and validation, got {', '.join(map(str, splits))}")
    return ImageData.from_datasets(
        **splits,
        validation_share=settings.validation_share,
        test_share=settings.test_share,
        memory_share=settings.memory_share,
        seed=settings.seed,
    )


def read_images(settings: Settings) -> ImageData:
    """Read the images that settings name. A run that goes on keeps the order of its classes.

    Raises:
        ValueError: files that are missing, broken or of another kind; a run's folder among the images.
    """
    if settings.data.name == "folder":
        check_apart(settings.out, settings.data_dir)
    order = class_order(settings.out) if settings.resume else None
    return ImageData(data_dir=settings.data_dir, class_names=order, **asdict(settings.data))


def check_apart(out: Path, images: Path) -> None:
    """Make sure that the pictures of a run are not taken for images of a class when the folder is read again.

    Args:
        out: the folder of the run.
        images: the folder of the images.

    Raises:
        ValueError: the run's folder lies where the images are looked for.
    """
    place, root = (os.path.realpath(folder) for folder in (out, images))
    if not os.path.isdir(root) or not Path(place).is_relative_to(root):
        return
    for folder in split_folders(root).values():
        inner = Path(os.path.relpath(place, folder)).parts
        if not any(part.startswith(".") for part in inner):  # outside, or hidden
            raise ValueError(
                f"out: {out} lies in the folder of the images, {images}, so its pictures would be taken for images of "
                "a class; choose another --out"
            )


@overload
def new_classifier(settings: ClassifierSettings, image_shape: ImageShape, label: int) -> LabelClassifier: ...


@overload
def new_classifier(settings: ClassifierSettings, image_shape: ImageShape, label: int | Attributes) -> Any: ...


def new_classifier(settings: ClassifierSettings, image_shape: ImageShape, label: int | Attributes) -> Any:
    """Make an untrained guide or judge.

    Args:
        settings: its settings.
        image_shape: `(C, H, W)` of its images.
        label: K; or what a label is made of.

    Returns:
        The classifier: a `LabelClassifier`, or an `AttributeClassifier`.

    Raises:
        ValueError: more than `MOST_PARAMETERS` weights.
    """
    make: Any = AttributeClassifier if isinstance(label, Attributes) else LabelClassifier
    return _built(
        lambda: make(
            image_shape,
            label,
            kind=settings.kind,
            widths=settings.widths,
            blocks=settings.blocks,
            feature_dim=settings.feature_dim,
            dropout=settings.dropout,
        )
    )


def new_vae(settings: VAESettings, image_shape: ImageShape, label: int | Attributes) -> ConditionalVAE:
    """Make an untrained model.

    Args:
        settings: its settings.
        image_shape: `(C, H, W)` of its images.
        label: K; or what a label is made of.

    Returns:
        The model.

    Raises:
        ValueError: more than `MOST_PARAMETERS` weights.
    """
    return _built(
        lambda: ConditionalVAE(
            image_shape,
            **({"attributes": label} if isinstance(label, Attributes) else {"num_classes": label}),
            latent_dim=settings.latent_dim,
            encoder_widths=settings.encoder_widths,
            decoder_widths=settings.decoder_widths,
            hidden_dim=settings.hidden_dim,
            blocks=settings.blocks,
            encoder_label=settings.encoder_label,
            decoder_label=settings.decoder_label,
            embedding_dim=settings.embedding_dim,
            spatial_latent=settings.spatial_latent,
            upsampling=settings.upsampling,
        )
    )


def check_networks(settings: Settings, image_shape: ImageShape, label: int | Attributes) -> None:
    """Make sure, without memory, that guide, judge and model can be built and refined, before the first is trained.

    Args:
        settings: the settings of the run.
        image_shape: `(C, H, W)` of its images.
        label: K; or what a label is made of.

    Raises:
        ValueError: a network cannot be built; a radius of the refinement that no image reaches.
    """
    check_radius("vae.refine", settings.vae.refine, image_shape)
    with torch.device("meta"):
        judge = new_classifier(settings.judge, image_shape, label)
        guide = new_classifier(settings.guide, image_shape, label)
        if isinstance(label, Attributes):
            classifier_task(settings.judge, judge)
            classifier_task(settings.guide, guide)
            if settings.vae.refine > 0:
                raise ValueError(
                    f"vae.refine: expected 0 with labels of attributes, got {settings.vae.refine}; only models of one "
                    "class are refined"
                )
        vae_task(settings.vae, new_vae(settings.vae, image_shape, label), guide)


def _built(network: Callable[[], Network]) -> Network:
    """Build a network, unless it is too large. Its size is counted without memory."""
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in network().parameters())
    if count > MOST_PARAMETERS:
        raise ValueError(f"widths: a network of {count:,} weights was asked for, at most {MOST_PARAMETERS:,} are built")
    return network()


def classifier_task(
    settings: ClassifierSettings, classifier: LabelClassifier | AttributeClassifier, **others: Any
) -> ClassifierTraining:
    """Make the training of a classifier.

    Args:
        settings: the classifier's settings.
        classifier: the classifier to train.
        others: further arguments of `ClassifierTraining`: prefix, channels_last, compiled and graphed.

    Returns:
        The task.
    """
    optimization = settings.optimization
    return ClassifierTraining(
        classifier,
        settings.augmentation,
        settings.label_smoothing,
        optimization.rate_factor * optimization.learning_rate,
        optimization.weight_decay,
        schedule=optimization.schedule,
        adversarial=settings.adversarial,
        **others,
    )


def without_label_loss(settings: VAESettings) -> VAESettings:
    """Return the settings of the same model without the guide: lambda is 0, and nothing sees its maps."""
    objective = replace(settings.objective, label_weight=0.0, own_label_weight=0.0, perceptual_weight=0.0)
    return replace(settings, objective=objective, discriminator_sees_guide=False, refine=0.0)


def vae_task(
    settings: VAESettings,
    vae: ConditionalVAE,
    guide: Any,
    **others: Any,
) -> VAETraining:
    """Make the training task of a model, with a discriminator if its weight is above 0.

    Args:
        settings: the model's settings.
        vae: what is trained.
        guide: the classifier in the loss, an `AttributeClassifier` for a model of attributes; None for none.
        others: `VAETraining`'s prefix, channels_last, compiled and graphed.

    Returns:
        The task.

    Raises:
        ValueError: a discriminator that is to see the guide's maps, and a guide without maps.
    """
    optimization = settings.optimization
    discriminator = None
    if vae.attributes is None and settings.objective.adversarial_weight > 0:
        beside = guide.map_widths if guide is not None and settings.discriminator_sees_guide else ()
        discriminator = Discriminator(vae.image_shape, vae.num_classes, settings.discriminator_widths, beside)
        if settings.discriminator_sees_guide and not discriminator.beside:
            kind = "none" if guide is None else guide.config["kind"]
            raise ValueError(
                "discriminator_sees_guide: expected a guide with maps, convolutional or pooled, and at least 2 "
                f"discriminator_widths, got a guide of kind {kind} and {settings.discriminator_widths}"
            )
    loss = (
        GuidedELBO(guide, discriminator, settings.objective)
        if vae.attributes is None
        else AttributeELBO(guide, settings.objective)
    )
    return VAETraining(
        vae,
        loss,
        optimization.rate_factor * optimization.learning_rate,
        optimization.weight_decay,
        optimization.rate_factor * settings.discriminator_learning_rate,
        schedule=optimization.schedule,
        augmentation=settings.augmentation,
        **others,
    )
