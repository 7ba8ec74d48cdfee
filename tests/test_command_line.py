import subprocess
import sys
from dataclasses import asdict, replace

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
    from labelvae.runs.run_folder import plain

    settings = replace(DIGITS, rounds=4, vae=replace(DIGITS.vae, latent_dim=5))
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(plain(asdict(settings))))
    assert settings_of("--config", str(tmp_path / "settings.yaml")) == settings
    assert settings_of("--config", str(tmp_path / "settings.yaml"), "--rounds=2").rounds == 2


@pytest.mark.parametrize(
    "text",
    ["vae:\n  # latent_dim: 5\n", "guide: null", "vae: {objective: {}}", "vae: {augmentation: null, optimization: ~}"],
)
def test_an_empty_section_of_a_settings_file_changes_nothing(tmp_path, text):
    (tmp_path / "some.yaml").write_text(f"rounds: 4\n{text}")
    assert settings_of(f"--config={tmp_path / 'some.yaml'}") == replace(DIGITS, rounds=4)


def test_a_settings_file_with_an_empty_section_alone_changes_nothing(tmp_path):
    (tmp_path / "some.yaml").write_text("vae:\n  # latent_dim: 5\n")
    assert settings_of(f"--config={tmp_path / 'some.yaml'}") == DIGITS


def test_a_section_keeps_what_an_earlier_file_says(tmp_path):
    for name, text in (("a", "vae: {latent_dim: 5}"), ("b", "vae:\n  # none\n"), ("c", "vae: {hidden_dim: 7}")):
        (tmp_path / name).write_text(text)
    settings = settings_of(*(f"--config={tmp_path / name}" for name in "abc"))
    assert settings == replace(DIGITS, vae=replace(DIGITS.vae, latent_dim=5, hidden_dim=7))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"vae: 3", "vae: expected a section of settings by name in"),
        (b"vae: {objective: 5}", "vae.objective: expected a section of settings by name in"),
        (b"out: ~", "out: expected a folder in"),
        (b"data_dir: null", "data_dir: expected a folder in"),
        (b"\xff\xfe", "bad.yaml: expected a text file in UTF-8"),
        (b"out: 20240501", "bad.yaml, got the number 20240501; write out: '20240501'"),
        (b"rounds: 4\ndata_dir: no", "bad.yaml, got the switch no; write data_dir: 'no'"),
        (b"rounds:", "rounds: expected a value in"),
        (b"vae: {5: 3}", "bad.yaml: line 1: expected the name of a setting, got 5"),
        (b"vae:\n  optimization: {learning_rate: 1,5}", "bad.yaml: line 2: expected the name of a setting, got 5"),
        (b"compile: on", "got true; in a file, put on and off in quotes"),
        (b"print_config: x", "print_config: is no setting; --print-config lists all"),
        (b"", "bad.yaml: expected settings by name, such as rounds: 4, got none"),
        (b"[1, 2]", "bad.yaml: expected settings by name, such as rounds: 4, got others"),
        (b"rounds: 4\n\tout: x", "bad.yaml: is not YAML (line 2: "),
        (b"rounds: 4\n---\nrounds: 5", "bad.yaml: is not YAML (line 2: "),
        (b"vae:\n  latent_dim: 3\n  latent_dim: 4", "line 3: latent_dim is there twice in one section; keep one"),
        (b"vae: &a\n  objective: *a", "bad.yaml: line 1: this section contains itself"),
        (
            b"rounds: 4\nvae: !!python/object:os.system {}",
            "bad.yaml: expected plain values (line 2: could not determine",
        ),
        (b"rounds: !!int many", "bad.yaml: expected plain values (invalid literal for int()"),
        (b"rounds: !!int ''", "bad.yaml: expected plain values (string index out of range)"),
        (b"vae: {? {a: b} : 3}", "bad.yaml: expected plain values (line 1: found unhashable key)"),
        (b"rounds: " + 3000 * b"[", "bad.yaml: expected settings by name, got sections too deep in each other"),
        (b"colour: red", "colour: is no setting; --print-config lists all"),
        (b"vae: {latnt_dim: 3}", "vae.latnt_dim: is no setting; did you mean vae.latent_dim?"),
        (b"resume: maybe", "settings: expected true or false for a switch, got 'maybe'"),
    ],
)
def test_a_settings_file_that_cannot_be_meant_is_refused(tmp_path, text, says, capsys):
    (tmp_path / "bad.yaml").write_bytes(text)
    with pytest.raises(SystemExit) as stop:
        settings_of("--config", str(tmp_path / "bad.yaml"))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.parametrize("option", ["--config=FILE", "--config FILE"])
def test_an_option_counts_for_more_than_a_file_wherever_it_stands(tmp_path, option):
    (tmp_path / "some.yaml").write_text("rounds: 4\nvae: {latent_dim: 5, hidden_dim: 7}")
    words = option.replace("FILE", str(tmp_path / "some.yaml")).split()
    for given in (["--vae.latent-dim=6", *words], [*words, "--vae.latent-dim=6"]):
        assert settings_of(*given) == replace(DIGITS, rounds=4, vae=replace(DIGITS.vae, latent_dim=6, hidden_dim=7))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out="], "out: expected a folder, got an empty name"),
        (["--out", ""], "out: expected a folder, got an empty name"),
        (["--vae.objective.label-weight=-1"], "label_weight: expected a finite number of at least 0, got -1"),
        (["--vae.latent-dim=many"], "vae.latent_dim: expected a whole number, got 'many'"),
        (["--vae.refine=abc"], "vae.refine: expected a number, got 'abc'"),
        (["--rounds="], "rounds: expected a whole number, got ''"),
        (["--threads=x"], "threads: expected auto or a whole number, got 'x'"),
        (
            ["--vae.encoder-widths=8"],
            "vae.encoder_widths: expected a list of whole numbers such as [8,16] or null, got",
        ),
        (["--accelerator=abacus"], "accelerator: expected one of auto, cpu, gpu, mps, got 'abacus'"),
        (["--log=CSV"], "log: expected one of wandb, tensorboard, csv, none, got 'CSV'; did you mean csv?"),
        (["--vae=3"], "vae: expected its settings one by one"),
        (["--colour=red"], "--colour: is no option; python run.py --help lists the options"),
        (["--vae.latnt-dim=3"], "--vae.latnt-dim: is no option; did you mean --vae.latent-dim?"),
        (["--latent_dim", "3"], "--latent_dim: is no option; did you mean --vae.latent-dim?"),
        (["--no_resume"], "--no_resume: is no option; did you mean --no-resume?"),
        (["--vae.opt=3"], "--vae.opt: expected one option, could be --vae.optimization"),
        (["--resume=true"], "resume: expected no value, got 'true'; write --resume or --no-resume"),
        (["--resume", "yes"], "expected no other words than options, got 'yes'"),
        (["--out", "-x"], "out: expected a path, got nothing; write --out=... if it begins with -"),
        (["--config"], "config: expected a value, got nothing"),
        (["--config="], "config: expected a file of settings, got an empty name"),
        (["--config=nothing.yaml"], "got 'nothing.yaml': no such file"),
        (["--config=."], "got '.': a folder"),
        (["--config=/dev/null"], "got '/dev/null': a pipe or a device"),
        (["\u2014rounds", "3"], "\u2014rounds: begins with a dash that is no hyphen; write --rounds"),
    ],
)
def test_bad_words_exit_with_2_and_say_so_in_one_line(words, says, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run.py"])
    with pytest.raises(SystemExit) as stop:
        settings_of(*words)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert says in line


def test_options_may_be_shortened_and_settings_printed(capsys):
    assert settings_of("--vae.lat=3").vae.latent_dim == 3
    for words in (["--print-config"], ["--print-config=skip_unset", "--rounds=4"]):
        with pytest.raises(SystemExit) as stop:
            settings_of(*words)
        assert not stop.value.code
    printed = capsys.readouterr()
    assert "\nrounds: 4\n" in printed.out
    assert printed.err == ""


def test_a_run_that_was_moved_is_not_started_from_nothing(tmp_path, monkeypatch, capsys):
    file = tmp_path / "moved" / "settings.yaml"
    (tmp_path / "moved" / "checkpoints").mkdir(parents=True)
    file.write_text(f"out: {tmp_path / 'before'}")
    monkeypatch.chdir(tmp_path)
    for words in ([f"--config={file}"], ["--config", "moved/settings.yaml"]):
        with pytest.raises(SystemExit) as stop:
            settings_of(*words, "--resume")
        assert stop.value.code == 2
        assert f"--out {tmp_path / 'moved'} goes on with the run" in capsys.readouterr().err
        assert settings_of(*words).out == tmp_path / "before"
        assert settings_of(*words, "--resume", "--fast-dev-run").resume
        for out in (tmp_path / "moved", tmp_path / "another"):
            assert settings_of(*words, "--resume", f"--out={out}").out == out
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "settings.yaml").touch()
    assert settings_of(f"--config={file}", "--resume").resume


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
    assert "lambda, weight of the guide's cross-entropy on counterfactuals" in " ".join(result.stdout.split())


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


def test_the_settings_of_an_older_run_with_more_guides_are_read(tmp_path, capsys):
    (tmp_path / "old.yaml").write_text("rounds: 3\nmore_guides: 0\n")
    (tmp_path / "two.yaml").write_text("more_guides: 1\n")
    found = []
    run(found.append, DIGITS, "test", ["--config", str(tmp_path / "old.yaml")])
    assert found[0].rounds == 3
    with pytest.raises(SystemExit):
        run(found.append, DIGITS, "test", ["--config", str(tmp_path / "two.yaml")])
    assert "error: more_guides: a run has one guide" in capsys.readouterr().err


def test_what_is_auto_or_a_yes_is_a_yes_where_it_stands_alone(capsys):
    with pytest.raises(SystemExit):
        settings_of("--graphs", "--channels-last", "--print-config")
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["graphs"], printed["channels_last"]) == (True, True)
