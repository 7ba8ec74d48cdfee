"""Logs read back: names, steps, pictures that show something, and no library where it is not asked for."""

import csv
import json
import os
import runpy
import subprocess
import sys
import warnings
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image

from labelvae import ConditionalVAE, GuidedELBO, LabelClassifier, VAETraining
from labelvae.evaluation.diagnosis import Diagnosis
from labelvae.runs.presets import DIGITS
from labelvae.runs.run_log import check_log
from labelvae.training import loggers as logs
from labelvae.training.dashboard import Relabelled
from labelvae.training.loggers import close_logger, code_version, log_picture, make_logger, run_name, wandb_mode
from labelvae.visual.charts import confusion, kl_bars, latent_by_label, latent_by_value, principal_plane

NAMES = [f"d{digit}" for digit in range(10)]
PICTURES = {
    "samples/wrong_labels",
    "samples/reconstructions",
    "samples/samples",
    "samples/every_class",
    "relabel/confusion",
    "latent/by_label",
    "latent/by_style",
    "latent/kl",
}
EPOCHS, STEPS = 2, 3
LOGGED_AT = [STEPS - 1, EPOCHS * STEPS - 1]  # counted from 0


def train(logger, out, digits):
    """Two epochs of three steps, as a run logs them."""
    torch.manual_seed(0)
    guide = LabelClassifier((1, 8, 8), 10, widths=(8, 8), feature_dim=8)
    judge = LabelClassifier((1, 8, 8), 10, widths=(8,), feature_dim=8)
    vae = ConditionalVAE((1, 8, 8), 10, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16)
    images, labels = next(iter(digits.loader("validation", 100)))
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        limit_train_batches=STEPS,
        limit_val_batches=1,
        log_every_n_steps=STEPS,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=logger or False,
        callbacks=[Relabelled(images, labels, NAMES, judge, out / "progress.png", guide)],
    )
    train, validation = digits.loader("train", 64, shuffle=True), digits.loader("validation", 64)
    trainer.fit(VAETraining(vae, GuidedELBO(guide)), train, validation)
    if logger is not None:
        vae.save_pretrained(out / "vae")
        close_logger(logger, {"effectiveness": 0.5, "leakage": None}, "nothing found", out / "vae", "test")


def shows_something(picture) -> bool:
    """Neither black nor blank."""
    levels = np.asarray(picture.convert("L"))
    return bool(levels.std() > 10 and (levels > 200).mean() > 0.02 and (levels < 200).mean() > 0.005)


def panels_of_the_workspace() -> set[str]:
    """What the saved workspace shows, without the machine's load and what this run does not log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydantic's older ways
        pytest.importorskip("wandb_workspaces.workspaces")
        made = runpy.run_path(str(Path(__file__).parent.parent / "examples" / "workspace.py"))["workspace"]("me")
    panels = [panel for section in made.sections if section.name != "system" for panel in section.panels]
    names = {name for panel in panels for name in getattr(panel, "media_keys", None) or panel.y}
    used = {f"{part}/{term}" for part in ("train", "val") for term in ("total", "kl", "counterfactual_label")}
    looked_at = {name for name in names if name.startswith("diagnosis/")}
    assert looked_at <= {f"diagnosis/{field.name}" for field in fields(Diagnosis)}
    return {name for name in names - looked_at if not name.startswith(("train/", "val/"))} | (names & used)


def test_an_offline_run_of_weights_and_biases(tmp_path, digits):
    if tuple(map(int, version("wandb").split(".")[:2])) < (0, 31):
        pytest.skip("this wandb cannot read an offline run back; 0.31 can")
    logger = make_logger("wandb", "offline", tmp_path, {"vae": {"latent_dim": 4}, "code": code_version()})
    train(logger, tmp_path, digits)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json"]
    lines = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=True).stdout.splitlines()
    records = [json.loads(line) for line in lines]
    rows = [record["history"] for record in records if record["type"] == "history"]
    at: dict[str, list[int]] = {}
    for row in rows:
        for name in row["item"]:
            at.setdefault(name.removesuffix("._type"), []).append(row["item"].get("trainer/global_step"))
    curves = ["train/total", "train/kl", "val/reconstruction", "val/counterfactual_label", "relabel/effectiveness"]
    curves += ["relabel/effectiveness_d3", "relabel/style_slant", "relabel/realism", "relabel/gap"]
    assert {name: at.get(name) for name in (*curves, *PICTURES)} == dict.fromkeys((*curves, *PICTURES), LOGGED_AT)
    assert panels_of_the_workspace() <= set(at)
    summary = json.loads(
        subprocess.run([*command, "--summary", str(folder)], capture_output=True, text=True, check=True).stdout
    )
    assert summary["config"]["vae"]["latent_dim"] == 4
    assert summary["config"]["code"]["torch"] == torch.__version__.partition("+")[0]
    assert summary["summary"]["scores/effectiveness"] == 0.5
    assert summary["summary"]["diagnosis"] == "nothing found"
    for name, best in (("relabel/effectiveness", max), ("val/total", min)):
        logged = [row["item"][name] for row in rows if name in row["item"]]
        assert summary["summary"][name] == {best.__name__: best(logged), "last": logged[-1]}
    assert "artifact" in {record["type"] for record in records}
    files = list((folder / "files" / "media").rglob("*.png"))
    assert len(files) == EPOCHS * len(PICTURES)
    for file in files:
        with Image.open(file) as picture:
            assert shows_something(picture), file


def test_without_an_account_nothing_is_asked(tmp_path):
    code = (
        "from pathlib import Path\nfrom labelvae.training.loggers import make_logger\n"
        f"make_logger('wandb', 'online', Path({str(tmp_path)!r}), {{}})\n"
    )
    nobody = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    nobody |= {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")}
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=nobody, stdin=subprocess.DEVNULL)
    assert "ValueError: wandb: there is no account here; log in with `wandb login`" in result.stderr
    assert not result.stdout


def test_the_commit_is_that_of_the_package_and_not_of_the_tree_it_is_installed_in(tmp_path, monkeypatch):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "theirs"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    (tmp_path / "loggers.py").touch()
    monkeypatch.setattr(logs, "__file__", str(tmp_path / "loggers.py"))
    assert "commit" not in code_version()
    for words in (["add", "loggers.py"], [*identity, "commit", "-q", "-m", "ours"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    assert len(code_version()["commit"]) == 40


def test_tensorboard(tmp_path, digits):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = make_logger("tensorboard", "offline", tmp_path, {"seed": 1})
    train(logger, tmp_path, digits)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["images"]) == PICTURES
    assert [event.step for event in events.Images("samples/samples")] == [STEPS, EPOCHS * STEPS]
    assert len(events.Scalars("val/total")) == EPOCHS


def test_csv(tmp_path, digits):
    train(make_logger("csv", "offline", tmp_path, {"seed": 1}), tmp_path, digits)
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["train/total"]] == [str(step) for step in LOGGED_AT]
    assert sum(bool(row["relabel/effectiveness"]) for row in rows) == EPOCHS
    assert rows[-1]["scores/effectiveness"] == "0.5"
    curves = (tmp_path / "csv" / "metrics.csv").read_bytes()
    for again in ("1", "2"):
        resumed = make_logger("csv", "offline", tmp_path, {"seed": 1})
        resumed.log_metrics({"train/total": 1.0})
        resumed.save()
        assert (tmp_path / "csv" / again / "metrics.csv").read_text().split() == ["step,train/total", "0,1.0"]
    assert (tmp_path / "csv" / "metrics.csv").read_bytes() == curves


@pytest.mark.parametrize(("kind", "mode"), [("none", "offline"), ("wandb", "disabled"), ("csv", "online")])
def test_runs_without_wandb_installed(kind, mode, tmp_path):
    code = (
        "import sys; sys.modules['wandb'] = None\n"
        "from pathlib import Path\nfrom labelvae import experiment\nfrom labelvae.training.loggers import make_logger\n"
        f"print(make_logger({kind!r}, {mode!r}, Path({str(tmp_path)!r}), {{}}))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert ("CSVLogger" in result.stdout) == (kind == "csv")


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "wandb.errors", None)
    with pytest.raises(ValueError, match="log: wandb is not installed; install it, or use --log csv or none"):
        make_logger("wandb", "offline", tmp_path, {})


def test_the_principal_plane_is_that_of_the_eigenvectors():
    codes = torch.randn(200, 5).double() @ torch.randn(5, 5).double()
    plane = principal_plane(codes)
    values = torch.linalg.eigvalsh(torch.cov(codes.T)).flip(0)
    torch.testing.assert_close(torch.cov(plane.T), torch.diag(values[:2]), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(principal_plane(codes[:, :1])[:, 1], torch.zeros(200).double())


def test_charts_show_what_they_are_given():
    labels = torch.arange(10).repeat(5)
    right, wrong = confusion(labels, labels, NAMES), confusion(labels, (labels + 1) % 10, NAMES)
    assert right.size == wrong.size
    assert right.tobytes() != wrong.tobytes()
    codes = torch.randn(50, 3)
    pictures = [right, latent_by_label(codes, labels, NAMES), kl_bars(torch.rand(6))]
    pictures += [latent_by_value(codes, codes[:, 0], "slant")]
    assert all(shows_something(picture) for picture in pictures)


def life(out, **facts):
    """A log from its first value to its end, as a run writes it; its wandb run."""
    out.mkdir(parents=True, exist_ok=True)
    model = out / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text("{}")
    logger = make_logger("wandb", "auto", out, facts)
    run = logger.experiment
    logger.log_metrics({"train/total": 1.0}, step=1)
    close_logger(logger, {"effectiveness": 0.5}, "nothing found", model, out.name)
    return run


@pytest.fixture
def no_wandb_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", ["my run", "a=b", "größe", "日本", "x" * 200, "two\nlines", "#?%:;", "run."])
def test_a_run_folder_may_have_any_name(name, tmp_path, no_wandb_variables, recwarn):
    out = tmp_path / name
    assert life(out).name == run_name(out)
    assert not [warning for warning in recwarn if "could not be logged" in str(warning.message)]
    assert list((out / "wandb").glob("offline-run-*"))


def test_a_folder_whose_name_is_no_text_is_refused_before_the_training(tmp_path, no_wandb_variables):
    with pytest.raises(ValueError, match="whose name is not UTF-8; use --log csv"):
        make_logger("wandb", "offline", tmp_path / "lat\udce9n", {})


def test_an_open_run_is_left_alone(tmp_path, no_wandb_variables):
    import wandb

    mine = wandb.init(project="mine", dir=tmp_path, mode="offline", settings=wandb.Settings(silent=True))
    try:
        other = life(tmp_path / "run")
        assert wandb.run is mine
        assert other.id != mine.id
        mine.log({"after": 1})
        assert mine.summary["after"] == 1
    finally:
        mine.finish()
    assert life(tmp_path / "run").id == other.id
    assert wandb.run is None


def test_the_environment_of_wandb_is_heard(tmp_path, monkeypatch, no_wandb_variables):
    (tmp_path / "elsewhere").mkdir()
    said = {"PROJECT": "p", "NAME": "n", "RUN_ID": "abc", "RUN_GROUP": "g", "TAGS": "a,b", "NOTES": "x"}
    for name, value in (said | {"DIR": str(tmp_path / "elsewhere")}).items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    run = life(tmp_path / "run")
    assert (run.project, run.name, run.id, run.group, run.tags, run.notes) == ("p", "n", "abc", "g", ("a", "b"), "x")
    assert list((tmp_path / "elsewhere" / "wandb").glob("offline-run-*-abc"))
    assert (tmp_path / "run" / "wandb" / "run-id").read_text() == "abc"


@pytest.mark.parametrize(
    ("variable", "value", "mode"),
    [
        ("WANDB_MODE", "disabled", "disabled"),
        ("WANDB_MODE", "online", "online"),
        ("WANDB_MODE", "dryrun", "offline"),
        ("WANDB_DISABLED", "true", "disabled"),
        ("WANDB_DISABLED", "false", "offline"),
    ],
)
def test_the_mode_is_the_one_asked_for_or_the_environments(variable, value, mode, monkeypatch, no_wandb_variables):
    assert wandb_mode("auto") == "offline"
    monkeypatch.setenv(variable, value)
    assert wandb_mode("auto") == mode
    assert wandb_mode("offline") == "offline"


def test_a_mode_that_is_none_is_refused(monkeypatch, no_wandb_variables):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(ValueError, match="WANDB_MODE: expected online, offline or disabled, got 'sometimes'"):
        wandb_mode("auto")


def test_what_wandb_refuses_is_one_sentence_before_the_training(tmp_path, monkeypatch, no_wandb_variables):
    monkeypatch.setenv("WANDB_PROJECT", "a/b")
    with pytest.raises(ValueError, match="wandb: Invalid project name 'a/b'"):
        make_logger("wandb", "offline", tmp_path, {})


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("PROJECT", "a/b", "wandb: Invalid project name 'a/b'"),
        ("RUN_ID", "a/b", "wandb: Run ID cannot contain"),
        ("TAGS", "a," + "b" * 70, "wandb: .*Tags must be between"),
    ],
)
def test_a_name_that_wandb_refuses_is_said_before_anything_is_written(
    variable, value, says, monkeypatch, no_wandb_variables
):
    monkeypatch.setenv(f"WANDB_{variable}", value)
    with pytest.raises(ValueError, match=says):
        check_log(replace(DIGITS, log="wandb", wandb="offline"))


def test_a_key_that_wandb_refuses_is_said_in_words(monkeypatch, no_wandb_variables):
    import wandb

    def refused(prompt=True, verify=True):  # as wandb.login does with such a key, which it would then remember
        raise wandb.errors.AuthenticationError("WANDB_API_KEY invalid: API key must have 40+ characters, has 3.")

    monkeypatch.setattr(wandb, "login", refused)
    with pytest.raises(ValueError, match="wandb: WANDB_API_KEY invalid: API key must.*or use --wandb offline"):
        check_log(replace(DIGITS, log="wandb", wandb="online"))


def test_a_log_that_fails_is_a_warning(tmp_path):
    class Broken(CSVLogger):
        def log_metrics(self, metrics, step=None):
            raise OSError("no room")

    with pytest.warns(UserWarning, match="log: the end of the run could not be logged .no room."):
        close_logger(Broken(tmp_path), {"effectiveness": 0.5}, "nothing found", tmp_path, "test")

    class Images(TensorBoardLogger):
        def __init__(self):
            pass

        @property
        def experiment(self):
            raise ConnectionError("gone")

    with pytest.warns(UserWarning, match="log: samples could not be logged .gone."):
        log_picture([Images()], "samples", Image.new("L", (8, 8)))
