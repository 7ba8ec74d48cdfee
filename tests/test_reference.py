"""The reference in a process of its own: the same run, and nothing that outlives it."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from labelvae.runs import experiment
from labelvae.runs.presets import DIGITS
from labelvae.runs.reference import CURVES, reference_process


def brief(out: Path):
    def few(how):
        return replace(how, optimization=replace(how.optimization, epochs=1))

    settings = replace(DIGITS, out=out, log="csv", rounds=1)
    return replace(settings, guide=few(DIGITS.guide), judge=few(DIGITS.judge), vae=few(DIGITS.vae))


def test_side_by_side_is_the_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    there = experiment.machine_of
    monkeypatch.setattr(experiment, "machine_of", lambda device: replace(there(device), threads=2))
    experiment.run_experiment(brief(tmp_path / "both"))
    said = capsys.readouterr().out
    assert "unguided: trains at the same time" in said
    monkeypatch.setattr(experiment, "reference_process", lambda *_: nullcontext())
    experiment.run_experiment(brief(tmp_path / "each"))
    both, each = (json.loads((tmp_path / name / "scores.json").read_text()) for name in ("both", "each"))
    assert both == each
    tables = [(tmp_path / name / "csv" / "metrics.csv").read_text() for name in ("both", "each")]
    curves = [set(text.partition("\n")[0].split(",")) for text in tables]
    assert curves[0] == curves[1]
    assert "unguided/val/total" in curves[0]
    assert not (tmp_path / "both" / CURVES).exists()


def children(of: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{of}/task/{of}/children").read_text().split()]


def alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_process_that_fails_costs_nothing_but_time(tmp_path):
    with reference_process(tmp_path, None):  # there is no settings.yaml
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_the_process_ends_with_the_one_that_started_it(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom labelvae import reference\n"
        "run, start = reference.subprocess.Popen, [sys.executable, '-c', 'import labelvae.runs.reference as r; "
        "r._end_with_the_first_process()']\n"
        "reference.subprocess.Popen = lambda command, **others: run(start, **others)\n"
        "with reference.reference_process(Path(sys.argv[1]), None):\n"
        "    print('started', flush=True)\n    time.sleep(600)"
    )
    for number in (signal.SIGKILL, signal.SIGINT):
        first = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        assert first.stdout is not None
        assert any("started" in line for line in first.stdout)
        [second] = children(first.pid)
        assert alive(second)
        first.send_signal(number)
        first.wait()
        first.stdout.close()
        until = time.monotonic() + 60
        while alive(second) and time.monotonic() < until:
            time.sleep(0.05)
        assert not alive(second)
