"""Trains the model that comes with the package, its guide, and two judges, on changed digits; any step can be resumed.

    python benchmarks/packaged_training.py --start labelvae/pretrained/mnist --out runs/mnist_small --data-dir DIR

Six in ten of the digits that the model sees are of another size, thickness or place. The guide and the judges see
changed digits alone. The model and the guide begin with the weights under --start; what a wider model has more, is
new. `benchmarks/packaged_model.py` makes the package of what lies under --out then.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from jsonargparse import auto_cli
from lightning.pytorch import Trainer, seed_everything

from labelvae import ConditionalVAE, ImageData, LabelClassifier
from labelvae.cli.parser import DashParser
from labelvae.runs.building import classifier_task, new_classifier, new_vae, vae_task
from labelvae.runs.presets import MNIST_VARIED
from labelvae.runs.run_folder import claim_folder
from labelvae.runs.settings import ClassifierSettings, VAESettings
from labelvae.training.base import Task
from labelvae.training.callbacks import Bar, LastCheckpoint, MovingAverage
from labelvae.training.options import Optimization

Step = Literal["guide", "vae", "judge", "judge-2"]

GUIDE = replace(
    MNIST_VARIED.guide, optimization=replace(MNIST_VARIED.guide.optimization, epochs=5, learning_rate=1.5e-3)
)
JUDGES = {
    "judge": replace(MNIST_VARIED.judge, optimization=replace(MNIST_VARIED.judge.optimization, epochs=12, seed=12)),
    "judge-2": ClassifierSettings(
        kind="pooled",
        widths=(24, 48, 96),
        blocks=1,
        feature_dim=96,
        augmentation=MNIST_VARIED.judge.augmentation,
        optimization=Optimization(epochs=12, learning_rate=3e-3, seed=22),
    ),
}
MODEL = replace(
    MNIST_VARIED.vae,
    objective=replace(MNIST_VARIED.vae.objective, warm_up_share=0.02),
    optimization=replace(MNIST_VARIED.vae.optimization, epochs=12, learning_rate=1.5e-3, average_decay=0.9995, seed=31),
)


def main(
    start: Path,
    out: Path = Path("runs/mnist_small"),
    data_dir: Path = Path("data"),
    steps: list[Step] | None = None,
    epochs: int | None = None,
) -> None:
    """Trains what is not there yet.

    Args:
        start: folder of the model and the guide to begin with.
        out: folder for what is trained.
        data_dir: where MNIST's files are.
        steps: only these.
        epochs: of the model; null takes the settings'.
    """
    torch.set_num_threads(1)
    data = ImageData(data_dir=data_dir, **asdict(MNIST_VARIED.data))
    how = MODEL if epochs is None else replace(MODEL, optimization=replace(MODEL.optimization, epochs=epochs))
    settings = replace(MNIST_VARIED, data_dir=data_dir, out=out, guide=GUIDE, judge=JUDGES["judge"], vae=how)
    claim_folder(out, replace(settings, resume=(out / "settings.yaml").is_file()), data, "runs on one thread")
    network: ConditionalVAE | LabelClassifier
    task: Task
    for name in steps or get_args(Step):
        if (out / name / "model.safetensors").is_file():
            continue
        if name == "vae":
            seed_everything(how.optimization.seed, verbose=False)
            network = vae = begun(how, ConditionalVAE.from_pretrained(start / "vae"), data)
            guide = LabelClassifier.from_pretrained(out / "guide").freeze()
            task, optimization = vae_task(how, vae, guide), how.optimization
        else:
            of = GUIDE if name == "guide" else JUDGES[name]
            seed_everything(of.optimization.seed, verbose=False)
            network = classifier = new_classifier(of, data.image_shape, data.num_classes)
            if name == "guide":
                classifier.load_state_dict(LabelClassifier.from_pretrained(start / "guide").state_dict())
            task, optimization = classifier_task(of, classifier, prefix=f"{name}/"), of.optimization
        fit(name, task, optimization, data, out)
        network.class_names = data.class_names
        network.save_pretrained(out / name)


def begun(how: VAESettings, known: ConditionalVAE, data: ImageData) -> ConditionalVAE:
    """A model with the weights of a narrower one; it answers nearly as that one did."""
    vae = new_vae(how, data.image_shape, data.num_classes)
    weights, old = vae.state_dict(), known.state_dict()
    codes, was = how.latent_dim, known.latent_dim
    for name, value in old.items():
        new = weights[name]
        if new.shape == value.shape:
            new.copy_(value)
            continue
        rows: torch.Tensor = torch.arange(len(value))
        if name.startswith("encoder.gaussian"):  # means, then log-variances
            rows = torch.cat([rows[:was], rows[:was] + codes])
        new.mul_(0.1)
        if value.ndim == 1:
            new[rows] = value
            continue
        columns = torch.arange(value.shape[1])
        if name == "decoder.hidden.weight":  # the code, then the label
            columns = torch.cat([columns[:was], columns[was:] + codes - was])
            new[: len(value), codes:] = 0.0
        new[rows[:, None], columns] = value
    vae.load_state_dict(weights)
    return vae


def fit(name: str, task: Task, how: Optimization, data: ImageData, out: Path) -> None:
    """Trains, or goes on from the last epoch's checkpoint under `out`."""
    last = out / "checkpoints" / f"{name}.ckpt"
    trainer = Trainer(
        accelerator="cpu",
        precision="bf16-mixed" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "32-true",
        max_epochs=how.epochs,
        logger=False,
        callbacks=[LastCheckpoint(last), Bar(), *([MovingAverage(how.average_decay)] if how.average_decay else [])],
        num_sanity_val_steps=0,
        enable_model_summary=False,
        default_root_dir=out,
    )
    start = time.perf_counter()
    trainer.fit(
        task,
        data.loader("train", how.batch_size, shuffle=True, drop_last=True, seed=how.seed),
        data.loader("validation"),
        ckpt_path=last if last.is_file() else None,
        weights_only=True,
    )
    said = {each: round(float(value), 4) for each, value in trainer.callback_metrics.items() if "val/" in each}
    print(f"{name}: {time.perf_counter() - start:.0f} s, {said}", flush=True)


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
