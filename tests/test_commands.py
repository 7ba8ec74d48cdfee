"""The command line as a user has it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from labelvae import ConditionalVAE, LabelClassifier
from labelvae.__main__ import COMMANDS, PRESETS, main
from labelvae.inputs.class_names import label_of, read_classes, write_classes
from labelvae.models.finished_run import read_run
from labelvae.runs.comparison import comparison_page


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A run's folder with untrained models of 8x8 digits."""
    run = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    for name, model in (
        ("vae", ConditionalVAE((1, 8, 8), 10, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16)),
        ("judge", LabelClassifier((1, 8, 8), 10, widths=(8, 8), feature_dim=8)),
    ):
        model.save_pretrained(run / name)
        write_classes(run / name, ["zero", *(str(digit) for digit in range(1, 10))])
    return run


@pytest.fixture
def scan(tmp_path):
    """Dark ink on bright paper, 60x40, in colour."""
    pixels = np.full((40, 60, 3), 230, dtype=np.uint8)
    pixels[10:30, 25:30] = 20
    Image.fromarray(pixels).save(tmp_path / "scan.png")
    return tmp_path / "scan.png"


def picture(path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


def refused(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in (*COMMANDS, "train mnist"))])
def test_help_needs_no_torch(words):
    code = (
        f"import sys\nfrom labelvae.__main__ import main\n"
        f"try: main({' '.join(words).split()!r})\nexcept SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'torchvision', 'torchmetrics', 'lightning', 'numpy', 'sklearn', 'pandas', 'wandb', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "usage: labelvae" in result.stdout


def test_the_module_is_a_program(capsys):
    result = subprocess.run([sys.executable, "-m", "labelvae"], capture_output=True, text=True, check=True)
    assert all(f"  {name} " in result.stdout for name in ("train", *COMMANDS))
    main(["--version"])
    assert capsys.readouterr().out.startswith("labelvae 0.")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("relable a.png", "error: command: expected one of train, evaluate, "),
        ("relable a.png", "got 'relable'; did you mean relabel?"),
        ("help", "got 'help'; did you mean --help?"),
        ("--model mnist relabel", "got '--model'; the command comes before its options"),
        ("train MNIST", "got 'MNIST'; did you mean mnist?"),
        ("train fashion-mnist", "did you mean fashion_mnist?"),
        ("train --out x digits", "got '--out'; the preset comes before its options"),
        ("relabel", "error: expected paths, --model, --to, got none; labelvae relabel --help lists the options"),
        ("relabel --modle mnist --to 8 a b", "error: --modle: is no option; did you mean --model?"),
        ("relabel --model mnist --to 8 --enlarge big a b", "enlarge: expected a whole number or null, got 'big'"),
        (
            "relabel --model mnist --to 8 --fit Crop a b",
            "expected one of auto, pad, crop, strokes, got 'Crop'; did you",
        ),
        ("sample --model mnist a b", "error: expected no other words than options, got 'b'; labelvae sample --help"),
    ],
)
def test_a_wrong_word_is_said_in_one_line(capsys, words, says):
    (line,) = refused(capsys, *words.split()).splitlines()
    assert says in line


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_does_not_stop_the_work(models, scan, unbuffered):
    words = ["relabel", "--model", models / "vae", "--to=all", "--fit=pad", scan, scan.with_name("many")]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        result = subprocess.run(
            [sys.executable, "-m", "labelvae", *map(str, words)],
            stdout=closed,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert (result.returncode, result.stderr) == (0, b"")
    assert len(list(scan.with_name("many").iterdir())) == 10


def test_a_warning_is_one_line_without_a_place_in_the_program(models, scan):
    shutil.copytree(models / "vae", scan.with_name("vae"))
    write_classes(scan.with_name("vae"), [str(10 * digit) for digit in range(10)])
    words = ["sample", "--model", scan.with_name("vae"), "--label=3", "--count=1", scan.with_name("out.png")]
    command = [sys.executable, "-m", "labelvae", *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr.startswith("warning: label: no class is called '3'")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full disk")
def test_printing_to_a_full_disk_is_one_line():
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "labelvae", "--help"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (result.returncode, result.stderr) == (2, b"error: no space left on device\n")


def test_a_current_folder_that_is_gone_is_said(tmp_path):
    (tmp_path / "gone").mkdir()
    code = (
        "import os, sys; os.rmdir(os.getcwd())\n"
        "from labelvae.__main__ import main; main(['sample', '--model', 'mnist', 'x.png'])"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path / "gone", capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "error: the current folder is deleted or cannot be read; cd to another one\n"


@pytest.mark.parametrize(
    "words",
    [
        "sample --model=mnist FILE/x",
        "sample --model=mnist FILE/x.png",
        "relabel --model=mnist --to=8 FILE FILE/x",
        "explain --model=mnist --classifier=mnist FILE FILE/x",
        "export --model=mnist FILE/x.onnx",
        "evaluate --model=mnist --judge=mnist --data=digits --out=FILE/x.json",
        "compare FILE --html=FILE/x.html",
        "train digits --out=FILE/x",
    ],
)
def test_where_nothing_can_be_written_is_said_before_any_work(capsys, scan, words):
    (line,) = refused(capsys, *words.replace("FILE", str(scan)).split()).splitlines()
    assert f"{scan} is no folder, so no results can be written to {scan}/x" in line


def test_a_folder_that_is_not_for_writing_is_said(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("os.access", lambda *_, **__: False)  # whoever is root may write anywhere
    line = refused(capsys, "sample", "--model=mnist", tmp_path / "x.png")
    assert line == f"error: out: nothing may be written to the folder {tmp_path}; give another place\n"


def test_a_folder_where_a_file_is_to_be_written_is_said(capsys, tmp_path):
    (tmp_path / "x.onnx").mkdir()
    line = refused(capsys, "export", "--model=mnist", tmp_path / "x.onnx")
    assert line == f"error: out: expected a file, got the folder {tmp_path / 'x.onnx'}\n"


def test_train_runs_the_preset(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("labelvae.runs.experiment.run_experiment", seen.append)
    main(["train", "digits", "--vae.latent-dim=5", f"--out={tmp_path}"])
    assert seen[0].vae.latent_dim == 5
    assert seen[0].guide == PRESETS["digits"].guide


def test_the_digits_begin_with_a_sheet_of_the_packaged_model(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("labelvae.runs.experiment.run_experiment", lambda settings: None)
    sheet = tmp_path / "first_look" / "mnist.png"
    for words in (["digits", "--resume"], ["digits", "--fast-dev-run"], ["mnist_brief"]):
        main(["train", *words, f"--out={tmp_path}"])
        assert not sheet.exists()
    main(["train", "digits", f"--out={tmp_path}"])
    assert str(sheet) in capsys.readouterr().out
    with Image.open(sheet) as picture:
        assert picture.width > 11 * 84  # five images, each with its ten digits
    sheet.unlink()
    (tmp_path / "settings.yaml").touch()  # a run is there, which will be left alone
    main(["train", "digits", f"--out={tmp_path}"])
    assert not sheet.exists()
    main(["train", "digits", "--overwrite", f"--out={tmp_path}"])
    assert sheet.is_file()


def test_relabel_one_picture(models, scan, capsys):
    out = scan.with_name("out.png")
    main(["relabel", "--model", str(models / "vae"), "--to", "zero", "--invert", "--enlarge=3", str(scan), str(out)])
    assert picture(out).shape == (24, 24)
    vae = ConditionalVAE.from_pretrained(models / "vae")
    from labelvae.photos.scans import read_scan

    expected = vae.relabel(read_scan(scan, (1, 8, 8), invert=True)[None], 0)[0, 0]
    found = torch.from_numpy(picture(out)[::3, ::3] / 255.0).float()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.5 / 255 + 1e-6)
    assert "1 image as zero" in capsys.readouterr().out


def test_relabel_folders_and_globs_as_every_label(models, tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(3):
        Image.new("L", (8, 8), 80 * index).save(tmp_path / "in" / f"{index}.png")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    common = ["relabel", "--model", str(models / "vae"), "--to", "all"]
    main([*common, str(tmp_path / "in"), str(tmp_path / "out")])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert len(names) == 30
    assert {"0_as_zero.png", "2_as_9.png"} <= names
    main([*common, str(tmp_path / "in" / "[01].png"), str(tmp_path / "sheet.png")])
    assert picture(tmp_path / "sheet.png").shape[1] > 11 * 90


def test_several_labels_are_separated_by_commas_and_all_is_written_in_any_case(models, tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "in" / "a.png")
    common = ["relabel", "--model", str(models / "vae"), str(tmp_path / "in")]
    main([*common, str(tmp_path / "some"), "--to", "Zero, 3,zero"])
    assert {path.name for path in (tmp_path / "some").iterdir()} == {"a_as_zero.png", "a_as_3.png"}
    main([*common, str(tmp_path / "every"), "--to=ALL"])
    assert len(list((tmp_path / "every").iterdir())) == 10
    main(["sample", "--model", str(models / "vae"), "--label=7,2", "--count=1", str(tmp_path / "drawn")])
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"7_0000.png", "2_0000.png"}


def test_a_class_is_called_by_its_name_also_with_a_comma(models, tmp_path):
    folder = shutil.copytree(models / "vae", tmp_path / "vae")
    write_classes(folder, ["3,4", "ALL", *"23456789"])
    for words in ("3,4", "all", "ALL"):
        main(["sample", "--model", str(folder), f"--label={words}", "--count=1", str(tmp_path / words)])
    count = {words: len(list((tmp_path / words).iterdir())) for words in ("3,4", "all", "ALL")}
    assert count == {"3,4": 1, "all": 10, "ALL": 1}


def test_a_packaged_model_is_suggested(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, "sample", "--model=mnst", "o.png").endswith("; did you mean mnist?\n")
    assert refused(capsys, "prior", "--model=MNITS").endswith("; did you mean mnist?\n")
    assert "did you mean" not in refused(capsys, "sample", "--model=another", "o.png")
    assert "did you mean" not in refused(capsys, "sample", "--model=mnist/judge", "o.png")


def test_images_of_one_name_are_not_written_over_each_other(models, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "digit.png")
    Image.new("L", (8, 8)).save(tmp_path / "a" / "digit.gif")
    words = ["relabel", "--model", models / "vae", "--to", "zero", tmp_path / "a", tmp_path / "b", tmp_path / "out"]
    main([str(word) for word in words])
    made = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")}
    assert made == {"a/digit.png_as_zero.png", "a/digit.gif_as_zero.png", "b/digit_as_zero.png"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--to=eleven", "SCAN", "o.png"], "to: expected one of zero, 1, 2"),
        (["--to=1 3", "SCAN", "o.png"], "got '1 3'; several are separated by commas, and all means each of them"),
        (["--to=1,x", "SCAN", "o.png"], "got 'x'; several are separated by commas"),
        (["--to=1", "SCAN"], "expected images and last the output"),
        (["--to=1", "SCAN", "MODEL/vae/config.json", "o"], "config.json (cannot identify image file"),
        (["--to=1", "nothing.png", "o.png"], "nothing.png: no images there"),
        (["--to=1", "*.gone", "o.png"], "*.gone: no images there"),
        (["--to=1", "SCAN", "COPY", "o.png"], "is one picture, but there are 2 images; give a folder"),
        (["--to=1", "--enlarge=0", "SCAN", "o.png"], "enlarge: expected an integer of at least 1, got 0"),
        (["--to=1", "--fit=strokes", "BLANK", "o.png"], "strokes: found no digit"),
        (["--to=1", "--fit=tight", "SCAN", "o.png"], "fit"),
        (["SCAN", "o.png"], "to"),
    ],
)
def test_relabel_refuses(models, scan, capsys, words, says, monkeypatch):
    monkeypatch.chdir(scan.parent)
    Image.fromarray(picture(scan)).save(scan.with_name("copy.png"))
    Image.new("L", (40, 40), 255).save(scan.with_name("blank.png"))
    places = {"SCAN": str(scan), "COPY": str(scan.with_name("copy.png")), "BLANK": str(scan.with_name("blank.png"))}
    words = [places.get(word, word).replace("MODEL", str(models)) for word in words]
    assert says in refused(capsys, "relabel", "--model", models / "vae", *words)
    assert not scan.with_name("o.png").exists()


def test_sample(models, tmp_path):
    main(["sample", "--model", str(models / "vae"), "--label=3", "--count=4", "--seed=5", str(tmp_path / "some")])
    files = sorted((tmp_path / "some").iterdir())
    assert [file.name for file in files] == [f"3_000{index}.png" for index in range(4)]
    vae = ConditionalVAE.from_pretrained(models / "vae")
    expected = vae.sample([3] * 4, torch.Generator().manual_seed(5))[2, 0]
    found = torch.from_numpy(picture(files[2]) / 255.0).float()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.5 / 255 + 1e-6)
    main(["sample", "--model", str(models / "vae"), "--count=2", str(tmp_path / "all.png")])
    assert picture(tmp_path / "all.png").shape[0] > 10 * 90


def test_many_samples_are_made_in_parts_and_are_the_same(models, tmp_path, capsys, monkeypatch):
    words = ["sample", "--model", str(models / "vae"), "--label=3", "--count=40", "--seed=5"]
    main([*words, str(tmp_path / "whole")])
    monkeypatch.setattr("labelvae.cli.picture_commands.SAMPLED_AT_ONCE", 16)
    main([*words, str(tmp_path / "parts")])
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "parts" / file.name).read_bytes()
    assert len(list((tmp_path / "parts").iterdir())) == 40
    assert "too wide" in refused(capsys, *words[:4], "--count=1000000", tmp_path / "wide.png")


def test_evaluate_takes_the_data_of_the_run(models, tmp_path, capsys, monkeypatch):
    models = shutil.copytree(models, tmp_path / "run")
    data = replace(PRESETS["digits"].data, test_share=0.05)
    settings = {"data": asdict(data), "data_dir": "data"}
    (models / "settings.yaml").write_text(yaml.safe_dump(settings))
    words = ["evaluate", "--model", models / "vae", "--judge", models / "judge"]
    assert "data: the model knows the classes zero, 1" in refused(capsys, *words)
    for name in ("vae", "judge"):
        write_classes(models / name, [str(digit) for digit in range(10)])
    main([str(word) for word in (*words, "--out", tmp_path / "scores.json")])
    row = json.loads((tmp_path / "scores.json").read_text())[0]
    assert row["images"] == 90
    assert 0 <= row["effectiveness"] <= 1
    judge = LabelClassifier.from_pretrained(models / "judge")
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(judge, (torch.rand(2, 1, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "judge.pt2")
    also = ["--judge", tmp_path / "judge.pt2", "--guide", tmp_path / "judge.pt2", "--out", tmp_path / "program.json"]
    capsys.readouterr()
    main([str(word) for word in (*words[:3], *also)])
    program_row = json.loads((tmp_path / "program.json").read_text())[0]
    for name in ("effectiveness", "judge_accuracy", "psnr"):
        assert program_row[name] == row[name]
    assert program_row["guide_judge_gap"] == 0
    shutil.copytree(models / "judge", models / "guide")  # whose weights are broken: the judge of the run is meant
    (models / "guide" / "model.safetensors").write_bytes(b"broken")
    main([str(word) for word in (*words[:3], "--judge", models, "--out", tmp_path / "of_run.json")])
    assert json.loads((tmp_path / "of_run.json").read_text()) == json.loads((tmp_path / "scores.json").read_text())
    assert "warning: judge at chance: the judge is right on" in capsys.readouterr().err
    main([str(word) for word in (*words, "--data", "digits", "--out", tmp_path / "named.json")])
    assert json.loads((tmp_path / "named.json").read_text())[0]["images"] == 90, "the images of the run, split anew"
    (models / "settings.yaml").write_text("data: {name: nothing}")
    for also in ([], ["--data", "digits"]):
        assert "is not the settings of a run" in refused(capsys, *words, *also)
    (models / "settings.yaml").rename(tmp_path / "settings.yaml")
    monkeypatch.chdir(tmp_path)  # a model by its name is not that folder's
    named = ["evaluate", "--model", "mnist", "--judge", "mnist"]
    assert "settings.yaml to say which" in refused(capsys, *named)
    main([str(word) for word in (*words, "--data", "digits", "--out", tmp_path / "named.json")])
    assert json.loads((tmp_path / "named.json").read_text())[0]["images"] == 359
    assert "name a data set with --data and --data-dir" in refused(capsys, *words)


def test_files_are_written_under_names_of_their_kind_only(models, tmp_path, capsys):
    for name in ("notes.txt", "json"):
        (tmp_path / name).write_text("mine")
        words = ["evaluate", "--model", models / "vae", "--judge", models / "judge", "--data=digits"]
        assert "out: expected a file ending in .json, got" in refused(capsys, *words, "--out", tmp_path / name)
        words = ["compare", tmp_path, "--html", tmp_path / name]
        assert "html: expected a file ending in .html, got" in refused(capsys, *words)
        assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("text", ["{}", "[1]", "no JSON", '[{"format": 1}]'])
def test_a_file_of_something_else_is_not_written_over(models, tmp_path, capsys, text):
    for name in ("config.json", "page.html"):
        (tmp_path / name).write_text(text)
    words = ["evaluate", "--model", models / "vae", "--judge", models / "judge", "--data=digits"]
    says = "is a file that this command did not make; give another name"
    assert f"out: {tmp_path / 'config.json'} {says}" in refused(capsys, *words, "--out", tmp_path / "config.json")
    words = ["compare", tmp_path, "--html", tmp_path / "page.html"]
    assert f"html: {tmp_path / 'page.html'} {says}" in refused(capsys, *words)
    assert (tmp_path / "config.json").read_text() == (tmp_path / "page.html").read_text() == text


def test_the_scores_of_a_run_are_not_written_over(models, tmp_path, capsys):
    scores = '[{"name": "labelvae"}, {"name": "class mean"}]'
    (tmp_path / "scores.json").write_text(scores)
    (tmp_path / "settings.yaml").touch()
    words = ["evaluate", "--model", models / "vae", "--judge", models / "judge", "--data=digits"]
    said = refused(capsys, *words, "--out", tmp_path / "scores.json")
    assert "scores.json has the scores of a run, also of its references; give another name" in said
    assert (tmp_path / "scores.json").read_text() == scores


def test_a_prior_is_not_fitted_where_it_cannot_be_saved(models, tmp_path, capsys, monkeypatch):
    folder = shutil.copytree(models / "vae", tmp_path / "vae")
    monkeypatch.setattr("labelvae.cli.surroundings.os.access", lambda *_: False)
    monkeypatch.setattr("labelvae.flows.fitting.fit_prior", None)
    said = refused(capsys, "prior", "--model", folder, "--data=digits")
    assert f"model: nothing may be written to the folder {folder}; give another place" in said


def test_compare(tmp_path, capsys):
    for name, value in (("a", 0.25), ("b<script>", 0.75)):
        (tmp_path / name).mkdir()
        row = {"name": "labelvae", "images": 3, "effectiveness": value, "leakage": None}
        (tmp_path / name / "scores.json").write_text(json.dumps([row, row | {"name": "reference"}]))
        how = {"out": name, "rounds": 2, "vae": {"objective": {"beta": 4 * value}}}
        (tmp_path / name / "settings.yaml").write_text(yaml.safe_dump(how))
    only = json.loads((tmp_path / "b<script>" / "scores.json").read_text())
    (tmp_path / "b<script>" / "scores.json").write_text(json.dumps([only[0] | {"style_ink": 0.5, "mine": None}]))
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a" / "samples.png")
    runs = [tmp_path / "a", tmp_path / "b<script>"]
    main(["compare", *map(str, runs), "--html", str(tmp_path / "page.html")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["effectiveness", "0.250", "0.750"]
    assert lines[3].split() == ["style_ink", "-", "0.500"]  # a score that the first run lacks
    assert lines[-2].split() == ["vae.objective.beta", "1.0", "3.0"]
    assert not any(line.startswith(("rounds", "out")) for line in lines)
    page = (tmp_path / "page.html").read_text()
    assert page == comparison_page([read_run(run) for run in runs])
    assert "0.250" in page
    assert "<script>" not in page
    assert "http" not in page
    assert page.count("data:image/png;base64,") == 1
    assert "scores.json: no such file" in refused(capsys, "compare", tmp_path / "nothing")
    (tmp_path / "a" / "scores.json").write_text("[")
    assert "is not JSON" in refused(capsys, "compare", tmp_path / "a")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["paint"], "command: expected one of train, evaluate"),
        (["train", "imagenet"], "preset: expected one of digits, mnist"),
        (["train", "digits", "--vae.latent-dim=0"], "latent_dim"),
        (["sample", "--model=nothing", "o.png"], "no such file; expected the folder of a ConditionalVAE"),
        (["sample", "o.png"], "model"),
        (
            ["sample", "--model=mnist", f"--seed={10**20}", "o.png"],
            "seed: expected an integer of at most 9,223",
        ),
    ],
)
def test_other_words_are_refused(words, says, capsys):
    assert says in refused(capsys, *words)


def test_names_of_classes(tmp_path):
    assert read_classes(tmp_path, 2) == ["0", "1"]
    write_classes(tmp_path, ["Katze", "Hündin"])
    assert label_of("Hündin", read_classes(tmp_path, 2)) == 1
    assert label_of("1", ["1", "0"]) == 0
    with pytest.raises(ValueError, match="expected a list of 3 names"):
        read_classes(tmp_path, 3)
    with pytest.raises(ValueError, match="label: expected one of a, b"):
        label_of("2", ["a", "b"])


def test_a_terminal_that_cannot_show_a_name_stops_nothing(tmp_path):
    """The name of the output is no ASCII, the terminal shows nothing else."""
    Image.new("L", (28, 28)).save(tmp_path / "in.png")
    words = ["relabel", "--model", "mnist", "--to", "8", str(tmp_path / "in.png"), str(tmp_path / "\u00fc.png")]
    how = {"env": os.environ | {"PYTHONIOENCODING": "ascii"}, "capture_output": True}
    done = subprocess.run([sys.executable, "-m", "labelvae", *words], check=False, **how)
    assert done.returncode == 0, done.stderr
    assert b"\\xfc.png" in done.stdout
    assert (tmp_path / "\u00fc.png").is_file()
