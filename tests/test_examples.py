"""The example scripts as a user runs them."""

import importlib
import re
import signal
import struct
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
OF_THEIR_OWN = ("attributes.py", "explain.py", "own_parts.py", "workspace.py")
"""Scripts with other options than the settings of a run."""


def start(script, *words, cwd):
    command = [sys.executable, str(EXAMPLES / script), *words]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(script, *words, cwd):
    process = start(script, *words, cwd=cwd)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script not in OF_THEIR_OWN])
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


def test_explain_draws_the_image_its_reconstruction_and_its_counterfactual(tmp_path):
    from labelvae import ConditionalVAE, LabelClassifier

    torch.manual_seed(0)
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16)
    judge = LabelClassifier((1, 8, 8), 3, widths=(8,), feature_dim=8)
    vae.save_pretrained(tmp_path / "vae")
    judge.save_pretrained(tmp_path / "judge")
    image, yours_at = torch.rand(1, 1, 8, 8).mul(255).round(), tmp_path / "yours.pt2"
    said = int(judge.eval()(image / 255).argmax())
    Image.fromarray(image[0, 0].byte().numpy()).save(tmp_path / "in.png")
    words = ["--model=vae", "--classifier=judge", "in.png", "out.png"]
    code, out, err = run("explain.py", f"--to={(said + 1) % 3}", *words, cwd=tmp_path)
    assert code == 0, err
    assert out.startswith((f"{said} becomes", f"the classifier says {said} all the way"))
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.width > 3 * 96
    code, _, err = run("explain.py", f"--to={said}", *words, cwd=tmp_path)
    assert code == 2
    assert f"the classifier says {said} of the image already" in err

    yours = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval()  # any module, exported
    said = int(yours(image / 255).argmax())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        batch = {0: torch.export.Dim("batch", min=1)}
        torch.export.save(torch.export.export(yours, (image.repeat(2, 1, 1, 1),), dynamic_shapes=(batch,)), yours_at)
    words = ["--model=vae", "--classifier=yours.pt2", "in.png", "out.png"]
    code, out, err = run("explain.py", f"--to={(said + 1) % 3}", *words, cwd=tmp_path)
    assert code == 0, err
    assert out.startswith((f"{said} becomes", f"the classifier says {said} all the way"))
    yours_at.write_bytes(b"PK nothing")
    code, _, err = run("explain.py", "--to=1", *words, cwd=tmp_path)
    assert code == 2
    assert "yours.pt2: not a file that torch.export.save wrote" in err


def made_mnist(root):
    """Files of MNIST's form: digits are slanted bars of several widths."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 400), ("t10k", 60)):
        digits, width, lean = rng.integers(0, 10, count), rng.uniform(1, 3, count), rng.uniform(-0.4, 0.6, count)
        across, up = np.arange(28)[None, None, :], np.arange(28)[None, :, None] - 14
        away = np.abs(across - 9 - digits[:, None, None] - lean[:, None, None] * up) - width[:, None, None]
        pixels = (255 * np.clip(1 - away, 0, 1) * (np.abs(up) < 10)).astype(np.uint8)
        (root / "MNIST" / "raw").mkdir(parents=True, exist_ok=True)
        for name, array in (("images-idx3", pixels), ("labels-idx1", digits.astype(np.uint8))):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (root / "MNIST" / "raw" / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())


def test_attributes_of_mnist(tmp_path):
    made_mnist(tmp_path)
    code, out, err = run("attributes.py", "--data-dir=.", "--epochs", "1", "1", cwd=tmp_path)
    assert code == 0, err
    assert "thickness 3.5 was asked; measured " in out
    found = dict(re.findall(r"^(digit|thickness|slant): (.*)$", out, flags=re.MULTILINE))
    assert "kept_accuracy" in found["digit"]
    assert "of its deviation" in found["slant"]
    with Image.open(tmp_path / "runs" / "attributes" / "attributes.png") as picture:
        assert picture.height > 12 * 90


def test_coloured_mnist(tmp_path):
    made_mnist(tmp_path)
    words = ["--data-dir=.", "--epochs", "1", "1", "1", "--images=300"]
    code, out, err = run("../benchmarks/coloured_mnist.py", *words, cwd=tmp_path)
    assert code == 0, err
    assert "red_kept_balanced_accuracy" in out
    assert (tmp_path / "runs" / "coloured_mnist" / "attributes.png").is_file()


def test_colour_and_size_are_usual_in_training_and_drawn_apart_in_the_test():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES.parent / "benchmarks"))
        script = importlib.import_module("coloured_mnist")
    digits = torch.arange(10).repeat(400)
    images = torch.full((4000, 1, 28, 28), 255, dtype=torch.uint8)
    for together in (0.8, 0.5):
        made, rows = script.coloured(images, digits, together, 0)
        assert float((rows[:, 1] == digits % 2).float().mean()) == pytest.approx(together, abs=0.03)
        assert float((rows[:, 2] == (digits >= 5)).float().mean()) == pytest.approx(together, abs=0.03)
        assert torch.equal(made[:, 0, 14, 14] > made[:, 1, 14, 14], rows[:, 1] == 1)
        assert torch.equal((made[:, :, 0, 0] > 0).any(dim=1), rows[:, 2] == 1)
