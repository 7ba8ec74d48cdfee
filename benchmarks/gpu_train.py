"""MNIST and CIFAR10 trained by the clock: guide, judge and model, scores, sheets and weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from gpu_clock import device_of, fit
from gpu_data import images_of
from gpu_job import Job
from gpu_presets import preset
from gpu_report import add_sheet, blind_sheet, halves
from lightning.pytorch import seed_everything

from labelvae import ConditionalVAE, ImageData, LabelClassifier, evaluate
from labelvae.data.loaders import ImageLoader
from labelvae.inputs.tensors import ImageShape
from labelvae.losses.refinement import Refined
from labelvae.models.inference import evaluation_mode
from labelvae.runs.building import classifier_task, new_classifier, new_vae, vae_task, without_label_loss
from labelvae.runs.settings import ClassifierSettings, Settings, VAESettings
from labelvae.training.callbacks import MovingAverage
from labelvae.visual.contact_sheets import failures, sheets
from labelvae.visual.grids import one_of_each

FIRST = 1000
"""Test images that are scored before all of them are, in case the time runs out."""


@dataclass(frozen=True)
class Plan:
    """What the seconds of a data set go to, at the full time.

    Attributes:
        guide: training of the guide.
        judge: training of the judge.
        model: training of the model, with its compiling.
        aim: the guide's accuracy on the test images, whose first time is noted.
        whole: the step's limit; what is not named goes to scores and sheets.
    """

    guide: float
    judge: float
    model: float
    aim: float
    whole: float


PLANS = {"mnist": Plan(7, 5, 16, 0.995, whole=80), "cifar10": Plan(7, 25, 263, 0.94, whole=340)}


def mnist(job: Job) -> None:
    """MNIST: guide, judge, the preset's model, scores on 10,000 test images, a sheet."""
    # Larger batches, as a small network does not fill the card; the learning rate follows.
    settings, _ = preset("mnist", job.rehearse)
    guide, judge = (
        replace(each, optimization=replace(each.optimization, batch_size=512, tuned_batch_size=128))
        for each in (settings.guide, settings.judge)
    )
    model = replace(settings.vae, optimization=replace(settings.vae.optimization, batch_size=256))
    _data_set(job, "mnist", replace(settings, guide=guide, judge=judge, vae=model))


def cifar10(job: Job) -> None:
    """CIFAR10: guide, judge, the preset's model, scores, a sheet, a blind reading's sheet with its key, weights."""
    _data_set(job, "cifar10", preset("cifar10", job.rehearse)[0])


def small(job: Job) -> None:
    """CIFAR10's preset for two cores on the same card, for as long as there is: what do the widths give?"""
    _model(job, preset("cifar10_small", job.rehearse)[0].vae)


def last(job: Job) -> None:
    """CIFAR10's preset with the last weights, not their moving average, for as long as there is."""
    how = preset("cifar10", job.rehearse)[0].vae
    _model(job, replace(how, optimization=replace(how.optimization, average_decay=0.0)))


def unguided(job: Job) -> None:
    """CIFAR10's preset without the guide's label loss, for as long as there is: the reference."""
    _model(job, without_label_loss(preset("cifar10", job.rehearse)[0].vae))


def _data_set(job: Job, name: str, settings: Settings) -> None:
    plan, share = PLANS[name], job.seconds / PLANS[name].whole
    data, source = images_of(job, name)
    job.note(images=source, splits={split: len(images) for split, images in data.splits.items()})
    guide = classifier(job, name, "guide", settings.guide, data, share * plan.guide, plan.aim)
    judge = classifier(job, name, "judge", settings.judge, data, share * plan.judge, plan.aim)
    vae = _trained(job, settings.vae, data, guide, share * plan.model)
    if name == "cifar10":
        halves(vae, guide, job.out, "cifar10")
        radius = settings.vae.refine
        blind_sheet(Refined(vae, guide, radius) if radius > 0 else vae, data, job.out)
    _judged(job, name, vae, data, judge, guide)


def _model(job: Job, how: VAESettings) -> None:
    """Another model of CIFAR10, with the classifiers of the step `cifar10` where they are, else with new ones."""
    data, source = images_of(job, "cifar10")
    settings, _ = preset("cifar10", job.rehearse)
    job.note(images=source)
    found = []
    for part, each in (("guide", settings.guide), ("judge", settings.judge)):
        folder = job.scratch / "cifar10" / part
        if (folder / "model.safetensors").is_file():
            found.append(LabelClassifier.from_pretrained(folder, device_of()).freeze())
        else:
            found.append(classifier(job, "cifar10", part, each, data, 0.1 * job.seconds))
    guide, judge = found
    vae = _trained(job, how, data, guide, 0.75 * job.left())
    _judged(job, "cifar10", vae, data, judge, guide)


def classifier(
    job: Job, name: str, part: str, how: ClassifierSettings, data: ImageData, seconds: float, aim: float | None = None
) -> LabelClassifier:
    """A classifier trained for so many seconds, frozen and kept; its accuracy on the test images is noted."""
    seed_everything(how.optimization.seed, verbose=False)
    network = new_classifier(how, data.image_shape, data.num_classes)
    task = classifier_task(how, network, prefix=f"{part}/", channels_last=True, graphed=True)
    row = fit(job, part, task, data, how.optimization, seconds, _accuracy(job, network, data))
    if aim is not None:
        reached = [gone for gone, accuracy in row["seen"] if accuracy >= aim]
        row |= {"aim": aim, "seconds to the aim": reached[0] if reached else "not reached"}
    job.note(**{part: row | {"accuracy": row["seen"][-1][1]}})
    job.say(f"{part}: {job.result[part]['accuracy']:.4f} on the test images after {row['seconds']} s")
    network.save_pretrained(job.scratch / name / part)
    return network.freeze()


def _accuracy(job: Job, network: LabelClassifier, data: ImageData) -> Callable[[], float]:
    loader = data.loader("test", 16 if job.rehearse else 1000, device_of())

    def look() -> float:
        with evaluation_mode(network) as twin:
            right = [(twin(images).argmax(1) == labels).float() for images, labels in loader]
        return round(float(torch.cat(right).mean()), 4)

    return look


def _trained(job: Job, how: VAESettings, data: ImageData, guide: LabelClassifier, seconds: float) -> ConditionalVAE:
    seed_everything(how.optimization.seed, verbose=False)
    vae = new_vae(how, data.image_shape, data.num_classes)
    average = how.optimization.average_decay
    others = (MovingAverage(average),) if average else ()
    task = vae_task(how, vae, guide, channels_last=True, graphed=True)
    try:
        row = fit(job, "model", task, data, how.optimization, seconds, others=others)
    except FloatingPointError as error:
        job.note(failed=str(error)[:500])
        job.say(f"model: {error}; it begins anew with a quarter of the learning rate")
        slower = replace(how.optimization, learning_rate=0.25 * how.optimization.learning_rate)
        how = replace(how, optimization=slower, discriminator_learning_rate=0.25 * how.discriminator_learning_rate)
        vae = new_vae(how, data.image_shape, data.num_classes)
        task = vae_task(how, vae, guide, channels_last=True, graphed=True)
        others = (MovingAverage(average),) if average else ()
        row = fit(job, "model", task, data, how.optimization, min(seconds, 0.75 * job.left()), others=others)
    guide.to(device_of())
    job.note(model=row | {"parameters": sum(weight.numel() for weight in vae.parameters())})
    job.say(f"model: {row['steps']} steps, {row['epochs']} epochs, {row['images a second']:,} images a second")
    vae.save_pretrained(job.scratch / job.name / "vae")
    return vae.to(memory_format=torch.contiguous_format).eval()


def _judged(
    job: Job, name: str, vae: ConditionalVAE, data: ImageData, judge: LabelClassifier, guide: LabelClassifier
) -> None:
    some = data.splits["test"].subset(one_of_each(data.splits["test"].labels, 40)).load()
    pictures = sheets(vae, some.images.float() / 255.0, some.labels, data.class_names)
    main = job.name == name  # a further run puts one sheet below those of its data set
    for title in ("wrong_labels", "every_class", "samples") if main else ("wrong_labels",):
        add_sheet(job.out / "sheets.png", pictures[title], f"{job.name}: {title.replace('_', ' ')}")
    few = ImageLoader(data.splits["test"].subset(torch.arange(min(FIRST, len(data.splits["test"])))), 500)
    job.note(**{"scores of the first": evaluate(vae, few, judge, guide=guide, name=job.name, progress=False).row()})
    test, real = data.loader("test"), data.loader("train")
    scores = evaluate(vae, test, judge, real=real, guide=guide, name=job.name, progress=False)
    job.note(scores=scores.row())
    asked = scores.effectiveness
    job.say(f"scores: effectiveness {asked:.4f}, judge {scores.judge_accuracy:.4f}, own label {scores.psnr:.2f} dB")
    if main:
        add_sheet(job.out / "sheets.png", failures(vae, judge, test, data.class_names), f"{job.name}: failures")


def warm(job: Job, name: str, settings: Settings, shape: ImageShape, compiled: bool, steps: int = 2) -> dict[str, Any]:
    """Some steps of a preset's model on made-up images of its shape and batch, through the same trainer."""
    how = settings.vae
    count = 4 * (how.optimization.batch_size if not job.rehearse else 10)
    images = torch.randint(256, (count, *shape), dtype=torch.uint8)
    data = ImageData.from_tensors(images, torch.arange(count) % 10, [str(label) for label in range(10)])
    seed_everything(how.optimization.seed, verbose=False)
    guide = new_classifier(settings.guide, shape, 10)
    task = vae_task(how, new_vae(how, shape, 10), guide, channels_last=True, compiled=compiled, graphed=True)
    return fit(job, name, task, data, how.optimization, 1e3, most=steps)
