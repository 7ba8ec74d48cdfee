"""`benchmarks/gpu.py` where there is no GPU: its steps cannot take each other down, and all of its path runs."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from labelvae import ConditionalVAE, GuidedELBO, ImageData, LabelClassifier, VAETraining
from labelvae.runs.building import new_classifier, new_vae, vae_task
from labelvae.runs.presets import CIFAR10
from labelvae.training.options import Optimization

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
MADE = """
import os, signal, time
def good(job): job.note(found=1)
def broken(job):
    job.note(before=2)
    raise ValueError("no such thing")
def crashing(job): os.kill(os.getpid(), signal.SIGSEGV)
def endless(job):
    job.note(process=os.getpid())
    time.sleep(600)
def deaf(job):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    endless(job)
def early(job): raise ValueError("before its turn")
def images(job):
    from gpu_data import images_of
    data, source = images_of(job, "cifar10")
    again, _ = images_of(job, "cifar10")
    job.note(source=source, fingerprint=data.fingerprint(), again=again.fingerprint(), classes=data.class_names)
"""
RUN = """
import json, sys
from pathlib import Path
from gpu_steps import Runner, Step
folder, minutes, steps, then = Path(sys.argv[1]), float(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4])
runner = Runner(folder / "out", folder / "scratch", {"data_dir": str(folder), "rehearse": False}, minutes)
runner.run([Step(*step) for step in steps], [Step(*step) for step in then])
"""


@pytest.fixture
def gpu(monkeypatch):
    """The benchmark's modules, by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_check
    import gpu_clock
    import gpu_job
    import gpu_report

    return {"check": gpu_check, "clock": gpu_clock, "job": gpu_job, "report": gpu_report}


def started(folder: Path, steps: list, then: list = (), minutes: float = 5.0) -> subprocess.Popen:
    (folder / "scratch").mkdir(exist_ok=True)
    (folder / "made.py").write_text(MADE)
    paths = os.pathsep.join([str(BENCHMARKS), str(folder), str(ROOT)])
    arguments = [str(folder), str(minutes), json.dumps(steps), json.dumps(list(then))]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def summary(folder: Path) -> dict:
    return json.loads((folder / "out" / "summary.json").read_text())["steps"]


def ran(folder: Path, steps: list, then: list = (), minutes: float = 5.0) -> dict:
    process = started(folder, steps, then, minutes)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    assert (folder / "out" / "log.txt").read_text() in text
    return summary(folder)


def seen(folder: Path, name: str, key: str) -> object:
    """Waits until a step has found something."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if (folder / "out" / "summary.json").is_file():
            found = summary(folder).get(name, {}).get("result", {}).get(key)
            if found is not None:
                return found
        time.sleep(0.1)
    raise AssertionError(f"{name} found no {key}")


def gone(process: int) -> bool:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_step_that_fails_crashes_or_hangs_takes_no_other(tmp_path):
    steps = [
        ["broken", 60, "made:broken"],
        ["crashing", 60, "made:crashing"],
        ["deaf", 1, "made:deaf"],
        ["early", 60, "made:good", "made:early"],
        ["missing", 60, "made:nothing"],
        ["good", 60, "made:good"],
    ]
    found = ran(tmp_path, steps)
    assert list(found) == [step[0] for step in steps]
    assert [found[name]["status"] for name in ("broken", "crashing", "early", "missing")] == ["failed"] * 4
    assert "no such thing" in found["broken"]["error"]
    assert found["broken"]["result"] == {"before": 2}
    assert "-11" in found["crashing"]["error"]
    assert found["deaf"]["status"] == "stopped at its limit"
    assert gone(found["deaf"]["result"]["process"])
    assert "before its turn" in found["early"]["error"]
    assert found["good"] | {"seconds": 0} == {"seconds": 0, "status": "done", "result": {"found": 1}}


def test_steps_that_there_is_no_time_for_are_not_begun(tmp_path):
    found = ran(tmp_path, [["endless", 60, "made:endless"], ["good", 60, "made:good"]], minutes=0.05)
    assert [step["status"] for step in found.values()] == ["stopped at its limit", "not reached"]


def test_what_is_left_of_the_time_is_shared(tmp_path):
    steps = [["good", 60, "made:good"]]
    found = ran(tmp_path, steps, [["first", 60, "made:endless"], ["second", 60, "made:good"]], minutes=0.1)
    assert found["first"]["status"] == "stopped at its limit"
    assert found["good"]["status"] == found["second"]["status"] == "done"


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_a_kill_leaves_what_was_done_and_no_process(tmp_path, sign):
    process = started(tmp_path, [["good", 60, "made:good"], ["endless", 60, "made:endless"], ["next", 9, "made:good"]])
    worker = seen(tmp_path, "endless", "process")
    process.send_signal(sign)
    process.communicate(timeout=30)
    found = summary(tmp_path)
    assert found["good"]["status"] == "done"
    assert found["good"]["result"] == {"found": 1}
    assert found["endless"]["result"] == {"process": worker}
    assert found["next"]["status"] == "not reached"
    assert gone(worker)
    if sign == signal.SIGTERM:
        assert process.returncode == 128 + sign
        assert found["endless"]["status"] == "stopped with the run"


def test_images_in_folders_are_decoded_as_the_library_decodes_them(tmp_path):
    root = tmp_path / "cifar10-jpeg"
    for place, (split, name) in enumerate((split, name) for split in ("train", "test") for name in ("dog", "cat")):
        (root / split / name).mkdir(parents=True)
        for index in range(4):
            pixels = np.random.default_rng(10 * place + index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / split / name / f"{index:04d}.jpg")
    found = ran(tmp_path, [["images", 60, "made:images"]])["images"]["result"]
    expected = ImageData("folder", root)
    assert found["classes"] == expected.class_names
    assert found["fingerprint"] == found["again"]
    assert expected.is_of(found["fingerprint"])  # by the pixels
    assert "JPEG" in found["source"]


def test_images_that_are_not_there_are_named(tmp_path):
    assert "cifar-10-batches-py" in ran(tmp_path, [["images", 60, "made:images"]])["images"]["error"]


NO_NETWORK = """
import socket
def refuse(*_): raise SystemExit("asked the network")
socket.getaddrinfo = socket.create_connection = refuse
"""


def test_the_rehearsal_runs_everything_without_wandb_network_and_home(tmp_path, gpu):
    absent = tmp_path / "absent"
    absent.mkdir()
    for name in ("wandb", "psutil"):
        (absent / f"{name}.py").write_text("raise ImportError('absent')\n")
    (absent / "sitecustomize.py").write_text(NO_NETWORK)
    out = tmp_path / "out"
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--rehearse", "--then", "compile,last", "--out", str(out)]
    paths = os.pathsep.join([str(absent), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": paths, "HOME": "/proc/nowhere", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    whole = json.loads((out / "summary.json").read_text())
    assert {step["status"] for step in whole["steps"].values()} == {"done"}
    assert list(whole["steps"]) == ["check", "mnist", "cifar10", "speed", "compile", "last"]
    files = list(out.iterdir())
    assert len(files) <= 8
    assert max(path.stat().st_size for path in files) < 2**24
    key = json.loads((out / "key.json").read_text())
    assert all(asked != own for asked, own in zip(key["asked"], key["own"], strict=True))
    assert {model.image_shape for model in gpu["report"].whole(out, "cifar10")} == {(3, 32, 32)}
    table = gpu["report"].table(whole)
    assert (out / "log.txt").read_text().endswith(table)
    missing = re.findall(r"^\| (.*) \| not measured \|$", table, flags=re.MULTILINE)
    assert {name.partition(":")[0] for name in missing} == {"check", "CIFAR10", "speed"}
    assert {name for name in missing if name.startswith("CIFAR10")} == {
        "CIFAR10: most memory, GB",
        "CIFAR10: blind reading, of 100",
    }


def test_plans_are_of_the_steps_they_are_for(gpu):
    import gpu
    import gpu_train

    limits = {step.name: step.seconds for step in gpu.STEPS}
    assert {name: limits[name] for name in gpu_train.PLANS} == {n: p.whole for n, p in gpu_train.PLANS.items()}
    assert all(plan.guide + plan.judge + plan.model < 0.95 * plan.whole for plan in gpu_train.PLANS.values())


def test_the_page_has_every_figure(gpu):
    page = (ROOT / "docs" / "gpu.md").read_text()
    assert [title for title in gpu["report"].FIGURES if f"| {title} |" not in page] == []


def test_weights_in_half_precision_come_back_from_small_files(tmp_path, gpu):
    models = new_vae(CIFAR10.vae, (3, 32, 32), 10).eval(), new_classifier(CIFAR10.guide, (3, 32, 32), 10).eval()
    gpu["report"].halves(*models, tmp_path, "cifar10")
    files = list(tmp_path.iterdir())
    assert len(files) <= 3
    assert max(path.stat().st_size for path in files) < 2**24
    for model, again in zip(models, gpu["report"].whole(tmp_path, "cifar10"), strict=True):
        found = again.state_dict()
        for name, value in model.state_dict().items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-6)
    gpu["report"].run_folder(tmp_path, tmp_path / "run")
    for part, kind, model in zip(("vae", "guide"), (ConditionalVAE, LabelClassifier), models, strict=True):
        assert kind.from_pretrained(tmp_path / "run" / part).config == model.config


def test_sheets_stand_under_each_other_in_one_file(tmp_path, gpu):
    for side, colour in ((40, "red"), (60, "blue")):
        gpu["report"].add_sheet(tmp_path / "a.png", Image.new("RGB", (side, side), colour), colour)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == 60
        assert picture.getpixel((5, 36 + 5)) == (255, 0, 0)
        assert picture.getpixel((5, picture.height - 5)) == (0, 0, 255)


@pytest.mark.filterwarnings("ignore")
def test_the_learning_rate_follows_the_clock(tmp_path, gpu, digits, monkeypatch):
    clock, job = gpu["clock"], gpu["job"].Job("test", tmp_path, tmp_path, tmp_path, False, end=time.time() + 600)
    now = iter(0.25 * tick for tick in range(10_000))
    monkeypatch.setattr(clock.time, "perf_counter", lambda: next(now))  # a step takes what it takes to look at it
    rates, shares = [], []

    class Rates(clock.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            rates.append(optimizer.param_groups[0]["lr"])
            shares.append(trainer.global_step / pl_module.steps)

    vae = ConditionalVAE((1, 8, 8), 10, latent_dim=4, encoder_widths=(8,), hidden_dim=16)
    task = VAETraining(vae, GuidedELBO())
    row = clock.fit(job, "test", task, digits, Optimization(batch_size=256), 20.0, others=(Rates(),))
    assert row["steps"] + clock.WARM_UP == len(rates)
    assert max(rates) == pytest.approx(task.learning_rate, rel=0.1)
    assert rates[0] < 0.1 * task.learning_rate
    assert rates[-1] < 0.05 * task.learning_rate
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0, abs=0.1)


def test_the_preset_costs_what_its_comment_says():
    shape = (3, 32, 32)
    guide = new_classifier(CIFAR10.guide, shape, 10)
    task = vae_task(CIFAR10.vae, new_vae(CIFAR10.vae, shape, 10), guide).train()
    with FlopCounterMode(display=False) as counter:
        task.step(torch.rand(4, *shape), torch.arange(4), 1.0)["total"].backward()
    assert counter.get_total_flops() / 4e9 == pytest.approx(12.6, abs=0.05)


@pytest.mark.filterwarnings("ignore:CUDA is not available")
@pytest.mark.parametrize("name", ["cifar10", "mnist", "folder", "cifar10_small", "digits"])
def test_a_step_on_a_gpu_leaves_no_tensor_behind_and_reads_no_value(name, gpu):
    settings, shape = gpu["check"].PRESETS[name]
    task = vae_task(settings.vae, new_vae(settings.vae, shape, 10), new_classifier(settings.guide, shape, 10)).train()
    with FakeTensorMode():  # tensors without values, on a device that need not be there
        for module in task.modules():
            for kept in (module._parameters, module._buffers):
                for key, value in kept.items():
                    if value is not None:
                        there = torch.empty(tuple(value.shape), dtype=value.dtype, device="cuda")
                        kept[key] = (
                            torch.nn.Parameter(there, value.requires_grad) if kept is module._parameters else there
                        )
        images, labels = torch.rand(8, *shape, device="cuda"), torch.randint(10, (8,), device="cuda")
        with torch.autocast("cuda", torch.bfloat16):
            terms = task.step(images, labels, 0.5)  # raises where devices are mixed or a value is read
    assert {term.device.type for term in terms.values()} == {"cuda"}
