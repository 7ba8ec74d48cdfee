"""One run from data to pictures: guide, judge, model and reference; scores; files.

    settings.yaml   guide/ judge/ vae/ elbo_only/   scores.json   *.png   checkpoints/   wandb/

Each step leaves its result whole before the next begins, and a resumed run takes up what is there.
"""

from __future__ import annotations

import logging
import os
import platform
import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import WandbLogger
from PIL import Image

from labelvae.callbacks import LastCheckpoint, Relabelled
from labelvae.classifier import LabelClassifier
from labelvae.data import ImageData
from labelvae.evaluation import ClassMean, ImageItself, Relabeller, Scores, evaluate, save_scores, scores_table
from labelvae.figures import (
    one_of_each,
    reconstructions_grid,
    samples_grid,
    save_picture,
    style_transfer_grid,
    wrong_labels_grid,
)
from labelvae.inputs import wrong_labels
from labelvae.losses import GuidedELBO
from labelvae.networks import Critic
from labelvae.saving import write_whole
from labelvae.settings import ClassifierSettings, Settings, VAESettings
from labelvae.training import ClassifierTraining, Task, VAETraining
from labelvae.vae import ConditionalVAE

_FREE = ("resume", "out", "data_dir", "accelerator", "precision", "wandb", "epochs")
"""Settings that may change between a run and its resumption."""


def relabelling(settings: Settings, data: ImageData | None = None) -> list[Scores]:
    """Trains guide, judge, model and reference, evaluates them on the test images, and draws.

    Args:
        settings: everything.
        data: the images; None reads what `settings.data` names.

    Raises:
        ValueError: settings or data that cannot be; a resumed run with other settings.
    """
    how = settings.data
    if data is None:
        data = ImageData(
            how.name,
            settings.data_dir,
            image_size=how.image_size,
            validation_share=how.validation_share,
            test_share=how.test_share,
            seed=how.seed,
        )
    experiment = Experiment(settings, data)
    guide = experiment.classifier("guide", settings.guide)
    judge = experiment.classifier("judge", settings.judge)
    model = experiment.vae("vae", settings.vae, guide, judge)
    reference = experiment.vae("elbo_only", elbo_only(settings.vae), None, None)
    models: dict[str, Relabeller] = {
        "labelvae": model,
        "image itself": ImageItself(),
        "class mean": ClassMean(data.loader("train"), data.num_classes),
        "ELBO only (lambda = 0)": reference,
    }
    scores = experiment.scores(models, judge, guide)
    experiment.pictures(model)
    experiment.finish(scores)
    return scores


def elbo_only(how: VAESettings) -> VAESettings:
    """The same model without any term that looks at counterfactuals or asks a classifier."""
    objective = replace(
        how.objective,
        label_weight=0.0,
        own_label_weight=0.0,
        cycle_weight=0.0,
        equivariance_weight=0.0,
        adversarial_weight=0.0,
    )
    return replace(how, objective=objective)


class Experiment:
    """The steps of a run, each of which leaves its files under `settings.out`.

    Args:
        settings: everything.
        data: the images.

    Raises:
        ValueError: `resume` with settings that are not those of the run under `settings.out`.
    """

    def __init__(self, settings: Settings, data: ImageData) -> None:
        _quiet()
        self.settings = settings
        self.data = data
        self.out = settings.out / "fast-dev-run" if settings.fast_dev_run else settings.out
        self._settings_file()
        self.logger = self._wandb()
        self.device = Trainer(
            accelerator=settings.accelerator, devices=1, logger=False, enable_checkpointing=False
        ).strategy.root_device

    def classifier(self, name: str, how: ClassifierSettings) -> LabelClassifier:
        """A classifier trained on the training images and frozen, saved under `name`."""
        seed_everything(how.optimization.seed, verbose=False)
        classifier = LabelClassifier(
            self.data.image_shape,
            self.data.num_classes,
            kind=how.kind,
            widths=how.widths,
            blocks=how.blocks,
            feature_dim=how.feature_dim,
            dropout=how.dropout,
        )
        task = ClassifierTraining(classifier, how.optimization, how.augmentation, how.label_smoothing, f"{name}/")
        self._fit(name, task)
        classifier.save_pretrained(self.out / name)
        return classifier.to(self.device).freeze()

    def vae(
        self, name: str, how: VAESettings, guide: LabelClassifier | None, judge: LabelClassifier | None
    ) -> ConditionalVAE:
        """A conditional VAE trained with `guide` in its loss, saved under `name`; `judge` looks on."""
        seed_everything(how.optimization.seed, verbose=False)
        vae = ConditionalVAE(
            self.data.image_shape,
            self.data.num_classes,
            latent_dim=how.latent_dim,
            encoder_widths=how.encoder_widths,
            decoder_widths=how.decoder_widths,
            hidden_dim=how.hidden_dim,
            blocks=how.blocks,
            encoder_sees_label=how.encoder_sees_label,
        )
        critic = None
        if how.objective.adversarial_weight > 0:
            critic = Critic(self.data.image_shape, self.data.num_classes, how.critic_widths)
        prefix = "" if name == "vae" else f"{name}/"
        loss = GuidedELBO(guide, critic, how.objective)
        task = VAETraining(vae, loss, how.optimization, how.critic_learning_rate, prefix)
        images, labels = next(iter(self.data.loader("validation", batch_size=500)))
        watch = Relabelled(images, labels, self.data.class_names, judge, self.out / "progress" / f"{name}.png")
        self._fit(name, task, watch)
        vae.save_pretrained(self.out / name)
        return vae.to(self.device).eval()

    def scores(self, models: Mapping[str, Relabeller], judge: LabelClassifier, guide: LabelClassifier) -> list[Scores]:
        """Evaluates every model on the test images; writes `scores.json` and prints the table."""
        real, test = self._batches("train"), self._batches("test")
        scores = [
            evaluate(model, test, judge, real=real, guide=guide, name=name, rounds=self.settings.rounds)
            for name, model in models.items()
        ]
        save_scores(scores, self.out / "scores.json")
        print(
            f"\n{scores[0].images} counterfactuals of {len(self.data.splits['test'])} test images; judge on real ones: "
            f"{scores[0].judge_accuracy:.3f}\n\n{scores_table(scores)}\n"
        )
        return scores

    def pictures(self, model: ConditionalVAE) -> None:
        """Draws what the model does to test images."""
        test, names, classes = self.data.splits["test"], self.data.class_names, self.data.num_classes
        generator = torch.Generator().manual_seed(0)

        def chosen(indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            some = test.subset(indices)
            return some.images.float() / 255.0, some.labels

        images, labels = chosen(torch.randperm(len(test), generator=generator)[:25])
        asked = wrong_labels(labels, classes, generator)
        self._picture(
            "wrong_labels", wrong_labels_grid(images, model.relabel(images, asked, labels), labels, asked, names)
        )
        images, labels = chosen(one_of_each(test.labels, 40))
        self._picture("reconstructions", reconstructions_grid(images, model.reconstruct(images, labels)))
        shown = min(classes, 20)
        samples = model.sample(torch.arange(shown).repeat_interleave(10), generator).unflatten(0, (shown, 10))
        self._picture("samples", samples_grid(samples, names[:shown]))
        images, labels = chosen(one_of_each(test.labels, 10))
        every = [model.relabel(images, label, labels) for label in range(shown)]
        self._picture("style_transfer", style_transfer_grid(images, torch.stack(every, dim=1), names[:shown]))

    def finish(self, scores: Sequence[Scores]) -> None:
        """Closes the W&B run with the model's scores as its summary, and says where everything is."""
        if self.logger is not None:
            summary = {f"scores/{name}": value for name, value in scores[0].row().items() if value is not None}
            self.logger.experiment.summary.update(summary)
            self.logger.experiment.finish()
        print(f"models, scores and pictures are under {self.out}")

    def _fit(self, name: str, task: Task, *callbacks: Callback) -> None:
        how = self.settings
        last = self.out / "checkpoints" / f"{name}.ckpt"
        if not how.resume:
            last.unlink(missing_ok=True)
        self.data.batch_size = task.optimization.batch_size
        epochs = task.optimization.epochs
        seldom = max(1, epochs // 20)
        trainer = Trainer(
            accelerator=how.accelerator,
            devices=1,
            precision=how.precision,
            max_epochs=epochs,
            logger=self.logger or False,
            callbacks=[LastCheckpoint(last, seldom), TQDMProgressBar(refresh_rate=20), *callbacks],
            check_val_every_n_epoch=seldom,
            log_every_n_steps=min(20, len(self.data.train_dataloader())),
            num_sanity_val_steps=0,
            enable_model_summary=False,
            fast_dev_run=2 if how.fast_dev_run else False,
            default_root_dir=self.out,
        )
        count = sum(parameter.numel() for parameter in task.parameters() if parameter.requires_grad)
        print(f"{name}: {count:,} parameters, {epochs} epochs", flush=True)
        try:
            trainer.fit(task, datamodule=self.data, ckpt_path=last if last.is_file() else None, weights_only=True)
        except SystemExit as error:
            raise KeyboardInterrupt from error  # Lightning turns Ctrl-C into an exit

    def _batches(self, split: Any) -> Any:
        loader = self.data.loader(split)
        if not self.settings.fast_dev_run:
            return loader
        return [batch for batch, _ in zip(loader, range(2), strict=False)]

    def _picture(self, name: str, picture: Image.Image) -> None:
        save_picture(picture, self.out / f"{name}.png")
        if self.logger is not None:
            self.logger.log_image(f"samples/{name}_final", [picture])

    def _wandb(self) -> WandbLogger | None:
        if self.settings.wandb == "disabled" or self.settings.fast_dev_run:
            return None
        logger = WandbLogger(
            project="labelvae", name=self.out.name, save_dir=self.out, mode=self.settings.wandb, log_model=False
        )
        logger.log_hyperparams(_plain(asdict(self.settings)))
        return logger

    def _settings_file(self) -> None:
        path = self.out / "settings.yaml"
        if self.settings.resume and path.is_file():
            _check_same(yaml.safe_load(path.read_text()), _plain(asdict(self.settings)), path)
        split = ", ".join(f"{len(images)} {name}" for name, images in self.data.splits.items())
        packages = ("labelvae", "torch", "torchvision", "torchmetrics", "lightning")
        versions = ", ".join(f"{package} {version(package)}" for package in packages)
        header = (
            f"# made by: {shlex.join(sys.argv)}\n# images: {split}, classes: {', '.join(self.data.class_names)}\n"
            f"# with: {versions}, Python {platform.python_version()}\n# run it again: --config {path}\n"
        )
        write_whole(
            path, header + yaml.safe_dump(_plain(asdict(replace(self.settings, resume=False))), sort_keys=False)
        )


def _quiet() -> None:
    """What Lightning and wandb say of themselves is left out; what goes wrong is still said."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", module="lightning")
    os.environ.setdefault("WANDB_SILENT", "true")


def _plain(value: Any) -> Any:
    """Nested settings as what YAML and JSON know."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def _check_same(before: Any, now: Any, path: Path, where: str = "") -> None:
    for key in sorted(set(before) | set(now)):
        if key in _FREE:
            continue
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            _check_same(old, new, path, f"{where}{key}.")
        elif old != new:
            raise ValueError(
                f"resume: {where}{key} is {new!r}, but the run in {path} has {old!r}; resume with --config {path}, "
                "or choose another --out"
            )
