"""The example scripts as a user runs them."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))


def start(script, *words, cwd):
    command = [sys.executable, str(EXAMPLES / script), *words]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(script, *words, cwd):
    process = start(script, *words, cwd=cwd)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script not in ("own_parts.py", "workspace.py")])
def test_help(script, tmp_path):
    code, out, _ = run(script, "--help", cwd=tmp_path)
    assert code == 0
    assert "--data-dir" in out
    assert "--fast-dev-run" in out


def test_parts_of_your_own(tmp_path):
    code, out, err = run("own_parts.py", cwd=tmp_path)
    assert code == 0, err
    assert re.search(r"'near': \d", out), out


def test_a_folder_of_jpegs(tmp_path):
    rng = np.random.default_rng(0)
    for index, name in enumerate(("red", "green", "blue")):
        (tmp_path / "images" / "train" / name).mkdir(parents=True)
        for i in range(40):
            pixels = rng.integers(0, 60, (16, 16, 3), dtype=np.uint8)
            pixels[4:12, 4:12, index] += 180
            Image.fromarray(pixels).save(tmp_path / "images" / "train" / name / f"{i}.jpg")
    words = ["--data-dir=images", "--out=out", "--fast-dev-run", "--guide.optimization.batch-size=16"]
    words += ["--judge.optimization.batch-size=16", "--vae.optimization.batch-size=16"]
    code, out, err = run("folder.py", *words, cwd=tmp_path)
    assert code == 0, err
    assert (tmp_path / "out" / "fast-dev-run" / "wrong_labels.png").is_file()
    assert "layout" in out


def test_cifar10_tries_its_code_on_made_images(tmp_path):
    small = ["--vae.encoder-widths=[8,8,8]", "--vae.decoder-widths=[8,8,8]", "--vae.discriminator-widths=[8,8]"]
    small += ["--guide.widths=[8,8]", "--judge.widths=[8,16]", "--vae.latent-dim=16"]
    code, _, err = run("cifar10.py", "--fast-dev-run", *small, cwd=tmp_path)
    assert code == 0, err
    assert (tmp_path / "runs" / "cifar10" / "fast-dev-run" / "scores.json").is_file()


@pytest.mark.parametrize(
    ("script", "words", "says"),
    [
        ("folder.py", ["--data-dir=nothing"], "nothing: no such folder; expected train/CLASS/*.png"),
        ("digits.py", ["--vae.optimization.epochs=0"], "epochs: expected an integer of at least 1, got 0"),
    ],
)
def test_bad_input_exits_with_2_and_one_sentence(tmp_path, script, words, says):
    code, _, err = run(script, *words, cwd=tmp_path)
    assert code == 2
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("script", "name"), [("mnist.py", "mnist"), ("cifar10.py", "cifar10")])
def test_no_data_and_no_network_exits_with_2(tmp_path, script, name):
    """The network is taken away by a proxy that answers nothing."""
    environment = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    import os

    result = subprocess.run(
        [sys.executable, str(EXAMPLES / script), "--data-dir=empty"],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert f"error: {name}: no usable files were found under empty" in result.stderr
    assert "'digits' needs no files at all" in result.stderr
    assert "Traceback" not in result.stderr


def test_ctrl_c_keeps_what_is_made_and_resume_goes_on(tmp_path):
    words = ["--out=out", "--wandb=disabled", "--guide.optimization.epochs=2", "--judge.optimization.epochs=2"]
    process = start("digits.py", *words, "--vae.optimization.epochs=40", cwd=tmp_path)
    checkpoint = tmp_path / "out" / "checkpoints" / "vae.ckpt"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "stopped; what is made is under out, --resume goes on from there" in err
    assert (tmp_path / "out" / "guide" / "model.safetensors").is_file()
    code, _, err = run("digits.py", *words, "--vae.optimization.epochs=40", cwd=tmp_path)
    assert code == 2
    assert "error: out: " in err
    assert "out holds a run already; --resume goes on with it" in err
    code, out, err = run("digits.py", *words, "--vae.optimization.epochs=40", "--resume", cwd=tmp_path)
    assert code == 0, err
    assert "models, scores and pictures are under " in out
    resumed = out.partition("vae: ")[2].partition("unguided: ")[0]
    assert "Epoch 39:" in resumed
    assert "Epoch 0:" not in resumed
