"""Minutes of training until a guide or a judge reads held-out images with an accuracy, for several schedules.

    python benchmarks/guide_time.py --data-dir DIR --out runs/guide_time                            MNIST to 0.99
    python benchmarks/guide_time.py --preset cifar10_small --folder --which judge --data-dir DIR \
        --accuracy 0.85 --epochs '[6, 12]' --out runs/guide_time-cifar10

Each number of epochs is a training of its own, because the learning rate depends on the length of the training. After
every `--every` steps the clock stops, and validation images are read. A training goes on to its end, and leaves its
classifier in a folder of `--out`, which `time_to_quality.py` takes as `--guide` or `--judge`.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import auto_cli
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from machine import machine_line
from tables import table
from torch import Tensor

from labelvae import ImageData, LabelClassifier
from labelvae.cli.parser import DashParser
from labelvae.models.inference import evaluation_mode
from labelvae.runs import presets
from labelvae.runs.building import classifier_task, new_classifier
from labelvae.runs.experiment import Experiment
from labelvae.runs.machine import threads_at_work
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.process import kept_process, quiet
from labelvae.system.whole_files import write_whole
from labelvae.training.callbacks import Bar, MovingAverage
from labelvae.visual.grids import one_of_each

COLUMNS = ["classifier", "epochs", "steps", "minutes", "processor minutes", "minutes to it", "processor minutes to it"]
COLUMNS += ["accuracy"]


def main(
    preset: Literal["digits", "mnist", "cifar10_small"] = "mnist",
    which: Literal["guide", "judge"] = "guide",
    data_dir: Path = Path("data"),
    out: Path = Path("runs/guide_time"),
    accuracy: float = 0.99,
    every: int = 50,
    images: int = 2000,
    epochs: list[int] | None = None,
    folder: bool = False,
) -> None:
    """Measure, and write `guide_time.md` and `guide_time.json`.

    Args:
        preset: whose classifier is trained.
        which: the guide or the judge.
        data_dir: folder of the data set's files.
        out: folder of the tables and of the classifiers.
        accuracy: share of validation images that are to be read right.
        every: steps between two looks.
        images: validation images of a look, at most.
        epochs: lengths of the trainings; None takes the preset's.
        folder: the images lie in class folders, not in the data set's own files.
    """
    keep_freed_memory()
    chosen = getattr(presets, preset.upper())
    source = replace(chosen.data, name="folder") if folder else chosen.data
    settings = replace(chosen, data=source, out=out, log="none", data_dir=data_dir)
    how = getattr(settings, which)
    with kept_process():
        quiet()
        data = ImageData(data_dir=data_dir, **asdict(settings.data))
        choice = Experiment(settings, data, claim=False).choice
        held_out = data.splits["validation"]
        some = held_out.subset(one_of_each(held_out.labels, images)).load()
        rows: list[dict[str, Any]] = []
        head = f"{which} of {preset} to an accuracy of {accuracy:g} on {len(some.labels)} validation images. "
        with threads_at_work(choice.threads):
            head += f"{machine_line()}; {choice.line()}"
            for length in epochs or [how.optimization.epochs]:
                seed_everything(how.optimization.seed, verbose=False)
                network = new_classifier(how, data.image_shape, data.num_classes)
                looks = Accuracy(network, some.images.float() / 255.0, some.labels, every)
                decay = how.optimization.average_decay
                averaging = [MovingAverage(decay)] if decay > 0 else []
                trainer = Trainer(
                    accelerator="cpu",
                    devices=1,
                    precision=choice.precision,
                    max_epochs=length,
                    limit_val_batches=0,
                    logger=False,
                    log_every_n_steps=20,
                    callbacks=[looks, Bar(), *averaging],
                    enable_checkpointing=False,
                    enable_model_summary=False,
                )
                size, seed = how.optimization.batch_size, how.optimization.seed
                with redirect_stdout(sys.stderr):  # the bar
                    trainer.fit(
                        classifier_task(how, network, channels_last=choice.channels_last),
                        data.loader("train", size, shuffle=True, drop_last=True, seed=seed),
                    )
                network.class_names = data.class_names or None
                network.save_pretrained(out / f"{which}-{length}")
                rows.append({"classifier": which, "epochs": length, **looks.row(accuracy)})
                write_whole(out / "guide_time.json", json.dumps({"head": head, "rows": rows}, indent=2) + "\n")
    text = f"{head}\n\n{table(rows, {name: name for name in COLUMNS})}\n"
    write_whole(out / "guide_time.md", text)
    print(text)


class Accuracy(Callback):
    """Stop the clock and read held-out images, every so many steps and at the end.

    Args:
        network: the classifier that is trained.
        images: the held-out images, `(N, C, H, W)` in [0, 1].
        labels: their labels, int64 `(N,)`.
        every: steps between two looks.
    """

    def __init__(self, network: LabelClassifier, images: Tensor, labels: Tensor, every: int) -> None:
        self.network, self.images, self.labels, self.every = network, images, labels, every
        self.seconds, self.processor = 0.0, 0.0
        self.rows: list[dict[str, float]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start, self._start_processor = time.perf_counter(), time.process_time()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look, if it is time to."""
        step = trainer.global_step
        if step % self.every and step != trainer.estimated_stepping_batches:
            return
        self.seconds += time.perf_counter() - self._start
        self.processor += time.process_time() - self._start_processor
        with evaluation_mode(self.network) as network:
            found = torch.cat([network(some).argmax(dim=1) for some in self.images.split(256)])
        row = {"step": step, "minutes": self.seconds / 60, "processor": self.processor / 60}
        self.rows.append(row | {"accuracy": float((found == self.labels).double().mean())})
        self.on_train_start(trainer, pl_module)

    def row(self, aim: float) -> dict[str, Any]:
        """When the aim was reached first, and the last look."""
        last, first = self.rows[-1], next((row for row in self.rows if row["accuracy"] >= aim), {})
        return {
            "steps": last["step"],
            "minutes": last["minutes"],
            "processor minutes": last["processor"],
            "minutes to it": first.get("minutes"),
            "processor minutes to it": first.get("processor"),
            "accuracy": last["accuracy"],
            "looks": self.rows,
        }


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
