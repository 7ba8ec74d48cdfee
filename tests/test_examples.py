"""The examples: pages that are read, run here for a few steps; commands that are given words; a notebook."""

import importlib
import json
import re
import runpy
import signal
import struct
import subprocess
import sys
import time
from base64 import b64decode
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from test_data import cifar, idx

from labelvae import ConditionalVAE, LabelClassifier
from labelvae.runs import CIFAR10, DIGITS, FOLDER, MNIST_BRIEF
from labelvae.runs.building import classifier_task

EXAMPLES = Path(__file__).parent.parent / "examples"
PAGES = ("digits.py", "mnist.py", "cifar10.py", "folder.py")
NOTEBOOK = EXAMPLES / "quickstart.ipynb"
TRAIN = ["-m", "labelvae", "train"]


def start(*words, cwd):
    command = [sys.executable, *words]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*words, cwd):
    """Exit status, output and errors of a Python program; that of an example where its name comes first."""
    first = [str(EXAMPLES / words[0])] if words[0].endswith(".py") else [words[0]]
    process = start(*first, *words[1:], cwd=cwd)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.fixture
def page(monkeypatch):
    """Run a page in this process, as `python PAGE WORDS`; return what each training was made of, and its epochs."""

    def run_page(name, *words):
        trained, fit = [], Trainer.fit

        def recorded(trainer, task, *args, **kwargs):
            trained.append((task.hyperparameters(), trainer))
            return fit(trainer, task, *args, **kwargs)

        threads = torch.get_num_threads()
        monkeypatch.setattr(Trainer, "fit", recorded)
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        try:
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        finally:
            torch.set_num_threads(threads)
            monkeypatch.setattr(Trainer, "fit", fit)
        return trained

    return run_page


def told(trained, settings):
    """Assert that guide, judge and model were made and trained as a preset has it, whatever their widths are."""
    aside = {"classifier", "prefix", "channels_last", "graphed"}
    (guide, _), (judge, _), (vae, _) = trained
    for found, how in ((guide, settings.guide), (judge, settings.judge)):
        known = found["classifier"]["arguments"]
        network = LabelClassifier(tuple(known["image_shape"]), known["num_classes"])
        at_tuned_size = replace(how.optimization, batch_size=how.optimization.tuned_batch_size)
        expected = classifier_task(replace(how, optimization=at_tuned_size), network).hyperparameters()
        assert {k: v for k, v in found.items() if k not in aside} == {
            k: v for k, v in expected.items() if k not in aside
        }
        assert (known["kind"], known["blocks"], known["feature_dim"]) == (how.kind, how.blocks, how.feature_dim)
    assert vae["loss"]["arguments"]["objective"] == asdict(settings.vae.objective)
    named = ("hidden_dim", "blocks", "spatial_latent", "upsampling")
    assert {name: vae["vae"]["arguments"][name] for name in named} == {n: getattr(settings.vae, n) for n in named}
    assert vae["discriminator_learning_rate"] == settings.vae.discriminator_learning_rate
    assert vae["learning_rate"] == settings.vae.optimization.learning_rate


def widths(trained):
    """Those of guide, judge, encoder, decoder and discriminator."""
    (guide, _), (judge, _), (vae, _) = trained
    found = [each["classifier"]["arguments"]["widths"] for each in (guide, judge)]
    arguments = vae["vae"]["arguments"]
    found += [arguments["encoder_widths"], arguments["decoder_widths"]]
    return [tuple(each) for each in (*found, vae["loss"]["arguments"]["discriminator"]["arguments"]["widths"])]


@pytest.mark.parametrize("script", ["rare_classes.py", "segmentation.py"])
def test_help(script, tmp_path):
    code, out, err = run(script, "--help", cwd=tmp_path)
    assert code == 0, err
    assert "--data-dir" in out
    assert "--fast-dev-run" in out


@pytest.mark.parametrize("script", PAGES)
def test_a_page_says_what_it_is(page, script, capsys):
    with pytest.raises(SystemExit) as stop:
        page(script, "--help")
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert f"python examples/{script}" in said
    assert "--out" in said


def test_the_page_of_the_digits_is_the_preset(page, tmp_path, capsys):
    trained = page("digits.py", "--out", tmp_path, "--max-steps", 2)
    told(trained, DIGITS)
    how = DIGITS.vae
    expected = [DIGITS.guide.widths, DIGITS.judge.widths, how.encoder_widths, how.decoder_widths]
    assert widths(trained) == [*expected, how.discriminator_widths]
    assert [trainer.max_epochs for _, trainer in trained] == [
        each.optimization.epochs for each in (DIGITS.guide, DIGITS.judge, how)
    ]
    said = capsys.readouterr().out
    assert re.search(r"name +labelvae +image itself +class mean", said)
    vae = ConditionalVAE.from_pretrained(tmp_path / "vae")
    assert vae.relabel(torch.rand(1, 8, 8), "8").shape == (1, 1, 8, 8)
    with Image.open(tmp_path / "wrong_labels.png") as picture:
        assert picture.width > 10 * 80


@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_the_page_of_mnist_goes_on_where_it_stopped(page, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for part, count in (("train", 150), ("t10k", 20)):
        idx(tmp_path / "MNIST" / "raw" / f"{part}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28)))
        idx(tmp_path / "MNIST" / "raw" / f"{part}-labels-idx1-ubyte", np.arange(count) % 10)
    words = ["mnist.py", "--data-dir", tmp_path, "--out", tmp_path / "out"]
    trained = page(*words, "--max-steps", 2)  # an epoch
    assert [trainer.global_step for _, trainer in trained] == [2, 2, 2]
    objective = trained[2][0]["loss"]["arguments"]["objective"]
    assert objective == asdict(MNIST_BRIEF.vae.objective) | {"label_constraint": True}
    assert [each[0]["augmentation"] for each in trained[:2]] == [
        asdict(how.augmentation) for how in (MNIST_BRIEF.guide, MNIST_BRIEF.judge)
    ]
    first = ConditionalVAE.from_pretrained(tmp_path / "out" / "vae").state_dict()

    trained = page(*words)
    assert [(trainer.max_epochs, trainer.global_step) for _, trainer in trained] == [(3, 6), (3, 6), (2, 4)]
    curves = sorted((tmp_path / "out" / "curves").glob("*/metrics.csv"))
    assert len(curves) == 2
    assert "relabel/effectiveness" in curves[1].read_text()
    assert re.search(r"lambda, as learned for each asked class: 0: \d+\.\d, 1: \d+\.\d", capsys.readouterr().out)
    second = ConditionalVAE.from_pretrained(tmp_path / "out" / "vae").state_dict()
    assert any(not torch.equal(value, second[name]) for name, value in first.items())

    trained = page(*words)  # there is nothing left to train
    assert [trainer.global_step for _, trainer in trained] == [6, 6, 4]
    third = ConditionalVAE.from_pretrained(tmp_path / "out" / "vae").state_dict()
    assert all(torch.equal(value, third[name]) for name, value in second.items())


def test_the_page_of_cifar10_is_the_preset(page, tmp_path, monkeypatch, capsys):
    from torchvision.datasets import cifar as torchvision_cifar

    cifar(tmp_path)
    monkeypatch.setattr(torchvision_cifar, "check_integrity", lambda path, md5=None: True)
    words = ["--data-dir", tmp_path, "--out", tmp_path / "out", "--width", 8]
    trained = page("cifar10.py", *words, "--max-steps", 1)
    told(trained, CIFAR10)
    how = CIFAR10.vae
    expected = [CIFAR10.guide.widths, CIFAR10.judge.widths, how.encoder_widths, how.encoder_widths[::-1]]
    wide = [tuple(128 // 8 * each for each in found) for found in widths(trained)]
    assert wide == [*expected, how.discriminator_widths]
    assert 128 // 8 * trained[2][0]["vae"]["arguments"]["latent_dim"] == how.latent_dim
    assert [trainer.max_epochs for _, trainer in trained] == [
        each.optimization.epochs for each in (CIFAR10.guide, CIFAR10.judge, how)
    ]
    assert re.search(r"name +refined +model alone", capsys.readouterr().out)
    from labelvae.losses import Refined

    refined = Refined.from_pretrained(tmp_path / "out" / "vae")
    assert refined.radius == how.refine
    assert refined.relabel(torch.rand(3, 32, 32), "cat").shape == (1, 3, 32, 32)


def pictures_of_colours(folder, counts):
    """Squares of a colour on noise, 16x16, a folder a colour."""
    rng = np.random.default_rng(sum(counts.values()))
    for index, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 60, (16, 16, 3), dtype=np.uint8)
            pixels[4:12, 4:12, index] += 180
            Image.fromarray(pixels).save(folder / name / f"{i}.jpg")


def test_the_page_of_a_folder(page, tmp_path, capsys):
    pictures_of_colours(tmp_path / "images" / "train", {"red": 40, "green": 40, "blue": 8})
    pictures_of_colours(tmp_path / "images" / "test", {"red": 6, "green": 6, "blue": 6})
    trained = page("folder.py", "--data-dir", tmp_path / "images", "--out", tmp_path / "out", "--steps", 4)
    told(trained, FOLDER)
    assert [trainer.global_step for _, trainer in trained] == [2, 2, 4]
    assert len(trained[2][1].datamodule.splits["train"]) == 3 * 36  # each class as often as the largest
    said = capsys.readouterr().out
    assert "train: 7 blue, 36 green, 36 red" in said
    assert "test: 6 blue, 6 green, 6 red" in said
    assert re.search(r"asked to be green: the judge agrees on \d\.\d{3}", said)
    assert (tmp_path / "out" / "relabelled.png").is_file()
    assert ConditionalVAE.from_pretrained(tmp_path / "out").class_names == ["blue", "green", "red"]


@pytest.mark.parametrize("name", ["mnist", "cifar10", "folder"])
def test_no_data_and_no_network_is_one_sentence(page, tmp_path, monkeypatch, name):
    """The network is taken away by a proxy that answers nothing."""
    monkeypatch.chdir(tmp_path)
    for variable in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(SystemExit) as stop:
        page(f"{name}.py", "--data-dir=empty")
    code, _, err = run(*TRAIN, name, "--data-dir=empty", cwd=tmp_path)
    assert code == 2
    assert "Traceback" not in err
    for said in (str(stop.value.code), err):
        if name == "folder":
            assert "error: empty: no such folder; expected train/CLASS/*.png" in said
        else:
            assert f"error: {name}: no usable files were found under empty" in said
            assert "'digits' needs no files at all" in said


def cells():
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_runs(tmp_path, monkeypatch):
    """Cell by cell, as plain Python, with the training cut short; Jupyter's own parts are not needed for that."""
    monkeypatch.chdir(tmp_path)
    space = {}
    for cell in cells():
        exec(compile("".join(cell["source"]), f"cell {cell['id']}", "exec"), space)
        if "parameters" in cell["metadata"].get("tags", []):
            space["epochs"] = 1
    assert space["epochs"] == 1
    assert space["ten"].shape == (1, 10, 1, 28, 28)
    assert 0 <= space["scores"].effectiveness <= 1
    assert ConditionalVAE.from_pretrained(tmp_path / "runs" / "quickstart" / "vae").class_names[8] == "8"


def test_the_notebook_is_stored_as_it_ran():
    assert NOTEBOOK.stat().st_size < 300_000
    found = cells()
    assert [cell["execution_count"] for cell in found] == list(range(1, len(found) + 1))
    outputs = [output for cell in found for output in cell["outputs"]]
    assert "error" not in {output["output_type"] for output in outputs}
    assert "stderr" not in {output.get("name") for output in outputs}
    drawn = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(drawn) >= 5
    for each in drawn:
        with Image.open(BytesIO(b64decode(each))) as picture:
            assert min(picture.size) > 80


def test_parts_of_your_own(tmp_path):
    code, out, err = run("own_parts.py", cwd=tmp_path)
    assert code == 0, err
    assert re.search(r"'near': \d", out), out


def test_a_folder_of_jpegs(tmp_path):
    pictures_of_colours(tmp_path / "images" / "train", {"red": 40, "green": 40, "blue": 40})
    words = ["--data-dir=images", "--out=out", "--fast-dev-run", "--guide.optimization.batch-size=16"]
    words += ["--judge.optimization.batch-size=16", "--vae.optimization.batch-size=16"]
    code, out, err = run(*TRAIN, "folder", *words, cwd=tmp_path)
    assert code == 0, err
    assert (tmp_path / "out" / "fast-dev-run" / "wrong_labels.png").is_file()
    assert "layout" in out


def test_bad_input_exits_with_2_and_one_sentence(tmp_path):
    code, _, err = run(*TRAIN, "digits", "--vae.optimization.epochs=0", cwd=tmp_path)
    assert code == 2
    assert "epochs: expected an integer of at least 1, got 0" in err
    assert "Traceback" not in err


def test_ctrl_c_keeps_what_is_made_and_resume_goes_on(tmp_path):
    words = ["--out=out", "--wandb=disabled", "--guide.optimization.epochs=2", "--judge.optimization.epochs=2"]
    process = start(*TRAIN, "digits", *words, "--vae.optimization.epochs=8", cwd=tmp_path)
    checkpoint = tmp_path / "out" / "checkpoints" / "vae.ckpt"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "stopped; what is made is under out, --resume goes on from there" in err
    assert (tmp_path / "out" / "guide" / "model.safetensors").is_file()
    code, _, err = run(*TRAIN, "digits", *words, "--vae.optimization.epochs=8", cwd=tmp_path)
    assert code == 2
    assert "error: out: " in err
    assert "out holds a run already; --resume goes on with it" in err
    code, out, err = run(*TRAIN, "digits", *words, "--vae.optimization.epochs=8", "--resume", cwd=tmp_path)
    assert code == 0, err
    assert "models, scores and pictures are under " in out
    resumed = out.partition("vae: ")[2].partition("unguided: ")[0]
    assert "epoch 8 of 8" in resumed
    assert "epoch 1 of 8" not in resumed


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


def test_missing_photographs_are_one_sentence(tmp_path):
    code, _, err = run("angle.py", "--data-dir=none", cwd=tmp_path)
    assert code == 1
    assert err.strip().splitlines()[-1].startswith("error: none/obj1__0.png: no such file; name the folder of COIL-20")
    assert "Traceback" not in err


def test_attributes_of_mnist(tmp_path):
    made_mnist(tmp_path)
    code, out, err = run("attributes.py", "--data-dir=.", "--epochs", "1", "1", "1", "1", cwd=tmp_path)
    assert code == 0, err
    assert "thickness 3.5 was asked; measured " in out
    found = dict(re.findall(r"^(digit|thickness|slant): (.*)$", out, flags=re.MULTILINE))
    assert "kept_accuracy" in found["digit"]
    assert "of its deviation" in found["slant"]
    with Image.open(tmp_path / "runs" / "attributes" / "attributes.png") as picture:
        assert picture.height > 12 * 90


def turned_objects(folder):
    """Write photographs in place of COIL-20's: a disc that goes round, larger for each object."""
    folder.mkdir()
    across, down = np.meshgrid(np.arange(64) - 31.5, np.arange(64) - 31.5)
    for thing in range(20):
        for view in range(72):
            angle = 2 * np.pi * view / 72
            away = np.hypot(across - 14 * np.cos(angle), down - 14 * np.sin(angle))
            disc = np.clip(5 + 0.4 * thing - away, 0, 1)
            Image.fromarray((disc * 255).astype(np.uint8)).save(folder / f"obj{thing + 1}__{view}.png")


def test_turned_objects(tmp_path):
    turned_objects(tmp_path / "coil")
    words = ["--data-dir=coil", "--out=out", "--every=4", "--motion-steps=2", "--epochs", "1", "1"]
    code, said, err = run("angle.py", *words, cwd=tmp_path)
    assert code == 0, err
    rows = re.findall(
        r"^ *(labelvae|pictures made|blend of neighbours|nearest photograph) +[\d.]+ +[\d.]+$", said, re.M
    )
    assert len(rows) == 4
    assert "the judge reads true ones: angle within 10 degrees" in said
    with Image.open(tmp_path / "out" / "turned.gif") as film:
        assert film.n_frames == 72
    assert {each.name for each in (tmp_path / "out").glob("*.png")} == {"turned.png", "objects.png"}


def test_edges_are_differences_across_and_down_the_picture():
    script = runpy.run_path(str(EXAMPLES / "angle.py"))
    down, across = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    image = (0.1 * across + 0.02 * down)[None, None]
    found = script["with_edges"](image)
    assert torch.equal(found[:, :1], image)
    inner = found[0, 1:, 1:-1, 1:-1] / script["EDGES"]
    torch.testing.assert_close(inner, torch.tensor([0.2, 0.04]).view(2, 1, 1).expand(2, 6, 6))


def test_pictures_between_two_views_are_moved_and_not_blended(tmp_path):
    script = runpy.run_path(str(EXAMPLES / "angle.py"))
    turned_objects(tmp_path / "coil")
    photos = script["photographs"](tmp_path / "coil")[:3]
    views, truth = photos[:, ::4], photos[:, 2::4]
    blend = torch.lerp(views, views.roll(-1, dims=1), 0.5)
    made = script["between"](views, 0.5, steps=30)
    assert made.shape == truth.shape
    assert script["psnr"](made, truth) > script["psnr"](blend, truth) + 6


def test_a_ring_of_pictures_goes_round_without_a_seam():
    script = runpy.run_path(str(EXAMPLES / "angle.py"))
    ring = script["Ring"](2)
    torch.nn.init.normal_(ring.pictures)
    angles = torch.tensor([0.0, 360.0, 355.0, 357.5, 10.0]).deg2rad()[:, None]
    label = torch.cat([torch.eye(20)[[7] * 5], angles.sin(), angles.cos()], dim=1)
    with torch.no_grad():
        shown = ring(torch.zeros(5, 2), label) - ring.code.bias.view(1, 32, 32)
        pictures = 10 * ring.pictures.view(20, 72, 1, 32, 32)[7]
    expected = torch.stack([pictures[0], pictures[0], pictures[71], (pictures[71] + pictures[0]) / 2, pictures[2]])
    torch.testing.assert_close(shown, expected, atol=1e-3, rtol=1e-3)


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
