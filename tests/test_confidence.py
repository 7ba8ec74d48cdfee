"""The dial: a guide's probability of a counterfactual is what was asked."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labelvae import ConditionalVAE, LabelClassifier
from labelvae.evaluation.explanations import explain
from labelvae.flows import Codes, LatentFlow, WithFlow
from labelvae.models import counterfactuals, relabel_to_confidence


class Code(nn.Module):
    """Takes two pixels for a code of two numbers."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))  # a model lies where its weights do

    def forward(self, images):
        return torch.cat([images[:, 0, 0, :2], images.new_zeros(len(images), 2)], dim=1)


class Dots(nn.Module):
    """Draws the weight of class 1 at row 3, column 4, and the first number of the code at row 6, column 6."""

    def forward(self, z, label):
        chance = z.new_full((len(z), 1, 8, 8), 1e-6)
        chance[:, 0, 3, 4] = label[:, 1].clamp(1e-6, 1 - 1e-6)
        chance[:, 0, 6, 6] = z[:, 0].sigmoid()
        return chance.logit()


class Reader(nn.Module):
    """Log-odds of class 1 against class 0: 10 times the first dot and 4 times the second, less 7; class 2 never."""

    def forward(self, images):
        odds = 10.0 * images[:, 0, 3, 4] + 4.0 * images[:, 0, 6, 6] - 7.0
        return torch.stack([torch.zeros_like(odds), odds, torch.full_like(odds, -100.0)], dim=1)


@pytest.fixture(scope="module")
def dots():
    return ConditionalVAE((1, 8, 8), 3, latent_dim=2, encoder=Code(), decoder=Dots())


def probability(images, label=1):
    return Reader()(images).softmax(dim=1)[:, label]


@settings(max_examples=20, deadline=None)
@given(st.floats(0.02, 0.98))
def test_the_label_moves_as_far_as_by_hand(dots, confidence):
    made = relabel_to_confidence(dots, Reader(), torch.zeros(1, 1, 8, 8), 1, confidence)
    expected = (math.log(confidence / (1 - confidence)) + 5.0) / 10.0  # the code's dot is one half, which gives 2
    assert made[0, 0, 3, 4].item() == pytest.approx(expected, abs=1e-4)
    assert made[0, 0, 6, 6].item() == pytest.approx(0.5, abs=1e-6)
    assert probability(made).item() == pytest.approx(confidence, abs=1e-3)


@pytest.mark.parametrize(("confidence", "label", "code"), [(0.998, 1.0, 1.0), (0.003, 0.0, -1.0)])
def test_where_the_label_does_not_suffice_the_code_moves(dots, confidence, label, code):
    made = relabel_to_confidence(dots, Reader(), torch.zeros(2, 1, 8, 8), 1, confidence, tolerance=1e-4)
    assert made[:, 0, 3, 4].tolist() == pytest.approx([label] * 2, abs=1e-5)
    moved = math.log(confidence / (1 - confidence)) + 7.0 - 10.0 * label
    assert made[:, 0, 6, 6].tolist() == pytest.approx([moved / 4.0] * 2, abs=1e-3)
    assert (moved / 4.0 - 0.5) * code > 0


def test_more_confidence_lies_further_along_the_way(dots):
    wanted = torch.linspace(0.0015, 0.9985, 40)
    made = relabel_to_confidence(dots, Reader(), torch.zeros(40, 1, 8, 8), 1, wanted)
    torch.testing.assert_close(probability(made), wanted, rtol=0, atol=1e-3)
    for row, column in ((3, 4), (6, 6)):
        assert bool((made[:, 0, row, column].diff() >= -1e-6).all())


def test_the_packaged_model_and_guide():
    vae, guide = ConditionalVAE.from_pretrained("mnist"), LabelClassifier.from_pretrained("mnist")
    own, asked = torch.tensor([3, 1, 0, 7, 5, 9]), torch.tensor([8, 4, 6, 1, 3, 2])
    images = vae.sample(own, torch.Generator().manual_seed(0))
    before = -torch.ones(6)
    for confidence in (0.05, 0.5, 0.9, 0.99):
        made = relabel_to_confidence(vae, guide, images, asked, confidence, own)
        with torch.no_grad():
            chance = guide(made).softmax(dim=1)[torch.arange(6), asked]
        torch.testing.assert_close(chance, torch.full((6,), confidence), rtol=0, atol=0.01)
        assert bool((chance > before).all())
        before = chance


def test_labels_images_and_confidences_come_in_any_form(dots):
    images = torch.zeros(2, 1, 8, 8)
    plain = relabel_to_confidence(dots, Reader(), images, 1, 0.7)
    for labels, confidence, own in (
        ([1, 1], [0.7, 0.7], None),
        (torch.eye(3)[[1, 1]], torch.tensor(0.7, dtype=torch.float64), 0),
        ("1", torch.tensor([0.7, 0.7]), [0, 0]),
    ):
        made = relabel_to_confidence(
            dots, LabelClassifier.wrap(Reader(), (1, 8, 8), 3), images, labels, confidence, own
        )
        torch.testing.assert_close(made, plain)
    torch.testing.assert_close(relabel_to_confidence(dots, Reader(), images, 1, 0.7, chunk_size=1), plain)
    assert relabel_to_confidence(dots, Reader(), torch.zeros(8, 8, dtype=torch.uint8), 1, 0.7).shape == (1, 1, 8, 8)


def test_an_image_of_the_asked_class_becomes_less_certain(dots):
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 3, 4] = 1.0
    made = relabel_to_confidence(dots, Reader(), image, 1, 0.97)
    assert probability(made).item() == pytest.approx(0.97, abs=1e-3)
    assert made[0, 0, 3, 4].item() == pytest.approx(1.0, abs=1e-4)


def test_in_inference_mode(dots):
    with torch.inference_mode():
        made = relabel_to_confidence(dots, Reader(), torch.zeros(1, 1, 8, 8), 1, 0.998)
    assert probability(made).item() == pytest.approx(0.998, abs=1e-3)


def test_a_guide_that_answers_nan_is_said(dots):
    class Broken(nn.Module):
        def forward(self, images):
            dark = images[:, :1, 0, 0] + images[:, :1, 7, 7] < 1e-4
            return Reader()(images).masked_fill(dark, torch.nan)

    guide = LabelClassifier.wrap(Broken(), (1, 8, 8), 3)
    with pytest.warns(UserWarning, match="confidence: 1 of 1 counterfactuals"):
        relabel_to_confidence(dots, guide, torch.zeros(1, 1, 8, 8), 1, 0.7, 0)


def test_what_cannot_be_reached_is_said(dots):
    with pytest.warns(UserWarning, match="confidence: 2 of 3 counterfactuals are further than 0.0005"):
        made = relabel_to_confidence(
            dots, Reader(), torch.zeros(3, 1, 8, 8), 1, [0.99999, 0.5, 0.00001], tolerance=0.0005
        )
    assert probability(made)[1].item() == pytest.approx(0.5, abs=1e-3)


class Step(nn.Module):
    """Has no gradient."""

    def forward(self, images):
        odds = (images[:, 0, 3, 4] * 20.0).round() - 10.0
        return torch.stack([torch.zeros_like(odds), odds, torch.full_like(odds, -100.0)], dim=1).detach()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"confidence": 0.0}, "confidence: expected a finite number above 0 and below 1, got 0.0"),
        ({"confidence": 1}, "confidence: expected a finite number above 0 and below 1, got 1"),
        ({"confidence": float("nan")}, "confidence: expected a finite number above 0 and below 1, got nan"),
        ({"confidence": "0.9"}, "confidence: expected a finite number above 0 and below 1, got '0.9'"),
        ({"confidence": [0.5] * 3}, "confidence: expected one probability, or one for each of 2 images, got 3"),
        ({"confidence": torch.tensor([0.5, 1.5])}, "confidence: expected a finite number above 0 and below 1, got 1.5"),
        ({"labels": [[0.5, 0.5, 0.0]] * 2}, "labels: expected one of 3 classes for each image, got a blend"),
        ({"own_labels": [0, 7]}, "own_labels: expected class indices from 0 to 2, got 7"),
        ({"guide": LabelClassifier((1, 8, 8), 4)}, "guide: knows 4 classes of images (1, 8, 8), the model 3"),
        ({"guide": Step(), "confidence": 0.99999}, "guide: expected a network whose logits have a gradient"),
        ({"tolerance": 0}, "tolerance: expected a finite number above 0"),
        ({"chunk_size": 0}, "chunk_size: expected an integer of at least 1, got 0"),
        ({"images": torch.full((2, 1, 8, 8), 2.0)}, "images: expected values in [0, 1]"),
        ({"vae": Reader()}, "vae: expected ConditionalVAE, got Reader"),
        (
            {"vae": ConditionalVAE((1, 8, 8), 3, encoder_label="onehot", decoder_label="none")},
            "vae: expected a decoder that sees the label, got decoder_label='none'",
        ),
    ],
)
def test_refuses(dots, how, says):
    arguments = {
        "vae": dots,
        "guide": Reader(),
        "images": torch.zeros(2, 1, 8, 8),
        "labels": 1,
        "confidence": 0.5,
    } | how
    with pytest.raises(ValueError, match=re.escape(says)):
        relabel_to_confidence(**arguments)


def test_a_guide_without_a_gradient_serves_where_the_label_suffices(dots):
    made = relabel_to_confidence(dots, Step(), torch.zeros(1, 1, 8, 8), 1, 0.5)
    assert made[0, 0, 3, 4].item() == pytest.approx(0.475, abs=0.026)  # rounds to log-odds 0


def test_a_compiled_model_is_taken_as_what_it_wraps(vae, guide, images, labels):
    compiled = torch.compile(vae, backend="eager")
    made = relabel_to_confidence(compiled, guide, images, 2, 0.4, labels, tolerance=0.9)
    assert torch.equal(made, relabel_to_confidence(vae, guide, images, 2, 0.4, labels, tolerance=0.9))
    found, expected = (explain(each, images, guide, steps=3).means() for each in (compiled, vae))
    assert repr(found) == repr(expected)
    flow = LatentFlow(4, 3)
    assert torch.equal(WithFlow(compiled, flow).relabel(images, 1, 0), WithFlow(vae, flow).relabel(images, 1, 0))
    assert torch.equal(Codes(compiled, [(images, labels)]).means, Codes(vae, [(images, labels)]).means)
    with pytest.raises(ValueError, match="vae: expected ConditionalVAE, got LabelClassifier"):
        counterfactuals(guide, images, 1)
