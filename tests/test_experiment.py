"""End to end on real digits: a short run, what it leaves, and what it is worth."""

import json
import os
import re
import shutil
import sys
from dataclasses import asdict, replace

import pytest
import torch
import yaml
from PIL import Image

from labelvae import ClassifierTraining, ConditionalVAE, ImageData, LabelClassifier, VAETraining
from labelvae.flows import LatentFlow
from labelvae.losses.refinement_files import saved_radius
from labelvae.runs import experiment
from labelvae.runs.building import without_label_loss
from labelvae.runs.experiment import run_experiment
from labelvae.runs.presets import DIGITS
from labelvae.runs.settings import Settings
from labelvae.training import loggers

FILES = {
    "settings.yaml",
    "scores.json",
    "wrong_labels.png",
    "reconstructions.png",
    "samples.png",
    "every_class.png",
    "failures.png",
    "guide",
    "judge",
    "vae",
    "unguided",
    "checkpoints",
    "progress",
}


def kept(out) -> dict:
    """What a refused run must not touch, byte for byte."""
    return {path: path.read_bytes() for path in out.rglob("*") if path.suffix in (".ckpt", ".safetensors", ".json")}


def digits_data() -> ImageData:
    return ImageData(**asdict(DIGITS.data))


def short(out, epochs=12, **changes) -> Settings:
    def brief(how, count):
        return replace(how, optimization=replace(how.optimization, epochs=count))

    settings = replace(
        DIGITS,
        out=out,
        rounds=2,
        guide=brief(DIGITS.guide, 12),
        judge=brief(DIGITS.judge, 20),
        vae=brief(DIGITS.vae, epochs),
    )
    return replace(settings, **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    scores = run_experiment(short(out))
    return out, {score.name: score for score in scores}


def test_the_label_loss_is_what_makes_the_label_followed(run):
    _, scores = run
    model, reference = scores["labelvae"], scores["lambda = 0"]
    assert model.judge_accuracy > 0.95
    assert model.effectiveness > 0.95
    assert 1 - model.effectiveness < 0.5 * (1 - reference.effectiveness)
    assert model.psnr > 16
    assert model.reversed_psnr > 15
    assert model.style["ink"] > 0.5


def test_the_references_are_where_they_must_be(run):
    _, scores = run
    assert scores["image itself"].effectiveness < 0.05
    assert scores["image itself"].style["ink"] > 0.9
    assert scores["class mean"].effectiveness > 0.95
    assert abs(scores["class mean"].style["ink"]) < 0.05


def test_everything_is_left_beside_each_other(run):
    out, _ = run
    assert {path.name for path in out.iterdir()} == FILES | {"wandb"}
    rows = json.loads((out / "scores.json").read_text())
    assert [row["name"] for row in rows] == ["labelvae", "image itself", "class mean", "lambda = 0"]
    settings = yaml.safe_load((out / "settings.yaml").read_text())
    assert settings["vae"]["optimization"]["epochs"] == 12
    assert "1199 train, 299 validation, 299 test" in (out / "settings.yaml").read_text()


def test_the_saved_models_are_the_ones_that_were_scored(run, digits):
    out, _ = run
    vae = ConditionalVAE.from_pretrained(out / "vae")
    judge = LabelClassifier.from_pretrained(out / "judge")
    images, labels = next(iter(digits.loader("test")))
    agreed = (judge(vae.relabel(images, 8)).argmax(1) == 8)[labels != 8]
    assert agreed.float().mean() > 0.9


@pytest.mark.parametrize(
    ("name", "pairs"), [("wrong_labels", 25), ("reconstructions", 40), ("samples", 100), ("every_class", 110)]
)
def test_the_pictures_show_something(run, name, pairs):
    out, _ = run
    with Image.open(out / f"{name}.png") as picture:
        levels = torch.tensor(picture.convert("L").getcolors(1 << 16))
    dark = levels[levels[:, 1] < 60, 0].sum()
    bright = levels[(levels[:, 1] > 180) & (levels[:, 1] < 255), 0].sum()
    assert dark > pairs * 96 * 96 * 0.2
    assert bright > pairs * 96 * 96 * 0.05


def test_resuming_a_finished_run_trains_nothing_and_repeats_its_scores(run, monkeypatch):
    out, scores = run
    steps = []
    monkeypatch.setattr(VAETraining, "training_step", lambda *_: steps.append("vae"))
    monkeypatch.setattr(ClassifierTraining, "training_step", lambda *_: steps.append("classifier"))
    model = ConditionalVAE.from_pretrained(out / "vae")
    model.prior = LatentFlow(model.latent_dim, 10, couplings=2, hidden_dim=8)
    model.save_pretrained(out / "vae")
    again = run_experiment(short(out, resume=True, wandb="disabled"))
    assert again[0].row() == scores["labelvae"].row()
    assert not steps
    assert ConditionalVAE.from_pretrained(out / "vae").prior is not None


def test_a_folder_that_holds_a_run_is_left_alone(run):
    out, _ = run
    before = kept(out) | {out / "settings.yaml": (out / "settings.yaml").read_bytes()}
    with pytest.raises(ValueError, match=r"out: .* holds a run already; --resume goes on with it, --overwrite"):
        run_experiment(short(out))
    with pytest.raises(ValueError, match=r"resume: .*settings.yaml is of other images"):
        run_experiment(short(out, resume=True, data=replace(DIGITS.data, seed=5)))
    with pytest.raises(ValueError, match=r"accelerator: there is no mps here"):
        run_experiment(short(out, overwrite=True, accelerator="mps"))
    with pytest.raises(ValueError, match=r"12 epochs already, got epochs=3; epochs may only grow"):
        run_experiment(short(out, epochs=3, resume=True, wandb="disabled"))
    assert kept(out) | {out / "settings.yaml": (out / "settings.yaml").read_bytes()} == before


def test_checkpoints_of_something_else_are_left_alone(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "mine.ckpt").write_text("mine")
    for how in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(ValueError, match=r"holds checkpoints, but no settings.yaml .*; choose another --out"):
            experiment.Experiment(short(tmp_path, **how), digits_data())
    assert [path.name for path in tmp_path.rglob("*")] == ["checkpoints", "mine.ckpt"]


def test_a_broken_checkpoint_is_named(run, tmp_path):
    out, _ = run
    shutil.copytree(out, tmp_path / "copy", ignore=shutil.ignore_patterns("wandb"))
    path = tmp_path / "copy" / "checkpoints" / "judge.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"judge.ckpt: is no whole checkpoint .*; delete it to train this step anew"):
        run_experiment(short(tmp_path / "copy", resume=True, wandb="disabled"))


def test_overwriting_starts_anew(run, tmp_path):
    out, _ = run
    shutil.copytree(out, tmp_path / "copy", ignore=shutil.ignore_patterns("wandb"))
    (tmp_path / "copy" / "notes.txt").write_text("mine")
    (tmp_path / "copy" / "csv").mkdir()
    experiment.Experiment(short(tmp_path / "copy", overwrite=True, wandb="disabled", rounds=7), digits_data())
    left = {path.name for path in (tmp_path / "copy").iterdir()}
    assert left <= {"settings.yaml", "notes.txt"}  # nothing that could be taken for the new run's
    assert (tmp_path / "copy" / "notes.txt").exists()
    assert "rounds: 7" in (tmp_path / "copy" / "settings.yaml").read_text()


@pytest.mark.parametrize(
    ("log", "wandb", "says"),
    [
        ("wandb", "online", "there is no account here"),
        ("wandb", "auto", "WANDB_MODE: expected online, offline or disabled, got 'sometimes'"),
        ("wandb", "offline", "log: wandb is not installed"),
        ("tensorboard", "offline", "log: tensorboard is not installed"),
    ],
)
def test_a_log_that_cannot_be_opened_changes_nothing_in_the_folder(tmp_path, monkeypatch, log, wandb, says):
    monkeypatch.setattr(loggers, "has_account", lambda: False)
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    for name in ("tensorboard", "tensorboardX", *(["wandb"] if wandb == "offline" else [])):
        monkeypatch.setitem(sys.modules, name, None)
    out, data = tmp_path / "out", digits_data()
    with pytest.raises(ValueError, match=says):
        experiment.Experiment(short(out, log=log, wandb=wandb), data)
    assert not out.exists()  # so that the command may be corrected
    experiment.Experiment(short(out, log="none"), data)
    (out / "vae").mkdir()
    (out / "vae" / "model.safetensors").write_text("weights")
    before = kept(out)
    with pytest.raises(ValueError, match=says):
        experiment.Experiment(short(out, log=log, wandb=wandb, overwrite=True), data)
    assert kept(out) == before != {}


def test_an_empty_mode_of_wandb_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = experiment.Experiment(short(tmp_path), digits_data()).logger.experiment
    run.finish()
    assert run.settings.mode == "offline"
    assert os.environ["WANDB_MODE"] == ""


def test_resuming_with_other_settings_is_refused(run):
    out, _ = run
    with pytest.raises(ValueError, match=r"resume: rounds is 5, but the run in .*settings.yaml has 2"):
        run_experiment(short(out, resume=True, rounds=5))


def test_a_setting_that_an_older_version_did_not_know_had_its_default(run, tmp_path):
    out, _ = run
    before = (out / "settings.yaml").read_text()
    older = re.sub(r"^ *(blur|upsampling|rounds): .*\n", "", before, flags=re.MULTILINE)
    assert older.count("\n") < before.count("\n") - 4
    (tmp_path / "settings.yaml").write_text(older)
    with pytest.raises(ValueError, match=r"resume: rounds is 2, but the run in .*settings.yaml has 1"):
        experiment.Experiment(short(tmp_path, resume=True, wandb="disabled"), digits_data())
    experiment.Experiment(short(tmp_path, resume=True, wandb="disabled", rounds=1), digits_data())
    assert "blur: 0.0" in (tmp_path / "settings.yaml").read_text()


def test_a_fast_dev_run_touches_no_other_results(tmp_path):
    scores = run_experiment(short(tmp_path, fast_dev_run=True))
    assert len(scores) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["fast-dev-run"]
    assert {path.name for path in (tmp_path / "fast-dev-run").iterdir()} == FILES


def test_a_run_that_refines_scores_both_and_says_so_beside_the_model(tmp_path):
    settings = short(tmp_path, fast_dev_run=True, log="none")
    scores = run_experiment(replace(settings, vae=replace(settings.vae, refine=0.5)))
    assert [score.name for score in scores] == ["labelvae", "not refined", "image itself", "class mean", "lambda = 0"]
    assert scores[0].psnr == scores[1].psnr
    assert scores[0].reversed_psnr != scores[1].reversed_psnr
    out = tmp_path / "fast-dev-run"
    assert saved_radius(out / "vae") == 0.5
    assert saved_radius(out / "unguided") == 0
    assert (out / "wrong_labels.png").is_file()


def test_the_reference_differs_by_lambda_alone():
    objective = without_label_loss(DIGITS.vae).objective
    assert objective == replace(DIGITS.vae.objective, label_weight=0.0, own_label_weight=0.0)
    seeing = replace(DIGITS.vae, objective=replace(DIGITS.vae.objective, perceptual_weight=1.0))
    assert without_label_loss(replace(seeing, discriminator_sees_guide=True)) == without_label_loss(DIGITS.vae)


def test_a_guide_with_a_moving_average_is_saved_as_its_average(tmp_path):
    def brief(how):
        return replace(how, optimization=replace(how.optimization, epochs=1, least_steps=0, average_decay=0.5))

    base = short(tmp_path / "run", wandb="disabled", log="none")
    experiment.Experiment(base, digits_data()).classifier("guide", brief(base.guide))
    kept = torch.load(tmp_path / "run" / "checkpoints" / "guide.ckpt", weights_only=True)
    average, last = (kept[state]["classifier.to_logits.weight"] for state in ("state_dict", "current_model_state"))
    saved = LabelClassifier.from_pretrained(tmp_path / "run" / "guide").to_logits.weight
    assert torch.equal(saved, average)
    assert not torch.equal(saved, last)


def test_a_run_of_an_earlier_version_with_more_guides_is_resumed(tmp_path):
    settings = short(tmp_path / "run", wandb="disabled", log="none")
    experiment.Experiment(settings, digits_data())
    path = tmp_path / "run" / "settings.yaml"
    path.write_text(path.read_text() + "more_guides: 0\n")
    assert experiment.Experiment(replace(settings, resume=True), digits_data()).out == tmp_path / "run"


def test_a_range_test_of_the_learning_rate_draws_and_leaves_the_run_alone(run, capsys):
    out, _ = run
    before = kept(out)
    assert run_experiment(short(out, find_learning_rate=True, wandb="disabled")) == []
    assert kept(out) == before | kept(out / "learning-rate")
    with Image.open(out / "learning-rate" / "learning_rate.png") as curve:
        assert curve.size == (600, 400)
    assert "learning rate: " in capsys.readouterr().out
    shutil.rmtree(out / "learning-rate")


def test_what_is_wrong_is_said_again_at_the_end(tmp_path, capsys):
    steps = experiment.Experiment(short(tmp_path, log="none"), digits_data())
    steps.wrong = {"label ignored": "raise vae.objective.label_weight"}
    steps.finish([])
    assert capsys.readouterr().err == "warning: label ignored: raise vae.objective.label_weight\n"
