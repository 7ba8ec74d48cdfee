"""Letters of the sheets: other names look different, and those that no font here has are codes."""

import subprocess
import sys

import pytest
import torch
from PIL import ImageFont

from labelvae.visual.grids import grid
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


def test_a_pillow_without_freetype_is_named(monkeypatch):
    def missing(*_):
        raise ImportError("The _imagingft C module is not installed")

    monkeypatch.setattr(ImageFont, "truetype", missing)
    with pytest.raises(ValueError, match="pillow: this build has no FreeType"):
        sheet("cat")


def test_pictures_without_text_need_no_matplotlib():
    code = "import sys; from labelvae.visual import grids; grids.to_picture; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
