"""The measures of digits that benchmarks/morphometry.py takes, against figures whose measures are known."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import morphometry


def bar(thickness=4, height=20, shear=0.0):
    """A bar of 28x28 pixels, leaning to the right by `shear` of its height."""
    rows, columns = np.mgrid[0:280, 0:280] / 10 - 13.95
    inside = (abs(rows) <= height / 2) & (abs(columns + shear * rows) <= thickness / 2)
    return inside.reshape(28, 10, 28, 10).mean(axis=(1, 3))


@pytest.mark.parametrize("shear", [-0.3, 0.0, 0.4])
def test_a_leaning_bar(shear):
    found = dict(zip(morphometry.MEASURES, morphometry.measured(bar(shear=shear)), strict=True))
    assert found["area"] == pytest.approx(80, rel=0.03)
    assert found["height"] == pytest.approx(20, abs=0.7)
    assert found["width"] == pytest.approx(4, abs=0.4)
    assert found["slant"] == pytest.approx(math.atan(shear), abs=0.03)
    across = 4 * math.cos(math.atan(shear))
    assert found["thickness"] == pytest.approx(across, abs=0.6)
    assert 14 < found["length"] < 1.1 * math.hypot(20, 20 * shear)


def test_a_skeleton_is_as_long_as_its_steps():
    straight, diagonal = np.zeros((9, 9), dtype=bool), np.eye(9, dtype=bool)
    straight[4, 1:8] = True
    corner = straight.copy()
    corner[4:, 7] = True
    assert morphometry.length(straight) == 6
    assert morphometry.length(diagonal) == pytest.approx(8 * math.sqrt(2))
    assert morphometry.length(corner) == 10


def test_an_empty_image_has_no_measures():
    assert all(math.isnan(each) for each in morphometry.measured(np.zeros((28, 28))))
