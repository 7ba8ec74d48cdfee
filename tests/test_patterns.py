"""The measure of patterns: hand-made cases."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def patterns():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("patterns")
    finally:
        sys.path.remove(str(BENCHMARKS))


def squares(contrasts, level=0.5, size=28):
    """Squares on a black ground, with stripes of these contrasts, one pixel wide."""
    images = torch.zeros(len(contrasts), 1, size, size)
    stripes = torch.arange(size - 8) % 2 * 2.0 - 1.0
    images[..., 4:-4, 4:-4] = level + torch.tensor(contrasts)[:, None, None, None] * stripes
    return images


def test_a_plain_shape_has_no_pattern_and_stripes_have_theirs(patterns):
    found = patterns.pattern(squares([0.0, 0.1, 0.2]))
    assert found[0] == pytest.approx(0.0, abs=1e-6)
    assert found[2] == pytest.approx(2 * float(found[1]), rel=1e-4)
    assert float(found[1]) == pytest.approx(0.08, rel=1e-3)  # a mean over five stripes holds a fifth of them


def test_black_stripes_are_part_of_the_shape_and_the_ground_is_not(patterns):
    assert patterns.pattern(squares([0.5])) == pytest.approx(0.4, rel=1e-3)
    assert patterns.pattern(torch.zeros(1, 1, 28, 28)) == 0.0
    assert patterns.brightness(squares([0.0], level=0.3)) == pytest.approx(0.3)


def test_what_is_kept_has_the_highest_correlation_and_what_is_not_has_none(patterns):
    torch.manual_seed(0)
    contrasts, labels = torch.rand(400) * 0.3, torch.arange(400) % 2
    images = squares(contrasts.tolist())
    asked = 1 - labels
    same = patterns.kept(images, labels, images * torch.where(asked == 1, 1.0, 0.5)[:, None, None, None], asked)
    other = patterns.kept(images, labels, images[torch.randperm(400)], asked)
    assert same["pattern"] > 0.9
    assert abs(other["pattern"]) < 0.2
    plain = patterns.kept(images, labels, squares([0.0] * 400), asked)
    assert plain["over_real"] == pytest.approx(0.0, abs=1e-4)
