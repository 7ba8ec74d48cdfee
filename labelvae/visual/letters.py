"""The letters of pictures: a font for names in most scripts, and codes for what it cannot draw."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import ImageFont

from labelvae.inputs.class_names import printable

LONGEST_IN_CHARTS = 24
"""Most letters of a name in a chart, so that room for the chart is left."""


def caption_font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic, Arabic and more.

    Args:
        size: the height of the letters, in pixels.

    Raises:
        ValueError: a Pillow that cannot draw text.
    """
    try:
        return ImageFont.truetype(str(_font_file()), size)
    except ImportError as error:
        raise ValueError("pillow: this build has no FreeType, which draws the captions; pip install pillow") from error


def drawable(text: str) -> str:
    r"""Return a text in one line, with a code for each letter that the font does not have.

    >>> drawable("café"), drawable("кот"), drawable("猫")
    ('café', 'кот', '\\u732b')
    """
    there = _letters()
    codes = (letter if ord(letter) in there else letter.encode("unicode_escape").decode() for letter in printable(text))
    return "".join(codes)


def chart_text(text: str) -> str:
    r"""Return a name as matplotlib draws it as it is. What is between two `$` would be read as mathematics.

    A long name is cut in the middle, because the names of many data sets begin alike.

    >>> chart_text("$5 to $10"), chart_text("plantae_tracheophyta_rosa_canina")
    ('\\$5 to \\$10', 'plantae_trac…rosa_canina')
    """
    shown = drawable(text)
    if len(shown) > LONGEST_IN_CHARTS:
        shown = f"{shown[: LONGEST_IN_CHARTS // 2]}…{shown[1 - LONGEST_IN_CHARTS // 2 :]}"
    return shown.replace("$", r"\$")


@cache
def _font_file() -> Path:
    import matplotlib  # takes a moment, and only pictures with text need it

    return Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")


@cache
def _letters() -> frozenset[int]:
    """Return the code points that the font can draw."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_font_file())).get_charmap())
