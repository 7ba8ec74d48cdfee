"""Settings that suit the images of a folder."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from labelvae.__main__ import main
from labelvae.data.image_sets import ImageSet
from labelvae.runs.presets import DIGITS, FOLDER, MNIST, STROKES
from labelvae.runs.suited import are_strokes, suited


def letters(ground, ink, mode="RGB", count=40):
    """Drawn bars and arcs, uint8 `(N, C, 28, 28)`."""
    generator, drawn = np.random.default_rng(0), []
    for _ in range(count):
        image = Image.new(mode, (28, 28), ground)
        pen = ImageDraw.Draw(image)
        for _ in range(2):
            pen.line([tuple(point) for point in generator.integers(5, 23, (2, 2))], ink, width=2)
        drawn.append(torch.from_numpy(np.array(image)).reshape(28, 28, -1).permute(2, 0, 1))
    return torch.stack(drawn)


def photographs(count=40):
    """Pieces of two photographs, uint8 `(N, 3, 32, 32)`."""
    picture = torch.from_numpy(np.array(load_sample_images().images)).permute(0, 3, 1, 2)
    places = torch.randint(0, 380, (count, 2), generator=torch.Generator().manual_seed(0)).tolist()
    return torch.stack([picture[n % 2, :, y : y + 32, x : x + 32] for n, (y, x) in enumerate(places)])


@pytest.mark.parametrize(
    ("ground", "ink"),
    [((0, 0, 0), (255, 255, 255)), ((255, 255, 255), (20, 20, 20)), ((240, 241, 239), (90, 90, 91))],
    ids=["bright", "dark", "pencil"],
)
def test_grey_strokes_in_colour_files_are_strokes(ground, ink):
    assert are_strokes(letters(ground, ink))


def test_what_is_no_stroke():
    grey_photographs = photographs().float().mean(dim=1, keepdim=True).byte()
    assert not are_strokes(photographs())
    assert not are_strokes(grey_photographs)
    assert not are_strokes(letters((255, 255, 255), (250, 20, 20)))  # a colour may be what a class is told by
    assert not are_strokes(torch.zeros(20, 1, 16, 16, dtype=torch.uint8))
    assert not are_strokes(torch.randint(0, 256, (20, 1, 16, 16), dtype=torch.uint8))


def test_one_photograph_among_strokes_changes_nothing():
    images = letters((0, 0, 0), (255, 255, 255), count=40)
    images[3] = photographs(1)[0, :, :28, :28]
    assert are_strokes(images)


def test_strokes_get_the_settings_for_strokes(capsys):
    chosen = suited(FOLDER, a_set(letters(0, 255, "L")))
    assert (chosen.vae, chosen.guide, chosen.judge) == (STROKES.vae, STROKES.guide, STROKES.judge)
    assert (chosen.data, chosen.out) == (FOLDER.data, FOLDER.out)
    assert "strokes" in capsys.readouterr().out
    assert suited(chosen, a_set(letters(0, 255, "L"))) == chosen  # also of a run that goes on by its settings


def test_the_style_of_strokes_is_asked_for_where_it_can_be_measured():
    assert suited(FOLDER, a_set(letters(0, 255, "L"))).vae.objective.style_weight == MNIST.vae.objective.style_weight
    assert suited(FOLDER, a_set(letters(255, 0, "L"))).vae.objective.style_weight == 0
    assert suited(FOLDER, a_set(letters((0, 0, 0), (255,) * 3))).vae.objective.style_weight == 0


def test_photographs_and_other_data_keep_their_settings(capsys):
    assert suited(FOLDER, a_set(photographs())) == FOLDER
    assert suited(DIGITS, a_set(letters(0, 255, "L"))) == DIGITS
    assert capsys.readouterr().out == ""


def test_what_was_asked_for_stays():
    objective = replace(FOLDER.vae.objective, label_weight=7.0)
    asked = replace(FOLDER, vae=replace(FOLDER.vae, objective=objective, latent_dim=9))
    chosen = suited(asked, a_set(letters(0, 255, "L"))).vae
    assert (chosen.latent_dim, chosen.objective.label_weight) == (9, 7.0)
    assert chosen.objective.equivariance_weight == STROKES.vae.objective.equivariance_weight > 0


def test_a_run_of_strokes_says_and_saves_its_settings(tmp_path, monkeypatch, capsys):
    for name, ink in (("one", 255), ("two", 200)):
        for number, image in enumerate(letters(0, ink, "L", count=100)):
            path = tmp_path / "images" / ("train" if number < 80 else "test") / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).save(path)
    out = tmp_path / "run"
    words = ["labelvae", "train", "folder", "--data-dir", str(tmp_path / "images"), "--out", str(out), "--fast-dev-run"]
    monkeypatch.setattr(sys, "argv", words)
    main()
    assert "the images are strokes" in capsys.readouterr().out
    saved = (out / "fast-dev-run" / "settings.yaml").read_text()
    assert "equivariance_weight: 0.5" in saved


def a_set(images):
    """The images as a training set of one class."""
    return ImageSet(images, torch.zeros(len(images), dtype=torch.int64))
