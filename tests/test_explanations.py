"""Explanations of classifiers whose answers are known by hand, and the command as a user has it."""

import json
import math
import re
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from labelvae import ConditionalVAE, LabelClassifier
from labelvae.__main__ import main
from labelvae.evaluation import counterfactual_transition, explain, explanation_sheet
from labelvae.inputs.class_names import write_classes


class OnePixel(nn.Module):
    """Says 1 where a pixel is brighter than a level, else 0; without a gradient."""

    def __init__(self, row=3, column=4, level=0.25):
        super().__init__()
        self.place, self.level = (row, column), level

    def forward(self, images):
        bright = (images[:, 0, self.place[0], self.place[1]] > self.level).float()
        return 100.0 * torch.stack([1.0 - bright, bright, torch.full_like(bright, -1.0)], dim=1)


class Broken(nn.Module):
    """Has no answer for a dark image."""

    def forward(self, images):
        brightness = images.flatten(1).sum(dim=1, keepdim=True)
        return torch.tensor([[0.0, 1.0, 2.0]]) * brightness / brightness


class Nothing(nn.Module):
    """Sees nothing."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))  # a model lies where its weights do

    def forward(self, images):
        return images.new_zeros(len(images), 2 * 2)


class Dot(nn.Module):
    """Draws the weight of class 1 at row 3, column 4: bright where the weight is above one half."""

    def forward(self, z, label):
        logits = z.new_full((len(z), 1, 8, 8), -20.0)
        logits[:, 0, 3, 4] = 40.0 * label[:, 1] - 20.0
        return logits


@pytest.fixture
def dots():
    return ConditionalVAE((1, 8, 8), 3, latent_dim=2, encoder=Nothing(), decoder=Dot())


def wrapped(module):
    return LabelClassifier.wrap(module, (1, 8, 8), 3)


def test_a_classifier_that_looks_at_one_pixel_is_explained_as_by_hand(dots):
    found = explain(dots, torch.zeros(2, 1, 8, 8), OnePixel(), judge=OnePixel(0, 0))
    assert found.said.tolist() == [0, 0]
    assert found.asked.tolist() == [1, 1], "the second choice"
    expected = {
        "flip_rate": 1.0,
        "validity": 1.0,
        "oracle_score": 0.0,
        "l1": 1 / 64,
        "l2": 1.0,
        "sparsity": 63 / 64,
        "cout": 63 / 64,
        "first_flip": 0.48,  # sigmoid(40 t - 20) > 0.25 from t = 0.4725
        "kept": 1.0,
    }
    assert found.means() == pytest.approx(expected, abs=1e-6)
    assert found.row(1) == pytest.approx(expected, abs=1e-6)
    brightness = 1 / (1 + math.exp(20 - 40 * 0.48))
    assert found.flipped[:, 0, 3, 4].tolist() == pytest.approx([brightness] * 2, abs=1e-4)
    assert found.flipped_to.tolist() == [1, 1]


def test_a_classifier_that_never_changes_its_mind(dots):
    found = explain(dots, torch.zeros(1, 1, 8, 8), OnePixel(0, 0), 1)
    assert found.row(0)["first_flip"] is None
    assert math.isnan(found.means()["first_flip"])
    assert [found.means()[name] for name in ("flip_rate", "validity", "kept")] == [0.0, 0.0, 1.0]
    assert found.means()["cout"] == pytest.approx(-1.0)
    torch.testing.assert_close(found.flipped, found.counterfactuals)
    assert "oracle_score" not in found.means()


def test_a_reconstruction_that_flips_the_classifier_is_told_apart(dots):
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 0, 0] = 1.0  # which the decoder does not draw
    with pytest.warns(UserWarning, match="kept: the classifier says the same of 0% of 1 reconstructions"):
        found = explain(dots, image, OnePixel(0, 0), 2)
    assert found.means()["kept"] == 0.0
    assert found.means()["first_flip"] == 0.0
    assert [found.means()[name] for name in ("flip_rate", "validity")] == [1.0, 0.0]


@pytest.mark.parametrize(("kept", "said"), [(3, True), (4, False)])
def test_reconstructions_that_flip_the_classifier_are_said_below_four_of_five(dots, kept, said):
    images = torch.zeros(5, 1, 8, 8)
    images[kept:, 0, 0, 0] = 1.0  # which the decoder does not draw
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert explain(dots, images, OnePixel(0, 0), 2).means()["kept"] == pytest.approx(kept / 5)
    assert [str(each.message).partition(":")[0] for each in caught] == ["kept"] * said


def test_sparsity_counts_pixels_above_the_threshold_once_for_all_channels():
    class Two(nn.Module):
        def forward(self, z, label):
            chance = torch.full((len(z), 3, 8, 8), 1e-6)
            chance[:, :, 0, 0] = (0.9 * label[:, 1:2]).clamp(1e-6)
            chance[:, 1, 5, 5] = (0.3 * label[:, 1]).clamp(1e-6)
            return chance.logit()

    class Zeros(nn.Module):
        def forward(self, images):
            return torch.stack([1.0 - images[:, 0, 0, 0], images[:, 0, 0, 0]], dim=1) * 5.0

    vae = ConditionalVAE((3, 8, 8), 2, latent_dim=2, encoder=Nothing(), decoder=Two())
    for threshold, changed in ((0.2, 2), (0.5, 1), (0.95, 0)):
        found = explain(vae, torch.zeros(1, 3, 8, 8), Zeros(), threshold=threshold)
        assert found.means()["sparsity"] == pytest.approx(1 - changed / 64)
    assert found.means()["l1"] == pytest.approx((3 * 0.9 + 0.3) / 192, abs=1e-5)
    assert found.means()["l2"] == pytest.approx(math.sqrt(3 * 0.81 + 0.09), abs=1e-5)


@pytest.mark.parametrize(("steps", "expected"), [(64, 61 / 64), (50, 60 / 64), (1000, 61 / 64), (4, 0.75), (1, 0.0)])
def test_cout_by_hand(steps, expected):
    """The pixel that the classifier looks at changes second most: -1 until it is in, then 1, by trapezoids."""
    image = torch.zeros(1, 1, 8, 8)
    changed = image.clone()
    changed[0, 0, 3, 4], changed[0, 0, 6, 6] = 0.5, 0.8
    labels = torch.tensor([0]), torch.tensor([1])
    found = counterfactual_transition(wrapped(OnePixel()), image, changed, *labels, steps=steps)
    assert found.tolist() == pytest.approx([expected])


def test_cout_is_minus_one_for_the_image_itself_and_turns_its_sign_with_the_labels():
    torch.manual_seed(0)
    images, others = torch.rand(2, 5, 1, 8, 8)
    judge = wrapped(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    said, asked = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 2, 0, 2, 0])
    forth = counterfactual_transition(judge, images, others, said, asked)
    torch.testing.assert_close(forth, -counterfactual_transition(judge, images, others, asked, said))
    assert bool((forth.abs() <= 1).all())
    dark = torch.zeros(1, 1, 8, 8)
    same = counterfactual_transition(wrapped(OnePixel()), dark, dark, torch.tensor([0]), torch.tensor([1]))
    assert same.tolist() == pytest.approx([-1.0])


def test_the_most_telling_are_the_highest_cout_of_each_label_in_turn(dots):
    found = explain(dots, torch.zeros(5, 1, 8, 8), OnePixel())
    found.said.copy_(torch.tensor([0, 0, 2, 2, 0]))
    found.measures["cout"] = torch.tensor([0.1, 0.9, 0.2, 0.3, 0.5])
    assert found.telling(9) == [1, 3, 4, 2, 0]
    assert found.telling(2) == [1, 3]
    sheet = explanation_sheet(found, [1, 3], ["zero", "one", "two"])
    assert sheet.width > 5 * 96
    assert sheet.height > 2 * 96


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"labels": 0}, "labels: the classifier says what is asked of 2 of 2 images already"),
        ({"labels": [[0.5, 0.5, 0.0]] * 2}, "labels: expected one of 3 classes for each image, got a blend"),
        ({"labels": 3}, "labels: expected class indices from 0 to 2, got 3"),
        ({"steps": 1}, "steps: expected an integer of at least 2, got 1"),
        ({"threshold": 1.0}, "threshold: expected a finite number of at least 0 and below 1, got 1.0"),
        ({"classifier": LabelClassifier((1, 8, 8), 4)}, "classifier: knows 4 classes of images (1, 8, 8), the model 3"),
        ({"classifier": nn.Sequential(OnePixel(), nn.Softmax(1))}, "classifier: expected logits of shape (B, 3)"),
        ({"classifier": "mnist"}, "classifier: expected"),
        ({"classifier": Broken()}, "classifier: expected logits, got NaN for 2 of 2 images"),
        ({"judge": nn.Flatten()}, "judge: expected logits of shape (B, 3), got (2, 64)"),
        ({"images": torch.zeros(2, 1, 9, 9)}, "images: expected shape (B, 1, 8, 8)"),
        ({"vae": OnePixel()}, "vae: expected ConditionalVAE, got OnePixel"),
    ],
)
def test_explain_refuses(dots, how, says):
    given = {"vae": dots, "images": torch.zeros(2, 1, 8, 8), "classifier": OnePixel(), "labels": None} | how
    with pytest.raises(ValueError, match=re.escape(says)):
        explain(**given)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with untrained models of scikit-learn's digits, a program, and pictures."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    for name, model in (
        ("vae", ConditionalVAE((1, 8, 8), 10, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16)),
        ("guide", LabelClassifier((1, 8, 8), 10, widths=(8,), feature_dim=8)),
        ("judge", LabelClassifier((1, 8, 8), 10, widths=(8, 8), feature_dim=8)),
    ):
        model.save_pretrained(folder / name)
        write_classes(folder / name, [str(digit) for digit in range(10)])
    network, image = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval(), torch.rand(2, 1, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        batch = {0: torch.export.Dim("batch", min=1)}
        program = torch.export.export(network, (image,), dynamic_shapes=(batch,))
        torch.export.save(program, folder / "yours.pt2")
        torch.export.save(torch.export.export(network, (image[:1],)), folder / "one.pt2")
    (folder / "in").mkdir()
    for index in range(3):
        pixels = torch.rand(8, 8).mul(255).byte().numpy()
        Image.fromarray(pixels).save(folder / "in" / f"{index}.png")
    return folder


def words_of(run, *more):
    return ["explain", "--model", str(run / "vae"), "--classifier", str(run / "guide"), *map(str, more)]


def refused(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert message.count("\n") == 1
    return message


@pytest.mark.filterwarnings("ignore:kept. the classifier says the same")  # the model is not trained
def test_the_command_explains_the_test_images_of_a_data_set(run, tmp_path, capsys):
    main(words_of(run, "--data", "digits", "--count", 30, "--judge", run / "judge", tmp_path / "out"))
    said = capsys.readouterr().out
    assert "test images: 30 of 359" in said
    assert "oracle_score" in said
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert len(scores["images"]) == 30
    first = scores["images"][0]
    assert first["said"] != first["asked"]
    rows = [row["l1"] for row in scores["images"]]
    assert scores["mean"]["l1"] == pytest.approx(sum(rows) / 30)
    with Image.open(tmp_path / "out" / "explanations.png") as sheet:
        assert sheet.height > 10 * 96
    main(words_of(run, "--data", "digits", "--count", 3, tmp_path / "out"))  # over its own results
    assert len(json.loads((tmp_path / "out" / "scores.json").read_text())["images"]) == 3


@pytest.mark.filterwarnings("ignore:kept. the classifier says the same")  # the model is not trained
def test_the_command_explains_pictures_by_a_program_of_torch_export(run, tmp_path, capsys):
    words = ["explain", f"--model={run / 'vae'}", f"--classifier={run / 'yours.pt2'}", str(run / "in")]
    main([*words, str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert f"{run / 'in' / '2.png'}: " in said
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    network = torch.export.load(run / "yours.pt2").module()
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(run / "in" / f"{index}.png"))) for index in range(3)])
    choices = network(pixels[:, None] / 255.0).topk(2).indices.tolist()
    assert [[int(row["said"]), int(row["asked"])] for row in scores["images"]] == choices
    asked = choices[0][0]
    left = [row for row in choices if row[0] != asked]
    if left:
        main([words[0], f"--to={asked}", *words[1:], str(tmp_path / "to")])
        rows = json.loads((tmp_path / "to" / "scores.json").read_text())["images"]
        assert [int(row["said"]) for row in rows] == [row[0] for row in left]
        assert {row["asked"] for row in rows} == {str(asked)}


def test_the_command_refuses(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scores.json").write_text("[]")
    (tmp_path / "bad.pt2").write_bytes(b"PK nothing")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    one = run / "in" / "0.png"
    for words, says in [
        (["out"], "settings.yaml to say which; name a data set with --data"),
        (["--data=digits", one, "out"], "data: expected pictures or a data set, got both"),
        ([one, "sheet.png"], "out: expected a folder for scores.json and explanations.png, got sheet.png"),
        ([run / "in", run / "in"], "is what the pictures are read from"),
        ([one, "run"], "is a file that is no earlier explanation"),
        (["empty", "out"], "empty: no images there"),
        (["text.png", "out"], "1 image cannot be read: text.png"),
        (["--skip-unreadable", "text.png", "out"], "1 image cannot be read: text.png"),
        ([one, ""], "paths: expected pictures and last the folder"),
        (["--to=eleven", one, "out"], "label: expected one of 0, 1"),
        (["--count=0", one, "out"], "count: expected an integer of at least 1, got 0"),
        (["--threshold=2", one, "out"], "threshold: expected a finite number"),
        (["--judge=nothing", one, "out"], "expected the folder of a LabelClassifier"),
        (
            ["--classifier=mnist", one, "out"],
            "classifier: knows 10 classes of images (1, 28, 28), the model 10",
        ),
        (["--classifier=bad.pt2", one, "out"], "classifier: bad.pt2: not a file that torch.export.save wrote"),
        (["--classifier=gone.pt2", one, "out"], "classifier: gone.pt2: no such file"),
        ([f"--classifier={run / 'one.pt2'}", one, "out"], "for any B from 1, to logits (B, 10)"),
    ]:
        assert says in refused(capsys, *words_of(run), *words), words
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "run" / "scores.json").read_text() == "[]"
