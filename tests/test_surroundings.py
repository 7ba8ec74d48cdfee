"""A process keeps what it had: its warnings, logging, environment, draws and hooks."""

import logging
import os
import random
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything

from labelvae.cli.parser import quick_start
from labelvae.runs import presets
from labelvae.runs.experiment import run_experiment
from labelvae.system.process import check_one_process, environment, kept_process, quiet


def state():
    """What a process may be asked for, but for the environment's wandb service."""
    return {
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "filters": list(warnings.filters),
        "levels": [logging.getLogger(name).level for name in ("lightning.pytorch", "lightning", "wandb")],
        "signals": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)],
        "hooks": (sys.excepthook, sys.exit),
        "draws": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
        "torch": (torch.get_num_threads(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()),
        "folder": Path.cwd(),
    }


def assert_same(before, after):
    for name, value in before.items():
        assert after[name] == value, name


@pytest.mark.parametrize("fails", [False, True])
def test_a_block_leaves_the_process_as_it_was(fails, monkeypatch):
    monkeypatch.setenv("WANDB_TAGS", "mine")
    before = state()
    try:
        with kept_process():
            quiet()
            seed_everything(3, verbose=False)
            os.environ["PL_OTHER"] = "1"
            del os.environ["WANDB_TAGS"]
            sys.excepthook = print
            torch.set_num_threads(3 if torch.get_num_threads() != 3 else 2)
            if fails:
                raise KeyError("x")
    except KeyError:
        pass
    assert_same(before, state())


def test_variables_that_are_set_for_a_while(monkeypatch):
    monkeypatch.setenv("LABELVAE_A", "old")
    with environment(LABELVAE_A="new", LABELVAE_B="1", LABELVAE_C=None):
        assert (os.environ["LABELVAE_A"], os.environ["LABELVAE_B"]) == ("new", "1")
        assert "LABELVAE_C" not in os.environ
    assert os.environ["LABELVAE_A"] == "old"
    assert "LABELVAE_B" not in os.environ


def tiny(out):
    def short(how, **others):
        return replace(how, optimization=replace(how.optimization, epochs=1, batch_size=256, least_steps=0), **others)

    return replace(
        presets.DIGITS,
        out=out,
        rounds=1,
        log="csv",
        accelerator="cpu",
        guide=short(presets.DIGITS.guide, widths=(8,)),
        judge=short(presets.DIGITS.judge, widths=(16,)),
        vae=short(presets.DIGITS.vae, encoder_widths=(8,), decoder_widths=(8,)),
    )


@pytest.mark.filterwarnings("ignore:label ignored", "ignore:posterior", "ignore:guide")
def test_a_run_leaves_the_process_as_it_was_also_in_a_job_of_a_cluster(tmp_path, monkeypatch):
    """As sbatch starts it, without srun: several tasks are asked for, one process runs. And the program moves on."""
    job = {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4", "SLURM_JOB_ID": "12", "SLURM_JOB_NAME": "labelvae"}
    for name, value in (job | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()

    def move(*_):
        os.chdir(tmp_path / "elsewhere")

    before = state()
    monkeypatch.setattr("labelvae.runs.experiment.Bar.on_fit_start", move)
    scores = run_experiment(tiny(Path("run")))
    monkeypatch.chdir(tmp_path)
    assert_same(before, state())
    assert len(scores) == 4
    assert (tmp_path / "run" / "scores.json").is_file()
    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(("rank", "count"), [("SLURM_PROCID", "SLURM_NTASKS"), ("RANK", "WORLD_SIZE")])
def test_a_run_that_is_started_several_times_is_refused(rank, count, monkeypatch, tmp_path):
    check_one_process()
    monkeypatch.setenv(count, "4")
    for first in ("0", ""):  # some launchers set the variable without a number
        monkeypatch.setenv(rank, first)
        check_one_process()
    monkeypatch.setenv(rank, "2")
    with pytest.raises(ValueError, match="this program was started 4 times, and this is number 2; .*ntasks=1"):
        run_experiment(tiny(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_importing_everything_changes_nothing_of_the_process():
    """Beyond what importing torch and Lightning themselves change."""
    code = """
import os, sys, signal, warnings, logging, random
import torch, lightning.pytorch, torchvision, wandb, matplotlib, PIL.Image, sklearn, skimage, torchmetrics, tqdm
import lightning.pytorch.loggers, lightning.pytorch.tuner.tuning, torch._dynamo
def state():
    handlers = [signal.getsignal(n) for n in range(1, 32)]
    return (dict(os.environ), list(warnings.filters), handlers, sys.excepthook, sys.exit,
        logging.getLogger().level, logging.getLogger("lightning.pytorch").level, random.getstate(), os.getcwd(),
        torch.get_num_threads(), torch.get_default_dtype(), torch.get_rng_state().tolist())
before = state()
import labelvae.runs.experiment, labelvae.__main__, labelvae.training.dashboard, labelvae.models.export
for name in labelvae.__all__: getattr(labelvae, name)
names = "environment filters signals excepthook exit level lightning random folder threads dtype rng".split()
print([name for name, old, new in zip(names, before, state()) if old != new])
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_ctrl_c_waits_until_an_import_is_done():
    before, made = signal.getsignal(signal.SIGINT), []

    def imported(stops):
        with quick_start():
            for _ in range(stops):
                signal.raise_signal(signal.SIGINT)
            made.append("imported")
        made.append("used")

    with pytest.raises(KeyboardInterrupt):
        imported(1)
    assert made == ["imported"]
    with pytest.raises(KeyboardInterrupt):
        imported(2)  # the second does not wait
    assert made == ["imported"]
    assert signal.getsignal(signal.SIGINT) is before
