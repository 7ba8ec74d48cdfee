"""How digits are changed to score the packaged model, and how a wider model begins with a narrower one's weights."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from labelvae import ConditionalVAE
from labelvae.evaluation.style import thickness
from labelvae.runs.presets import MNIST_VARIED

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        return importlib.import_module("changed_digits"), importlib.import_module("packaged_training")


@pytest.fixture
def bars():
    images = torch.zeros(2, 1, 28, 28)
    images[0, :, 5:23, 12:16] = 1.0
    images[1, :, 12:15, 5:23] = 0.8
    return images


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_digit_is_drawn_again_half_or_twice_as_thick(scripts, bars, factor):
    digits, _ = scripts
    made = digits.change_digits(bars, digits.Changed(strokes=factor))
    torch.testing.assert_close(thickness(made), factor * thickness(bars), rtol=0.15, atol=0)
    assert made[1].max() <= 0.8 + 1e-6


def test_a_digit_has_another_size_about_the_middle(scripts, bars):
    digits, _ = scripts
    made = digits.change_digits(bars, digits.Changed(size=0.5))
    torch.testing.assert_close(made.sum(dim=(1, 2, 3)), 0.25 * bars.sum(dim=(1, 2, 3)), rtol=0.02, atol=0)
    columns = torch.arange(28.0) - 13.5
    centre = (made * columns).sum(dim=(1, 2, 3)) / made.sum(dim=(1, 2, 3))
    was = (bars * columns).sum(dim=(1, 2, 3)) / bars.sum(dim=(1, 2, 3))
    torch.testing.assert_close(centre, 0.5 * was, rtol=0, atol=0.05)


@pytest.mark.parametrize("nearer", [False, True])
def test_a_digit_is_moved_by_whole_pixels_and_does_not_come_in_again(scripts, nearer):
    digits, _ = scripts
    images = torch.zeros(200, 1, 28, 28)
    images[:, 0, 14, 14] = 1.0
    images[:, 0, 0, 0] = 0.5  # leaves the frame, or stays in its corner
    made = digits.change_digits(images, digits.Changed(shift=4, nearer=nearer))
    places = {(int(place[2]) - 14, int(place[3]) - 14) for place in (made == 1.0).nonzero()}
    furthest = {max(abs(down), abs(across)) for down, across in places}
    assert furthest == ({0, 1, 2, 3, 4} if nearer else {4})
    corners = (made == 0.5).nonzero()
    assert corners[:, 2:].max() <= 4


def test_a_wider_model_begins_as_the_narrower_one(scripts, images):
    _, training = scripts

    class Data:
        image_shape, num_classes = (1, 8, 8), 3

    how = replace(MNIST_VARIED.vae, latent_dim=6, encoder_widths=(4, 8), hidden_dim=12)
    torch.manual_seed(0)
    known = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(4, 8), hidden_dim=8).eval()
    with torch.no_grad():
        for weights in known.parameters():
            weights.copy_(torch.randn_like(weights) * 0.4)
    begun = training.begun(how, known, Data).eval()
    apart = (begun.reconstruct(images, 1) - known.reconstruct(images, 1)).abs().mean()
    assert apart < 0.2 * known.reconstruct(images, 1).std()
    torch.testing.assert_close(begun.encode(images).mean[:, :4], known.encode(images).mean, rtol=0.1, atol=0.2)
    assert (begun.encode(images).mean[:, 4:] != 0).any()
