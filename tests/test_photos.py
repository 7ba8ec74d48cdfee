"""Photographs of digits, drawn small: found, read, refused, pasted."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from on_paper import ACROSS, DOWN, HEIGHT, KINDS, SQUARES, WIDTH, ink_of, packaged, photo, sure_digits
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from labelvae import ConditionalVAE
from labelvae.photos.found import Found, PassedOver, Writing, in_reading_order, joined, turned
from labelvae.photos.frames import fit_ink
from labelvae.photos.letters import letters_among
from labelvae.photos.marks import marks_among
from labelvae.photos.morphology import closed, opened
from labelvae.photos.outlines import is_outline
from labelvae.photos.paper_lines import run_lengths, without_lines
from labelvae.photos.pasting import paste
from labelvae.photos.photographs import read_photo
from labelvae.photos.pieces import _alone, grouped, pieces_of
from labelvae.photos.reading import (
    LEAST_CONFIDENCE,
    Reading,
    UnreadError,
    _is_readable,
    _parts_joined,
    _reading,
    _unread,
    read_digits,
)
from labelvae.photos.scans import fit_scan
from labelvae.photos.seen import seen_sheet
from labelvae.photos.strokes import WORKING_SIDE, find_digits, find_writing, ink_maps
from labelvae.photos.things import is_label, rods_among, things_in


@pytest.fixture(scope="module")
def models():
    return packaged()


@pytest.fixture(scope="module")
def digits():
    return sure_digits()


@pytest.mark.parametrize("kind", KINDS)
def test_a_digit_is_read_on_any_paper_in_any_light(kind, digits, models):
    for label in (2, 5, 8):
        read = read_digits(photo(ink_of((digits[label], 130, 80, 140)), **KINDS[kind]), *models)
        assert [one.label for one in read.readings] == [label]
        assert read.readings[0].confidence > 0.9
        assert read.readings[0].found.bright == (kind == "chalk")


def test_several_digits_are_read_row_by_row(digits, models):
    ink = ink_of(
        (digits[3], 30, 20, 110), (digits[8], 220, 35, 110), (digits[4], 40, 170, 110), (digits[0], 230, 160, 110)
    )
    picture = photo(ink)
    assert [one.label for one in read_digits(picture, *models).readings] == [3, 8, 4, 0]
    with pytest.raises(ValueError, match="found 4 digits, expected 1; crop the picture"):
        fit_scan(picture, (1, 28, 28), fit="strokes")


def test_the_box_is_the_inks_in_pixels_of_the_photograph(digits):
    ink = ink_of((digits[5], 200, 60, 150))
    rows, columns = np.argwhere(ink[..., 0] > 0.5).min(0), np.argwhere(ink[..., 0] > 0.5).max(0) + 1
    for factor in (1, 6):
        picture = photo(ink).resize((WIDTH * factor, HEIGHT * factor), Image.Resampling.BICUBIC)
        (found,) = find_digits(picture)
        expected = np.array([rows[1], rows[0], columns[1], columns[0]]) * factor
        assert np.abs(np.array(found.box) - expected).max() <= 2 * factor


def test_a_clean_digit_fits_as_it_is(digits):
    """MNIST's own form, enlarged, comes back: scaled and centred."""
    clean = Image.fromarray((digits[6] * 255).astype(np.uint8))
    large = clean.resize((280, 280), Image.Resampling.BICUBIC)
    image = fit_scan(large, (1, 28, 28), fit="strokes")
    expected = fit_ink(np.asarray(large, np.float32) / 255, 28, 28, 25.0).image
    assert image.shape == expected.shape
    mass = (image[0].sum(0) * torch.arange(28.0)).sum() / image.sum()
    assert abs(float(mass) - 13.5) <= 0.6
    assert int((image[0] > 0.2).any(1).sum()) in (19, 20, 21)


def face(rng):
    ink = np.zeros((HEIGHT, WIDTH))
    ring = np.hypot((DOWN - 150) / 1.2, ACROSS - 200)
    ink[abs(ring - 80) < 4] = 1
    for x in (165, 235):
        ink[abs(np.hypot(DOWN - 120, ACROSS - x) - 10) < 3] = 1
    ink[(abs(DOWN - 195) < 3) & (abs(ACROSS - 200) < 30)] = 1
    return photo(ink[..., None])


def flower(rng):
    ink = np.zeros((HEIGHT, WIDTH))
    for y, x in [(150, 200), *((150 + 50 * np.sin(a), 200 + 50 * np.cos(a)) for a in np.arange(6) * np.pi / 3)]:
        ink[abs(np.hypot(DOWN - y, ACROSS - x) - 25) < 3] = 1
    return photo(ink[..., None])


def bars(rng):
    """A bar, and many other things that are too small or too thick for a digit."""
    ink = np.zeros((HEIGHT, WIDTH))
    ink[60:220, 200:210] = 1
    for y, x in rng.integers(20, 280, (60, 2)):
        ink[y : y + 5, x : x + 5] = 1
    return photo(ink[..., None])


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: photo(np.zeros((HEIGHT, WIDTH, 1))),
        lambda rng: photo(np.zeros((HEIGHT, WIDTH, 1)), paper=SQUARES),
        lambda rng: Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)),
        lambda rng: photo(np.zeros((HEIGHT, WIDTH, 1)), **KINDS["lamp spot"]),
        face,
        flower,
        bars,
    ],
    ids=["blank", "squared paper", "noise", "lamp spot", "face", "flower", "bars"],
)
def test_what_is_no_digit_is_refused(draw, models):
    with pytest.raises(ValueError, match="strokes: found"):
        read_digits(draw(np.random.default_rng(0)), *models)


def test_many_pieces_are_said_to_be_too_many():
    ink = np.zeros((HEIGHT, WIDTH, 1))
    for top in range(20, 270, 40):
        for left in range(20, 370, 30):
            ink[top : top + 20, left : left + 4] = 1
    with pytest.raises(ValueError, match="expected 1 to 12 digits"):
        find_digits(photo(ink))


def test_a_doubted_reading_is_below_the_least_confidence(digits, models):
    read = read_digits(photo(ink_of((digits[7], 130, 80, 140))), *models)
    assert not read.readings[0].doubted
    assert read.readings[0].confidence >= LEAST_CONFIDENCE
    sheet = seen_sheet(read, list("0123456789"))
    assert sheet.width == 480
    assert sheet.height > 300


def test_a_model_of_colours_has_no_digits(models):
    vae = ConditionalVAE((3, 8, 8), 2)
    with pytest.raises(ValueError, match="vae: expected a model of grey images with 1 channel, got 3"):
        read_digits(photo(np.zeros((HEIGHT, WIDTH, 1))), models[0], vae)


def test_lines_are_taken_out_and_strokes_across_them_stay():
    ink = np.zeros((200, 300), np.float32)
    ink[20::30] = 0.3
    stroke = np.zeros_like(ink, bool)
    stroke[40:160, 140:146] = True
    ink[stroke] = 0.9
    clean = without_lines(ink, 0.1)
    assert (clean[stroke] == np.float32(0.9)).all()
    assert (clean[~stroke] == 0).all()


def test_run_lengths_count_down_each_column():
    mask = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], bool)
    assert run_lengths(mask).tolist() == [[2, 0], [2, 3], [0, 3], [1, 3]]
    assert run_lengths(np.ones((3, 2), bool)).tolist() == [[3, 3]] * 3
    assert not run_lengths(np.zeros((3, 2), bool)).any()


def test_running_extremes_are_those_of_scipy():
    levels = np.random.default_rng(0).random((40, 50)).astype(np.float32)
    for rows, columns in ((1, 15), (7, 1), (9, 9), (5, 3)):
        footprint = np.ones((rows, columns), bool)
        highest = ndimage.maximum_filter(levels, footprint=footprint, mode="nearest")
        lowest = ndimage.minimum_filter(levels, footprint=footprint, mode="nearest")
        expected = ndimage.minimum_filter(highest, footprint=footprint, mode="nearest")
        assert (closed(levels, rows, columns) == expected).all()
        expected = ndimage.maximum_filter(lowest, footprint=footprint, mode="nearest")
        assert (opened(levels, rows, columns) == expected).all()


def test_a_turned_digit_is_the_digit_of_the_turned_photograph(digits):
    picture = photo(ink_of((digits[5], 60, 90, 140)))
    (found,) = find_digits(picture)
    for quarters, how in ((1, Image.Transpose.ROTATE_90), (2, Image.Transpose.ROTATE_180), (3, 4)):
        (expected,) = find_digits(picture.transpose(how))
        one = turned(found, quarters, picture.size)
        assert np.abs(np.subtract(one.box, expected.box)).max() <= 2
        assert one.ink.shape == found.ink.shape[:: -1 if quarters % 2 else 1]


@pytest.mark.parametrize(("label", "how"), [(2, Image.Transpose.ROTATE_90), (4, Image.Transpose.ROTATE_270)])
def test_a_photograph_on_its_side_is_read_upright(label, how, digits, models):
    picture = photo(ink_of((digits[label], 130, 80, 140)))
    read = read_digits(picture.transpose(how), *models)
    assert [one.label for one in read.readings] == [label]
    assert read.photo.size == picture.size
    assert (np.asarray(read.photo) == np.asarray(picture)).all()
    assert read.turn == (270 if how == Image.Transpose.ROTATE_90 else 90)


def test_the_parts_of_a_digit_are_joined_where_they_were(digits):
    (whole,) = find_digits(photo(ink_of((digits[0], 130, 80, 140))))
    middle = whole.ink.shape[1] // 2
    left, top, right, bottom = whole.box
    edge = left + round(middle * whole.scale)
    parts = [
        replace(whole, ink=whole.ink[:, :middle], box=(left, top, edge, bottom)),
        replace(whole, ink=whole.ink[:, middle:], box=(edge, top, right, bottom)),
    ]
    again = joined(*parts)
    assert again.box == whole.box
    assert np.abs(again.ink[:, : whole.ink.shape[1]] - whole.ink).mean() < 0.02


def test_a_large_photograph_is_read_from_a_small_copy(digits):
    large = photo(ink_of((digits[3], 130, 80, 140))).resize((10 * WIDTH, 10 * HEIGHT))
    (found,) = find_digits(large)
    assert max(found.ink.shape) < WORKING_SIDE
    assert found.scale == 10 * WIDTH / WORKING_SIDE


@pytest.mark.parametrize("bright", [False, True])
def test_a_thick_stroke_is_ink_throughout(bright):
    """A stroke of a quarter of the picture fills what is around each of its pixels, and is no paper."""
    ring = abs(np.hypot(DOWN - 150, ACROSS - 200) - 102) < 37
    levels = np.where(ring, *((0.9, 0.13) if bright else (0.1, 0.92))).astype(np.float32)
    ink = ink_maps(np.repeat(levels[..., None], 3, axis=2))[int(bright)]
    assert ink[ring].min() > 0.7
    assert ink[~ring].max() < 0.05


def test_a_bar_among_faint_creases_is_read(digits, models):
    creases = np.where(((DOWN % 60 < 6) | (ACROSS % 70 < 6)) & (DOWN + ACROSS > 330), 0.86, 1.0)[..., None]
    picture = photo(ink_of((digits[1], 40, 40, 140)), light=creases)
    assert [one.label for one in read_digits(picture, *models).readings] == [1]


def test_a_short_stroke_is_a_part_and_no_digit(digits):
    ink = ink_of((digits[0], 40, 60, 180))
    ink[100:104, 300:340] = 1
    found, parts, _ = find_writing(photo(ink))
    assert len(found) == 1
    assert np.abs(np.subtract(parts[0].box, (300, 100, 340, 104))).max() <= 3


def test_the_parts_of_a_digit_on_its_side_are_joined(digits, models, monkeypatch):
    on_its_side = photo(ink_of((digits[7], 130, 80, 140))).transpose(Image.Transpose.ROTATE_270)
    (whole,) = find_digits(on_its_side)
    left, top, right, bottom = whole.box
    middle = whole.ink.shape[1] // 3
    edge = left + round(middle * whole.scale)
    part, body = (
        replace(whole, ink=whole.ink[:, :middle], box=(left, top, edge, bottom)),
        replace(whole, ink=whole.ink[:, middle:], box=(edge, top, right, bottom)),
    )
    monkeypatch.setattr("labelvae.photos.reading.find_writing", lambda *_: Writing([body], [part]))
    read = read_digits(on_its_side, *models)
    assert ([one.label for one in read.readings], read.turn) == ([7], 90)


def test_a_digit_in_two_strokes_is_read_as_one(digits, models):
    """A broad gap cuts the digit into a part above and a part below, which are no digits by themselves."""
    for label, rows in ((5, slice(118, 128)), (2, slice(150, 160))):
        ink = ink_of((digits[label], 130, 60, 160))
        ink[rows] = 0
        assert [one.label for one in read_digits(photo(ink), *models).readings] == [label]


def test_pieces_one_pixel_high_are_pieces():
    ink = np.zeros((120, 160), np.float32)
    ink[60, 40:100] = 0.8
    labels, boxes = pieces_of(np.repeat(1 - ink[..., None], 3, axis=2), ink, 0.1)
    assert [(box[0].stop - box[0].start, box[1].stop - box[1].start) for box in boxes.values()] == [(1, 60)]
    assert int((labels > 0).sum()) == 60


def test_a_faint_crease_is_no_stroke(digits, models):
    """Ink a tenth darker than its paper is a crease of the paper; that of a soft pencil is darker."""
    paper = np.array((0.92, 0.9, 0.86))
    ink = ink_of((digits[1], 130, 80, 140))
    with pytest.raises(ValueError, match="found no digit"):
        find_digits(photo(ink, paper, 0.89 * paper, noise=0.002))
    assert [one.label for one in read_digits(photo(ink, paper, 0.7 * paper, noise=0.002), *models).readings] == [1]


def test_two_short_pieces_beside_a_tall_digit_are_parts_of_one():
    ink = np.zeros((HEIGHT, WIDTH), bool)
    ink[110:116, 200:240] = ink[124:130, 200:240] = True
    labels, count = ndimage.label(ink)
    assert len(grouped(labels, dict(enumerate(ndimage.find_objects(labels), 1)))) == count == 2, "two digits"
    ink[100:200, 60:70] = True
    labels, _ = ndimage.label(ink)
    boxes = dict(enumerate(ndimage.find_objects(labels), 1))
    assert sorted(len(members) for members in grouped(labels, boxes)) == [1, 2]


def test_a_part_is_joined_with_the_neighbour_that_makes_a_digit_of_it(digits):
    """The hat of a 5 comes first in reading order, and a 7 stands between it and its body."""
    (found,) = find_digits(photo(ink_of((digits[5], 130, 80, 140))))
    image, hat_box = torch.zeros(1, 28, 28), (320, 10, 360, 20)
    hat, seven, body = (replace(found, box=box) for box in (hat_box, (100, 15, 180, 130), (270, 30, 330, 130)))

    def read(parts):
        whole = [part.box[0] == 270 and part.box[2] == 360 for part in parts]
        return [Reading(part, image, 5, 0.9 if five else 0.1) for part, five in zip(parts, whole, strict=True)]

    before = [Reading(hat, image, 1, 0.2), Reading(seven, image, 7, 0.99), Reading(body, image, 6, 0.3)]
    joined_up = _parts_joined(before, [], read)
    assert [one.label for one in joined_up] == [7, 5]
    assert joined_up[1].found.box == (270, 10, 360, 130)
    assert _parts_joined(before[1:], [], read) == before[1:], "nothing to join"
    joined_up = _parts_joined(before[1:], [hat], read)
    assert [one.label for one in joined_up] == [7, 5], "a hat too short for a digit"
    assert joined_up[1].found.box == (270, 10, 360, 130)
    three = Reading(body, image, 3, 0.8)
    assert [one.label for one in _parts_joined([before[1], three], [hat], read)] == [7, 5], "a 3 but for its hat"
    sure = [before[1], Reading(body, image, 3, 0.95)]
    assert _parts_joined(sure, [hat], read) == sure, "a plain digit is left alone"
    pair = [Reading(hat, image, 1, 0.97), three]
    assert _parts_joined(pair, [], read) == pair, "two digits that can be read stay two"


def test_digits_of_several_heights_are_in_one_row(digits):
    (found,) = find_digits(photo(ink_of((digits[5], 130, 80, 140))))
    tall, low, below = (
        replace(found, box=box) for box in ((30, 110, 100, 215), (240, 120, 310, 155), (40, 230, 90, 290))
    )
    assert [one.box for one in in_reading_order([below, low, tall])] == [tall.box, low.box, below.box]
    tall, low = replace(found, box=(240, 110, 310, 215)), replace(found, box=(30, 170, 100, 205))
    assert [one.box for one in in_reading_order([tall, below, low])] == [low.box, tall.box, below.box]


@pytest.mark.parametrize(
    ("upright", "sides", "turn"),
    [
        ((5, 0.79), ((4, 0.0), (7, 1.0)), 270),
        ((5, 0.55), ((7, 0.99), (4, 0.1)), 90),
        ((5, 0.79), ((4, 0.0), (7, 0.9)), 0),
        ((7, 0.98), ((1, 0.99), (1, 0.99)), 0),
        ((7, 0.7), ((1, 1.0), (1, 0.99)), 90),
        ((0, 0.87), ((0, 0.94), (0, 0.99)), 0),
        ((5, 0.2), ((4, 0.0), (7, 0.9)), 270),
    ],
)
def test_a_photograph_that_is_not_read_plainly_is_turned(upright, sides, turn, digits, models, monkeypatch):
    answers = iter((upright, *sides, (0, 0.0)))

    def said(found, *_):
        label, confidence = next(answers)
        return Reading(found, torch.zeros(1, 28, 28), label, confidence)

    monkeypatch.setattr("labelvae.photos.reading._reading", said)
    read = read_digits(photo(ink_of((digits[5], 130, 80, 140))), *models)
    assert read.turn == turn
    assert read.readings[0].label == {0: upright[0], 90: sides[0][0], 270: sides[1][0]}[turn]


@pytest.mark.parametrize(
    ("upright", "sides"),
    [
        ((4, 0.0), ((6, 0.99), (9, 0.99))),  # one of them is upside down
        ((5, 0.9), ((4, 0.0), (7, 0.999))),
        ((7, 0.97), ((1, 1.0), (1, 0.99))),
        ((3, 0.6), ((6, 1.0), (9, 0.6))),  # three ways, three digits
    ],
)
def test_a_photograph_that_reads_as_several_digits_is_refused(upright, sides, digits, models, monkeypatch):
    answers = iter((upright, *sides, (0, 0.0)))

    def said(found, *_):
        label, confidence = next(answers)
        return Reading(found, torch.zeros(1, 28, 28), label, confidence)

    monkeypatch.setattr("labelvae.photos.reading._reading", said)
    with pytest.raises(UnreadError, match=r"may lie on its side: it reads as .* or .*; turn it upright"):
        read_digits(photo(ink_of((digits[5], 130, 80, 140))), *models)


class Mirror:
    """A model that draws what it was given."""

    image_shape = (1, 28, 28)

    def relabel(self, images, *_):
        return images


def test_a_flat_line_is_no_digit():
    lying = Found((0, 0, 100, 20), np.ones((20, 100), np.float32), 1.0, False, 10.0, 0.9)

    def sure(images):
        return torch.tensor([0.0, 50.0]).expand(len(images), 2)

    assert _reading(lying, sure, Mirror(), 1.0).confidence == 0
    assert _reading(turned(lying, 1, (100, 20)), sure, Mirror(), 1.0).confidence > 0.9


def test_a_line_under_a_digit_is_left_out(digits, models):
    ink = ink_of((digits[7], 130, 60, 140))
    rows, columns = np.nonzero(ink[..., 0] > 0.5)
    under = (abs(DOWN - rows.max() - 14) < 4) & (columns.min() - 30 < ACROSS) & (columns.max() + 30 > ACROSS)
    read = read_digits(photo(np.maximum(ink, under[..., None])), *models)
    assert [one.label for one in read.readings] == [7]
    assert not any(one.doubted for one in read.readings)
    assert read.readings[0].found.box[3] <= rows.max() + 8


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_in_a_circle_is_not_read_as_another(digit, digits, models):
    ring = abs(np.hypot((ACROSS - 200) / 1.3, DOWN - 150) - 110) < 3
    try:
        read = read_digits(photo(np.maximum(ink_of((digits[digit], 140, 90, 120)), ring[..., None])), *models)
    except UnreadError:
        return
    assert [one.label for one in read.readings if not one.doubted] == [digit]


@pytest.mark.parametrize("digit", [2, 3, 7])
def test_the_face_of_a_plate_is_no_digit(digit, digits, models):
    inside = (abs(ACROSS - 200) < 110) & (abs(DOWN - 150) < 130)
    rim = inside & ~((abs(ACROSS - 200) < 104) & (abs(DOWN - 150) < 124))
    plate = np.where(inside[..., None], (0.08, 0.2, 0.55), (0.6, 0.43, 0.35))
    white = np.maximum(ink_of((digits[digit], 110, 60, 180)), rim[..., None])
    try:
        read = read_digits(photo(white, paper=plate, colour=(1.0, 1.0, 1.0)), *models)
    except UnreadError:
        return
    assert [one.label for one in read.readings if not one.doubted] == [digit]


def test_what_is_left_of_a_line_is_no_piece_where_the_line_is_whole():
    high, low = np.zeros((60, 60), int), np.zeros((60, 60), int)
    high[10:20, 10:14] = 1
    high[30:45, 40:44] = 2
    low[2:58, 9:15] = 1
    low[28:47, 39:45] = 2
    boxes = dict(enumerate(ndimage.find_objects(high), 1))
    assert list(_alone((high, boxes), low)) == [2]


def test_a_small_soft_digit_is_found(digits):
    """An upscaled digit has wide edges for its size."""
    small = Image.fromarray((digits[8] * 255).astype(np.uint8)).resize((80, 80), Image.Resampling.BICUBIC)
    ink = np.zeros((HEIGHT, WIDTH))
    ink[90:170, 140:220] = ndimage.gaussian_filter(np.asarray(small) / 255.0, 6)
    (found,) = find_digits(photo(ink[..., None]))
    assert 140 <= found.box[0] < found.box[2] <= 220


@pytest.mark.parametrize(("wide", "tall", "turn"), [(105, 60, 8), (55, 110, -12), (90, 90, 20)])
def test_a_label_of_paper_on_a_desk_is_no_bright_digit(wide, tall, turn, digits, models):
    angle = np.deg2rad(turn)
    along = (ACROSS - 200) * np.cos(angle) + (DOWN - 150) * np.sin(angle)
    down = (DOWN - 150) * np.cos(angle) - (ACROSS - 200) * np.sin(angle)
    label = np.where(((abs(along) < wide) & (abs(down) < tall))[..., None], (0.95, 0.95, 0.93), (0.2, 0.2, 0.22))
    read = read_digits(photo(ink_of((digits[5], 158, 108, 84)), paper=label), *models)
    assert [(one.label, one.found.bright) for one in read.readings] == [(5, False)]


def test_a_0_of_straight_strokes_is_no_label():
    ink = np.zeros((HEIGHT, WIDTH, 1))
    ink[60:240, 150:250] = 1
    ink[80:220, 170:230] = 0
    assert len(find_digits(photo(ink))) == 1


@pytest.mark.parametrize("bright", [False, True])
@pytest.mark.parametrize("margin", [0, 2, 8])
def test_a_digit_that_is_cropped_to_its_ink_is_read(margin, bright, digits, models):
    """The loop of a thick 0 is no 1 in another ink."""
    down, across = np.mgrid[:320, :200]
    outer = np.hypot((down - 160) / 150, (across - 100) / 85) < 1
    ring = (outer & (np.hypot((down - 160) / 105, (across - 100) / 28) > 1)).astype(float)
    colours = {"paper": (0.12, 0.25, 0.18), "colour": (0.9, 0.9, 0.85)} if bright else {}
    for label, ink in ((0, ring), (3, ink_of((digits[3], 130, 80, 140))[..., 0]), (9, ndimage.zoom(digits[9], 8))):
        rows, columns = (np.flatnonzero((ink > 0.4).any(axis)) for axis in (1, 0))
        cropped = np.pad(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].clip(0, 1), margin)
        picture = photo(cropped[..., None], **colours)
        read = read_digits(picture, *models)
        assert [(one.label, one.found.bright) for one in read.readings] == [(label, bright)]
        box = (margin, margin, picture.width - margin, picture.height - margin)
        assert np.abs(np.subtract(read.readings[0].found.box, box)).max() <= 4


def test_a_digit_that_fills_its_picture_is_replaced(digits, models):
    ink = ink_of((digits[3], 130, 80, 140))[..., 0]
    rows, columns = (np.flatnonzero((ink > 0.4).any(axis)) for axis in (1, 0))
    picture = photo(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, None])
    (one,) = read_digits(picture, *models).readings
    pasted = paste(picture, one.found, models[1].relabel(one.image[None], 5, 3)[0])
    assert pasted.size == picture.size
    assert [again.label for again in read_digits(pasted, *models).readings] == [5]


def disc(y, x, radius):
    return (radius + 0.5 - np.hypot(DOWN - y, ACROSS - x)).clip(0, 1)[..., None]


@pytest.mark.parametrize("digit", [0, 1, 4, 8, 9])
def test_a_digit_on_a_round_sticker_is_no_0(digit, digits, models):
    """The sticker lies on a dark desk, and is bright with a hole, as a 0 on a board is."""
    desk = np.where(disc(150, 200, 95) > 0.5, (0.95, 0.95, 0.9), (0.3, 0.2, 0.14))
    read = read_digits(photo(ink_of((digits[digit], 155, 105, 90)), paper=desk), *models)
    assert [(one.label, one.found.bright) for one in read.readings] == [(digit, False)]


@pytest.mark.parametrize("colour", [(0.8, 0.2, 0.15), (0.1, 0.1, 0.1), (0.8, 0.6, 0.25)])
@pytest.mark.parametrize("label", [1, 6])
def test_a_sticker_or_a_coin_beside_a_digit_is_passed_over(label, colour, digits, models):
    sheet = np.array((0.92, 0.9, 0.86)) * (1 - disc(90, 310, 38)) + np.array(colour) * disc(90, 310, 38)
    read = read_digits(photo(ink_of((digits[label], 60, 90, 140)), paper=sheet), *models)
    assert [one.label for one in read.readings] == [label]


@pytest.mark.parametrize("label", [3, 8])
def test_a_pen_that_lies_beside_a_digit_is_no_1(label, digits, models):
    along = (DOWN - 150) + 0.2 * (ACROSS - 310)
    pen = ((abs(ACROSS - 310 - 0.2 * (DOWN - 150)) < 12) & (abs(along) < 125)).astype(float)[..., None]
    sheet = np.array((0.92, 0.9, 0.86)) * (1 - pen) + np.array((0.1, 0.15, 0.5)) * pen
    read = read_digits(photo(ink_of((digits[label], 90, 90, 110)), paper=sheet), *models)
    assert [one.label for one in read.readings] == [label]


def test_a_1_among_specks_and_other_digits_is_no_pen():
    def upright(length, width):
        return Found((0, 0, width, length), np.ones((length, width), np.float32), 1.0, False, float(width), 0.9)

    ring = np.pad(np.ones((60, 50), np.float32), 8)
    ring[20:56, 20:46] = 0
    digit, one, pen = replace(upright(60, 8), ink=ring), upright(70, 8), upright(200, 24)
    assert rods_among([digit, one, pen]) == [pen]
    assert rods_among([one, pen]) == [], "nothing beside them that is no rod"
    assert rods_among([upright(200, 8), digit]) == [], "of the digit's own pen"
    assert rods_among([pen, replace(digit, ink=np.ones((20, 20), np.float32))]) == [], "a speck"


@pytest.mark.parametrize("holes", [[(150, 55, 28)], [(100, 26, 26), (200, 26, 26)]], ids=["0", "8"])
def test_a_thick_round_digit_is_no_label(holes):
    ink = np.hypot((DOWN - 150) / 140, (ACROSS - 200) / 90) < 1
    for y, tall, wide in holes:
        ink = ink & (np.hypot((DOWN - y) / tall, (ACROSS - 200) / wide) > 1)
    assert 0.7 < ink.sum() / (np.pi * 140 * 90) < 1
    assert not is_label(ink.astype(np.float32))


def test_things_are_solid_and_have_a_plain_outline():
    star = np.hypot(DOWN - 70, ACROSS - 60) < 25 + 15 * np.cos(5 * np.arctan2(DOWN - 70, ACROSS - 60))
    ring = abs(np.hypot(DOWN - 70, ACROSS - 160) - 40) < 5
    bar = (abs(ACROSS - 240) < 6) & (abs(DOWN - 70) < 50)
    plain = [np.hypot((DOWN - 220) / 40, (ACROSS - 80) / 50) < 1]
    plain.append((abs(DOWN + ACROSS - 420) < 45) & (abs(DOWN - ACROSS - 10) < 60))
    assert (things_in(star | ring | bar | plain[0] | plain[1]) == (plain[0] | plain[1])).all()


@pytest.mark.parametrize("label", [2, 4, 9])
def test_the_plot_of_a_digit_on_a_white_page_is_read(label, digits, models):
    """Most of the picture differs from what is taken for its paper."""
    page = Image.new("L", (400, 400), "white")
    plot = Image.fromarray((digits[label] * 255).astype(np.uint8)).resize((308, 308), Image.Resampling.NEAREST)
    page.paste(plot, (46, 46))
    assert [(one.label, one.found.bright) for one in read_digits(page, *models).readings] == [(label, True)]


def line_of(points, reach):
    """A line of one width through points, `(HEIGHT, WIDTH)`."""
    ink = np.zeros((HEIGHT, WIDTH))
    for (down, across), (foot, aside) in itertools.pairwise(points):
        y, x = foot - down, aside - across
        share = (((DOWN - down) * y + (ACROSS - across) * x) / max(1e-6, y * y + x * x)).clip(0, 1)
        gap = np.hypot(DOWN - down - share * y, ACROSS - across - share * x)
        ink = np.maximum(ink, (reach + 0.5 - gap).clip(0, 1))
    return ink


def bow_of(left, top, foot, bow):
    """The points of a bracket that bows to the right."""
    return [
        (top + (foot - top) * share, left + 4 * bow * (foot - top) * share * (1 - share))
        for share in np.linspace(0, 1, 30)
    ]


def closed_line(top, left, foot, right):
    return [(top, left), (top, right), (foot, right), (foot, left), (top, left)]


MARKS = {
    "a thin pen": [[(50, 290), (260, 320)]],
    "a pair of brackets": [bow_of(130, 70, 230, -0.12), bow_of(270, 70, 230, 0.12)],
    "a bracket": [bow_of(270, 70, 230, 0.12)],
    "square brackets": [[(72, 145), (72, 130), (228, 130), (228, 145)], [(72, 255), (72, 270), (228, 270), (228, 255)]],
    "a box": [closed_line(60, 120, 240, 280)],
    "a box that a hand left open": [[(60, 126), (63, 278), (238, 280), (240, 121), (66, 120)]],
    "the fields of a form": [closed_line(70, 30 + 118 * field, 235, 148 + 118 * field) for field in range(3)],
    "a table": [[(y, 30), (y, 370)] for y in (25, 66, 235, 275)] + [[(25, x), (275, x)] for x in (30, 130, 270, 370)],
}


@pytest.mark.parametrize("label", [2, 5, 9])
@pytest.mark.parametrize("name", MARKS)
def test_marks_beside_and_about_a_digit_are_no_digits(name, label, digits, models):
    ink = np.maximum.reduce(
        [ink_of((digits[label], 130, 80, 140))[..., 0], *(line_of(each, 3) for each in MARKS[name])]
    )
    read = read_digits(photo(ink[..., None]), *models)
    assert [(one.label, one.doubted) for one in read.readings] == [(label, False)]


def test_the_strokes_of_a_hand_are_no_marks():
    """A 1 wavers, and a bowed 1 is no longer than its neighbours; a rectangle about nothing is a 0."""
    rows = np.arange(150)
    labels = np.zeros((HEIGHT, WIDTH), int)
    for index, left, waver in ((1, 60, 1.5 * np.sin(rows / 17)), (2, 250, 0.1 * rows * (1 - rows / 150))):
        for row, aside in zip(rows, waver, strict=True):
            labels[80 + row, round(left + aside) : round(left + aside) + 7] = index
    for index, (top, left) in ((3, (75, 120)), (4, (80, 320))):
        labels[top : top + 155, left : left + 60] = index
        labels[top + 8 : top + 147, left + 8 : left + 52] = 0
    boxes = dict(enumerate(ndimage.find_objects(labels), 1))
    assert marks_among(labels, boxes) == []
    straight = np.where(labels == 1, 0, labels)
    straight[40:260, 60:67] = 1
    assert marks_among(straight, dict(enumerate(ndimage.find_objects(straight), 1))) == [1]


@pytest.mark.parametrize("label", [4, 7])
def test_a_photograph_upside_down_is_refused_with_what_to_do(label, digits, models):
    picture = photo(ink_of((digits[label], 130, 80, 140))).transpose(Image.Transpose.ROTATE_180)
    with pytest.raises(UnreadError, match=rf"may lie upside down: turned by half it reads as \[{label}\]; turn it"):
        read_digits(picture, *models)


def test_half_of_what_was_found_will_do_if_it_is_read_plainly(digits, models):
    (found,), image = find_digits(photo(ink_of((digits[5], 130, 80, 140)))), torch.zeros(1, 28, 28)

    def readings(*confidences):
        return [Reading(found, image, 5, confidence) for confidence in confidences]

    assert _is_readable(readings(1.0, 0.1))
    assert _is_readable(readings(0.6, 0.7, 0.1))
    assert not _is_readable(readings(0.9, 0.1))
    assert not _is_readable(readings(1.0, 0.1, 0.2))
    assert "found 2 pieces of writing, of which 1 looks like no digit (the surest of all reads as class 5" in _unread(
        readings(0.9, 0.1), None
    )
    assert "found 1 piece of writing that looks like no digit (it reads as 'five'" in _unread(
        readings(0.1), ["five"] * 6
    )
    assert "found 2 pieces of writing that look like no digit (the surest reads as" in _unread(readings(0.1, 0.2), None)


def test_what_the_pictures_edge_may_cut_is_told_of(digits, models):
    ink = ink_of((digits[3], 30, 80, 120), (digits[8], 220, 80, 120))
    columns = np.flatnonzero((ink[:, 220:, 0] > 0.5).any(0)) + 220
    for right, labels, at_edge in ((columns[-1] + 4, [3, 8], 0), (columns[-1] - 20, [3], 1), (columns[-1] + 1, [3], 1)):
        read = read_digits(photo(ink).crop((0, 0, right, HEIGHT)), *models)
        assert ([one.label for one in read.readings], read.passed_over.at_edge) == (labels, at_edge), right
    with Image.open(Path(__file__).parent / "ten_digits.png") as row:
        strip = read_photo(row, models[1], models[0])
        short = read_photo(row.crop((8, 0, 280, 28)), models[1], models[0])
    assert strip.labels.tolist() == list(range(10)), "a stem across a strip is no line of the paper"
    assert "passed over" not in strip.said("0123456789")
    assert short.said("0123456789").endswith("; passed over: 1 mark at the picture's edge"), "of the 0"


@pytest.mark.parametrize("kind", KINDS)
def test_a_sheet_alone_has_nothing_that_is_passed_over(kind, digits):
    assert find_writing(photo(ink_of((digits[5], 130, 80, 140)), **KINDS[kind])).passed_over.said() == ""


def test_a_bowed_stroke_that_is_taken_for_a_bracket_is_told_of(digits, models):
    ink = np.maximum(ink_of((digits[7], 130, 80, 140))[..., 0], line_of(bow_of(270, 70, 230, 0.12), 3))
    said = read_digits(photo(ink[..., None]), *models).passed_over.said()
    assert said == "passed over: 1 line, bracket or frame beside the digits"
    both = PassedOver(2, 0, 3).said()
    assert both == "passed over: 2 marks at the picture's edge and 3 small letters"


def lettered(text, left, top, size):
    """Ink of a printed word on a sheet."""
    sheet = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(sheet).text((left, top), text, fill=255, font=ImageFont.load_default(size))
    return np.asarray(sheet)[..., None] / 255


@pytest.mark.parametrize(("text", "left", "top", "size"), [("Gate", 250, 120, 48), ("Total", 120, 225, 56)])
@pytest.mark.parametrize("label", [2, 4])
def test_a_printed_word_beside_a_digit_is_no_digit(label, text, left, top, size, digits, models):
    ink = np.maximum(ink_of((digits[label], 100, 60, 170)), lettered(text, left, top, size))
    read = read_digits(photo(ink), *models)
    assert [(one.label, one.doubted) for one in read.readings] == [(label, False)]
    assert read.passed_over.letters >= 3


def test_letters_are_small_and_three_in_a_row():
    def box(left, top, width, height):
        return slice(top, top + height), slice(left, left + width)

    word = {index: box(150 + 25 * index, 100, 20, 30) for index in (1, 2, 3)}
    digit, capital = {7: box(20, 60, 60, 100)}, {8: box(135, 85, 30, 45)}
    assert letters_among({**word, **digit}) == [1, 2, 3]
    assert letters_among({**word, **digit, **capital}) == [1, 2, 3, 8]
    assert letters_among({1: word[1], 2: word[2], **digit}) == [], "two strokes of a digit"
    assert letters_among(word) == [], "as tall as all writing"
    assert letters_among({index: box(250 * index, 100, 20, 30) for index in (1, 2, 3)} | digit) == [], "far apart"
    assert letters_among({}) == []


def outline_of(stroke, reach=2):
    far = ndimage.distance_transform_edt(stroke) + ndimage.distance_transform_edt(~stroke)
    return (reach + 0.5 - abs(far - 0.5)).clip(0, 1)


@pytest.mark.parametrize("gap", [0, 6])
def test_a_digit_in_outline_is_refused_and_no_other_digit(gap, models):
    bar = (abs(ACROSS - 200 - 0.1 * (150 - DOWN)) < 15) & (abs(DOWN - 150) < 90)
    ink = outline_of(bar) * (abs(DOWN - 150) >= gap / 2)
    with pytest.raises(UnreadError, match=r"looks? like no digit .* \(not in outline\)"):
        read_digits(photo(ink[..., None]), *models)


def test_outlines_are_about_long_or_bent_strokes(digits):
    corner = (abs(ACROSS - 150) < 15) & (abs(DOWN - 150) < 90)
    corner |= (abs(ACROSS - 200) < 60) & (abs(DOWN - 70) < 15)
    (found,) = find_digits(photo(outline_of(corner)[..., None]))
    assert is_outline(found.ink)
    for label, digit in enumerate(digits):
        (found,) = find_digits(photo(ink_of((digit, 130, 80, 140))))
        assert not is_outline(found.ink), label
    (narrow,) = find_digits(photo(outline_of((abs(ACROSS - 200) < 8) & (abs(DOWN - 150) < 90))[..., None]))
    assert not is_outline(narrow.ink), "its middle closes in a model's frame"


@pytest.mark.parametrize("label", [4, 7])
def test_a_bright_spot_over_a_part_of_a_digit_is_no_paper(label, digits, models):
    """A flash hides the upper half of a 7, and what is left reads as a 1; a lamp's light hides nothing."""
    ink = ink_of((digits[label], 130, 80, 140))
    rows, columns = np.nonzero(ink[..., 0] > 0.5)
    across = columns[rows < rows.min() + 12].mean() if label == 7 else columns.max() - 10
    down = rows.min() + 8 if label == 7 else np.median(rows)
    spot = np.exp(-(((DOWN - down) ** 2 + (ACROSS - across) ** 2) / 900))[..., None]
    paper = np.array((0.7, 0.68, 0.64))
    hidden = Image.fromarray((255 - (255 - np.asarray(photo(ink, paper))) * np.exp(-6 * spot)).astype(np.uint8))
    (found,) = find_digits(photo(ink, paper, light=1 + 0.3 * spot))
    assert found.with_spot is None
    assert any(one.with_spot is not None for one in find_digits(hidden))
    with pytest.raises(UnreadError, match="a bright spot may hide a part of a digit .* without the flash"):
        read_digits(hidden, *models)
