"""Letters of the sheets: other names look different, and those that no font here has are codes."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import ImageFont

from labelvae.visual.grids import grid, wrong_labels_grid
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
