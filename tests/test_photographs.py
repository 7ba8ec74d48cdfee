"""A photograph goes in, a photograph comes out: through the command, and through `relabel_photo`."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from scipy import ndimage

from labelvae import ConditionalVAE, LabelClassifier, relabel_photo
from labelvae.__main__ import main
from labelvae.photos.fits import draws_strokes, usual_fit
from labelvae.photos.photographs import read_photo
from labelvae.photos.picture_files import refuse_other_picture, save_picture
from labelvae.photos.reading import UnreadError, read_digits
from labelvae.photos.scans import fit_scan, frame_box

HEIGHT, WIDTH = 240, 320
PAPER, INK = (0.92, 0.9, 0.84), (0.1, 0.1, 0.3)
BOARD, CHALK = (0.12, 0.25, 0.18), (0.9, 0.9, 0.85)


@pytest.fixture(scope="module")
def vae():
    return ConditionalVAE.from_pretrained("mnist")


@pytest.fixture(scope="module")
def guide():
    return LabelClassifier.from_pretrained("mnist")


@pytest.fixture(scope="module")
def digits(guide):
    """One digit of each class, `(10, 28, 28)`, that the guide is sure of, with a pen that leaves an 8 its loops."""
    varied = ConditionalVAE.from_pretrained("mnist")
    varied.prior = None  # more sizes and pens
    made = varied.sample(torch.arange(10).repeat(8), torch.Generator().manual_seed(3))
    belief = guide(made).detach().softmax(1) - made.mean(dim=(1, 2, 3))[:, None]
    best = [max(range(label, 80, 10), key=lambda index: float(belief[index, label])) for label in range(10)]
    return made[best, 0].numpy()


def drawn(*placed, paper=PAPER, ink=INK):
    """A photograph of digits, each with left, top and side."""
    sheet = np.zeros((HEIGHT, WIDTH))
    for digit, left, top, side in placed:
        large = ndimage.zoom(digit, side / len(digit), order=3).clip(0, 1)
        sheet[top : top + side, left : left + side] = ndimage.gaussian_filter((large > 0.45).astype(float), 0.7)
    surface = np.asarray(paper) * (1 - sheet[..., None]) + np.asarray(ink) * sheet[..., None]
    surface = surface + np.random.default_rng(0).normal(0, 0.01, surface.shape)
    return Image.fromarray((surface.clip(0, 1) * 255).astype(np.uint8))


@pytest.fixture(scope="module")
def four(digits):
    return drawn((digits[4], 150, 60, 130))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Relabels with the packaged model in a folder of its own, and returns what was said."""
    monkeypatch.chdir(tmp_path)

    def relabel(*words, to="8", model="mnist", fails=False):
        if not fails:
            main(["relabel", "--model", str(model), "--to", to, *words])
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as stop:
            main(["relabel", "--model", str(model), "--to", to, *words])
        assert stop.value.code == 2
        return capsys.readouterr().err

    return relabel


def opened(path):
    with Image.open(path) as file:
        file.load()
        return file


def labels_in(picture, guide, vae):
    return [one.label for one in read_digits(picture, guide, vae).readings]


def changed(before, after):
    """Where two pictures of one size differ, as left, top, right and bottom."""
    differ = (np.asarray(before).astype(int) != np.asarray(after).astype(int)).any(axis=-1)
    rows, columns = np.flatnonzero(differ.any(1)), np.flatnonzero(differ.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def test_a_photograph_comes_back_with_another_digit(run, four, guide, vae):
    four.save("four.png")
    said = run("four.png", "eight.png")
    assert said.startswith("labelvae: reading four.png ...\n")
    assert "four.png: dark on bright: inverted; 1 digit found: 4 (" in said
    eight = opened("eight.png")
    assert (eight.size, eight.mode) == (four.size, "RGB")
    assert labels_in(eight, guide, vae) == [8]
    left, top, right, bottom = changed(four, eight)
    assert left > 100
    assert top > 20
    assert right < 310
    assert bottom < 230
    darkest = [np.quantile(np.asarray(each).reshape(-1, 3), 0.01, axis=0) for each in (four, eight)]
    assert abs(darkest[0] - darkest[1]).max() < 25, "the same ink"
    run("--invert", "--fit", "strokes", "four.png", "again.png")
    assert np.array_equal(np.asarray(opened("again.png")), np.asarray(eight)), "the longer command says the same"


def test_bright_on_dark_and_grey(run, digits, guide, vae):
    board = drawn((digits[3], 60, 50, 140), paper=BOARD, ink=CHALK).convert("L")
    board.save("board.png")
    assert "board.png: bright on dark; 1 digit found: 3 (" in run("board.png", "out.png", to="5")
    out = opened("out.png")
    assert (out.size, out.mode) == (board.size, "L")
    assert labels_in(out, guide, vae) == [5]
    assert "found no digit" in run("--invert", "board.png", "forced.png", fails=True)


def test_several_digits_are_each_relabelled_but_for_the_doubted(run, digits, guide, vae, monkeypatch):
    picture = drawn((digits[4], 10, 70, 90), (digits[7], 115, 70, 90), (digits[2], 220, 70, 90))
    picture.save("three.png")
    said = run("three.png", "out.png")
    assert "3 digits found: 4 (" in said
    assert labels_in(opened("out.png"), guide, vae) == [8, 8, 8]
    run("--no-paste", "three.png", "strip.png")
    assert opened("strip.png").size == (3 * 280, 280)
    photo = read_photo(picture, vae, guide)
    rows = photo.cells(vae.relabel(photo.images, 8)[None], (90, 80))
    assert [[cell.size for cell in row] for row in rows] == [[(90, 80)] * 2] * 3
    assert labels_in(rows[1][1], guide, vae) == [8]

    def doubtful(picture, guide, vae, bright=None):
        reading = read_digits(picture, guide, vae, bright)
        reading.readings[1].__dict__["confidence"] = 0.2
        return reading

    monkeypatch.setattr("labelvae.photos.photographs.read_digits", doubtful)
    assert "7 (0.20, doubted: left as it is)" in run("three.png", "out.png")
    before, after = (np.asarray(each).astype(int)[:, 120:200] for each in (picture, opened("out.png")))
    assert labels_in(opened("out.png"), guide, vae) == [8, 7, 8]
    assert (before != after).any(axis=2).mean() < 0.1


def test_the_models_image_on_request(run, four, guide, vae):
    four.save("four.png")
    run("--no-paste", "four.png", "large.png")
    run("--enlarge", "2", "four.png", "small.png")
    large, small = opened("large.png"), opened("small.png")
    assert (large.size, small.size) == ((280, 280), (56, 56))
    assert np.array_equal(np.asarray(large)[::10, ::10], np.asarray(small)[::2, ::2])
    image = fit_scan(large.resize((28, 28), Image.Resampling.NEAREST), vae.image_shape)
    assert guide(image[None]).argmax().item() == 8


def test_a_very_large_photograph_is_read_smaller_and_that_is_said(run, four, monkeypatch):
    monkeypatch.setattr("labelvae.data.pixels.LARGE", 320 * 240)
    monkeypatch.setattr("labelvae.data.pixels.ENOUGH", 200)
    four.resize((640, 480)).save("four.jpg")
    assert "1 digit found: 4" in (said := run("four.jpg", "eight.jpg"))
    assert "; read and written at 1/2 of its size" in said
    assert opened("eight.jpg").size == (320, 240)


def test_bright_ink_on_nothing_is_read(run, digits):
    """A drawing program's layer: white strokes, and no paper."""
    share = drawn((digits[4], 100, 50, 140)).convert("L").point(lambda level: 255 * (level < 128))
    layer = Image.new("RGBA", share.size, (255, 255, 255, 0))
    layer.putalpha(share)
    layer.save("layer.png")
    assert "1 digit found: 4" in run("layer.png", "out.png")
    assert np.asarray(opened("out.png"))[0, 0].tolist() == [0, 0, 0]


def test_grey_photographs_keep_their_bits(run, four):
    levels = np.asarray(four.convert("L")).astype(np.uint16) * 16
    Image.fromarray(levels).save("four.png")
    with pytest.warns(UserWarning, match="levels 0 to 4095"):
        run("four.png", "eight.png")
    eight = opened("eight.png")
    assert (eight.mode, eight.size) == ("I;16", (280, 280))
    assert len(np.unique(np.asarray(eight))) > 50
    assert 2**11 < np.asarray(eight).max() < 2**12, "in the range of the input"


def test_sixteen_bits_close_together_use_the_whole_range(run, digits):
    levels = 30000 + (digits[4] * 500).astype(np.uint16)
    Image.fromarray(levels).save("four.png")
    with pytest.warns(UserWarning, match="levels 30000 to 30[45]"):
        run("four.png", "eight.png")
    eight = np.asarray(opened("eight.png"))
    assert eight.min() < 2000
    assert eight.max() > 50000


def test_an_image_of_the_models_size_is_taken_as_it_is(run, digits, vae):
    levels = (digits[4] * 255).round().astype(np.uint8)
    Image.fromarray(levels).save("digit.png")
    Image.fromarray(255 - levels).save("dark.png")
    said = run("digit.png", "dark.png", "out/")
    assert "dark.png: dark on bright: inverted" in said
    assert "digit.png:" not in said
    expected = vae.relabel(torch.from_numpy(levels / np.float32(255))[None, None], 8)[0, 0].numpy() * 255
    bright, dark = (np.asarray(opened(f"out/{name}_as_8.png")).astype(float) for name in ("digit", "dark"))
    assert bright.shape == (28, 28)
    assert abs(bright - expected).max() <= 0.51
    assert abs(255 - dark - expected).max() <= 0.51


@pytest.mark.parametrize("orientation", [3, 6])
def test_what_exif_says_is_upright_is_upright_in_the_result(run, four, guide, vae, orientation):
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    four.transpose(back).save("four.png", exif=exif)
    run("four.png", "eight.png")
    eight = opened("eight.png")
    assert eight.size == four.size
    assert eight.getexif().get(0x0112) is None
    assert labels_in(eight, guide, vae) == [8]
    assert changed(four, eight)[0] > 100


def test_a_photograph_on_its_side_comes_back_on_its_side(four, guide, vae, monkeypatch):
    upright = relabel_photo(vae, guide, four, 8)

    def turned(picture, guide, vae, bright=None):
        return replace(read_digits(picture.transpose(Image.Transpose.ROTATE_90), guide, vae, bright), turn=90)

    monkeypatch.setattr("labelvae.photos.photographs.read_digits", turned)
    on_its_side = four.transpose(Image.Transpose.ROTATE_270)
    assert "on its side: read turned by 90 degrees" in read_photo(on_its_side, vae, guide).said("0123456789")
    assert relabel_photo(vae, guide, on_its_side, 8) == upright.transpose(Image.Transpose.ROTATE_270)


def face():
    down, across = np.mgrid[:112, :112] - 55.5
    lines = [abs(np.hypot(down, across) - 48) < 2.5, (abs(down - 25) < 2) & (abs(across) < 18)]
    lines += [abs(np.hypot(down + 18, across + side) - 7) < 2 for side in (-18, 18)]
    return drawn((np.any(lines, axis=0).astype(float), 100, 50, 140))


@pytest.mark.parametrize(("debug", "files"), [([], set()), (["--debug"], {"out_seen.png"})])
@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (drawn, "bad.png: strokes: found no digit"),
        (face, "bad.png: strokes: found"),
    ],
    ids=["blank", "a face"],
)
def test_what_is_no_digit_is_refused_and_can_be_seen(run, draw, says, debug, files):
    draw().save("bad.png")
    said = run(*debug, "bad.png", "out.png", fails=True)
    assert says in said
    assert len([line for line in said.splitlines() if line.startswith("error:")]) == 1
    assert {path.name for path in Path().iterdir()} == {"bad.png"} | files
    for name in files:
        assert min(opened(name).size) > 100


def test_what_the_model_sees_is_written_beside_the_result(run, four):
    four.save("four.png")
    run("--debug", "four.png", "eight.png")
    seen = opened("eight_seen.png")
    assert seen.height > 300
    assert np.asarray(seen)[240:].min() == 0, "the digit in its frame, below the photograph"
    run("four.png", "sheet.png", to="all")
    assert opened("sheet.png").height > 2 * 168
    Image.new("L", (9, 9)).save("mine_seen.png")
    assert "mine_seen.png is a picture of 9x9, no earlier result" in run("--debug", "four.png", "mine.png", fails=True)
    assert not Path("mine.png").exists()


def test_a_folder_of_photographs(run, four, digits):
    Path("in").mkdir()
    four.save("in/four.png")
    drawn().save("in/blank.png")
    drawn((digits[2], 100, 60, 120)).save("in/two.png")
    with pytest.warns(UserWarning, match=r"1 image cannot be read and is left out, such as in/blank\.png"):
        said = run("--skip-unreadable", "--debug", "in", "out")
    assert "2 images as 8: out, 1 could not be read" in said
    names = {path.name for path in Path("out").iterdir()}
    assert names == {"four_as_8.png", "two_as_8.png", "four_seen.png", "two_seen.png", "blank_seen.png"}
    assert opened("out/two_as_8.png").size == four.size
    kept = Path("out/two_as_8.png").stat().st_mtime_ns
    with pytest.warns(UserWarning, match="1 image cannot be read"):
        assert "0 images as 8: out, 2 were there" in run("--skip-unreadable", "--resume", "in", "out")
    assert Path("out/two_as_8.png").stat().st_mtime_ns == kept


def test_a_photograph_that_is_no_result_is_not_written_over(run, four):
    """Photographs of one camera have one size: the last of `*.png` is not taken for an earlier result."""
    four.save("a.png")
    four.save("b.png")
    before = Path("b.png").read_bytes()
    assert "b.png is a picture of 320x240, no earlier result" in run("a.png", "b.png", fails=True)
    assert Path("b.png").read_bytes() == before
    for _ in range(2):
        run("a.png", "c.png")


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
def test_results_are_marked(tmp_path, ending):
    save_picture(Image.new("RGB", (30, 20)), tmp_path / f"x.{ending}")
    refuse_other_picture(tmp_path / f"x.{ending}", lambda *_: False)
    Image.new("RGB", (30, 20)).save(tmp_path / f"x.{ending}")
    with pytest.raises(ValueError, match="no earlier result"):
        refuse_other_picture(tmp_path / f"x.{ending}", lambda *_: False)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif", "avif"])
def test_results_keep_their_colour_profile(tmp_path, ending):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Image.new("RGB", (30, 20))
    picture.info["icc_profile"] = profile
    save_picture(picture, tmp_path / f"x.{ending}")
    assert opened(tmp_path / f"x.{ending}").info.get("icc_profile") == profile


@pytest.mark.parametrize("ending", ["bmp", "ppm", "gif"])
def test_colours_are_srgb_where_a_format_holds_no_profile(tmp_path, ending):
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = [profile[at : at + 12] for at in range(132, 132 + 12 * profile[131], 12)]
    red, green = (next(entry for entry in entries if entry[:4] == name) for name in (b"rXYZ", b"gXYZ"))
    for entry, other in ((red, b"gXYZ"), (green, b"rXYZ")):  # what is called red is green
        at = profile.index(entry, 128)
        profile[at : at + 4] = other
    picture = Image.new("RGB", (30, 20), (250, 10, 10))
    picture.info["icc_profile"] = bytes(profile)
    save_picture(picture, tmp_path / f"x.{ending}")
    assert np.abs(np.asarray(opened(tmp_path / f"x.{ending}").convert("RGB")) - (10.0, 250.0, 10.0)).max() < 6
    assert picture.getpixel((0, 0)) == (250, 10, 10)
    picture.info["icc_profile"] = b"broken"
    save_picture(picture, tmp_path / f"x.{ending}")
    assert opened(tmp_path / f"x.{ending}").convert("RGB").getpixel((0, 0)) == (250, 10, 10)


def test_a_grey_result_has_no_profile_of_colours(vae, four):
    small = four.resize((28, 28))
    small.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = read_photo(small, vae)
    result = photo.paste(photo.images)
    assert result.mode == "L"
    assert "icc_profile" not in result.info


@pytest.fixture
def colours(tmp_path):
    vae = ConditionalVAE((3, 16, 16), 3, latent_dim=4, encoder_widths=(8,), hidden_dim=8)
    vae.save_pretrained(tmp_path / "model")
    return vae.eval()


def test_a_model_of_colours_changes_the_middle(run, colours, tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    picture = Image.fromarray(levels)
    picture.save("photo.png")
    said = run("--debug", "photo.png", "out.png", to="1", model=tmp_path / "model")
    assert "photo.png: its middle of 60x60 pixels\n" in said
    out = opened("out.png")
    assert out.size == (100, 60)
    assert changed(picture, out)[0] in (20, 21)
    assert changed(picture, out)[2] in (79, 80)
    image = colours.relabel(fit_scan(picture, (3, 16, 16), fit="crop")[None], 1)[0]
    middle = torch.from_numpy(np.asarray(out)[25:35, 45:55] / 255.0).mean((0, 1))
    assert (middle - image[:, 6:10, 6:10].mean((1, 2))).abs().max() < 0.1
    assert min(opened("out_seen.png").size) > 50
    run("--no-paste", "photo.png", "small.png", to="1", model=tmp_path / "model")
    assert opened("small.png").size == (288, 288)
    run("photo.png", "sheet.png", to="all", model=tmp_path / "model")
    assert opened("sheet.png").width > 4 * 160


def test_the_python_door(four, guide, vae, colours):
    eight = relabel_photo(vae, guide, four, 8)
    assert eight.size == four.size
    assert labels_in(eight, guide, vae) == [8]
    assert labels_in(relabel_photo(vae, None, np.asarray(four), 8), guide, vae) == [8], "without a guide"
    assert relabel_photo(colours, None, Image.new("RGB", (40, 30), "red"), 2).size == (40, 30)
    with pytest.raises(UnreadError, match="found no digit") as refused:
        relabel_photo(vae, guide, drawn(), 8)
    assert refused.value.reading is None
    with pytest.raises(ValueError, match="picture: expected a picture, got 'four.png'"):
        relabel_photo(vae, guide, "four.png", 8)
    with pytest.raises(ValueError, match="fit: expected one of"):
        read_photo(four, vae, guide, fit="tight")


def test_strokes_are_found_for_any_grey_model(run, four, tmp_path):
    ConditionalVAE((1, 28, 28), 10, latent_dim=4, encoder_widths=(8,)).save_pretrained(tmp_path / "grey")
    four.save("four.png")
    said = run("--fit", "strokes", "four.png", "out.png", model=tmp_path / "grey")
    assert "dark on bright: inverted; 1 digit found, not read: there is no guide beside the model" in said
    assert opened("out.png").size == four.size


def test_a_model_of_strokes_is_known_by_its_images(vae, colours):
    assert draws_strokes(vae)
    assert not draws_strokes(ConditionalVAE((1, 28, 28), 10).eval())
    assert not draws_strokes(colours)
    assert not draws_strokes(ConditionalVAE((1, 28, 28), 10, encoder_label="onehot", decoder_label="none"))
    assert [usual_fit(vae, size) for size in ((28, 28), (28, 29))] == ["pad", "strokes"]
    assert [usual_fit(colours, size) for size in ((16, 16), (28, 28))] == ["pad", "crop"]


def test_the_frames_part_of_a_picture():
    assert frame_box((100, 60), (3, 16, 16), "crop") == (20, 0, 80, 60)
    assert frame_box((100, 60), (3, 16, 16), "pad") == (0, -20, 100, 80)
    assert frame_box((50, 90), (1, 10, 20), "crop") == (0, 32, 50, 57)


def test_the_first_word_comes_before_torch(tmp_path):
    code = (
        "import sys, builtins\nshown = []\n"
        "def show(*words, **how): shown.append((words[0], 'torch' in sys.modules))\n"
        "builtins.print = show\nfrom labelvae.__main__ import main\n"
        f"main('relabel --model mnist --to 8'.split() + {[str(tmp_path / name) for name in ('in.png', 'o.png')]!r})\n"
        "assert shown[0][0].startswith('labelvae: reading') and not shown[0][1], shown\n"
        "assert not {'lightning', 'torchmetrics', 'torchvision', 'wandb', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
    )
    Image.new("L", (28, 28)).save(tmp_path / "in.png")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
