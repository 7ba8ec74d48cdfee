"""The folder of a run: its settings are read back whatever the classes and folders are called."""

from dataclasses import replace

import pytest
import torch
import yaml

from labelvae import ImageData
from labelvae.inputs.class_names import write_classes
from labelvae.runs.presets import DIGITS
from labelvae.runs.run_folder import claim_folder, class_order


def data(names):
    labels = torch.arange(4 * len(names)) % len(names)
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8).contiguous()
    return ImageData.from_tensors(images, labels, names)


@pytest.mark.parametrize(
    "names", [["a\n- b", "c"], ["caf\udce9", "th\udce9"], ["x: y", "#hash"], ["\u2028", "{", "कि"], ["'", '"', "%"]]
)
def test_settings_are_read_back_whatever_the_names(tmp_path, names):
    out = tmp_path / "run\nof caf\udce9"
    settings = replace(DIGITS, out=out, data_dir=tmp_path / "x: y\n- z")
    claim_folder(out, settings, data(names), "precision: 32-true")
    text = (out / "settings.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["data_dir"] == str(settings.data_dir)
    assert yaml.safe_load(text)["out"] == str(out)
    claim_folder(out, replace(settings, resume=True), data(names), "precision: 32-true")
    with pytest.raises(ValueError, match="holds a run already"):
        claim_folder(out, settings, data(names), "precision: 32-true")


def test_a_run_keeps_the_order_of_its_classes(tmp_path):
    assert class_order(tmp_path) is None
    claim_folder(tmp_path, replace(DIGITS, out=tmp_path), data(["1", "10", "2"]), "precision: 32-true")
    assert class_order(tmp_path) == ["1", "10", "2"]
    write_classes(tmp_path / "guide", ["2", "10", "1"])
    assert class_order(tmp_path) == ["2", "10", "1"]
    (tmp_path / "guide" / "classes.json").write_text("[")
    assert class_order(tmp_path) == ["1", "10", "2"]


def test_a_guide_is_not_trained_further_once_a_model_has_learned_from_it(tmp_path):
    def resumed(epochs):
        guide = replace(DIGITS.guide, optimization=replace(DIGITS.guide.optimization, epochs=epochs))
        claim_folder(tmp_path, replace(DIGITS, out=tmp_path, guide=guide, resume=True), data(["a", "b"]), "here")

    claim_folder(tmp_path, replace(DIGITS, out=tmp_path), data(["a", "b"]), "here")
    resumed(50)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "vae.ckpt").touch()
    resumed(50)
    with pytest.raises(ValueError, match=r"resume: guide.optimization.epochs is 60, but the run in .*yaml has 50; res"):
        resumed(60)


def test_the_home_folder_is_meant(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert replace(DIGITS, out="~/runs/x", data_dir="~").out == tmp_path / "runs" / "x"
