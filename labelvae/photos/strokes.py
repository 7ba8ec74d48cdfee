"""Find the written digits in a photograph: dark on bright or bright on dark, on any paper, in any light.

1. The photograph is reduced. Its paper is what remains when all that is thinner than a stroke can be is filled in
   (a morphological closing, or opening for bright strokes). Shadows with a straight edge, lamps and tables are
   larger than that, and stay paper. What differs from the paper, and also from the local median of it, is ink.
2. Printed lines are taken out (`labelvae.photos.paper_lines`).
3. Ink that is connected is a piece. Pieces at the border, solid ones and specks are no digits; pieces that lie
   close together are one digit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from labelvae.data.pixels import eight_bits, plain
from labelvae.photos.found import Found, PassedOver, Writing, cut_out, in_reading_order, like_strokes
from labelvae.photos.glare import spots_beside, with_spot_inked
from labelvae.photos.letters import letters_among
from labelvae.photos.marks import marks_among
from labelvae.photos.morphology import closed, opened
from labelvae.photos.paper_lines import without_lines
from labelvae.photos.pieces import (
    MOST_DIGITS,
    at_border,
    beyond_paper,
    bounds,
    drawn_inside,
    grouped,
    pieces_of,
)
from labelvae.photos.things import is_label, rods_among, things_in

WORKING_SIDE = 800
"""Longest side of the copy that digits are looked for in."""

SMALLEST_SIDE = 250
"""A smaller picture is enlarged to this longest side."""

WIDEST_STROKE = 0.28
"""Widest stroke that is found, as a share of the shorter side of the picture."""

INKY = 0.25
"""What differs by more from its surroundings is not counted as paper where a thick digit fills them."""

FAINTEST = 0.07
"""Least contrast between ink and paper."""

HIGHEST_FLOOR = 0.7
"""What is brighter by more is ink, even where most of the picture differs from its edge: a dark plot on a page."""

FAINTEST_DIGIT = 0.15
"""Least contrast of a digit's strokes as a whole; creases of the paper are fainter."""

FAINTEST_BRIGHT = 0.15
"""Least contrast between bright strokes and their board; light on paper is often uneven by less."""

MOST_UNEVEN = 0.1
"""Ink that varies more along its strokes is no pen's: fur, leaves, a face."""

LEAST_SHARE = 0.5
"""Share of all ink in the picture that is in its digits; less is a scene or a text."""

LEAST_SHARE_OF_BARS = 0.7
"""The same where all digits are bars, as a 1 is: scenes are full of bars."""

FULLEST = 0.75
"""Share of its box that a digit's ink covers at most, unless it is a bar; more is the face of a plate."""

FAINT = 0.3
"""Ink this much fainter than the digits, as a share of their contrast, is none: the creases of paper."""

MOST_GROUPS = 6 * MOST_DIGITS
"""More pieces of writing than this are text or a pattern, whatever bright spots lie on it."""

BAR = 0.3
"""Shorter side of a bar over its longer one, at most."""

NEAR_EDGE = 3
"""What comes as close to the picture's edge, in pixels, and was taken for no piece of a digit, may be cut."""

TIGHT = 0.06
"""A digit that comes closer to all four sides, as a share of the longer one, fills its picture: it gets a border."""

BORDER = 0.25
"""Width of that border, as a share of the longer side."""

LEAST_PAPER = 0.6
"""Share of the picture's edge that is paper at least where such a digit touches it."""


def find_digits(picture: Image.Image, bright: bool | None = None) -> list[Found]:
    """Find the written digits in a photograph, in reading order.

    Args:
        picture: a photograph, scan or drawing of any size and mode.
        bright: whether the strokes are brighter than the paper; None finds out.

    Returns:
        The digits found, row by row and from left to right; at least one.

    Raises:
        ValueError: no strokes were found, or too many to be digits.
    """
    return find_writing(picture, bright).digits


def find_writing(picture: Image.Image, bright: bool | None = None) -> Writing:
    """Find the written digits in a photograph, smaller strokes that may be parts of them, and what is passed over.

    Args:
        picture: a photograph, scan or drawing of any size and mode.
        bright: whether the strokes are brighter than the paper; None finds out.

    Returns:
        The digits, at least one, and what else was seen.

    Raises:
        ValueError: no strokes were found, or too many to be digits.
    """
    picture = eight_bits(plain(picture, "RGB"))
    best = Writing([], [])
    colour = _paper_about(picture)
    if colour is not None:
        border = round(BORDER * max(picture.size))
        best = _writing(ImageOps.expand(picture, border, colour), bright)
        digits, parts = ([_moved(one, -border) for one in each] for each in (best.digits, best.parts))
        best = Writing(digits, parts, best.passed_over)
    if not best.digits:
        best = _writing(picture, bright)
    if not best.digits:
        raise ValueError(
            "strokes: found no digit; expected dark strokes on bright paper or bright strokes on a dark board, "
            "inside the picture; write larger or darker, or crop the photograph to the digit"
        )
    if len(best.digits) > MOST_DIGITS:
        raise ValueError(
            f"strokes: found {len(best.digits)} pieces of writing, expected 1 to {MOST_DIGITS} digits; crop the "
            "photograph to the digits"
        )
    return best


def _paper_about(picture: Image.Image) -> tuple[int, ...] | None:
    """Return the colour of the paper about a digit that fills its RGB picture to the edge; None where there is none."""
    small = picture.reduce(max(1, max(picture.size) // SMALLEST_SIDE))
    levels = np.asarray(small, dtype=np.float32) / 255.0
    edge = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
    paper = np.median(edge, axis=0)
    if (abs(edge - paper).max(axis=1) < 0.5 * INKY).mean() < LEAST_PAPER:
        return None
    labels, count = ndimage.label(abs(levels - paper).max(axis=2) > INKY, np.ones((3, 3)))
    if not count:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    box = ndimage.find_objects(labels)[int(sizes.argmax())]
    gaps = [gap for side, length in zip(box, labels.shape, strict=True) for gap in (side.start, length - side.stop)]
    alone = sizes.max() > 0.9 * sizes.sum()
    is_tight = alone and max(gaps) <= TIGHT * max(labels.shape)
    return tuple(round(255.0 * float(level)) for level in paper) if is_tight else None


def _moved(found: Found, by: int) -> Found:
    """Return a digit whose place is the same, in a picture with a border or without it."""
    left, top, right, bottom = (edge + by for edge in found.box)
    return replace(found, box=(left, top, right, bottom))


def _writing(picture: Image.Image, bright: bool | None) -> Writing:
    """Return what is written in an RGB picture, with the ink for which most speaks."""
    longest = max(picture.size)
    factor = min(1.0, WORKING_SIDE / longest) if longest > SMALLEST_SIDE else SMALLEST_SIDE / longest
    size = (max(8, round(picture.width * factor)), max(8, round(picture.height * factor)))
    small = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0) if size != picture.size else picture
    levels = ndimage.gaussian_filter(np.asarray(small, dtype=np.float32) / 255.0, (0.7, 0.7, 0))
    best = Writing([], [])
    for kind, ink in zip((False, True), ink_maps(levels), strict=True):
        found = _digits(levels, ink, kind, picture.width / size[0]) if bright in (None, kind) else best
        if _weight(found.digits) > _weight(best.digits):
            best = found
    return best


def ink_maps(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure how far each pixel is from the paper around it.

    Args:
        levels: `(H, W, 3)` in [0, 1].

    Returns:
        Two maps `(H, W)` in [0, 1]: of ink darker than the paper, and of ink brighter than the paper.
    """
    height, width = levels.shape[:2]
    reach = 2 * max(2, round(0.5 * WIDEST_STROKE * min(height, width))) + 1
    dark, bright = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    for level in np.ascontiguousarray(np.moveaxis(levels, 2, 0)):
        above, below = closed(level, reach, reach), opened(level, reach, reach)
        paper = np.minimum(above, _local_median(np.where(above - level > INKY, above, level)))
        board = np.maximum(below, _local_median(np.where(level - below > INKY, below, level)))
        np.maximum(dark, (paper - level) / paper.clip(0.08), out=dark)
        np.maximum(bright, level - board, out=bright)
    return dark.clip(0, 1), bright.clip(0, 1)


def _local_median(level: np.ndarray) -> np.ndarray:
    """Return the median of a large neighbourhood of each pixel, `(H, W)`."""
    height, width = level.shape
    step = max(1, round(max(height, width) / 48))
    small = np.asarray(Image.fromarray(level).reduce(step))
    small = ndimage.median_filter(small, 2 * round(0.2 * min(small.shape)) + 1, mode="nearest")
    cover = (0, 0, min(width / step, small.shape[1]), min(height / step, small.shape[0]))
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR, cover))


def _digits(levels: np.ndarray, ink: np.ndarray, bright: bool, scale: float) -> Writing:
    """Return what is written in a map of ink; `levels` are what the map was made from."""
    middle = float(np.median(ink))
    spread = 1.4826 * float(np.median(np.abs(ink - middle)))
    floor = max(FAINTEST, middle + 5 * spread)
    if bright:
        floor = max(FAINTEST_BRIGHT, min(floor, HIGHEST_FLOOR))
    ink = without_lines(ink, floor)
    labels, pieces = pieces_of(levels, ink, floor)
    marks = marks_among(labels, pieces)
    boxes = {index: box for index, box in pieces.items() if index not in marks}
    letters = letters_among(boxes)
    boxes = {index: box for index, box in boxes.items() if index not in letters}
    groups = [(members, bounds([boxes[index] for index in members])) for members in grouped(labels, boxes)]
    groups = [(members, place) for members, place in groups if not drawn_inside(labels[place], members)]
    found = [cut_out(ink, labels, place, members, bright, scale) for members, place in groups]
    if not bright and len(groups) <= MOST_GROUPS:
        spots = spots_beside(levels, ink, labels, [members for members, _ in groups], [one.width for one in found])
        for at, spot in spots.items():
            inked = with_spot_inked(ink, labels, groups[at][0], spot, found[at].width)
            found[at] = replace(found[at], with_spot=cut_out(*inked, [1], bright, scale))
    found = [one for one in found if one.contrast > FAINTEST_DIGIT and _unevenness(one) < MOST_UNEVEN]
    found = [one for one in found if (_is_bar(one) or float(one.ink.mean()) < FULLEST) and not is_label(one.ink)]
    rods = rods_among(found)
    found = [one for one in found if not any(one is rod for rod in rods)]
    tallest = max((max(one.ink.shape) for one in found), default=0)
    contrast = max((one.contrast for one in found), default=0)
    found = [one for one in found if one.contrast > 0.6 * contrast]
    parts = [one for one in found if max(one.ink.shape) <= 0.5 * tallest]
    found = [one for one in found if max(one.ink.shape) > 0.5 * tallest]
    share = LEAST_SHARE_OF_BARS if all(_is_bar(one) for one in found) else LEAST_SHARE
    no_digits = [*marks, *letters]
    beside = _ink_of(rods) + (float(ink[np.isin(labels, no_digits)].sum()) if no_digits else 0.0)
    written = _all_ink(ink, labels, max(floor, FAINT * contrast), share) - beside
    if _ink_of(found) < share * written:
        return Writing([], [])
    cut = [index for index in at_border(labels, NEAR_EDGE) if index and index not in pieces]
    passed_over = PassedOver(like_strokes(levels, ink, labels, cut, found), len(marks) + len(rods), len(letters))
    return Writing(in_reading_order(found), parts, passed_over)


def _ink_of(found: list[Found]) -> float:
    return sum(float(one.ink.sum()) * one.contrast for one in found)


def _is_bar(found: Found) -> bool:
    return bool(min(found.ink.shape) <= BAR * max(found.ink.shape))


def _unevenness(found: Found) -> float:
    """Return how much the ink of a digit varies along its strokes: standard deviation over mean."""
    core = (found.ink > 0.5).astype(np.float32)
    reach = max(2.0, found.width) / 2
    along = ndimage.gaussian_filter(found.ink * core, reach) / ndimage.gaussian_filter(core, reach).clip(1e-3)
    inside = along[core > 0]
    return float(inside.std() / inside.mean()) if len(inside) else np.inf


def _all_ink(ink: np.ndarray, labels: np.ndarray, floor: float, share: float) -> float:
    """Return the ink on the paper, without stickers, coins and what reaches in; for bars, lines that reach in count."""
    if share == LEAST_SHARE:
        mask = (labels > 0) & ~np.isin(labels, at_border(labels, NEAR_EDGE))
    else:
        mask = (ink > floor) & ~beyond_paper(ink > floor)
    return float(ink[mask & ~things_in(mask)].sum())


def _weight(found: list[Found]) -> float:
    """Return how much speaks for digits: their contrast by their size, however thick their strokes."""
    return float(sum(max(one.ink.shape) * one.contrast for one in found))
