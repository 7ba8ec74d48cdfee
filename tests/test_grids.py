"""Letters of the sheets: other names look different, and those that no font here has are codes."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import ImageFont

from labelvae.visual.grids import (
    grid,
    one_of_each,
    reconstructions_grid,
    samples_grid,
    style_transfer_grid,
    to_picture,
    wrong_labels_grid,
)
from labelvae.visual.letters import drawable


def sheet(name):
    return grid([[torch.zeros(1, 28, 28)]], [[name]]).tobytes()


@pytest.mark.parametrize(
    "names",
    [["é", "ï", "ß"], ["кот", "кит"], ["γάτα", "γάλα"], ["قطة", "قلم"], ["猫", "犬"], ["😀", "🐈"], ["कि", "का"]],
)
def test_other_names_look_different(names):
    assert len({sheet(name) for name in names}) == len(names)


def test_a_letter_that_the_font_does_not_have_is_its_code():
    assert drawable("as 猫, Straße") == "as \\u732b, Straße"
    assert drawable("two\nlines, caf\udce9") == "two\\nlines, caf\\xe9"


@pytest.mark.parametrize("name", ["as automobile", "as Ankle boot", "as T-shirt/top"])
def test_captions_of_usual_names_are_whole(name):
    assert sheet(name) not in {sheet(name[:letters] + "…") for letters in range(len(name))}


def columns_without_ink(picture):
    """Return which columns under the images of a sheet have no ink."""
    return (np.asarray(picture)[90:].min(axis=(0, 2)) > 250).tolist()


@pytest.mark.parametrize("own", ["benign tumour", "malignant tumour"])
def test_captions_do_not_run_into_each_other(own):
    images, asked = torch.ones(1, 1, 28, 28), "malignant tumour" if own.startswith("benign") else "benign tumour"
    picture = wrong_labels_grid(images, images, torch.tensor([0]), torch.tensor([1]), [own, asked])
    border = 8 + 84  # the right edge of the left image
    assert all(columns_without_ink(picture)[border - 1 : border + 1])


def test_a_caption_of_usual_length_is_whole_beside_another():
    images, names = torch.ones(1, 1, 28, 28), ["Ankle boot", "T-shirt/top"]
    picture = wrong_labels_grid(images, images, torch.tensor([0]), torch.tensor([1]), names)
    drawn = []
    for name in ("as T-shirt/top", "as T-shirt/t…"):
        drawn.append(grid([[images[0], images[0]]], [["Ankle boot", name]], group=2).tobytes())
    assert picture.tobytes() == drawn[0] != drawn[1]


def test_a_pillow_without_freetype_is_named(monkeypatch):
    def missing(*_):
        raise ImportError("The _imagingft C module is not installed")

    monkeypatch.setattr(ImageFont, "truetype", missing)
    with pytest.raises(ValueError, match="pillow: this build has no FreeType"):
        sheet("cat")


def test_pictures_without_text_need_no_matplotlib():
    code = "import sys; from labelvae.visual import grids; grids.to_picture; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_very_long_name_is_cut_and_soon(monkeypatch):
    counted = []
    length = ImageFont.FreeTypeFont.getlength
    monkeypatch.setattr(
        ImageFont.FreeTypeFont, "getlength", lambda font, text: counted.append(text) or length(font, text)
    )
    assert sheet("m" * 3000) == sheet("m" * 300) != sheet("m" * 4)
    assert len(counted) < 60


def test_the_title_of_a_row_leaves_room_for_the_images():
    image = torch.zeros(1, 28, 28)
    assert grid([[image]], row_titles=["m" * 3000]).width < 6 * grid([[image]]).width
    assert grid([[image]], row_titles=["Ankle boot"]).size != grid([[image]], row_titles=["Ankle"]).size


def test_an_image_is_drawn_in_any_plain_form():
    image = torch.rand(3, 8, 9, generator=torch.Generator().manual_seed(0))
    levels = (image * 255).round().byte()
    drawn = np.asarray(to_picture(image))
    for form in (levels, levels.numpy(), levels.permute(1, 2, 0).numpy(), image.numpy(), image.double()):
        np.testing.assert_array_equal(np.asarray(to_picture(form)), drawn)
    np.testing.assert_array_equal(np.asarray(to_picture(levels[0])), np.asarray(to_picture(image[:1])))
    assert np.asarray(to_picture(image > 0.5)).max() == 255
    for wrong in (image[None], image.int(), torch.zeros(1, 0, 8), "image.png"):
        with pytest.raises(ValueError, match=r"^image: expected "):
            to_picture(wrong)


def test_pairs_are_drawn_from_arrays_and_names():
    images = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    own, asked, names = torch.arange(7) % 2, 1 - torch.arange(7) % 2, ["cat", "dog"]
    wanted = wrong_labels_grid(images, images, own, asked, names).tobytes()
    words = [names[label] for label in asked]
    assert wrong_labels_grid(images.numpy(), list(images), own.numpy(), words, names).tobytes() == wanted
    assert wrong_labels_grid(images, images, torch.eye(2)[own], asked.byte(), tuple(names)).tobytes() == wanted


IMAGES, PAIR = torch.rand(3, 1, 8, 8), ["a", "b"]


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: grid([]), "rows: expected images of one size, got none"),
        (lambda: grid([[torch.zeros(1, 28, 28), torch.zeros(1, 32, 32)]]), "got 84x84, 96x96; resize them"),
        (lambda: grid([IMAGES], captions=[]), "captions: expected one for each of 1 rows, got 0"),
        (lambda: grid([IMAGES], row_titles=np.array(PAIR)), "row_titles: expected one for each of 1 rows, got 2"),
        (lambda: grid([IMAGES], column_titles=[1, 2, 3, 4]), "column_titles: expected at most 3, one for each column"),
        (lambda: grid([IMAGES], group=0), "group: expected an integer of at least 1"),
        (lambda: wrong_labels_grid(IMAGES, IMAGES, [0, -1, 0], 1, PAIR), "own: expected class indices from 0 to 1"),
        (lambda: wrong_labels_grid(IMAGES, IMAGES[:2], 0, 1, PAIR), "counterfactuals: expected 3 of them, one for"),
        (lambda: wrong_labels_grid(IMAGES, IMAGES, 0, [[0.5, 0.5]] * 3, PAIR), "asked: expected one class for each"),
        (
            lambda: wrong_labels_grid(IMAGES[:0], IMAGES[:0], 0, 1, PAIR),
            "images: expected at least one image, got none",
        ),
        (lambda: reconstructions_grid(IMAGES[0], IMAGES[0]), r"images: .*images\[None\] for one image"),
        (lambda: reconstructions_grid(IMAGES, IMAGES[:1]), "reconstructions: expected 3 of them"),
        (lambda: samples_grid(IMAGES, PAIR), r"samples: expected images \(N, K, C, H, W\)"),
        (lambda: samples_grid(IMAGES[None], PAIR), "class_names: expected 1, one for each class, got 2"),
        (lambda: style_transfer_grid(IMAGES, IMAGES[:, None], PAIR), "class_names: expected 1, one for each class"),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, says):
    with pytest.raises(ValueError, match=says):
        draw()


def test_one_of_each_takes_lists_and_arrays():
    for labels in ([1, 1, 0, 0], np.array([1, 1, 0, 0]), torch.tensor([1, 1, 0, 0], dtype=torch.uint8)):
        assert one_of_each(labels, 3).tolist() == [2, 0, 3]
    assert one_of_each([], 3).dtype == torch.int64
