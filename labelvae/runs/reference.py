"""The reference of a run, trained in a process of its own while the model trains in the first one.

Once guide and judge are trained, the two do not depend on each other. On a small model a second thread gains little,
and a second process nearly doubles the speed. The process only leaves its checkpoint. The run continues from it as from
the checkpoint of a run that was stopped. So a process that fails or is stopped costs time and nothing else.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.loggers import Logger

CURVES = Path("checkpoints") / "unguided-curves"
"""Folder in the run's folder where the process leaves its curves."""


@contextmanager
def reference_process(out: Path, logger: Logger | None) -> Iterator[None]:
    """Train the reference of the run in `out` while the body of the context trains the model; then log its curves.

    Guide and judge must be saved in `out`. If the body fails or is stopped, the process is stopped too.
    """
    print("unguided: trains at the same time, in a process of its own", flush=True)
    paths = filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")))
    process = subprocess.Popen(
        [sys.executable, "-c", "from labelvae.cli.reference import main; main()", str(out / "settings.yaml")],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,  # Ctrl-C is for the first process, which then stops this one
    )
    assert process.stdin is not None
    try:
        yield
        process.wait()
    finally:
        process.stdin.close()
        process.wait()
    for path in sorted((out / CURVES).glob("*/metrics.csv")):
        _replay(path, logger)
    shutil.rmtree(out / CURVES, ignore_errors=True)


def _replay(path: Path, logger: Logger | None) -> None:
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            step = int(row.pop("step"))
            values = {name: float(value) for name, value in row.items() if value and name != "epoch"}
            if logger is not None and values:
                logger.log_metrics(values, step=step)
