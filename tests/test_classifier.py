from typing import get_args

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d, silu

from labelvae import LabelClassifier
from labelvae.models.classifier import FAINTEST
from labelvae.models.options import ClassifierKind


@pytest.mark.parametrize("kind", get_args(ClassifierKind))
def test_logits_and_features(kind, images):
    classifier = LabelClassifier((1, 8, 8), 3, kind=kind, widths=(8, 16), feature_dim=5)
    assert classifier(images).shape == (6, 3)
    assert classifier.features(images).shape == (6, 5)
    torch.testing.assert_close(classifier.logits(classifier.features(images)), classifier(images))


def test_pooled_features_do_not_depend_on_the_place():
    pooled = LabelClassifier((1, 32, 32), 3, kind="pooled", widths=(8,), blocks=1).eval()
    images = torch.zeros(2, 1, 32, 32)
    images[0, :, 8:16, 8:16] = images[1, :, 14:22, 14:22] = torch.rand(8, 8)
    here, there = pooled.features(images)
    torch.testing.assert_close(here, there)
    odd = LabelClassifier((3, 13, 9), 2, kind="pooled", widths=(4, 4, 4, 4))
    assert odd(torch.rand(3, 3, 13, 9)).shape == (3, 2)


@pytest.mark.parametrize("kind", ["convolutional", "pooled"])
def test_the_finest_maps_alone_are_the_first_of_all(kind, images):
    classifier = LabelClassifier((1, 8, 8), 3, kind=kind, widths=(4, 6, 8), blocks=2).eval()
    every = classifier.coarse_maps(images)
    assert [maps.shape[1] for maps in every] == classifier.map_widths
    for most in (1, 2, 3):
        some = classifier.coarse_maps(images, most)
        assert len(some) == most
        torch.testing.assert_close(some, every[:most], rtol=0, atol=0)
    ran = []
    classifier.maps[-2].register_forward_hook(lambda *_: ran.append(1))
    classifier.coarse_maps(images, 2)
    assert not ran  # what is not asked for is not computed
    with pytest.raises(ValueError, match="most: expected"):
        classifier.coarse_maps(images, 0)


def test_frozen_for_good(guide, images):
    guide.freeze()
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    guide.train()
    assert not any(part.training for part in guide.modules())
    images.requires_grad_()
    guide(images).sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in guide.parameters())
    for name, value in guide.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_frozen_inside_another_module(guide):
    outer = torch.nn.Sequential(guide.freeze(), torch.nn.Linear(3, 3)).train()
    assert outer[1].training
    assert not any(part.training for part in guide.modules())


def test_unfrozen_it_trains(guide):
    assert guide.train().training
    assert all(parameter.requires_grad for parameter in guide.parameters())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kind": "transformer"}, "kind: expected one of convolutional, pooled, mlp"),
        ({"num_classes": 1}, "num_classes"),
        ({"widths": ()}, "widths"),
        ({"feature_dim": 0}, "feature_dim"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": 1.0}, "dropout"),
        ({"kind": "mlp", "blocks": 1}, "an mlp has no residual blocks"),
        ({"image_shape": (1, 2, 2)}, "image_shape"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        LabelClassifier(**({"image_shape": (1, 8, 8), "num_classes": 3} | arguments))


def test_bad_images_are_refused(guide):
    with pytest.raises(ValueError, match="divide 8-bit values"):
        guide(torch.full((1, 1, 8, 8), 200.0))


def test_whitened_patches_are_uncorrelated_and_of_equal_variance():
    smooth = avg_pool2d(torch.rand(40, 3, 20, 20), 5, stride=1)  # pixels beside each other are alike
    classifier = LabelClassifier((3, 16, 16), 2, kind="pooled", widths=(4,))
    classifier.whiten(smooth)
    inside = conv2d(smooth * 2.0 - 1.0 - classifier.maps[0].mean, classifier.maps[0].filters)
    covariance = torch.cov(inside.transpose(0, 1).flatten(1))
    shares = covariance.diagonal()
    torch.testing.assert_close(covariance, shares.diag(), rtol=0, atol=2e-3)
    kept = (1.0 - FAINTEST * classifier.maps[0].filters.square().sum(dim=(1, 2, 3))).clamp_min(0.0)
    torch.testing.assert_close(shares, kept, rtol=0, atol=2e-3)  # v / (v + e) = 1 - e / (v + e)
    assert kept.max() > 0.9
    out = classifier.maps[0](smooth * 2.0 - 1.0)
    torch.testing.assert_close(out[:, :, :-1, :-1], silu(torch.cat([inside, -inside], dim=1)))


def test_images_of_one_colour_are_whitened_to_numbers():
    classifier = LabelClassifier((3, 8, 8), 2, kind="pooled", widths=(4,))
    classifier.whiten(torch.full((2, 3, 8, 8), 0.3))
    assert torch.isfinite(classifier(torch.rand(4, 3, 8, 8))).all()


@pytest.mark.parametrize("kind", get_args(ClassifierKind))
def test_what_is_frozen_or_has_no_whitening_stays_as_it_is(kind, images):
    classifier = LabelClassifier((1, 8, 8), 3, kind=kind, widths=(8,))
    if kind == "pooled":
        classifier.freeze()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    classifier.whiten(images)
    for name, value in classifier.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_a_whitened_classifier_stays_as_it_is_also_when_saved(images, tmp_path):
    classifier = LabelClassifier((1, 8, 8), 3, kind="pooled", widths=(8,)).eval()
    classifier.whiten(images)
    logits = classifier(images)
    classifier.save_pretrained(tmp_path)
    loaded = LabelClassifier.from_pretrained(tmp_path)
    for each in (classifier, loaded):
        each.whiten(images.square())
        torch.testing.assert_close(each(images), logits, rtol=0, atol=0)


@pytest.mark.parametrize(
    "bad", [torch.rand(2, 3, 8, 8), torch.full((2, 1, 8, 8), float("nan")), -torch.rand(2, 1, 8, 8)]
)
def test_bad_images_are_not_whitened_with(bad):
    classifier = LabelClassifier((1, 8, 8), 3, kind="pooled", widths=(8,))
    with pytest.raises(ValueError, match="images: expected"):
        classifier.whiten(bad)
    assert not classifier.maps[0].fitted


def test_a_network_sees_black_as_minus_one_and_white_as_one():
    classifier = LabelClassifier((1, 8, 8), 3, kind="mlp", widths=(4,)).eval()
    seen = []
    classifier.maps[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    classifier.features(torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)]))
    assert seen[0].amin(dim=(1, 2, 3)).tolist() == [-1.0, 1.0]
    assert seen[0].amax(dim=(1, 2, 3)).tolist() == [-1.0, 1.0]
