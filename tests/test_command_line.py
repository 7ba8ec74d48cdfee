import subprocess
import sys

import pytest
import yaml

from labelvae.cli.parser import run
from labelvae.runs.presets import DIGITS


def settings_of(*words):
    seen = []
    run(seen.append, DIGITS, "test", list(words))
    return seen[0]


def test_defaults_are_the_preset():
    assert settings_of() == DIGITS


def test_every_setting_from_the_shell():
    settings = settings_of(
        "--data-dir=x",
        "--out",
        "y",
        "--resume",
        "--vae.objective.label-weight=3",
        "--vae.encoder-widths=[8,9]",
        "--guide.augmentation.flip",
        "--judge.optimization.epochs=2",
        "--wandb=disabled",
    )
    assert (str(settings.data_dir), str(settings.out), settings.resume, settings.wandb) == ("x", "y", True, "disabled")
    assert settings.vae.objective.label_weight == 3
    assert settings.vae.objective.scale == DIGITS.vae.objective.scale
    assert settings.vae.encoder_widths == (8, 9)
    assert settings.guide.augmentation.flip
    assert settings.judge.optimization.epochs == 2


def test_a_settings_file_is_read_back(tmp_path):
    from dataclasses import asdict, replace

    from labelvae.runs.run_folder import plain

    settings = replace(DIGITS, rounds=4, vae=replace(DIGITS.vae, latent_dim=5))
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(plain(asdict(settings))))
    assert settings_of("--config", str(tmp_path / "settings.yaml")) == settings
    assert settings_of("--config", str(tmp_path / "settings.yaml"), "--rounds=2").rounds == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--vae.objective.label-weight=-1"], "label_weight: expected a finite number of at least 0, got -1"),
        (["--vae.latent-dim=many"], "vae.latent_dim"),
        (["--accelerator=abacus"], "accelerator"),
        (["--colour=red"], "colour"),
        (["--config=nothing.yaml"], "nothing.yaml"),
    ],
)
def test_bad_words_exit_with_2_and_say_so(words, says, capsys):
    with pytest.raises(SystemExit) as stop:
        settings_of(*words)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert says in message
    assert "Traceback" not in message


@pytest.mark.parametrize("kind", [ValueError, OSError, FloatingPointError])
def test_bad_input_in_a_run_exits_with_2_and_one_sentence(capsys, kind):
    def main(_):
        raise kind("data: this is wrong; do that")

    with pytest.raises(SystemExit) as stop:
        run(main, DIGITS, "test", [])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: data: this is wrong; do that\n"


def test_ctrl_c_says_how_to_go_on(capsys):
    def main(_):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        run(main, DIGITS, "test", [])
    assert stop.value.code == 130
    assert "--resume goes on from there" in capsys.readouterr().err


def test_help_needs_no_torch():
    code = (
        "import sys; sys.argv = ['digits.py', '--help']\n"
        "from labelvae.cli.parser import run\nfrom labelvae.runs.presets import DIGITS\n"
        "try: run(print, DIGITS, 'digits')\n"
        "finally: assert 'torch' not in sys.modules and 'lightning' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--vae.objective.label-weight" in result.stdout
    assert "Lambda, weight of the guide's cross-entropy on counterfactuals" in " ".join(result.stdout.split())


@pytest.mark.parametrize("words", [["--help"], ["relabel", "--help"], ["train", "digits", "--help"]])
def test_without_docstrings_commands_and_options_are_still_listed(words):
    command = [sys.executable, "-OO", "-m", "labelvae", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    expected = {"--help": "relabel", "relabel": "--model", "train": "--vae.objective.label-weight"}[words[0]]
    assert expected in result.stdout


def test_without_docstrings_a_picture_is_relabelled(tmp_path):
    from PIL import Image

    Image.new("L", (40, 40), 255).save(tmp_path / "a.png")
    words = ["relabel", "--model=mnist", "--to=8", "--fit=pad", str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    result = subprocess.run(
        [sys.executable, "-OO", "-m", "labelvae", *words], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "b.png").is_file()
