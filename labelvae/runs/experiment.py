"""One run from data to pictures: guide, judge, model and reference, then scores and pictures. Its folder has:

    settings.yaml   guide/ judge/ vae/ unguided/   scores.json   *.png   progress/   checkpoints/   wandb/

Each step leaves its whole result before the next step begins. A resumed run continues from what is there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.tuner.tuning import Tuner

from labelvae.evaluation.diagnosis import diagnose
from labelvae.evaluation.evaluator import ClassMean, ImageItself, Relabeller, evaluate
from labelvae.evaluation.scores import Scores, save_scores, scores_table
from labelvae.evaluation.weaknesses import advice, say
from labelvae.losses.refinement import Refined
from labelvae.losses.refinement_files import save_radius
from labelvae.models.classifier import LabelClassifier
from labelvae.models.vae import ConditionalVAE
from labelvae.photos.picture_files import save_picture
from labelvae.runs.attribute_steps import attribute_steps
from labelvae.runs.building import (
    check_networks,
    classifier_task,
    image_data,
    new_classifier,
    new_vae,
    read_images,
    vae_task,
    without_label_loss,
)
from labelvae.runs.machine import choose, device_of, machine_of, threads_at_work
from labelvae.runs.reference import CURVES, reference_process
from labelvae.runs.run_folder import checked_checkpoint, claim_folder, folder_of, keep_prior
from labelvae.runs.run_log import check_log, open_log
from labelvae.runs.settings import ClassifierSettings, Settings, VAESettings
from labelvae.system.process import check_one_process, kept_process, quiet
from labelvae.system.sole_use import sole_use
from labelvae.training.base import Task
from labelvae.training.callbacks import Bar, Diagnosed, LastCheckpoint, MovingAverage
from labelvae.training.dashboard import Relabelled
from labelvae.training.loggers import close_logger, log_picture
from labelvae.training.options import Optimization
from labelvae.training.tasks import VAETraining
from labelvae.visual.charts import learning_rate_curve
from labelvae.visual.contact_sheets import failures, sheets
from labelvae.visual.grids import one_of_each


def run_experiment(settings: Settings, data: Any = None) -> list[Scores]:
    """Train guide, judge, model and reference, score them on the test images, and draw.

    Args:
        settings: the settings of the run.
        data: the images: an `ImageData`; a torch `Dataset` or `DataLoader`; or a dict of them with the keys train, test
            and validation, see `ImageData.from_datasets`. None reads the data set that `settings.data` names.

    Returns:
        The scores: first those of the model, then those of the references; with several attributes they are
        `AttributeScores`. Empty with `find_learning_rate`.

    Raises:
        ValueError: settings or data that cannot be used; a folder that holds another run, or where another process is
            at work.
    """
    with kept_process():
        quiet()
        check_one_process()
        return _run(settings, data)


def _run(settings: Settings, data: Any) -> list[Scores]:
    data = read_images(settings) if data is None else image_data(data, settings.data)
    named = data.origin == (settings.data, settings.data_dir)  # so that another process can read them
    check_networks(settings, data.image_shape, data.label_form)
    with sole_use(folder_of(settings)):
        experiment = Experiment(settings, data)
        with threads_at_work(experiment.choice.threads):
            return _steps(experiment, named and experiment.core_left and not settings.fast_dev_run)


def _steps(experiment: Experiment, side_by_side: bool) -> list[Scores]:
    settings, data = experiment.settings, experiment.data
    if data.attributes is not None:
        return attribute_steps(experiment)  # type: ignore[return-value]
    guide = experiment.classifier("guide", settings.guide)
    if settings.find_learning_rate:
        experiment.find_learning_rate(settings.vae, guide)
        return []
    judge = experiment.classifier("judge", settings.judge)
    with reference_process(experiment.out, experiment.logger) if side_by_side else nullcontext():
        model = experiment.vae("vae", settings.vae, guide, judge, main=True)
    reference = experiment.vae("unguided", without_label_loss(settings.vae), guide, judge)
    best = Refined(model, guide, settings.vae.refine) if settings.vae.refine > 0 else model
    models: dict[str, Relabeller] = {
        "labelvae": best,
        **({"not refined": model} if best is not model else {}),
        "image itself": ImageItself(),
        "class mean": ClassMean(data.loader("train"), data.num_classes),
        "lambda = 0": reference,
    }
    scores = experiment.scores(models, judge, guide)
    experiment.pictures(best, judge)
    experiment.finish(scores)
    return scores


class Experiment:
    """The steps of a run. Each step leaves its files in `settings.out`.

    Args:
        settings: the settings of the run.
        data: the images, in a form that `run_experiment` accepts.
        claim: whether this is the run's first process, which owns the folder and the log.

    Attributes:
        choice: how the machine is used. The steps use as many threads as the caller allows torch.

    Raises:
        ValueError: no such device; a folder that holds a run. (It may be resumed with the same settings and images, or
            overwritten.)
    """

    def __init__(self, settings: Settings, data: Any, claim: bool = True) -> None:
        data = image_data(data, settings.data)
        self.settings = settings
        self.data = data
        self.device = device_of(settings.accelerator)
        self.out = folder_of(settings)
        there = machine_of(self.device)
        self.choice = choose(settings, data.image_shape, there)
        self.core_left = self.device.type == "cpu" and self.choice.threads == 1 < there.threads
        self.logger: Logger | None = None
        self.wrong: dict[str, str] = {}
        if claim:
            check_log(settings)
            said = self.out / "settings.yaml"
            is_new = not said.exists()
            claim_folder(self.out, settings, data, self.choice.line())
            self.choice.say()
            try:
                self.logger = open_log(settings, self.out, data, self.choice)
            except ValueError:
                if is_new:  # no run has begun
                    said.unlink()
                raise
        elif settings.log != "none":
            self.logger = CSVLogger(self.out / CURVES, name="", version=str(time.time_ns()))

    def classifier(self, name: str, settings: ClassifierSettings) -> LabelClassifier:
        """Return a classifier, trained on the training images, frozen, and saved as `name`."""
        seed_everything(settings.optimization.seed, verbose=False)
        classifier: LabelClassifier = new_classifier(settings, self.data.image_shape, self.data.label_form)
        task = classifier_task(settings, classifier, prefix=f"{name}/", **self.speed)
        self._fit(name, task, settings.optimization)
        classifier.class_names = self.data.class_names or None  # a table has none
        classifier.save_pretrained(self.out / name)
        return classifier.to(self.device).freeze()

    def vae(
        self,
        name: str,
        settings: VAESettings,
        guide: LabelClassifier,
        judge: LabelClassifier,
        main: bool = False,
    ) -> ConditionalVAE:
        """Return a trained VAE, saved as `name`. The `main` one is diagnosed, and its curves have no prefix."""
        task = self._vae_task(settings, guide, prefix="" if main else f"{name}/")
        vae = task.vae
        if self.data.attributes is not None:  # the looks at training know classes only
            self._fit(name, task, settings.optimization)
            vae.save_pretrained(self.out / name)
            guide.to(self.device)
            return vae.to(self.device).eval()
        held_out = self.data.splits["validation"]
        some = held_out.subset(one_of_each(held_out.labels, 500)).load()
        images, labels = some.images.float() / 255.0, some.labels
        watch = Relabelled(images, labels, self.data.class_names, judge, self.out / "progress" / f"{name}.png", guide)
        looks = [watch, Diagnosed(images, labels)] if settings.objective.label_weight > 0 else []  # not at a reference
        self._fit(name, task, settings.optimization, *looks)
        vae.class_names = self.data.class_names
        keep_prior(vae, self.out / name)
        vae.save_pretrained(self.out / name)
        save_radius(self.out / name, settings.refine)
        guide.to(self.device)  # Lightning took it to the CPU with the rest of the task
        vae.to(self.device).eval()
        if main and not self.settings.fast_dev_run:
            self.wrong = diagnose(vae, images, labels, guide).warnings()
        return vae

    def find_learning_rate(self, settings: VAESettings, guide: LabelClassifier) -> None:
        """Draw the loss over a learning rate that grows at every step, and print the rate that Lightning suggests.

        This is the range test of Smith, 2017, "Cyclical Learning Rates for Training Neural Networks" (arXiv
        1506.01186).
        """
        train = self.data.loader("train", settings.optimization.batch_size, self.device, shuffle=True, drop_last=True)
        trainer = Trainer(
            accelerator=self.settings.accelerator,
            devices=1,
            plugins=[LightningEnvironment()],  # one process, also in a job of a cluster
            precision=self.choice.precision,
            max_epochs=settings.optimization.epochs,
            logger=False,
            enable_checkpointing=False,
            default_root_dir=self.out,
            enable_model_summary=False,
        )
        task = self._vae_task(settings, guide)
        held = self.data.loader("validation", device=self.device)
        found = Tuner(trainer).lr_find(task, train, held, min_lr=1e-5, max_lr=0.3, num_training=200, update_attr=False)
        if found is None:
            raise ValueError("find_learning_rate: not in a fast_dev_run; leave one of them out")
        suggested = found.suggestion()
        curve = learning_rate_curve(found.results["lr"], found.results["loss"], suggested)
        save_picture(curve, self.out / "learning_rate.png")
        said = "none: the loss did not fall" if suggested is None else f"{suggested:.2g}"
        print(f"suggested learning rate: {said}; the curve is {self.out / 'learning_rate.png'}")

    def _vae_task(self, settings: VAESettings, guide: LabelClassifier, prefix: str = "") -> VAETraining:
        seed_everything(settings.optimization.seed, verbose=False)
        vae = new_vae(settings, self.data.image_shape, self.data.label_form)
        return vae_task(settings, vae, guide, prefix=prefix, **self.speed)

    def scores(self, models: Mapping[str, Relabeller], judge: LabelClassifier, guide: LabelClassifier) -> list[Scores]:
        """Return the scores of every model on the test images. Write `scores.json`, and print the table."""
        real, test = self._batches("train"), self._batches("test")
        scores = [
            evaluate(model, test, judge, real=real, guide=guide, name=name, rounds=self.settings.rounds)
            for name, model in models.items()
        ]
        save_scores(scores, self.out / "scores.json")
        print(f"\n{scores_table(scores)}\n")
        self.wrong |= {} if self.settings.fast_dev_run else advice(scores[0])
        return scores

    def pictures(self, model: ConditionalVAE | Refined, judge: LabelClassifier) -> None:
        """Draw what the model does to test images, and its worst results by the judge's opinion."""
        test = self.data.splits["test"]
        some = test.subset(one_of_each(test.labels, 40)).load()
        pictures = sheets(model, some.images.float() / 255.0, some.labels, self.data.class_names)
        pictures["failures"] = failures(model, judge, self._batches("test"), self.data.class_names)
        for name, picture in pictures.items():
            save_picture(picture, self.out / f"{name}.png")
            log_picture([self.logger] if self.logger else [], f"samples/{name}_final", picture)

    def finish(self, scores: Sequence[Scores]) -> None:
        """Close the log with scores, problems and, on W&B, the model; print the problems and the folder."""
        if self.logger is not None:
            said = "; ".join(f"{name}: {words}" for name, words in self.wrong.items())
            close_logger(self.logger, scores[0].row(), said or "nothing found", self.out / "vae", self.out.name)
        if not self.settings.fast_dev_run:
            say(self.wrong)
        print(f"models, scores and pictures are under {self.out}")

    def _fit(self, name: str, task: Task, optimization: Optimization, *callbacks: Callback) -> None:
        train = self.data.loader(
            "train", optimization.batch_size, self.device, shuffle=True, drop_last=True, seed=optimization.seed
        )
        epochs = max(optimization.epochs, math.ceil(optimization.least_steps / len(train)))
        seldom = max(every for every in range(1, max(1, epochs // 10) + 1) if epochs % every == 0)
        last = self.out / "checkpoints" / f"{name}.ckpt"
        averaging = [MovingAverage(optimization.average_decay)] if optimization.average_decay > 0 else []
        trainer = Trainer(
            accelerator=self.settings.accelerator,
            devices=1,
            plugins=[LightningEnvironment()],  # one process, also in a job of a cluster
            precision=self.choice.precision,
            max_epochs=epochs,
            logger=self.logger or False,
            callbacks=[LastCheckpoint(last, seldom), Bar(), *callbacks, *averaging],
            check_val_every_n_epoch=seldom,
            log_every_n_steps=min(20, len(train)),
            num_sanity_val_steps=0,
            enable_model_summary=False,
            fast_dev_run=2 if self.settings.fast_dev_run else False,
            default_root_dir=self.out,
        )
        count = sum(parameter.numel() for parameter in task.parameters() if parameter.requires_grad)
        print(f"{name}: {count:,} parameters, {epochs} epochs", flush=True)
        start = time.perf_counter()
        try:
            trainer.fit(
                task,
                train,
                self.data.loader("validation", device=self.device),
                ckpt_path=checked_checkpoint(last, epochs, task) if last.is_file() else None,
                weights_only=True,
            )
        except SystemExit as error:
            raise KeyboardInterrupt from error  # Lightning turns Ctrl-C into an exit
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)

    @property
    def speed(self) -> dict[str, bool]:
        """How every task runs: `channels_last`, `compiled` and `graphed`."""
        return {name: getattr(self.choice, name) for name in ("channels_last", "compiled", "graphed")}

    def _batches(self, split: Any) -> Any:
        loader = self.data.loader(split)
        return list(islice(loader, 2)) if self.settings.fast_dev_run else loader
