import math

import pytest
import torch
from drawn import stroke
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import line_aa

from labelvae.evaluation.style import ink, layout, regions, slant, style_statistics, thickness


@settings(max_examples=30)
@given(st.floats(2.0, 5.0), st.floats(-40, 40))
def test_thickness_of_a_drawn_stroke(width, angle):
    assert thickness(stroke(width, angle)).item() == pytest.approx(width, abs=1.0)  # upright, widths go by pixels


def test_thickness_follows_the_width_over_many_strokes():
    widths, angles = 2.0 + 3.0 * torch.rand(60, dtype=torch.float64), 80.0 * torch.rand(60) - 40.0
    measured = thickness(torch.cat([stroke(float(w), float(a)) for w, a in zip(widths, angles, strict=True)]))
    assert torch.corrcoef(torch.stack([widths, measured]))[0, 1] > 0.98
    assert (measured - widths).mean().abs() < 0.4


def test_thickness_on_small_images():
    assert [round(thickness(stroke(w, 10, size=28, length=18)).item()) for w in (2, 3, 4)] == [2, 3, 4]
    values = [thickness(stroke(w, 0, size=8, length=6)).item() for w in (1.0, 2.0, 3.0)]
    assert values == sorted(values)


@settings(max_examples=30)
@given(st.floats(-35, 35), st.floats(1.0, 4.0))
def test_slant_of_a_drawn_stroke(angle, width):
    assert math.degrees(slant(stroke(width, angle)).item()) == pytest.approx(angle, abs=2.0)


def test_slant_of_an_antialiased_line_of_another_library():
    image = torch.zeros(1, 1, 64, 64)
    rows, columns, values = line_aa(50, 22, 10, 42)  # 40 up, 20 to the right
    image[0, 0, rows, columns] = torch.from_numpy(values).float()
    assert math.tan(slant(image).item()) == pytest.approx(0.5, abs=0.02)


def test_slant_is_that_of_the_shear():
    upright = stroke(4, 0)
    maps = torch.tensor([[[1.0, 0.3, 0.0], [0.0, 1.0, 0.0]]])  # reads 0.3 to the right for each step down
    grid = torch.nn.functional.affine_grid(maps, [1, 1, 64, 64], align_corners=False)
    sheared = torch.nn.functional.grid_sample(upright, grid, align_corners=False)
    assert math.tan(slant(sheared).item()) == pytest.approx(0.3, abs=0.01)


def test_ink_is_the_mean_brightness():
    torch.testing.assert_close(ink(torch.full((2, 1, 8, 8), 0.25)), torch.full((2,), 0.25, dtype=torch.float64))


def test_empty_and_full_images_have_finite_statistics():
    for value in (0.0, 1.0):
        for statistic in style_statistics(torch.full((2, 1, 8, 8), value)).values():
            assert torch.isfinite(statistic).all()
    assert thickness(torch.zeros(1, 1, 8, 8)).item() == 0


def test_layout_is_a_thumbnail():
    image = torch.zeros(1, 3, 8, 8)
    image[0, 1, :4] = 1.0
    thumbnail = layout(image).reshape(3, 4, 4)
    torch.testing.assert_close(thumbnail[1, :2], torch.ones(2, 4, dtype=torch.float64))
    assert thumbnail.sum() == 8


def test_which_statistics_apply():
    assert set(style_statistics(torch.rand(1, 1, 8, 8))) == {"ink", "thickness", "slant"}
    assert {name: value.shape for name, value in style_statistics(torch.rand(2, 3, 9, 11)).items()} == {
        "layout": (2, 48)
    }


def test_regions_that_touch_at_a_corner_are_one_and_faint_ones_are_none():
    image = torch.zeros(3, 1, 9, 9)
    image[0, 0, 1:3, 1:3] = image[0, 0, 3, 3] = 0.8  # touch at a corner
    image[1, 0, 1, 1] = image[1, 0, 1, 5] = 0.8
    image[1, 0, 7, 7] = 0.1  # too faint
    assert regions(image).tolist() == [1.0, 2.0, 0.0]
