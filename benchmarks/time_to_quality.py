"""Minutes of training until validation images reach a quality: ours, a bare loop, and other schedules.

    python benchmarks/time_to_quality.py --out runs/quality                                  the digits
    python benchmarks/time_to_quality.py --ways '[]' --recipes --out runs/quality                   other recipes
    python benchmarks/time_to_quality.py --preset mnist_brief --data-dir DIR --out runs/quality-mnist
    python benchmarks/time_to_quality.py --variants '{"batch 128": {"vae.optimization.batch_size": 128}}'
    python benchmarks/time_to_quality.py --variants '{"half": {"every": {"equivariance_weight": 2}}}'
    python benchmarks/time_to_quality.py --preset cifar10_small --folder --data-dir DIR --effectiveness 0.85 \
        --minutes 20 --judge runs/guide_time-cifar10/judge-6 --guide labelvae/pretrained/cifar10/guide
    python benchmarks/time_to_quality.py --preset mnist --data-dir DIR --minutes 6 --out runs/quality-mnist \
        --ways '[Trainer.fit, "bare loop, bound alone", "pythae, bound alone", "PyTorch-VAE style, bound alone"]'

Guide and judge, of another architecture, are trained once and kept under `--out`; the first run says how long they
took. Every row then trains the same networks from the same weights on the same batches. After every `--every` steps the
clock stops, and held-out images are relabelled and reconstructed. A row ends when both aims are reached, or with its
schedule. The learning rate depends on the length of the training, so a shorter schedule is a variant of its own.

A variant is a name and the settings that differ from the preset's. Its `every` makes a term cheaper: the term is
computed at every n-th step only, with n times its weight. pythae's trainer has a constant learning rate, and is looked
at after each of its epochs. Where pythae is missing, its row says so.

"Bound alone" is the loss that the other libraries have: the same networks with the evidence lower bound and nothing
else. Nothing there makes the image follow another label, so such a row ends with the decibels.

Where the preset lets the guide refine counterfactuals, those are judged, as `labelvae relabel` makes them.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import redirect_stdout
from dataclasses import asdict, fields, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import auto_cli
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from machine import machine_line
from tables import table
from variants import changed, make_seldom
from ways import Everyday, pythae_epochs

from labelvae import ConditionalVAE, ImageData, LabelClassifier, VAETraining
from labelvae.cli.parser import DashParser
from labelvae.evaluation.image_metrics import peak_signal_to_noise
from labelvae.inputs.tensors import wrong_labels
from labelvae.losses.refinement import Refined
from labelvae.models.inference import evaluation_mode
from labelvae.runs import presets
from labelvae.runs.building import new_vae, vae_task
from labelvae.runs.conditionings import recipes as known_recipes
from labelvae.runs.experiment import Experiment
from labelvae.runs.machine import threads_at_work
from labelvae.runs.settings import Settings
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.process import kept_process, quiet
from labelvae.system.whole_files import write_whole
from labelvae.training.callbacks import Bar
from labelvae.training.optimizers import clip_gradients, scheduled_adamw
from labelvae.visual.grids import one_of_each

COLUMNS = ["variant", "way", "steps", "minutes", "processor minutes", "effectiveness alone", "dB alone"]
COLUMNS += ["effectiveness", "own label, dB", "said"]
Way = Literal[
    "Trainer.fit",
    "bare loop",
    "pythae's trainer",
    "Trainer.fit, bound alone",
    "bare loop, bound alone",
    "pythae, bound alone",
    "PyTorch-VAE style, bound alone",
]


def main(
    preset: Literal["digits", "mnist", "mnist_brief", "cifar10_small"] = "digits",
    data_dir: Path = Path("data"),
    out: Path = Path("runs/time_to_quality"),
    effectiveness: float = 0.99,
    decibel: float = 21.0,
    every: int = 50,
    images: int = 1000,
    variants: dict[str, dict[str, Any]] | None = None,
    ways: list[Way] | None = None,
    seed: int = 3,
    minutes: float = float("inf"),
    folder: bool = False,
    guide: Path | None = None,
    judge: Path | None = None,
    recipes: bool = False,
) -> None:
    """Measure, and write `time_to_quality.md` and `time_to_quality.json`.

    Args:
        preset: whose networks and settings are trained.
        data_dir: folder of the data set's files.
        out: folder of the tables, of the guide and of the judge.
        effectiveness: share of counterfactuals that the judge is to take for the asked label.
        decibel: mean PSNR that reconstructions under the own label are to have.
        every: steps between two looks.
        images: Held-out images of a look, at most.
        variants: settings that differ from the preset's, by the variant's name.
        ways: who drives the steps of the preset itself; all by default. Variants are driven by `Trainer.fit`.
        seed: seed of the weights and of the draws.
        minutes: minutes of training, without the looks, after which a row ends.
        folder: the images lie in class folders, not in the data set's own files.
        guide: folder of a trained guide; None trains the preset's.
        judge: folder of a trained judge; None trains the preset's.
        recipes: train every other recipe of the relabelling table too, with its own objective.
    """
    keep_freed_memory()
    chosen = getattr(presets, preset.upper())
    source = replace(chosen.data, name="folder") if folder else chosen.data
    settings = replace(chosen, data=source, out=out / preset, log="none", data_dir=data_dir)
    aims = (effectiveness, decibel)
    with kept_process():
        quiet()
        made = Prepared(settings, images, {"guide": guide, "judge": judge})
        todo: list[tuple[str, str, dict[str, Any]]] = [
            ("preset", way, {}) for way in (["Trainer.fit", "bare loop", "pythae's trainer"] if ways is None else ways)
        ]
        todo += [(name, "Trainer.fit", changes) for name, changes in (variants or {}).items()]
        if recipes:
            others = known_recipes(settings, made.data.image_shape[0])
            todo += [(name, "Trainer.fit", {"vae": how}) for name, how in others.items() if name != "labelvae"]
        rows: list[dict[str, Any]] = []
        with threads_at_work(made.experiment.choice.threads):
            head = f"{machine_line('pythae')}; {made.experiment.choice.line()}"
            for name, way, changes in todo:
                rows.append({"variant": name, "way": way, **made.row(way, dict(changes), aims, every, seed, minutes)})
                print({key: value for key, value in rows[-1].items() if key != "looks"}, flush=True)
                found = {"head": head, "aims": aims, "before": made.before, "rows": rows}
                write_whole(out / "time_to_quality.json", json.dumps(found, indent=2) + "\n")
    title = f"{preset}: effectiveness {effectiveness:g} and {decibel:g} dB on {len(made.labels)} validation images"
    before = "; ".join(f"{name} trained in {seconds:.0f} s" for name, seconds in made.before.items())
    said = f"{title}. {before or 'guide and judge were there'}. {head}"
    text = f"{said}\n\n{table(rows, {name: name for name in COLUMNS})}\n"
    write_whole(out / "time_to_quality.md", text)
    print(text)


class Prepared:
    """Images, guide and judge: what every row has in common.

    Args:
        settings: the preset.
        count: Held-out images of a look, at most.
        given: folders of a trained guide and judge, or None.

    Attributes:
        before: seconds that the training of guide and judge took, where they were not there yet.
    """

    def __init__(self, settings: Settings, count: int, given: dict[str, Path | None]) -> None:
        self.settings = settings
        self.data = ImageData(data_dir=settings.data_dir, **asdict(settings.data))
        self.experiment = Experiment(settings, self.data, claim=False)
        self.before: dict[str, float] = {}
        with threads_at_work(self.experiment.choice.threads):
            self.guide, self.judge = (
                self.classifier(name) if folder is None else LabelClassifier.from_pretrained(folder).freeze()
                for name, folder in given.items()
            )
        held_out = self.data.splits["validation"]
        some = held_out.subset(one_of_each(held_out.labels, count)).load()
        self.images, self.labels = some.images.float() / 255.0, some.labels
        self.asked = wrong_labels(self.labels, self.data.num_classes, torch.Generator().manual_seed(0))

    def classifier(self, name: str) -> LabelClassifier:
        """The guide or the judge: as it lies in the folder, if its settings were the same, or trained."""
        how = getattr(self.settings, name)
        folder, said = self.settings.out / name, json.dumps([asdict(how), asdict(self.settings.data)], default=str)
        note = folder / "made_with.json"
        if note.is_file() and note.read_text() == said:
            return LabelClassifier.from_pretrained(folder).freeze()
        (self.settings.out / "checkpoints" / f"{name}.ckpt").unlink(missing_ok=True)  # of other settings
        start = time.perf_counter()
        made = self.experiment.classifier(name, how)
        self.before[name] = time.perf_counter() - start
        write_whole(note, said)
        return made

    def row(
        self, way: str, changes: dict[str, Any], aims: tuple[float, float], every: int, seed: int, minutes: float
    ) -> Any:
        """Train until the aims are reached, and say when each was."""
        terms = changes.pop("every", {})
        how = changed(self.settings, changes).vae
        if way.endswith("bound alone"):
            weights = {field.name: 0.0 for field in fields(how.objective) if field.name.endswith("_weight")}
            objective = replace(how.objective, label_constraint=False, **weights)
            how, aims = replace(how, objective=objective), (0.0, aims[1])
        choice = self.experiment.choice
        seed_everything(seed, verbose=False)
        vae = new_vae(how, self.data.image_shape, self.data.num_classes)
        guide = None if way.endswith("bound alone") else self.guide
        task = vae_task(how, vae, guide, channels_last=choice.channels_last)
        if terms:
            make_seldom(task, terms)
        batch_size, epochs = how.optimization.batch_size, how.optimization.epochs
        refined = Refined(vae, self.guide, how.refine) if guide is not None and how.refine > 0 else vae
        looks = Looks(refined, self, aims, every, minutes)
        loader = self.data.loader("train", batch_size, shuffle=True, drop_last=True, seed=seed)
        try:
            if way.startswith(("Trainer.fit", "PyTorch-VAE")):
                trainer = Trainer(
                    accelerator="cpu",
                    devices=1,
                    precision=choice.precision,
                    max_epochs=epochs,
                    limit_val_batches=0,
                    logger=False,
                    log_every_n_steps=20,
                    callbacks=[looks, Bar()],
                    enable_checkpointing=False,
                    enable_model_summary=False,
                )
                with redirect_stdout(sys.stderr):  # the bar
                    trainer.fit(task if way.startswith("Trainer.fit") else Everyday(task), loader)
            elif way.startswith("bare loop"):
                bare(task, loader, epochs, choice.precision == "bf16-mixed", looks)
            else:
                train = self.data.splits["train"].load()
                one_epoch = pythae_epochs(task, train.images.float() / 255.0, train.labels, batch_size)
                looks.begin()
                for epoch in range(1, epochs + 1):
                    one_epoch(epoch)
                    if looks.after(epoch * len(loader), look=True):
                        break
        except ImportError as error:
            return {"said": f"not measured: {error}"}
        return looks.row()


class Looks(Callback):
    """Stop the clock and look at held-out images, every so many steps; stop the training when the aims are reached."""

    def __init__(
        self, vae: ConditionalVAE | Refined, made: Prepared, aims: tuple[float, float], every: int, minutes: float
    ) -> None:
        self.vae, self.made, self.aims, self.every, self.minutes = vae, made, aims, every, minutes
        self.seconds, self.processor = 0.0, 0.0
        self.rows: list[dict[str, float]] = []

    def begin(self) -> None:
        """Start the clock."""
        self._start, self._start_processor = time.perf_counter(), time.process_time()

    def after(self, step: int, look: bool = False) -> bool:
        """Look, if it is time to, and say whether the aims are reached or the time is over."""
        if step % self.every and not look:
            return False
        self.seconds += time.perf_counter() - self._start
        self.processor += time.process_time() - self._start_processor
        found = quality(self.vae, self.made)
        self.rows.append({"step": step, "minutes": self.seconds / 60, "processor": self.processor / 60, **found})
        self.begin()
        reached = all(value >= aim for value, aim in zip(found.values(), self.aims, strict=True))
        return reached or self.seconds >= 60 * self.minutes

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.begin()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look, if it is time to."""
        trainer.should_stop = self.after(trainer.global_step)

    def row(self) -> dict[str, Any]:
        """When the aims were reached, together and alone, and the last look."""
        if not self.rows:
            return {"said": "not looked at: fewer steps than --every"}
        last = self.rows[-1]
        aims = dict(zip(("effectiveness", "own label, dB"), self.aims, strict=True))
        alone = [
            next((row["minutes"] for row in self.rows if aim and row[name] >= aim), None) for name, aim in aims.items()
        ]
        reached = all(last[name] >= aim for name, aim in aims.items())
        return {
            "steps": int(last["step"]),
            "minutes": last["minutes"],
            "processor minutes": last["processor"],
            **dict(zip(("effectiveness alone", "dB alone"), alone, strict=True)),
            **{name: last[name] for name in aims},
            "said": "reached" if reached else "not reached",
            "looks": self.rows,
        }


def quality(vae: ConditionalVAE | Refined, made: Prepared) -> dict[str, float]:
    """Effectiveness by the judge, and the PSNR of reconstructions, on the held-out images."""
    with evaluation_mode(made.judge) as judge:
        right = judge(vae.relabel(made.images, made.asked, made.labels)).argmax(dim=1) == made.asked
    close = peak_signal_to_noise(made.images, vae.reconstruct(made.images, made.labels))
    return {"effectiveness": float(right.double().mean()), "own label, dB": float(close.mean())}


def bare(task: VAETraining, loader: Any, epochs: int, bfloat16: bool, looks: Looks) -> None:
    """The steps of `Trainer.fit` without a trainer: the same batches, schedule, clipping and updates."""
    steps = epochs * len(loader)
    made = scheduled_adamw(task.parameter_groups(), task.learning_rate, task.weight_decay, steps, task.schedule)
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    if task.channels_last:
        task.to(memory_format=torch.channels_last)
    task.train()
    done = count(1)
    looks.begin()
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        for images, labels in loader:
            step = next(done)
            seen = images.to(memory_format=torch.channels_last) if task.channels_last else images
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                total = task.step(seen, labels, (step - 1) / steps)["total"]
            total.backward()
            clip_gradients(optimizer)
            optimizer.step()
            schedule.step()
            if looks.after(step):
                return


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
