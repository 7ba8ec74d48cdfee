"""Sheets for a blind reading, and what a reading scores."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labelvae import ConditionalVAE, ImageData, LabelClassifier

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def blind():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("blind_reading")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    vae = ConditionalVAE((1, 8, 8), 10, latent_dim=4, encoder_widths=(8,), hidden_dim=8)
    vae.save_pretrained(tmp_path / "run" / "vae")
    LabelClassifier((1, 8, 8), 10, kind="mlp", widths=(16,), feature_dim=8).save_pretrained(tmp_path / "run" / "guide")
    return tmp_path / "run" / "vae"


def key_of(folder):
    return json.loads((folder / "key.json").read_text())


def sheet(folder):
    with Image.open(folder / "sheet_0.png") as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_real_images_are_mixed_among_the_others(blind, run, tmp_path):
    blind.draw(tmp_path / "mixed", run, mixed=10, data="digits", count=30, seed=3)
    blind.draw(tmp_path / "made", run, data="digits", count=30, seed=3)
    blind.draw(tmp_path / "real", real=True, data="digits", count=30, seed=3)
    mixed, made, real = (key_of(tmp_path / name) for name in ("mixed", "made", "real"))
    assert mixed["own"] == made["own"] == real["own"] == real["asked"]
    as_they_are = [asked == own for asked, own in zip(mixed["asked"], mixed["own"], strict=True)]
    assert sum(as_they_are) == 10
    assert as_they_are != sorted(as_they_are, reverse=True)  # not the first ones
    assert all(asked != own for asked, own in zip(made["asked"], made["own"], strict=True))
    assert [made["asked"][i] for i in range(30) if not as_they_are[i]] == [
        mixed["asked"][i] for i in range(30) if not as_they_are[i]
    ]
    pictures = [sheet(tmp_path / name) for name in ("mixed", "made", "real")]
    first = as_they_are.index(True)
    row, column = divmod(first, 5)
    height, width = (size // 5 for size in pictures[0].shape[:2])
    cell = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
    assert (pictures[0][cell] == pictures[2][cell]).all()
    assert not (pictures[1][cell] == pictures[2][cell]).all()


def test_what_is_drawn_can_be_refined_and_of_held_out_training_images(blind, run, tmp_path):
    for name, refine in (("alone", 0), ("refined", 2.0)):
        blind.draw(tmp_path / name, run, refine=refine, split="validation", data="digits", count=25)
    assert key_of(tmp_path / "alone") == key_of(tmp_path / "refined")
    assert not (sheet(tmp_path / "alone") == sheet(tmp_path / "refined")).all()
    held_out = ImageData("digits").splits["validation"]
    some = held_out.labels[torch.randperm(len(held_out), generator=torch.Generator().manual_seed(0))[:25]]
    assert key_of(tmp_path / "alone")["own"] == [str(int(label)) for label in some]


KEY = {"classes": ["a", "b"], "seed": 0, "asked": ["a", "b", "a", "b"], "own": ["b", "a", "a", "a"]}


def scored(blind, folder, capsys, **readings):
    folder.mkdir(exist_ok=True)
    (folder / "key.json").write_text(json.dumps(KEY))
    for name, text in readings.items():
        (folder / f"{name}.csv").write_text(text)
    blind.score(folder)
    return capsys.readouterr().out.splitlines()


def test_readers_are_scored_apart_and_real_images_too(blind, tmp_path, capsys):
    lines = scored(blind, tmp_path / "one", capsys, reading="0,a,high\n1,b,low\n2,a,high\n3, a ,high\n")
    assert lines == [
        "as asked 2 of 3",
        "as they were 1 of 3",
        "real images 1 of 1",
        "read with high confidence 1 of 2",
        "read with low confidence 1 of 1",
        "a 1 of 1",
        "b 1 of 2",
    ]
    both = {"reading": "0,a\n1,a\n2,a\n3,a\n", "reading_2": "3,b\n1,b\n2,b\n0,a\n\n"}
    lines = scored(blind, tmp_path / "two", capsys, **both)
    assert lines[0] == "reading.csv:"
    assert "reading_2.csv:" in lines
    assert lines[1] == "as asked 1 of 3"
    assert lines[-1] == "as asked, mean of 2 readers: 0.667"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,a\n1,b\n2,a\n", r"not read: \[3\]"),
        ("0,a\n1,b\n2,a\n3,c\n", r"no classes: \['c'\]"),
        ("0,a\n1,b\n2,a\n3,b,sure\n", r"no confidence: \['sure'\]"),
        ("0,a\n1,b\n2,a\n3,b,low,low\n", "then nothing or one of"),
        ("zero,a\n", "with lines such as 0,cat"),
        ("0\n", "with lines such as 0,cat"),
    ],
)
def test_a_reading_that_is_no_reading_is_refused(blind, tmp_path, capsys, text, message):
    with pytest.raises(SystemExit, match=message):
        scored(blind, tmp_path, capsys, reading=text)


def test_more_real_images_than_pictures_are_refused(blind, run, tmp_path):
    with pytest.raises(SystemExit, match="--mixed: expected 0 to 5 of 5 pictures, got 6"):
        blind.draw(tmp_path, run, mixed=6, data="digits", count=5)
    with pytest.raises(SystemExit, match="expected --model FOLDER or --real"):
        blind.draw(tmp_path, run, real=True)


def test_samples_are_of_the_same_labels_and_of_no_image(blind, run, tmp_path):
    blind.draw(tmp_path / "samples", run, samples=True, data="digits", count=30, seed=3)
    blind.draw(tmp_path / "made", run, data="digits", count=30, seed=3)
    assert key_of(tmp_path / "samples") == key_of(tmp_path / "made")
    assert not np.array_equal(sheet(tmp_path / "samples"), sheet(tmp_path / "made"))
