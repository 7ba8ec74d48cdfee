"""Relabelling, recipe by recipe: the same images seen, the same test images and wrong labels, two judges.

    python benchmarks/relabel.py --data mnist --data-dir DIR --recipe all --minutes 15
    python benchmarks/relabel.py --data mnist --data-dir DIR --recipe labelvae --epochs 10 --seeds 3
    python benchmarks/relabel.py --data mnist --data-dir DIR --study ablation --epochs 1
    python benchmarks/relabel.py --data mnist --data-dir DIR --study tries --epochs 3
    python benchmarks/relabel.py --data mnist --data-dir DIR --study label-weight --epochs 1
    python benchmarks/relabel.py --data mnist --data-dir DIR --study ablation --epochs 1 --precision 32-true
    python benchmarks/relabel.py --data cifar10_small --folder --data-dir DIR --recipe labelvae --epochs 8

Of minutes the guide takes its share and `labelvae` the rest, and every other recipe sees as many images; epochs are the
same for all. The first judge is the preset's, the second one of another kind (`folder`: of other widths); neither is in
a loss. The recipes are tested on the test images; every other study, from which settings may be chosen, on held-out
training images. A model whose preset refines with the guide has a further row with that. Rows, models and pictures stay
under `--out`: run it again to go on after a stop, or to add rows.
"""

from __future__ import annotations

import json
import platform
import shlex
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from lightning.pytorch.loggers import CSVLogger
from studies import Preset, Study, named
from tables import HEADS, over_seeds, table
from torchmetrics.functional.classification import multiclass_calibration_error
from unflattered import rotation_network, taught
from ways import loop

from labelvae import ConditionalVAE, GuidedELBO, ImageData, LabelClassifier, evaluate
from labelvae.cli.parser import DashParser
from labelvae.data.image_data import Split
from labelvae.data.settings import Augmentation
from labelvae.evaluation.evaluator import Relabeller
from labelvae.evaluation.metrics import Effectiveness
from labelvae.inputs.checks import check_count
from labelvae.inputs.tensors import wrong_labels
from labelvae.losses.attack import projected_gradient
from labelvae.losses.refinement import Refined
from labelvae.models.inference import evaluation_mode
from labelvae.photos.picture_files import save_picture
from labelvae.runs import presets as known
from labelvae.runs.building import new_vae, vae_task
from labelvae.runs.experiment import Experiment
from labelvae.runs.machine import choose, machine_of
from labelvae.runs.settings import ClassifierSettings, Precision, VAESettings
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.whole_files import write_whole
from labelvae.training.options import Optimization
from labelvae.visual.contact_sheets import failures, sheets
from labelvae.visual.grids import one_of_each

SECOND_JUDGE = {
    "convolutional": ClassifierSettings(
        kind="mlp",
        widths=(1024, 1024),
        feature_dim=256,
        label_smoothing=0.05,
        augmentation=Augmentation(rotation=12, scale=0.15, shear=0.2, shift=0.06),
        optimization=Optimization(epochs=40, batch_size=256, learning_rate=2e-3, seed=5),
    ),
    "mlp": ClassifierSettings(
        widths=(32, 64),
        blocks=1,
        augmentation=Augmentation(rotation=10, scale=0.1, shear=0.15, shift=0.08),
        optimization=Optimization(epochs=40, batch_size=64, learning_rate=3e-3, seed=5),
    ),
    "pooled": ClassifierSettings(
        widths=(80, 160, 320),
        blocks=1,
        feature_dim=128,
        label_smoothing=0.1,
        augmentation=Augmentation(shift=0.09375, flip=True, interpolation="nearest"),
        optimization=Optimization(epochs=24, learning_rate=3e-3, weight_decay=0.2, seed=5),
    ),
    "fashion_mnist": ClassifierSettings(
        kind="pooled",
        widths=(32, 64, 128),
        blocks=1,
        feature_dim=128,
        label_smoothing=0.1,
        augmentation=Augmentation(shift=0.07, flip=True, interpolation="nearest"),
        optimization=Optimization(epochs=8, learning_rate=3e-3, weight_decay=0.2, seed=5),
    ),
}
"""The judge beside the preset's, by the preset, else by the kind of that one; in colour, `pooled`."""

TIMED_STEPS = 50
ATTACKED = 1000
"""Images that a classifier is attacked on, about."""


@dataclass
class Bench:
    """What every row shares: the data, the classifiers, the epochs."""

    experiment: Experiment
    guide: LabelClassifier
    judge: LabelClassifier
    second_judge: LabelClassifier
    label_free: LabelClassifier | None
    epochs: int
    split: Split

    def row(self, name: str, how: VAESettings, seed: int) -> dict[str, Any]:
        """Trains and evaluates one model, or reads what an earlier run of this benchmark left."""
        out = self.experiment.out
        key = f"{name}-{seed}"
        seed_of_row = how.optimization.seed + 100 * seed
        optimization = replace(how.optimization, epochs=self.epochs, least_steps=0, seed=seed_of_row)
        how = replace(how, optimization=optimization)
        path = out / "rows" / f"{key}.json"
        settings = json.loads(json.dumps(asdict(how)))
        row: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        if row and _completed(row["settings"], json.loads(json.dumps(asdict(VAESettings())))) != settings:
            for left in (key, f"taught-by-{key}"):  # not to be gone on with
                (out / "checkpoints" / f"{left}.ckpt").unlink(missing_ok=True)
        elif "effectiveness" in row:
            return row
        write_whole(path, json.dumps({"settings": settings}, indent=2) + "\n")
        self.experiment.logger = CSVLogger(out, name="log", version=key)
        vae = self.experiment.vae(key, how, self.guide, self.judge)
        data = self.experiment.data
        test = data.loader(self.split)
        row = self.judged(name, vae) | {
            "nats": negative_elbo(vae, test) if data.image_shape[0] == 1 else None,
            "parameters": sum(parameter.numel() for parameter in vae.parameters()),
            "epochs": self.epochs,
            "seed": seed,
            "settings": settings,
        }
        if self.label_free is not None and self.split == "test" and row["effectiveness"] > 0.5:
            row["taught"] = taught(self.experiment, vae, key)  # minutes: where something can be learned
        some = data.splits[self.split]
        some = some.subset(one_of_each(some.labels, 40)).load()
        pictures = sheets(vae, some.images.float() / 255.0, some.labels, data.class_names)
        pictures["failures"] = failures(vae, self.judge, test, data.class_names)
        for picture_name, picture in pictures.items():
            save_picture(picture, out / key / f"{picture_name}.png")
        write_whole(out / key / "settings.yaml", json.dumps({"vae": row.pop("settings")}))  # for `labelvae compare`
        write_whole(out / key / "scores.json", json.dumps([row], indent=2) + "\n")
        row["settings"] = settings
        write_whole(path, json.dumps(row, indent=2) + "\n")
        return row

    def with_refined(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """The row and, where the guide refines what the model makes, the row of that."""
        return [row, self._refined(row)] if row["settings"].get("refine", 0) > 0 else [row]

    def _refined(self, row: dict[str, Any]) -> dict[str, Any]:
        """Evaluates the model of a row with what the guide refines, or reads what an earlier run left."""
        name, key = f"{row['name']}, refined", f"{row['name']}-{row['seed']}"
        path = self.experiment.out / "rows" / f"{name}-{row['seed']}.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        if found.get("settings") == row["settings"]:
            return found
        vae = ConditionalVAE.from_pretrained(self.experiment.out / key, self.experiment.device)
        known = {column: row[column] for column in ("parameters", "epochs", "seed", "settings")}
        found = self.judged(name, Refined(vae, self.guide, row["settings"]["refine"])) | known
        write_whole(path, json.dumps(found, indent=2) + "\n")
        return found

    def judged(self, name: str, model: Relabeller) -> dict[str, Any]:
        """What both judges, and the network that saw no labels, say of a model."""
        test, real = self.experiment.data.loader(self.split), self.experiment.data.loader("train")
        scores = evaluate(model, test, self.judge, real=real, guide=self.guide, label_free=self.label_free, name=name)
        second = agreement(model, test, self.second_judge)
        row = scores.row() | {
            "second_effectiveness": second[0],
            "second_worst_class": min(second[1:]),
            "realism_over_floor": scores.realism_by_class / scores.realism_floor,
        }
        if self.label_free is not None:
            row["realism_label_free_over_floor"] = scores.realism_label_free / scores.realism_label_free_floor
        return row


def _completed(known: Any, defaults: Any) -> Any:
    """Settings as they were written down, with the defaults of those that did not exist then."""
    if not isinstance(known, dict) or not isinstance(defaults, dict):
        return known
    return defaults | {name: _completed(value, defaults.get(name)) for name, value in known.items()}


def agreement(model: Relabeller, batches: Any, judge: LabelClassifier) -> list[float]:
    """Effectiveness by a judge, overall and by asked class, under the wrong labels that `evaluate` draws."""
    metric, generator = Effectiveness(judge.num_classes), torch.Generator().manual_seed(0)
    with evaluation_mode(judge) as network:
        for images, labels in batches:
            asked = wrong_labels(labels, judge.num_classes, generator)
            metric.update(network(model.relabel(images, asked, labels).to(judge.device)).cpu(), asked)
    return metric.compute().tolist()


def negative_elbo(vae: ConditionalVAE, batches: Any) -> float:
    """Bernoulli reconstruction plus KL, from a sampled code under the own label, nats per image, mean."""
    loss, total, count = GuidedELBO(), 0.0, 0
    torch.manual_seed(0)
    with evaluation_mode(vae) as model:
        for images, labels in batches:
            terms = loss(model, images.to(vae.device), labels.to(vae.device))
            total += float((terms.reconstruction + terms.kl).sum())
            count += len(images)
    return total / count


def classifier_row(name: str, classifier: LabelClassifier, batches: Iterable[Any], seconds: float) -> dict[str, Any]:
    """Accuracy, calibration error (15 bins, L1), accuracy under noise and, of the first images, under attack.

    The noise is Gaussian of standard deviation 0.3 and 0.5, the attack one of ten steps up to 4 grey levels of 255.
    """
    generator = torch.Generator().manual_seed(0)
    seen: dict[float, list[torch.Tensor]] = {0.0: [], 0.3: [], 0.5: []}
    truth: list[torch.Tensor] = []
    attacked: list[torch.Tensor] = []
    with evaluation_mode(classifier) as network:
        for images, labels in batches:
            if len(labels) * len(attacked) < ATTACKED:
                pair = images.to(classifier.device), labels.to(classifier.device)
                attacked.append((network(projected_gradient(network, *pair, 4 / 255)).argmax(1) == pair[1]).cpu())
            truth.append(labels)
            for deviation, logits in seen.items():
                noisy = images + deviation * torch.randn(images.shape, generator=generator)
                logits.append(network(noisy.clamp(0.0, 1.0).to(classifier.device)).cpu())
    labels = torch.cat(truth)
    joined = {deviation: torch.cat(logits) for deviation, logits in seen.items()}
    accuracy = {deviation: float((logits.argmax(1) == labels).float().mean()) for deviation, logits in joined.items()}
    return {
        "name": name,
        "accuracy": accuracy[0.0],
        "calibration_error": float(
            multiclass_calibration_error(joined[0.0].softmax(1), labels, classifier.num_classes, n_bins=15)
        ),
        "accuracy_noise_0.3": accuracy[0.3],
        "accuracy_noise_0.5": accuracy[0.5],
        "accuracy_attacked": float(torch.cat(attacked).float().mean()),
        "parameters": sum(parameter.numel() for parameter in classifier.parameters()),
        "seconds": seconds,
    }


def epoch_seconds(experiment: Experiment, how: VAESettings, guide: LabelClassifier) -> float:
    """What an epoch of `how` takes: the time of some steps, for all of them."""
    data, device = experiment.data, experiment.device
    vae = new_vae(how, data.image_shape, data.num_classes)
    task = vae_task(how, vae, guide, **experiment.speed).to(device)
    loader = data.loader("train", how.optimization.batch_size, device, shuffle=True, drop_last=True)
    bfloat16 = experiment.choice.precision == "bf16-mixed"
    run = loop(task, loader, device, bfloat16=bfloat16, compiled=experiment.speed["compiled"])
    return run(TIMED_STEPS) / TIMED_STEPS * len(loader)


def main(
    data: Preset = "digits",
    data_dir: Path = Path("data"),
    folder: bool = False,
    recipe: str = "all",
    minutes: float = 15.0,
    epochs: int | None = None,
    seeds: int = 1,
    study: Study = "recipes",
    precision: Precision | None = None,
    out: Path = Path("runs/relabel"),
) -> None:
    """Trains, evaluates, draws, and writes the tables.

    Args:
        data: whose preset.
        data_dir: where the files of the images are.
        folder: they are images in class folders, not the data set's own files.
        recipe: one row of the study by name, or all.
        minutes: of training for labelvae, its guide included; the others see as many images.
        epochs: of every model, instead of what the minutes leave.
        seeds: models of each recipe.
        study: recipes; or labelvae with one term taken away; or what else was tried; or over its label weight or
            latent size.
        precision: of the models' training, if not the preset's; the rows then name it.
        out: folder for rows, models and pictures; a folder for each data set and number of minutes or epochs.
    """
    epochs = None if epochs is None else check_count("epochs", epochs)
    keep_freed_memory()
    out = out / (f"{data}-{minutes:g}-minutes" if epochs is None else f"{data}-{epochs}-epochs")
    preset = getattr(known, data.upper())
    source = replace(preset.data, name="folder") if folder else preset.data
    settings = replace(
        preset, data=source, data_dir=data_dir, out=out, wandb="disabled", resume=(out / "settings.yaml").is_file()
    )
    images = ImageData(data_dir=data_dir, **asdict(settings.data))
    experiment = Experiment(settings, images)
    torch.set_num_threads(experiment.choice.threads)
    colour = images.image_shape[0] > 1
    classifiers, rows = [], []
    for name, how in (
        ("guide", preset.guide),
        ("judge", preset.judge),
        ("second-judge", SECOND_JUDGE.get(data) or SECOND_JUDGE["pooled" if colour else preset.judge.kind]),
    ):
        start = time.perf_counter()
        classifier = experiment.classifier(name, how)
        path, seconds = out / "rows" / f"{name}.json", time.perf_counter() - start
        seconds = json.loads(path.read_text())["seconds"] if path.is_file() else seconds
        rows.append(classifier_row(name, classifier, images.loader("test"), seconds))
        write_whole(path, json.dumps(rows[-1], indent=2) + "\n")
        classifiers.append(classifier)
    guide, judge, second_judge = classifiers
    label_free = None
    if colour and images.image_shape[1] == images.image_shape[2]:  # a quarter turn keeps its shape
        label_free, accuracy = rotation_network(experiment)
        rows.append({"name": "rotation", "accuracy": accuracy})
    if epochs is None:
        counted = out / "epochs.json"
        if not counted.is_file():
            left = (60.0 * minutes - rows[0]["seconds"]) / epoch_seconds(experiment, preset.vae, guide)
            write_whole(counted, json.dumps(max(1, int(left))))
        epochs = json.loads(counted.read_text())
    split: Split = "test" if study == "recipes" else "validation"
    bench = Bench(experiment, guide, judge, second_judge, label_free, epochs, split)
    models = named(study, recipe, preset, images.image_shape[0])
    if precision is not None:
        asked = replace(settings, precision=precision)
        experiment.choice = choose(asked, images.image_shape, machine_of(experiment.device))
        models = {f"{name}, {precision}": how for name, how in models.items()}
    scores = [bench.row(name, how, seed) for seed in range(seeds) for name, how in models.items()]
    timed = out / "epoch_seconds.json"
    times: dict[str, float] = json.loads(timed.read_text()) if timed.is_file() else {}
    for name, how in models.items():
        times[name] = times.get(name) or epoch_seconds(experiment, how, guide)
    write_whole(timed, json.dumps(times, indent=2) + "\n")
    scores = [
        row | {"seconds": row["epochs"] * times[alone["name"]]} for alone in scores for row in bench.with_refined(alone)
    ]
    columns = {key: key.replace("_", " ") for key in rows[0]}
    packages = ("labelvae", "torch", "torchvision", "torchmetrics", "lightning")
    text = (
        f"`python {shlex.join(sys.argv)}`, {platform.machine()}, {torch.get_num_threads()} threads, "
        f"{experiment.device.type}, Python {platform.python_version()}, "
        f"{', '.join(f'{package} {version(package)}' for package in packages)}, "
        f"{len(images.splits[split])} {split} images.\n\n"
        f"{table(rows, columns)}\n\n"
        f"{table(scores + over_seeds(scores), HEADS)}\n"
    )
    name = study if recipe == "all" else recipe
    write_whole(out / f"{name}.md", text)
    write_whole(out / f"{name}.json", json.dumps(scores, indent=2) + "\n")
    print(text)


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
