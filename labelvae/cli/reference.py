"""The program that trains the reference of a run next to the run itself."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import asdict

from labelvae.runs.settings import Settings
from labelvae.system.process import quiet


def main() -> None:
    """Train the reference of the run whose settings.yaml is in `sys.argv`. End when the first process does."""
    threading.Thread(target=_end_with_the_first_process, daemon=True).start()
    from labelvae.cli.parser import run

    run(_train, Settings(), "", ["--config", sys.argv[1]])


def _end_with_the_first_process() -> None:
    sys.stdin.buffer.read()  # until the other end is closed, by that process or because it is gone
    os._exit(1)


def _train(settings: Settings) -> None:
    from labelvae.data.image_data import ImageData
    from labelvae.models.classifier import LabelClassifier
    from labelvae.runs.building import without_label_loss
    from labelvae.runs.experiment import Experiment
    from labelvae.runs.run_folder import class_order

    quiet()
    order = class_order(settings.out)
    data = ImageData(data_dir=settings.data_dir, class_names=order, **asdict(settings.data))
    experiment = Experiment(settings, data, claim=False)
    guide, judge = (LabelClassifier.from_pretrained(settings.out / name).freeze() for name in ("guide", "judge"))
    experiment.vae("unguided", without_label_loss(settings.vae), guide, judge)
