"""The terms of other discriminators, as benchmarks/discriminators.py tries them."""

import math
import sys
from pathlib import Path

import pytest
import torch

from labelvae import Discriminator, LabelClassifier
from labelvae.data.settings import Augmentation

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
from discriminators import PENALTY, direction_of, recoloured_terms, relativistic_terms, san_terms

SHAPE, NOTHING = (3, 16, 16), Augmentation()
WAYS = [relativistic_terms, san_terms, recoloured_terms]


@pytest.fixture
def parts():
    torch.manual_seed(0)
    guide = LabelClassifier(SHAPE, 3, widths=(4, 8)).freeze()
    discriminator = Discriminator(SHAPE, 3, (6, 8, 8), beside=guide.map_widths)
    images, made = torch.rand(2, 5, *SHAPE)
    labels = torch.tensor([0, 1, 2, 0, 1])
    return discriminator, guide, images, labels, made, (labels + 1) % 3


@pytest.mark.parametrize("way", WAYS)
def test_each_term_trains_its_own_side_only(way, parts):
    discriminator, guide, images, labels, made, wrong = parts
    made.requires_grad_()
    terms = way(discriminator, guide, images, labels, made, wrong, NOTHING)
    assert {name: term.shape for name, term in terms.items()} == {"adversarial": (5,), "discriminator": (5,)}
    weights = [weight for weight in discriminator.parameters() if weight.requires_grad]
    assert len(weights) == len(list(discriminator.parameters()))

    terms["adversarial"].sum().backward(retain_graph=True)
    assert made.grad.abs().sum() > 0
    assert all(weight.grad is None or not weight.grad.any() for weight in weights)

    made.grad = None
    terms["discriminator"].sum().backward()
    assert made.grad is None
    assert sum(float(weight.grad.abs().sum()) for weight in weights if weight.grad is not None) > 0


def test_a_pair_that_is_equal_ties_and_both_of_its_gradients_are_paid_for(parts):
    discriminator, guide, images, labels, *_ = parts
    discriminator.eval()  # spectral normalization moves in training
    terms = relativistic_terms(discriminator, guide, images, labels, images, labels, NOTHING)
    assert torch.allclose(terms["adversarial"], torch.full((5,), math.log(2)), atol=1e-6)
    moved = images.clone().requires_grad_()
    score = discriminator(moved, torch.eye(3)[labels], guide.coarse_maps(images, 2))
    squared = torch.autograd.grad(score.sum(), moved)[0].square().sum(dim=(1, 2, 3))
    assert torch.allclose(terms["discriminator"], math.log(2) + PENALTY * squared, rtol=1e-4)


def test_directions_have_length_one_and_differ_by_label(parts):
    discriminator = parts[0]
    found = direction_of(discriminator, torch.eye(3))
    assert torch.allclose(found.norm(dim=1), torch.ones(3), atol=1e-6)
    assert (found[0] - found[1]).abs().max() > 1e-3
