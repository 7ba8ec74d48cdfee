"""Many pictures relabelled: the same results whatever the chunk, gone on with, nothing lost, all bits kept."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from labelvae import ConditionalVAE
from labelvae.cli import picture_commands, relabelling
from labelvae.cli.relabelling import Relabelling
from labelvae.inputs.class_names import write_classes
from labelvae.photos.picture_files import find_pictures, is_picture_name, result_path
from labelvae.photos.scans import read_scan

NAMES = ["a", "A", "("]


@pytest.fixture
def vae():
    return ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8,), hidden_dim=8).eval()


@pytest.fixture
def model(tmp_path, vae):
    vae.save_pretrained(tmp_path / "model")
    write_classes(tmp_path / "model", NAMES)
    return str(tmp_path / "model")


@pytest.fixture
def scans(tmp_path):
    for index in range(7):
        path = tmp_path / "scans" / ("sub" if index % 2 else "") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(levels).save(path)
    (tmp_path / "scans" / "._0.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "scans" / "notes.txt").write_text("no image")
    return tmp_path / "scans"


def files(folder):
    return {str(path.relative_to(folder)): np.asarray(Image.open(path)) for path in folder.rglob("*") if path.is_file()}


def test_the_chunk_changes_nothing(tmp_path, vae, scans):
    made = []
    for chunk in (1, 3, 64):
        work = Relabelling(vae, NAMES, [0, 1, 2], chunk=chunk)
        work.into_folder(find_pictures([str(scans)]), tmp_path / f"out{chunk}")
        assert work.written == 21
        made.append(files(tmp_path / f"out{chunk}"))
    assert set(made[0]) == set(made[1]) == set(made[2])
    assert {"0_as_a.png", "0_as_A-2.png", "0_as_(.png", "sub/1_as_a.png"} <= set(made[0])
    for name, levels in made[0].items():
        assert max(abs(levels.astype(int) - other[name]).max() for other in made[1:]) <= 1
    expected = vae.relabel(read_scan(scans / "sub" / "3.png", (1, 8, 8))[None], 2)[0, 0]
    assert np.array_equal(made[0]["sub/3_as_(.png"], (expected * 255).round().numpy().astype(np.uint8))


def test_a_stopped_relabelling_goes_on(tmp_path, vae, scans, monkeypatch, capsys, model):
    save, count = relabelling.save_picture, []

    def stopped(picture, path, flush):
        if len(count) == 4:
            raise KeyboardInterrupt
        count.append(path)
        save(picture, path, flush)

    monkeypatch.setattr(relabelling, "save_picture", stopped)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        picture_commands.relabel([str(scans), str(out)], model=model, to="a")
    assert "stopped; 4 results are under" in capsys.readouterr().err
    monkeypatch.setattr(relabelling, "save_picture", save)
    broken = count[0]
    broken.write_bytes(broken.read_bytes()[:40])
    kept = {path: path.stat().st_mtime_ns for path in count[1:]}
    picture_commands.relabel([str(scans), str(out)], model=model, to="a", resume=True)
    assert "4 images as a" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(files(out)) == 7


def test_pictures_that_cannot_be_read(tmp_path, scans, capsys, model):
    out = tmp_path / "out"
    (scans / "head.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"1 image cannot be read: .*head\.png"):
        picture_commands.relabel([str(scans), str(out)], model=model, to="a")
    assert not out.exists()
    (scans / "head.png").unlink()
    levels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(levels).save(scans / "cut.png")
    (scans / "cut.png").write_bytes((scans / "cut.png").read_bytes()[:900])
    with pytest.raises(ValueError, match=r"1 image cannot be read: .*cut\.png"):
        picture_commands.relabel([str(scans), str(out)], model=model, to="a")
    assert len(files(out)) == 7
    shutil.rmtree(out)
    with pytest.warns(UserWarning, match="1 image cannot be read and is left out"):
        picture_commands.relabel([str(scans), str(out)], model=model, to="a", skip_unreadable=True)
    assert "7 images as a" in (said := capsys.readouterr().out)
    assert "1 could not be read, 2 files are no images" in said


@pytest.mark.parametrize("top", [1023, 4095, 65535])
@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.filterwarnings("ignore:.*levels")
def test_sixteen_bits_in_sixteen_bits_out(tmp_path, vae, model, top, ending):
    levels = np.random.default_rng(0).integers(0, top + 1, (8, 8)).astype(np.uint16)
    levels[0, 0] = top
    Image.fromarray(levels).save(tmp_path / "in.png")
    picture_commands.relabel([str(tmp_path / "in.png"), str(tmp_path / f"out.{ending}")], model=model, to="(")
    expected = vae.relabel(torch.from_numpy(levels / np.float32(top)).float()[None, None], 2)[0, 0] * top
    with Image.open(tmp_path / f"out.{ending}") as made:
        assert made.mode == "I;16"
        assert abs(np.asarray(made).astype(int) - expected.round().int().numpy()).max() <= 1
    picture_commands.relabel([str(tmp_path / "in.png"), str(tmp_path / "out.jpg")], model=model, to="(")
    with Image.open(tmp_path / "out.jpg") as made:
        assert made.mode == "L"


@pytest.mark.parametrize("ending", ["gif", "webp", "JPG", "pdf", "jfif", "tiff", "bmp", "pgm"])
def test_one_picture_in_any_format(tmp_path, scans, model, ending):
    for _ in range(2):  # an earlier result may be made again
        picture_commands.relabel([str(scans / "0.png"), str(tmp_path / f"out.{ending}")], model=model, to="a")
    assert (tmp_path / f"out.{ending}").stat().st_size > 50


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("labels", ["a", "all"])
def test_a_picture_with_the_size_of_a_result_is_not_written_over(tmp_path, scans, model, ending, labels):
    """So it goes with `relabel two/*.png`, where the output is forgotten."""
    last = tmp_path / f"last.{ending}"
    picture_commands.relabel([str(scans / "0.png"), str(last)], model=model, to=labels)
    with Image.open(last) as made:
        Image.new("L", made.size, 9).save(last)
    before = last.read_bytes()
    with pytest.raises(ValueError, match="no earlier result; give another name"):
        picture_commands.relabel([str(scans / "0.png"), str(last)], model=model, to=labels)
    assert last.read_bytes() == before


def test_a_format_without_a_mark_knows_a_result_by_its_size(tmp_path, scans, model):
    out, sheet = tmp_path / "o.bmp", tmp_path / "sheet.bmp"
    Image.new("L", (24, 24)).save(out)
    picture_commands.relabel([str(scans / "0.png"), str(out)], model=model, to="a")
    picture_commands.relabel([str(scans / "0.png"), str(sheet)], model=model, to="all")
    with Image.open(sheet) as made:
        other = Image.new("L", (made.width, made.height + 1))
    picture_commands.relabel([str(scans / "0.png"), str(sheet)], model=model, to="all")
    other.save(sheet)
    with pytest.raises(ValueError, match="no earlier result"):
        picture_commands.relabel([str(scans / "0.png"), str(sheet)], model=model, to="all")


@pytest.mark.parametrize("command", ["relabel", "sample", "sample one"])
def test_a_file_that_is_no_earlier_result_is_not_written_over(tmp_path, scans, model, command):
    out = tmp_path / "out"
    make = {
        "relabel": lambda: picture_commands.relabel([str(scans), str(out)], model=model, to="a"),
        "sample": lambda: picture_commands.sample(str(out), model=model, label="a", count=3),
        "sample one": lambda: picture_commands.sample(str(out / "one.png"), model=model, count=3),
    }[command]
    for _ in range(2):  # an earlier result may be made again
        make()
    last = sorted(out.rglob("*.png"))[-1]
    Image.new("L", (8, 8), 9).save(last)
    before = {path: path.read_bytes() for path in out.rglob("*.png")}
    with pytest.raises(ValueError, match=f"{last.name} is a picture of 8x8, no earlier result"):
        make()
    assert {path: path.read_bytes() for path in out.rglob("*.png")} == before


def test_samples_need_a_place(model):
    with pytest.raises(ValueError, match="out: expected a picture or a folder, got an empty name"):
        picture_commands.sample("", model=model)


def test_the_mask_is_not_written_over(tmp_path, scans, model):
    mask = tmp_path / "mask.png"
    picture_commands.relabel([str(scans / "0.png"), str(mask)], model=model, to="a")  # so it carries the mark
    before = mask.read_bytes()
    with pytest.raises(ValueError, match=r"out: .*mask.png is the mask; give another place"):
        picture_commands.relabel([str(scans / "0.png"), str(mask)], model=model, to="a", mask=mask)
    assert mask.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["scans/0.png", "out.xyz"], "out.xyz ends in .xyz, which pictures do not"),
        (["scans", "scans"], "is what the images are read from"),
        (["scans/*.png", "scans/0.png"], "is one of the images"),
        (["scans/0.png", "other.png"], "other.png is a picture of 40x30, no earlier result"),
        (["scans/0.png", "notes.png"], "notes.png is a file that is no earlier result"),
        (["scans/0.png", "pages.tif"], "pages.tif is a file that is no earlier result"),
        (["scans", "scans/notes.txt"], "notes.txt is a file, expected a folder"),
        (["scans", ""], "got an empty name"),
        (["", "out/"], "got an empty name"),
        (["scans", "a_file"], "a_file is a file, expected a folder"),
        (["scans", "other.png/"], "other.png/ is a file, expected a folder"),
        (["scans/0.png", "scans/sub/1.png", "o.png"], "is one picture, but there are 2 images"),
    ],
)
def test_nothing_that_is_there_is_lost(tmp_path, scans, model, words, says, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (40, 30)).save("other.png")
    Image.new("L", (8, 8)).save("pages.tif", save_all=True, append_images=[Image.new("L", (8, 8))])
    for name in ("notes.png", "a_file"):
        (tmp_path / name).write_text("notes")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=says):
        picture_commands.relabel(words, model=model, to="a")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_no_picture_is_written_over_by_another_spelling_of_its_path(tmp_path, scans, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8), 9).save(scans / "0_as_a.png")
    os.symlink(scans, "link")
    whole = (scans / "0_as_a.png").read_bytes()
    for out in ("scans/", "link/", str(scans) + "/"):
        with pytest.raises(ValueError, match="would be written over"):
            picture_commands.relabel([str(scans / "*.png"), out], model=model, to="a")
    assert (scans / "0_as_a.png").read_bytes() == whole


@pytest.mark.parametrize("command", ["relabel", "sample"])
def test_a_result_too_large_to_be_read_is_refused(tmp_path, scans, model, command):
    out = tmp_path / "out"
    make = {
        "sample": lambda: picture_commands.sample(str(out), model=model, count=1, enlarge=10**6),
        "relabel": lambda: picture_commands.relabel([str(scans), str(out)], model=model, to="a", enlarge=10**6),
    }
    with pytest.raises(ValueError, match="enlarge: expected a picture of at most"):
        make[command]()
    assert not out.exists()


def test_a_pdf_may_be_made_again_but_no_other_is_lost(tmp_path, scans, model):
    out = tmp_path / "out.pdf"
    for _ in range(2):
        picture_commands.relabel([str(scans / "0.png"), str(out)], model=model, to="a")
    out.write_bytes(b"%PDF-1.7 a letter")
    with pytest.raises(ValueError, match="no earlier result"):
        picture_commands.relabel([str(scans / "0.png"), str(out)], model=model, to="a")


def test_a_result_may_be_made_again_and_lie_among_the_images(tmp_path, scans, model, monkeypatch):
    monkeypatch.chdir(scans)
    for enlarge in (1, 3):
        picture_commands.relabel(["0.png", "o.png"], model=model, to="a", enlarge=enlarge)
    os.remove("o.png")
    for _ in range(2):
        picture_commands.relabel([".", "out/"], model=model, to="a")
    assert len(files(scans / "out")) == 7


def test_names(tmp_path):
    assert is_picture_name("x.png")
    assert not is_picture_name("x.v2/")
    (tmp_path / "y.v2").mkdir()
    assert not is_picture_name(tmp_path / "y.v2")
    long = [result_path(tmp_path, "ü" * 120 + end, "_as_8.png") for end in "ab"]
    assert long[0] != long[1]
    assert all(len(os.fsencode(path.name)) < 240 for path in long)


def test_globs_are_looked_into_and_keep_their_folders(tmp_path, scans):
    found = find_pictures([f"{scans}/**/*"])
    assert sorted(found.result_names()) == ["0", "2", "4", "6", "sub/1", "sub/3", "sub/5"]
    assert found.others == 1


def test_globs_pass_over_what_systems_leave(tmp_path, scans):
    for folder in ("@eaDir/0.png", "sub/__MACOSX", ".cache"):
        (scans / folder).mkdir(parents=True)
        shutil.copy(scans / "0.png", scans / folder / "thumb.png")
    found = find_pictures([f"{scans}/**/*.png"])
    assert sorted(found.result_names()) == ["0", "2", "4", "6", "sub/1", "sub/3", "sub/5"]
    assert find_pictures([f"{scans}/@eaDir/*/*.png"]).result_names() == ["0.png/thumb"]
    found = find_pictures([f"{scans}/0.png", f"{scans}/.*.png"])
    assert (found.result_names(), found.others) == (["0"], 1)


def test_a_hidden_picture_is_taken_if_it_is_named(scans):
    shutil.copy(scans / "0.png", scans / ".cam.png")
    assert find_pictures([str(scans / ".cam.png")]).result_names() == [".cam"]
    assert len(find_pictures([str(scans)]).paths) == 7


def test_litter_among_named_files_is_counted_and_stops_nothing(scans):
    found = find_pictures([str(scans / "0.png"), str(scans / "._0.png")])
    assert (found.result_names(), found.others, found.example) == (["0"], 1, str(scans / "._0.png"))
    with pytest.raises(ValueError, match=r"\._0\.png: no images there"):
        find_pictures([str(scans / "._0.png")])
    with pytest.raises(ValueError, match=r"gone\.png: no images there"):
        find_pictures([str(scans / "0.png"), str(scans / "gone.png")])
