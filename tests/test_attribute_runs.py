"""A folder with labels.csv from the command line: trained, relabelled, evaluated, exported, carded."""

import json
import math
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, f1_score

from labelvae import AttributeClassifier, Attributes, Binary, Category, ConditionalVAE, Continuous, ImageData
from labelvae.__main__ import main
from labelvae.attributes.words import labels_of_words, words_of_label
from labelvae.cli.loading import order_of
from labelvae.data.settings import DataSettings
from labelvae.evaluation.attribute_scores import attribute_scores, evaluate_attributes, label_scores
from labelvae.evaluation.references import UnchangedImages
from labelvae.evaluation.weaknesses import advice
from labelvae.models.card import model_card
from labelvae.runs.attribute_steps import attribute_steps
from labelvae.runs.presets import TABLE
from labelvae.runs.run_folder import claim_folder
from labelvae.visual import attribute_sheets
from labelvae.visual.attribute_sheets import attribute_sheet, shown_values

KINDS = Attributes({"kind": Category(["bar", "dot"]), "place": Continuous(1, 14, "pixels"), "lit": Binary()})


def made_folder(folder, count=90):
    """Bars and dots at a place; one place is not known."""
    folder.mkdir()
    lines = ["file,kind,place"]
    for index in range(count):
        place, kind = 1 + (index * 7 % 27) / 2, ("bar", "dot")[index % 2]
        pixels = np.zeros((16, 16), dtype=np.uint8)
        pixels[2 : 14 if kind == "bar" else 5, round(place) - 1 : round(place) + 1] = 255
        Image.fromarray(pixels).save(folder / f"{index}.png")
        lines.append(f"{index}.png,{kind},{'' if index == 5 else place}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run over such a folder, in its folder; the images are in `images` beside it."""
    home = tmp_path_factory.mktemp("table")
    small = ["--guide.widths=[8,8]", "--judge.widths=[8,8]", "--vae.encoder-widths=[8,8]", "--vae.hidden-dim=16"]
    small += [f"--{name}.optimization.batch-size=16" for name in ("guide", "judge", "vae")]
    small += ["--vae.decoder-widths=[8,8]", "--vae.latent-dim=4", "--fast-dev-run", f"--out={home / 'out'}"]
    main(["train", "table", f"--data-dir={made_folder(home / 'images')}", *small])
    return home / "out" / "fast-dev-run"


def refused(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert len(message.strip().splitlines()) == 1
    return message


def test_a_folder_with_a_table_trains_with_one_command(run):
    vae = ConditionalVAE.from_pretrained(run / "vae")
    assert dict(vae.attributes) == {"kind": Category(["bar", "dot"]), "place": Continuous(1, 14)}
    first, itself = json.loads((run / "scores.json").read_text())
    assert first["name"] == "labelvae"
    assert {"kind_accuracy", "kind_kept_f1", "place_mean_absolute_error", "place_real_correlation"} <= set(first)
    assert itself["psnr"] == 100
    with Image.open(run / "attributes.png") as picture:
        assert picture.width > 3 * 90


@pytest.mark.parametrize("fast", [True, False])
def test_a_run_whose_judge_guesses_says_so(tmp_path, fast):
    data = ImageData("table", made_folder(tmp_path / "images"))
    classifier = AttributeClassifier(data.image_shape, data.attributes, widths=(8,)).eval()
    said = SimpleNamespace(
        settings=SimpleNamespace(guide=None, judge=None, vae=None, find_learning_rate=False, fast_dev_run=fast),
        data=data,
        out=tmp_path,
        wrong={},
        classifier=lambda *_: classifier,
        vae=lambda *_, **__: ConditionalVAE(data.image_shape, attributes=data.attributes, latent_dim=4).eval(),
        finish=lambda scores: None,
    )
    attribute_steps(said)
    assert ("kind: judge at chance" in said.wrong) is not fast


def test_declared_columns_are_taken_and_the_rest_is_inferred(tmp_path):
    folder = made_folder(tmp_path / "images")
    angle = {"kind": "continuous", "low": 0, "high": 20, "periodic": True}
    data = ImageData("table", folder, attributes={"place": angle, "kind": None})
    assert dict(data.attributes) == {"place": Continuous(0, 20, periodic=True), "kind": Category(["bar", "dot"])}
    with pytest.raises(ValueError, match="columns: expected colour, got kind, place; colour is missing"):
        ImageData("table", folder, attributes={"colour": None})


def test_a_run_of_declared_columns_is_resumed_by_the_same_ones_only(tmp_path):
    folder = made_folder(tmp_path / "images")
    angle = {"kind": "continuous", "low": 0, "high": 20, "periodic": True}
    declared = {"place": angle, "kind": Category(["bar", "dot"])}
    data = ImageData("table", folder, attributes=declared)
    how = replace(TABLE, out=tmp_path / "out", data_dir=folder, data=DataSettings("table", attributes=declared))
    (tmp_path / "out").mkdir()
    claim_folder(tmp_path / "out", how, data, "here")
    assert "attributes: place, kind" in (tmp_path / "out" / "settings.yaml").read_text()
    claim_folder(tmp_path / "out", replace(how, resume=True), data, "here")
    other = DataSettings("table", attributes={**declared, "place": {**angle, "high": 30}})
    with pytest.raises(ValueError, match=r"data\.attributes\.place\.high is 30"):
        claim_folder(tmp_path / "out", replace(how, resume=True, data=other), data, "here")
    with pytest.raises(ValueError, match="attributes: are for a folder with labels.csv"):
        DataSettings("folder", attributes=declared)


def test_images_that_cannot_be_read_are_named_or_left_out(tmp_path):
    folder = made_folder(tmp_path / "images")
    (folder / "3.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"3\.png"):
        ImageData("table", folder)
    with pytest.warns(UserWarning, match="1 image cannot be read and is left out"):
        data = ImageData("table", folder, skip_unreadable=True)
    assert sum(len(split) for split in data.splits.values()) == 89


def test_relabel_reads_what_stays(run, tmp_path, capsys):
    for index, to in enumerate(("place=9", "kind=dot,place=9", "kind=1, place=9.0")):
        main(
            [
                "relabel",
                "--model",
                str(run),
                "--to",
                to,
                str(run.parents[1] / "images" / "0.png"),
                f"{tmp_path}/{index}.png",
            ]
        )
    vae, guide = ConditionalVAE.from_pretrained(run / "vae"), AttributeClassifier.from_pretrained(run / "guide")
    with Image.open(run.parents[1] / "images" / "0.png") as picture:
        image = torch.from_numpy(np.asarray(picture) / 255.0).float()[None, None]
    expected = [
        vae.relabel(image, {"place": 9}, own_labels=guide),
        *[vae.relabel(image, {"kind": "dot", "place": 9})] * 2,
    ]
    for index, wanted in enumerate(expected):
        with Image.open(tmp_path / f"{index}.png") as picture:
            found = torch.from_numpy(np.asarray(picture) / 255.0).float()
        torch.testing.assert_close(found, wanted[0, 0], rtol=0, atol=0.5 / 255 + 1e-6)
    assert "1 image as kind=1, place=9.0" in capsys.readouterr().out


def test_relabel_as_all_of_a_choice_and_with_own_words(run, tmp_path):
    images = str(run.parents[1] / "images")
    main(["relabel", "--model", str(run), "--to", "kind=all,place=3", images, str(tmp_path / "out")])
    assert len(list((tmp_path / "out").iterdir())) == 180
    assert (tmp_path / "out" / "7_as_kind=dot,place=3.png").is_file()
    ConditionalVAE.from_pretrained(run / "vae").save_pretrained(tmp_path / "alone" / "vae")  # no guide beside it
    words = ["relabel", "--model", str(tmp_path / "alone"), "--to", "place=3", "--own", "kind=dot", f"{images}/7.png"]
    main([*words, str(tmp_path / "one.png")])
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "out" / "7_as_kind=dot,place=3.png") as other:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_samples_of_a_label(run, tmp_path):
    main(["sample", "--model", str(run), "--label", "kind=all,place=3", "--count=4", str(tmp_path / "sheet.png")])
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height > 2 * 90


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("8", "to: expected NAME=VALUE, several separated by commas (kind: one of bar, dot"),
        ("colour=3", "to: expected attributes among kind, place, got 'colour'"),
        ("kind=cat", "to: kind: expected one of bar, dot (or an index from 0 to 1), got 'cat'"),
        ("place=99", "to: place: expected numbers from 1 to 14, got '99'"),
        ("place=nan", "to: place: expected numbers from 1 to 14, got 'nan'"),
        ("place=all", "to: place: expected numbers from 1 to 14, got 'all'"),
        ("place=3,place=4", "to: expected place once, got it twice"),
        ("place=", "to: place: expected numbers from 1 to 14, got ''"),
        ("", "to: expected NAME=VALUE"),
        ("place=3,", "to: place: expected numbers from 1 to 14, got '3,'"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(run, tmp_path, capsys, to, says):
    message = refused(
        capsys, "relabel", "--model", run, "--to", to, run.parents[1] / "images" / "0.png", tmp_path / "o.png"
    )
    assert says in message


def test_what_takes_classes_only_says_so(run, tmp_path, capsys):
    image = run.parents[1] / "images" / "0.png"
    ask = ["relabel", "--model", run, "--to", "place=3"]
    assert "refine: expected 0 for a model of attributes" in refused(
        capsys, *ask, "--refine=1", image, tmp_path / "o.png"
    )
    ConditionalVAE.from_pretrained(run / "vae").save_pretrained(tmp_path / "alone" / "vae")
    words = ["relabel", "--model", tmp_path / "alone", "--to", "place=3", image, tmp_path / "o.png"]
    assert "own: expected what the images are, to keep their kind" in refused(capsys, *words)
    assert "got none for kind" in refused(capsys, "sample", "--model", run, "--label", "place=3", tmp_path / "s")
    judged = ["evaluate", "--model", run / "vae", "--judge", run / "judge"]
    assert "rounds: is for models of one class" in refused(capsys, *judged, "--rounds=2")
    assert "data: expected table or celeba for a model of kind, place, got digits" in refused(
        capsys, *judged, "--data=digits"
    )
    assert "holds labels.csv and no class folders" in refused(
        capsys, "train", "folder", f"--data-dir={image.parent}", f"--out={tmp_path / 'no'}"
    )
    table = ["train", "table", f"--data-dir={image.parent}", f"--out={tmp_path / 'no'}"]
    for option, says in (
        ("--vae.objective.adversarial-weight=3", "adversarial_weight: expected 0 with several attributes"),
        ("--judge.label-smoothing=0.1", "label_smoothing: expected 0 for an AttributeClassifier"),
        ("--vae.refine=2", "vae.refine: expected 0"),
    ):
        assert says in refused(capsys, *table, option)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["file,kind", "0.png,bar", "1.png"], "labels.csv: row 3: expected 2 cells, got 1"),
        (["file,kind", "0.png,bar", "nothing.png,dot"], "there is no 'nothing.png'"),
        (["kind,place", "bar,3"], "expected the columns file"),
    ],
)
def test_a_bad_table_is_one_sentence(tmp_path, capsys, lines, says):
    folder = made_folder(tmp_path / "images")
    (folder / "labels.csv").write_text("\n".join(lines))
    assert says in refused(capsys, "train", "table", f"--data-dir={folder}", f"--out={tmp_path / 'out'}")


def test_evaluate_repeats_the_scores_of_the_run(run, tmp_path, capsys):
    words = ["evaluate", "--model", run / "vae", "--judge", run / "judge", f"--out={tmp_path / 'scores.json'}"]
    main([str(word) for word in words])
    assert "place_kept_mean_absolute_error" in capsys.readouterr().out
    ours, before = (json.loads(path.read_text())[0] for path in (tmp_path / "scores.json", run / "scores.json"))
    assert ours | {"name": "labelvae"} == pytest.approx(before)


def test_evaluate_says_that_the_images_are_no_longer_those_of_the_run(run, tmp_path):
    images, out = tmp_path / "images", tmp_path / "run"
    shutil.copytree(run.parents[1] / "images", images)
    shutil.copytree(run, out)
    settings = yaml.safe_load((out / "settings.yaml").read_text())
    head = [line for line in (out / "settings.yaml").read_text().splitlines() if line.startswith("#")]
    text = yaml.safe_dump(settings | {"data_dir": str(images)})
    (out / "settings.yaml").write_text("\n".join([*head, text]))
    words = ["evaluate", "--model", str(out / "vae"), "--judge", str(out / "judge")]
    main(words)  # the images are the same
    shutil.copy(images / "0.png", images / "new.png")
    with (images / "labels.csv").open("a") as file:
        file.write("new.png,dot,3\n")
    with pytest.warns(UserWarning, match=r"data: .*images has other files .* may include training images"):
        main(words)
    main([*words, f"--data-dir={images}"])  # asked for


def test_the_card_and_the_comparison_name_the_attributes(run, capsys):
    card = model_card(run, "someone/bars")
    assert "Attributes: kind: one of bar, dot (or an index from 0 to 1); place: numbers from 1 to 14." in card
    assert "vae.relabel(images, {'kind': 'dot'}, own_labels=own)" in card
    assert "| place_kept_mean_absolute_error |" in card
    assert "![Held-out images, and each of them with one attribute changed at a time](attributes.png)" in card
    main(["compare", str(run)])
    assert "kind_balanced_accuracy" in capsys.readouterr().out


def test_an_exported_program_relabels_rows(run, tmp_path):
    main(["export", "--model", str(run), str(tmp_path / "model.pt2")])
    again = torch.export.load(tmp_path / "model.pt2").module()
    vae = ConditionalVAE.from_pretrained(run / "vae")
    images, rows = torch.rand(5, 1, 16, 16), torch.tensor([[0, 1.0], [1, 14], [0, 3.5], [1, 7], [0, 9]])
    torch.testing.assert_close(again(images, rows), vae.relabel(images, rows))
    angle = ConditionalVAE((1, 8, 8), attributes={"angle": Continuous(0, 360, periodic=True), "lit": Binary()}).eval()
    from labelvae.models.export import exported

    images, rows = torch.rand(3, 1, 8, 8), torch.tensor([[0, 1.0], [370, 0], [180, 1]])
    torch.testing.assert_close(exported(angle).module()(images, rows), angle.relabel(images, rows))


# Words


def test_words_are_labels():
    assert labels_of_words("kind=dot,place=3.5", KINDS) == [{"kind": "dot", "place": 3.5}]
    assert labels_of_words(" lit = yes ", KINDS) == [{"lit": 1}]
    every = [{"kind": kind, "lit": lit} for kind in ("bar", "dot") for lit in (0, 1)]
    assert labels_of_words("kind=all,lit=*", KINDS) == every
    assert [words_of_label(label, KINDS) for label in every[:2]] == ["kind=bar,lit=no", "kind=bar,lit=yes"]
    assert labels_of_words("30", Attributes({"age": Continuous(0, 99)})) == [{"age": 30}]
    names = Attributes({"what": Category(["a, b", "all", "x"]), "n": Continuous(0, 1)})
    assert labels_of_words("what=a, b,n=1", names) == [{"what": "a, b", "n": 1}]
    assert labels_of_words("what=all", names) == [{"what": "all"}]  # a class of that name comes first


STARS = Attributes({"stars": Category(["1", "2", "3", "4", "5"]), "lit": Binary()})


def test_a_class_whose_name_is_a_number_is_meant_by_its_name(tmp_path):
    (label,) = labels_of_words("stars=3,lit=no", STARS)
    assert STARS.rows(label).tolist() == [[2, 0]]
    assert labels_of_words("stars=1", STARS) == [{"stars": "1"}]
    every = torch.cat([STARS.rows(label) for label in labels_of_words("stars=all,lit=yes", STARS)])
    assert every.tolist() == [[index, 1] for index in range(5)]
    vae = ConditionalVAE((1, 8, 8), attributes=STARS, latent_dim=4, encoder_label="onehot").eval()
    images, own = torch.rand(3, 1, 8, 8), torch.tensor([[0.0, 0]] * 3)
    order = order_of(str(tmp_path), vae, [], "stars=3,lit=yes", None, "stars=1,lit=no")
    assert order.names == ["stars=3,lit=yes"]
    expected = vae.relabel(images, torch.tensor([[2.0, 1]] * 3), own)
    torch.testing.assert_close(order.model.relabel(images, 0), expected)
    order = order_of(str(tmp_path), vae, [], "stars=all,lit=yes", None, name="label")
    seeds = [torch.Generator().manual_seed(0) for _ in range(2)]
    asked = torch.tensor([[index, 1.0] for index in range(5)])
    torch.testing.assert_close(order.model.sample(range(5), seeds[0]), vae.sample(asked, seeds[1]))


# Scores


def test_scores_are_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    truth = torch.stack(
        [
            torch.randint(2, (200,), generator=generator).float(),
            1 + 13 * torch.rand(200, generator=generator),
            torch.randint(2, (200,), generator=generator).float(),
        ],
        dim=1,
    )
    found = truth.clone()
    found[:60] = found[:60].flip(0)
    found[:, 1] = (found[:, 1] + 0.3).clamp(1, 14)
    truth[7] = math.nan
    kept = ~truth[:, 0].isnan()
    scores = label_scores(KINDS, found, truth)
    for place, name, average in ((0, "kind", "macro"), (2, "lit", "binary")):
        true, ours = truth[kept, place].int().numpy(), found[kept, place].int().numpy()
        assert scores[name]["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, ours))
        assert scores[name]["f1"] == pytest.approx(f1_score(true, ours, average=average))
        assert scores[name]["accuracy"] == pytest.approx((true == ours).mean())
    error = (found - truth)[kept, 1].numpy()
    assert scores["place"]["mean_error"] == pytest.approx(error.mean(), rel=1e-4)
    assert scores["place"]["mean_absolute_error"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    expected = np.corrcoef(found[kept, 1], truth[kept, 1])[0, 1]
    assert scores["place"]["correlation"] == pytest.approx(expected, rel=1e-4)
    nothing = label_scores(KINDS, found[:2], torch.full((2, 3), math.nan))
    assert all(math.isnan(value) for values in nothing.values() for value in values.values())
    constant = label_scores(KINDS, found[:4], torch.tensor([[1, 2.0, 0]] * 4))
    assert math.isnan(constant["place"]["correlation"])


def test_errors_go_the_shorter_way_round_an_angle():
    angle = Attributes({"angle": Continuous(0, 360, "degrees", periodic=True)})
    scores = label_scores(angle, torch.tensor([[1.0], [10]]), torch.tensor([[359.0], [16]]))["angle"]
    assert scores["mean_error"] == pytest.approx((2 - 6) / 2)
    assert scores["mean_absolute_error"] == pytest.approx(4)
    assert scores["correlation"] > 0.99


def test_angles_of_a_part_of_the_circle_correlate_as_numbers_do():
    angle = Attributes({"angle": Continuous(0, 360, "degrees", periodic=True)})
    generator = torch.Generator().manual_seed(0)
    true, other = 40 * torch.rand(2, 2000, 1, generator=generator)
    found = {
        name: label_scores(angle, ours, true)["angle"]["correlation"]
        for name, ours in (
            ("same", true),
            ("apart", other),
            ("against", 40 - true),
            ("constant", torch.full_like(true, 20.0)),
        )
    }
    assert found["same"] == pytest.approx(1.0)
    assert found["apart"] == pytest.approx(0.0, abs=0.06)
    assert found["against"] < -0.95
    assert math.isnan(found["constant"])


def test_the_image_itself_is_left_alone_and_follows_nothing():
    class Places:
        attributes = Attributes({"place": Continuous(0, 7), "lit": Binary()})

        def rows(self, images):
            return torch.stack(
                [images[:, 0].mean(dim=1).argmax(dim=1), images.amax(dim=(1, 2, 3)) > 0.5], dim=1
            ).float()

    images = torch.zeros(16, 1, 8, 8)
    images[torch.arange(16), 0, :, torch.arange(16) % 8] = torch.where(torch.arange(16) < 8, 1.0, 0.25)[:, None]
    rows = Places().rows(images)
    rows[3, 0] = math.nan
    found = evaluate_attributes(UnchangedImages(Places.attributes, (1, 8, 8)), Places(), images, rows)
    assert found.followed["place"]["kept_mean_absolute_error"] == 0
    assert found.followed["place"]["mean_absolute_error"] > 1
    assert found.followed["lit"]["kept_accuracy"] == found.judge["lit"]["accuracy"] == 1
    assert found.row()["psnr"] == 100
    assert found.recognized == {"lit": {"no": (8, 8), "yes": (8, 8)}}
    assert list(advice(found)) == ["place: seldom followed", "lit: seldom followed"]
    with pytest.raises(ValueError, match="labels: place: expected a value that is known, got none"):
        attribute_scores(UnchangedImages(Places.attributes, (1, 8, 8)), Places(), images, {"lit": rows[:, 1]})


def test_the_sheet_shows_each_attribute_from_end_to_end():
    torch.manual_seed(0)
    vae = ConditionalVAE((1, 8, 8), attributes=KINDS, latent_dim=4).eval()
    rows = torch.tensor([[0, 3.0, 1], [1, 5, 0], [0, 9, 1]])
    sheet = attribute_sheet(vae, torch.rand(3, 1, 8, 8), rows, count=2)
    assert sheet.height > 6 * 90
    assert shown_values(KINDS["kind"], rows[:, 0]).tolist() == shown_values(KINDS["lit"], rows[:, 2]).tolist() == [0, 1]
    values = shown_values(KINDS["place"], torch.arange(1.0, 15))
    assert (len(values), float(values[0]), float(values[-1])) == (8, pytest.approx(1.26), pytest.approx(13.74))
    around = shown_values(Continuous(0, 360, periodic=True), rows[:, 1])
    assert around.tolist() == [0, 45, 90, 135, 180, 225, 270, 315]
    with pytest.raises(ValueError, match="vae: expected a model of attributes"):
        attribute_sheet(ConditionalVAE((1, 8, 8), 3), torch.rand(3, 1, 8, 8), rows)


@pytest.mark.parametrize("names", [["1", "2", "3", "4", "5"], ["5", "10"], ["1", "0"], ["cat", "dog"]])
@pytest.mark.parametrize("others", [{}, {"lit": Binary()}])
def test_the_sheet_asks_for_each_class_whatever_its_name(names, others, monkeypatch):
    kinds = {"what": Category(names), **others}
    vae, images = ConditionalVAE((1, 8, 8), attributes=kinds, latent_dim=4).eval(), torch.rand(2, 1, 8, 8)
    rows, drawn = torch.tensor([[0.0, 1.0], [1, 0]])[:, : len(kinds)], []
    monkeypatch.setattr(attribute_sheets, "grid", lambda lines, captions: drawn.append((lines, captions)))
    attribute_sheet(vae, images, rows)
    lines, captions = drawn[0]
    assert captions[1] == ["what", *names]
    for index in range(len(names)):
        asked = rows.clone()
        asked[:, 0] = index
        expected = vae.relabel(images, asked, rows)
        torch.testing.assert_close(torch.stack([line[1 + index] for line in lines[:2]]), expected)
