"""What a run makes of the machine that it is on, and of machines that are not there."""

import os
import platform
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml

from labelvae import ImageData
from labelvae.runs import experiment, machine, presets
from labelvae.runs.machine import Choice, Machine, choose, machine_of, threads_at_work
from labelvae.runs.presets import CIFAR10, CIFAR10_SMALL, DIGITS, FOLDER, MNIST, MNIST_BRIEF
from labelvae.runs.settings import Settings

OLD = Machine("cpu", "AVX2", bfloat16=False, threads=4)
NEW = Machine("cpu", "AVX512 with bfloat16", bfloat16=True, threads=4)
GPU = Machine("cuda", "a GPU", bfloat16=True, threads=16)
OLD_GPU = Machine("cuda", "an old GPU", bfloat16=False, threads=16)
APPLE = Machine("mps", "arm64", bfloat16=False, threads=8)


def choice(settings, there, shape=(1, 28, 28)) -> Choice:
    return choose(settings, shape, there)


def test_no_preset_decides_what_the_machine_decides():
    every = [value for value in vars(presets).values() if isinstance(value, Settings)]
    assert len(every) >= 8
    for how in every:
        assert {getattr(how, name) for name in ("precision", "channels_last", "compile", "graphs", "threads")} == {
            "auto"
        }


@pytest.mark.parametrize(
    ("there", "precision", "says"),
    [
        (OLD, "32-true", "this processor emulates bfloat16 (AVX2)"),
        (NEW, "bf16-mixed", "this processor computes in bfloat16 (AVX512 with bfloat16)"),
        (GPU, "bf16-mixed", "this GPU computes in bfloat16 (a GPU)"),
        (OLD_GPU, "32-true", "this GPU emulates bfloat16 (an old GPU)"),
        (APPLE, "32-true", "emulates bfloat16"),
    ],
)
def test_precision_is_what_the_machine_computes_in(there, precision, says):
    for settings in (MNIST, CIFAR10_SMALL, FOLDER):
        made = choice(settings, there)
        assert made.precision == precision
        assert says in made.line()
        assert made.warning == ""


@pytest.mark.parametrize("there", [OLD, NEW, GPU, APPLE])
def test_small_images_are_computed_in_float32_by_one_thread_on_every_machine(there):
    made = choice(DIGITS, there, (1, 8, 8))
    assert (made.precision, made.compiled, made.threads) == ("32-true", False, 1)
    assert made.channels_last == (there is OLD)  # AVX2


@pytest.mark.parametrize(("cores", "threads"), [(1, (1, 1)), (2, (1, 2)), (4, (4, 4))])
def test_of_two_cores_one_trains_mnist_and_both_train_photographs(cores, threads):
    there = [replace(each, threads=cores) for each in (OLD, NEW)]
    for each in there:
        assert (choice(MNIST, each).threads, choice(CIFAR10_SMALL, each, (3, 32, 32)).threads) == threads
        assert choice(replace(MNIST, threads=2), each).threads == 2


@pytest.mark.parametrize("there", [OLD, OLD_GPU])
def test_slow_bfloat16_is_obeyed_with_a_warning(there):
    made = choice(replace(MNIST, precision="bf16-mixed"), there)
    assert made.precision == "bf16-mixed"
    assert there.instructions in made.warning
    assert "use --precision auto" in made.warning


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("there", [NEW, GPU])
def test_a_precision_by_name_is_obeyed(there, precision):
    for settings, shape in ((MNIST, (1, 28, 28)), (DIGITS, (1, 8, 8))):
        made = choice(replace(settings, precision=precision), there, shape)
        assert (made.precision, made.warning) == (precision, "")


def test_a_step_is_recorded_on_an_nvidia_gpu_and_compiled_where_that_is_asked_for():
    for settings, shape in ((CIFAR10, (3, 32, 32)), (DIGITS, (1, 8, 8))):
        assert choice(settings, GPU, shape).graphed
        assert "as a CUDA graph" in choice(settings, GPU, shape).line()
        assert not choice(replace(settings, graphs=False), GPU, shape).graphed
        for there in (OLD, NEW, APPLE):
            assert not choice(settings, there, shape).graphed
            assert "graph" not in choice(settings, there, shape).line()
        assert not choice(settings, GPU, shape).compiled
    assert choice(replace(MNIST_BRIEF, compile="on"), NEW).compiled


def test_layout_and_threads_are_the_machines_unless_asked_for():
    assert choice(MNIST, OLD).channels_last
    assert not choice(MNIST, APPLE).channels_last
    assert not choice(replace(MNIST, channels_last=False), GPU).channels_last
    assert choice(replace(DIGITS, channels_last=True), OLD, (1, 8, 8)).channels_last
    assert choice(MNIST, OLD).threads == 4
    assert choice(replace(DIGITS, threads=3), OLD, (1, 8, 8)).threads == 3


def flags_of_the_processor() -> set[str]:
    """As Linux names them."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next(line for line in lines if line.startswith("flags")).split())


LINUX_X86 = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64", reason="reads Linux's names of instructions"
)
FACTS = (
    "import torch\nfrom labelvae.runs.machine import choose, machine_of\nfrom labelvae.runs.presets import MNIST\n"
    "print(choose(MNIST, (1, 28, 28), machine_of(torch.device('cpu'))).precision)"
)


def precision_in_a_process(**environment) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")}
    command = [sys.executable, "-c", FACTS]
    done = subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@LINUX_X86
def test_this_processor_is_told_by_its_instructions():
    computes = flags_of_the_processor() & {"avx512_bf16", "amx_bf16"}
    assert precision_in_a_process() == ("bf16-mixed" if computes else "32-true")


@LINUX_X86
@pytest.mark.parametrize("limit", ["AVX2", "avx512_core"])
def test_instructions_that_may_not_be_used_are_not_there(limit):
    assert precision_in_a_process(ONEDNN_MAX_CPU_ISA=limit, ATEN_CPU_CAPABILITY="avx2") == "32-true"
    assert precision_in_a_process(ONEDNN_MAX_CPU_ISA="", DNNL_MAX_CPU_ISA=limit) == "32-true"


@pytest.mark.parametrize("word", ["x86_64", "AMD64"])
def test_avx512_without_bfloat16_instructions_is_not_enough(monkeypatch, word):
    monkeypatch.setattr(machine.platform, "machine", lambda: word)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not machine_of(torch.device("cpu")).bfloat16
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")  # private, so it may go
    assert not machine_of(torch.device("cpu")).bfloat16


def test_a_torch_that_cannot_be_asked_computes_in_float32(monkeypatch):
    def none():
        raise AttributeError("no such operator")

    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", none)
    assert not machine_of(torch.device("cpu")).bfloat16


def test_threads_are_given_back():
    before = torch.get_num_threads()
    seen = []

    def fails():
        with threads_at_work(before + 1):
            seen.append(torch.get_num_threads())
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fails()
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "wrong",
    [{"precision": "16-mixed"}, {"threads": 0}, {"threads": 1.5}, {"threads": 100_000}, {"channels_last": "on"}],
)
def test_settings_that_cannot_be_name_themselves(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


def test_a_run_says_how_it_uses_the_machine(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(experiment, "machine_of", lambda _: replace(OLD, threads=1))
    data = ImageData(**asdict(DIGITS.data))
    settings = replace(DIGITS, out=tmp_path, log="none", precision="bf16-mixed", vae=replace(DIGITS.vae, latent_dim=5))
    made = experiment.Experiment(settings, data)
    said = capsys.readouterr()
    assert made.choice.precision == "bf16-mixed"
    assert "precision: bf16-mixed, as asked; channels-last, not compiled, 1 thread" in said.out
    assert "warning: precision: bf16-mixed is slower than 32-true here" in said.err
    text = (tmp_path / "settings.yaml").read_text()
    assert f"# {made.choice.line()}" in text
    assert yaml.safe_load(text)["precision"] == "bf16-mixed"
    resumed = experiment.Experiment(replace(settings, precision="auto", channels_last=False, resume=True), data)
    assert resumed.choice.precision == "32-true"  # how a run uses the machine may change
    assert yaml.safe_load((tmp_path / "settings.yaml").read_text())["precision"] == "auto"
