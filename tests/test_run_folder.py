"""The folder of a run: its settings are read back whatever the classes and folders are called."""

from dataclasses import replace

import pytest
import torch
import yaml

from labelvae import ConditionalVAE, ImageData
from labelvae.flows import LatentFlow
from labelvae.inputs.class_names import write_classes
from labelvae.runs import experiment
from labelvae.runs.building import check_apart
from labelvae.runs.presets import DIGITS, FOLDER
from labelvae.runs.run_folder import claim_folder, class_order, keep_prior
from labelvae.system.sole_use import sole_use


def data(names):
    labels = torch.arange(4 * len(names)) % len(names)
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8).contiguous()
    return ImageData.from_tensors(images, labels, names)


@pytest.mark.parametrize(
    "names", [["a\n- b", "c"], ["caf\udce9", "th\udce9"], ["x: y", "#hash"], ["a\u2028b", "{", "कि"], ["'", '"', "%"]]
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


@pytest.mark.parametrize("text", ["", "rounds: 2\n", "# our own\nfingerprint: none\n"])
def test_the_settings_of_another_program_are_not_overwritten(tmp_path, text):
    (tmp_path / "settings.yaml").write_text(text)
    (tmp_path / "photo.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"settings.yaml is not the settings of a run, so nothing is deleted; choose"):
        claim_folder(tmp_path, replace(DIGITS, out=tmp_path, overwrite=True), data(["a", "b"]), "here")
    assert (tmp_path / "photo.png").read_bytes() == b"mine"
    assert (tmp_path / "settings.yaml").read_text() == text


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_models_of_no_known_run_are_not_written_over(tmp_path, how):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "model.safetensors").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"vae/model.safetensors would be written over, and no settings.yaml says"):
        claim_folder(tmp_path, replace(DIGITS, out=tmp_path, **how), data(["a", "b"]), "here")
    assert [path.name for path in tmp_path.rglob("*")] == ["vae", "model.safetensors"]


def test_a_run_that_is_overwritten_takes_no_pictures_of_others_along(tmp_path):
    claim_folder(tmp_path, replace(DIGITS, out=tmp_path), data(["a", "b"]), "here")
    for name in ("wrong_labels.png", "mine.png"):
        (tmp_path / name).write_bytes(b"a picture")
    claim_folder(tmp_path, replace(DIGITS, out=tmp_path, overwrite=True), data(["a", "b"]), "here")
    assert {path.name for path in tmp_path.iterdir()} == {"settings.yaml", "mine.png"}


def test_broken_settings_are_said_in_one_line(tmp_path):
    claim_folder(tmp_path, replace(DIGITS, out=tmp_path), data(["a", "b"]), "here")
    with (tmp_path / "settings.yaml").open("a") as file:
        file.write("{\n")
    with pytest.raises(ValueError, match=r"settings.yaml is broken \(.*line.*\); choose another --out") as error:
        claim_folder(tmp_path, replace(DIGITS, out=tmp_path, resume=True), data(["a", "b"]), "here")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["guide", "judge", "vae"])
def test_fewer_epochs_are_refused_before_anything_is_written(tmp_path, name):
    def with_epochs(epochs):
        how = getattr(DIGITS, name)
        return replace(DIGITS, out=tmp_path, **{name: replace(how, optimization=replace(how.optimization, **epochs))})

    claim_folder(tmp_path, with_epochs({"epochs": 12, "least_steps": 9}), data(["a", "b"]), "here")
    before = (tmp_path / "settings.yaml").read_text()
    for fewer, says in (
        ({"epochs": 3, "least_steps": 9}, rf"resume: {name}.optimization.epochs: the run in .* has 12 epochs already"),
        ({"epochs": 12, "least_steps": 8}, rf"resume: {name}.optimization.least_steps is 8"),
    ):
        with pytest.raises(ValueError, match=says):
            claim_folder(tmp_path, replace(with_epochs(fewer), resume=True), data(["a", "b"]), "here")
        assert (tmp_path / "settings.yaml").read_text() == before


def test_a_prior_is_kept_with_its_model_only(tmp_path, capsys):
    torch.manual_seed(0)
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8,), hidden_dim=8)
    keep_prior(vae, tmp_path / "vae")  # no model is there
    vae.save_pretrained(tmp_path / "vae")
    keep_prior(vae, tmp_path / "vae")
    assert vae.prior is None
    vae.prior = LatentFlow(4, 3, couplings=2, hidden_dim=8)
    vae.save_pretrained(tmp_path / "vae")
    vae.prior = None
    keep_prior(vae, tmp_path / "vae")
    assert vae.prior is not None
    assert not capsys.readouterr().out
    other = ConditionalVAE(**vae.config)
    keep_prior(other, tmp_path / "vae")
    assert other.prior is None
    assert "vae: the prior was fitted to other weights and is dropped" in capsys.readouterr().out


def test_the_folders_of_a_run_are_written_as_they_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    claim_folder(tmp_path / "out", replace(DIGITS, out="out", data_dir="here"), data(["a", "b"]), "here")
    before = yaml.safe_load((tmp_path / "out" / "settings.yaml").read_text())
    assert (before["out"], before["data_dir"]) == (str(tmp_path / "out"), str(tmp_path / "here"))
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = replace(DIGITS, out="moved", data_dir="there", resume=True)
    claim_folder(tmp_path / "moved", moved, data(["a", "b"]), "here")
    after = yaml.safe_load((tmp_path / "moved" / "settings.yaml").read_text())
    assert after == before | {"out": str(tmp_path / "moved"), "data_dir": str(tmp_path / "there")}


def test_the_home_folder_is_meant(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert replace(DIGITS, out="~/runs/x", data_dir="~").out == tmp_path / "runs" / "x"


def test_a_second_process_is_kept_out_of_the_folder_of_a_run(tmp_path):
    out = tmp_path / "run"
    settings = replace(DIGITS, out=out, wandb="disabled", overwrite=True)
    with sole_use(out):
        with pytest.raises(ValueError, match="out: another process is at work in .*run; wait until it ends, or choose"):
            experiment.run_experiment(settings, data(["a", "b"]))
        with sole_use(out / "fast-dev-run"):  # a trial disturbs nobody
            pass
        assert not (out / "settings.yaml").exists()
    assert not out.exists()
    with sole_use(out):
        (out / "something").touch()
    with sole_use(out):
        assert (out / "something").exists()


def test_a_folder_is_not_claimed_by_a_run_whose_log_cannot_be_opened(tmp_path, monkeypatch):
    def fails(*_):
        raise ValueError("wandb: no network today")

    settings = replace(DIGITS, out=tmp_path, wandb="disabled")
    opened = experiment.open_log
    monkeypatch.setattr(experiment, "open_log", fails)
    with pytest.raises(ValueError, match="no network today"):
        experiment.Experiment(settings, data(["a", "b"]))
    monkeypatch.setattr(experiment, "open_log", opened)
    experiment.Experiment(settings, data(["a", "b"]))
    monkeypatch.setattr(experiment, "open_log", fails)
    with pytest.raises(ValueError, match="no network today"):
        experiment.Experiment(replace(settings, resume=True), data(["a", "b"]))
    assert (tmp_path / "settings.yaml").is_file()


def test_a_run_among_its_images_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
    for out in ("images", "images/run", "images/a/run", "other/../images/runs/folder"):
        with pytest.raises(ValueError, match="out: .* lies in the folder of the images, .*; choose another --out"):
            experiment.read_images(replace(FOLDER, data_dir=tmp_path / "images", out=tmp_path / out))
    check_apart(tmp_path / "images and runs", tmp_path / "images")
    check_apart(tmp_path / "images" / ".run", tmp_path / "images")
    check_apart(tmp_path / "run", tmp_path / "missing")


def test_a_run_beside_its_splits_is_taken(tmp_path):
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
    check_apart(tmp_path / "run", tmp_path)
    for out in ("train/run", "test/a"):
        with pytest.raises(ValueError, match="lies in the folder of the images"):
            check_apart(tmp_path / out, tmp_path)
