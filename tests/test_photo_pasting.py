"""A new digit in the old one's place: its strokes, its ink, and the paper under it."""

import numpy as np
import pytest
import torch
from on_paper import ACROSS, DOWN, HEIGHT, KINDS, LINES, SQUARES, WIDTH, ink_of, packaged, photo, sure_digits
from PIL import Image, ImageDraw
from scipy import ndimage

from labelvae.photos import paper_filling
from labelvae.photos.paper_filling import filled
from labelvae.photos.pasting import paste, paste_crop
from labelvae.photos.pen_strokes import FINER, pen_distance
from labelvae.photos.reading import read_digits
from labelvae.photos.strokes import find_digits


@pytest.fixture(scope="module")
def models():
    return packaged()


@pytest.fixture(scope="module")
def digits():
    return sure_digits()


@pytest.mark.parametrize("kind", ["plain", "hard shadow", "chalk", "ruled"])
def test_pasting_changes_the_digits_place_alone(kind, digits, models):
    picture = photo(ink_of((digits[2], 130, 80, 140)), **KINDS[kind])
    (one,) = read_digits(picture, *models).readings
    pasted = paste(picture, one.found, models[1].relabel(one.image[None], 8)[0])
    assert pasted.size == picture.size
    assert [again.label for again in read_digits(pasted, *models).readings] == [8]
    before, after = np.asarray(picture).astype(int), np.asarray(pasted).astype(int)
    left, top, right, bottom = one.found.box
    far = max(right - left, bottom - top)
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[max(0, top - far) : bottom + far, max(0, left - far) : right + far] = False
    assert (before[outside] == after[outside]).all()
    assert (before == after).all(axis=2).mean() > 0.6


def test_the_same_digit_pasted_back_is_nearly_the_photograph(digits, models):
    picture = photo(ink_of((digits[3], 130, 80, 140)))
    (one,) = read_digits(picture, *models).readings
    change = np.asarray(paste(picture, one.found, one.image)).astype(float) - np.asarray(picture)
    blank = np.asarray(photo(np.zeros((HEIGHT, WIDTH, 1)))).astype(float) - np.asarray(picture)
    assert np.square(change).mean() < 0.25 * np.square(blank).mean()


def test_a_crop_is_blended_at_its_edge():
    picture = Image.new("RGB", (100, 80), (200, 200, 200))
    pasted = np.asarray(paste_crop(picture, (20, 10, 70, 60), torch.zeros(3, 8, 8)))
    assert (pasted[35, 45] == 0).all()
    assert (pasted[:10] == 200).all()
    assert (pasted[:, 70:] == 200).all()
    assert 150 < pasted[35, 20, 0] <= 200
    whole = np.asarray(paste_crop(picture, (0, 0, 100, 80), torch.zeros(1, 8, 8)))
    assert (whole == 0).all()


@pytest.mark.parametrize("paper", [SQUARES, LINES, np.broadcast_to((0.6, 0.75, 0.9), (HEIGHT, WIDTH, 3))])
@pytest.mark.parametrize("light", [1.0, (1 - 0.5 * ACROSS / WIDTH)[..., None]])
def test_a_hole_in_the_paper_is_filled_with_its_pattern(paper, light):
    """What is filled in is the paper that was there: its lines go on, in the light of the place."""
    levels = (paper * light).astype(np.float32)
    hole = (abs(DOWN - 0.7 * ACROSS - 20) < 12) & (ACROSS > 130) & (ACROSS < 270)
    paper = filled(np.where(hole[..., None], 0, levels).astype(np.float32), hole)
    assert (paper[~hole] == levels[~hole]).all()
    assert np.abs(paper - levels)[hole].mean() < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_other_digits_and_the_lines_of_a_form_are_not_copied(seed):
    """A row of boxes with a 7 in each: where the middle one was, there is blank paper."""
    others, own = Image.new("L", (235, 165)), Image.new("L", (235, 165))
    for left in range(-63, 200, 75):
        ImageDraw.Draw(others).rectangle((left, 30, left + 75, 120), outline=255, width=2)
    for left, sheet in ((35, others), (110, own), (185, others)):
        seven = (left, 47, left + 30, 47, left + 7, 102)
        ImageDraw.Draw(sheet).line(seven, fill=255, width=4, joint="curve")
    hole = ndimage.binary_dilation(np.asarray(own) > 0, np.ones((3, 3), bool), iterations=3)
    levels = np.random.default_rng(seed).normal(0.92, 0.01, (*hole.shape, 3)).clip(0, 1).astype(np.float32)
    levels[np.asarray(others) > 0] = 0.1
    levels[hole] = 0.0
    assert filled(levels, hole)[hole].min() > 0.8


def shift_tried_point_by_point(texture, hole, shifts, corner, side, step):
    """The shift with the least mean square, and the fewest points lost, over every second point of a window."""
    height, width = hole.shape
    points = [
        (y, x)
        for y in range(max(0, corner[0] - side // 2), min(height, corner[0] + 2 * side + side // 2), 2)
        for x in range(max(0, corner[1] - side // 2), min(width, corner[1] + 2 * side + side // 2), 2)
    ]
    missing = sum(hole[point] for point in points)

    def wrong(dy, dx):
        moved = [((y, x), (y + dy, x + dx)) for y, x in points if 0 <= y + dy < height and 0 <= x + dx < width]
        moved = [(here, there) for here, there in moved if not hole[there]]
        known = [(texture[here] - texture[there]) ** 2 for here, there in moved if not hole[here]]
        share = (len(moved) - len(known)) / max(1, missing)
        return float(np.array(known).mean()) / share**4 if share >= 0.9 and len(known) >= 12 else np.inf

    ranked = [(wrong(dy, dx) + everywhere, dy, dx) for dy, dx, everywhere in shifts]
    least, dy, dx = min(ranked, default=(np.inf, 0, 0))
    if not np.isfinite(least):
        return None
    around = [(dy + down, dx + across) for down in range(-step, step + 1) for across in range(-step, step + 1)]
    return min(around, key=lambda shift: wrong(*shift)) if step > 1 else (dy, dx)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_a_shift_is_the_one_that_a_plain_loop_finds(seed, step):
    rng = np.random.default_rng(seed)
    shape, side = rng.integers(30, 60, 2), 10
    texture = rng.normal(0, 1, shape).astype(np.float32)
    hole = np.zeros(shape, bool)
    top, left = (int(rng.integers(-side, length)) for length in shape)
    hole[max(0, top) : top + 12, max(0, left) : left + 9] = True
    shifts = [(int(dy), int(dx)) for dy, dx in rng.integers(-25, 26, (30, 2))]
    badness = [float(value) for value in np.sort(rng.uniform(0, 2, 30).astype(np.float32))]
    ranked = [(*shift, bad) for shift, bad in zip(shifts, badness, strict=True)]
    wide = np.pad(texture, 25 + step), np.pad(hole, 25 + step, constant_values=True)
    found = paper_filling._best_shift(*wide, 25 + step, ranked, (top, left), side, step)
    assert found == shift_tried_point_by_point(texture, hole, ranked, (top, left), side, step)


def test_a_larger_digit_stays_inside_the_photograph(digits, models):
    picture = photo(ink_of((digits[1], 2, 20, 260)))
    picture = picture.crop((find_digits(picture)[0].box[0] - 12, 0, WIDTH, HEIGHT))
    (one,) = read_digits(picture, *models).readings
    pasted = paste(picture, one.found, torch.from_numpy(digits[0])[None])
    assert [again.label for again in read_digits(pasted, *models).readings] == [0]


def pieces(ink):
    return ndimage.label(ink, np.ones((3, 3)))[1]


def test_a_stroke_goes_on_along_faint_ink_and_ends_where_there_is_none():
    image = np.zeros((28, 28), np.float32)
    image[13:15, 4:11] = image[13:15, 17:24] = 1.0
    assert pieces(pen_distance(image, 0.8) < 0) == 2, "a gap without ink stays a gap"
    image[13:15, 11:17] = 0.3
    drawn = pen_distance(image, 0.8) < 0
    assert pieces(drawn) == 1
    assert drawn[14 * FINER, 5 * FINER : 23 * FINER].all()
    image[13:15, 17:] = 0.0
    assert np.flatnonzero((pen_distance(image, 0.8) < 0).any(0))[-1] < 13 * FINER, "it leads to no other stroke"


def test_what_is_faint_all_over_is_no_stroke():
    image = np.zeros((28, 28), np.float32)
    image[4:20, 8:10] = 1.0
    image[14:16, 16:24] = 0.4
    assert pieces(pen_distance(image, 0.8) < 0) == 1
    image[14:16, 16:24] = 0.9
    assert pieces(pen_distance(image, 0.8) < 0) == 2, "the second stroke of a 5"


def test_a_thick_pen_leaves_loops_open():
    down, across = np.mgrid[:28, :28] - 13.5
    ring = np.exp(-((np.hypot(down, across) - 3.5) ** 2)).astype(np.float32)
    for reach in (0.8, 2.5, 4.5):
        drawn = pen_distance(ring, reach) < 0
        assert not drawn[14 * FINER - 4 : 14 * FINER + 4, 14 * FINER - 4 : 14 * FINER + 4].any(), reach
        width = np.flatnonzero(drawn.any(0))
        assert abs(np.ptp(width) / FINER - 2 * (3.5 + reach)) < 1.2, "as thick as the pen outside"


def test_the_end_of_a_stroke_does_not_curl_back_into_itself():
    """A stroke that ends in a soft blot: what is around its end is faint ink too."""
    down, across = np.mgrid[:28, :28] - 13.5
    stroke = np.exp(-0.5 * (across / 0.9) ** 2) * (abs(down) < 8)
    blot = 0.6 * np.exp(-0.5 * (np.hypot(down - 8, across) / 2.5) ** 2)
    drawn = pen_distance(np.maximum(stroke, blot).astype(np.float32), 0.7) < 0
    _, areas = ndimage.label(~drawn)
    assert areas == 1, "no loop"
