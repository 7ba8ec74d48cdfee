import enum
import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labelvae import Augmentation, ConditionalVAE, Objective, wrong_labels
from labelvae.inputs.checks import check_count, check_flag, check_number, check_widths
from labelvae.inputs.class_names import check_names
from labelvae.inputs.tensors import check_image_shape, check_images, check_labels, label_weights, noised_labels

SHAPE = (1, 8, 8)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (np.zeros((2, 1, 8, 8), dtype=np.float32), "torch tensor"),
        (torch.rand(1, 8, 8), r"images\[None\]"),
        (torch.rand(2, 3, 8, 8), r"\(B, 1, 8, 8\), got \(2, 3, 8, 8\)"),
        (torch.rand(2, 1, 9, 8), r"\(B, 1, 8, 8\), got \(2, 1, 9, 8\)"),
        (torch.rand(0, 1, 8, 8), "empty batch"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "torch.uint8; 8-bit images become that by"),
        (torch.rand(2, 1, 8, 8) * 255, "divide 8-bit values by 255"),
        (torch.rand(2, 1, 8, 8) - 0.5, "undo any normalization"),
        (torch.full((2, 1, 8, 8), float("nan")), "NaN or infinity"),
        (torch.full((2, 1, 8, 8), float("inf")), "NaN or infinity"),
    ],
)
def test_bad_images_are_refused_in_words(images, says):
    with pytest.raises(ValueError, match=says):
        check_images(images, SHAPE)


def test_one_bad_pixel_is_noticed():
    images = torch.rand(100, *SHAPE)
    images[57, 0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        check_images(images, SHAPE)


def test_rounding_beyond_the_range_is_accepted():
    check_images(torch.full((1, *SHAPE), 1.0000001), SHAPE)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (torch.tensor([0, 3]), "from 0 to 2, got 3"),
        (torch.tensor([-1, 0]), "from 0 to 2, got -1"),
        (torch.tensor([0, 1, 2]), r"shape \(2,\), got \(3,\)"),
        (torch.tensor([[0], [1]]), r"shape \(2,\), got \(2, 1\)"),
        (torch.tensor([0.0, 1.0]), r"torch.float32; use labels.long\(\)"),
        (torch.tensor([True, False]), "torch.bool"),
        ([0, 1], "got list"),
    ],
)
def test_bad_class_indices_are_refused_in_words(labels, says):
    with pytest.raises(ValueError, match=says):
        check_labels(labels, num_classes=3, batch=2)


@pytest.mark.parametrize(
    "labels",
    [
        *[1, [1, 1], (1, 1), np.array([1, 1]), np.int64(1), torch.tensor([1, 1]), torch.tensor(1)],
        *[np.array(1), np.array([1, 1], np.uint16), np.array([1, 1])[::-1]],
    ],
)
def test_labels_in_every_form(labels):
    torch.testing.assert_close(label_weights(labels, 3, 2), torch.tensor([[0.0, 1.0, 0.0]] * 2))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ("seven", "expected class indices or names, an index from 0 to 2, got 'seven'"),
        (None, "expected class indices, got None"),
        (3, "from 0 to 2, got 3"),
        (10**30, "expected class indices"),
        (1.5, "whole class indices, got 1.5"),
        ([[0.5, 0.5]], r"shape \(2, 3\), got \(1, 2\)"),
        ([[0.5, 0.5, 0.5]] * 2, "sum to one"),
        ([[1.5, -0.5, 0.0]] * 2, "non-negative"),
        ([[float("nan"), 0.5, 0.5]] * 2, "sum to one"),
    ],
)
def test_bad_labels_are_refused_in_words(labels, says):
    with pytest.raises(ValueError, match=says):
        label_weights(labels, 3, 2)


@given(st.integers(2, 30), st.integers(1, 50), st.integers(0, 1000))
def test_wrong_labels_are_wrong_and_in_range(classes, batch, seed):
    labels = torch.randint(classes, (batch,), generator=torch.Generator().manual_seed(seed))
    wrong = wrong_labels(labels, classes, torch.Generator().manual_seed(seed))
    assert (wrong != labels).all()
    check_labels(wrong, classes, batch)


def test_wrong_labels_are_uniform():
    counts = torch.bincount(wrong_labels(torch.full((30_000,), 2), 4), minlength=4)
    assert counts[2] == 0
    torch.testing.assert_close(counts[[0, 1, 3]] / 10_000, torch.ones(3), atol=0.05, rtol=0)


def test_noised_labels_leave_wrong_ones_wrong_and_uniform():
    labels = torch.full((40_000,), 2)
    given, wrong = noised_labels(labels, wrong_labels(labels, 4), 0.75, 4)
    assert (wrong != given).all()
    counts = torch.bincount(4 * given + wrong, minlength=16).view(4, 4)
    expected = 40_000 * torch.tensor([0.25, 0.25, 0.25, 0.25])[:, None] * (1 - torch.eye(4)) / 3
    torch.testing.assert_close(counts.float(), expected, atol=200, rtol=0)
    assert noised_labels(labels, wrong, 0.0, 4) == (labels, wrong)


def test_wrong_labels_of_what_are_no_labels():
    for labels in ([0, 1], torch.tensor(1), torch.tensor([0.5]), torch.tensor([3])):
        with pytest.raises(ValueError, match="labels"):
            wrong_labels(labels, 3)


def test_one_class_has_no_wrong_label():
    with pytest.raises(ValueError, match="num_classes: expected an integer of at least 2, got 1"):
        wrong_labels(torch.zeros(3, dtype=torch.long), 1)


@pytest.mark.parametrize("shape", [(1, 8), (1, 8, 8.0), (0, 8, 8), (1, 7, 8), (1, 8, True), "abc"])
def test_bad_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="image_shape"):
        check_image_shape(shape)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (torch.Size([1, 28, 28]), (1, 28, 28)),
        (np.array([3, 32, 32]), (3, 32, 32)),
        (torch.tensor([3, 32, 32]), (3, 32, 32)),
        ([np.int64(1), 28, 28], (1, 28, 28)),
        ((28, 28), (1, 28, 28)),
        ((28, 30, 1), (1, 28, 30)),
        ((32, 30, 3), (3, 32, 30)),
        ((32, 30, 4), (4, 32, 30)),
        ((64, 16, 16), (64, 16, 16)),
        ((8, 8, 8), (8, 8, 8)),
    ],
)
def test_shapes_in_every_plain_form(shape, expected):
    found = check_image_shape(shape)
    assert found == expected
    assert all(type(size) is int for size in found)


def test_many_channels_last_are_asked_about():
    with pytest.raises(ValueError, match=r"\(8, 224, 224\) are 8 channels of 224x224"):
        check_image_shape((224, 224, 8))


COUNTS = [np.int64(4), np.uint8(4), torch.tensor(4), np.array(4), torch.tensor(4, dtype=torch.uint8)]
NUMBERS = [np.float32(0.5), np.float64(0.5), torch.tensor(0.5), np.array(0.5), torch.tensor(0.5, dtype=torch.bfloat16)]


def test_single_numbers_of_numpy_and_torch_become_pythons_own():
    for value in COUNTS:
        assert (check_count("count", value), type(check_count("count", value))) == (4, int)
        assert check_widths("widths", np.array([4, 8])) == (4, 8)
        assert type(ConditionalVAE((1, 8, 8), value, latent_dim=value).num_classes) is int
    for value in NUMBERS:
        assert (check_number("rate", value), type(check_number("rate", value))) == (0.5, float)
        how = Objective(label_weight=value, style_change=Augmentation(shear=value))
        assert json.loads(json.dumps(asdict(how)))["style_change"]["shear"] == 0.5
    assert check_flag("flag", np.bool_(True)) is True


@pytest.mark.parametrize(
    "value",
    ["1e-3", "4", None, True, np.bool_(True), torch.tensor([4]), np.array([4.0]), 1j, torch.tensor(4, device="meta")],
)
def test_what_is_no_single_number_is_refused(value):
    for check in (check_count, check_number):
        with pytest.raises(ValueError, match="^rate: expected a"):
            check("rate", value)


class Pet(str, enum.Enum):  # noqa: UP042  its text is "Pet.cat"
    cat = "cat"
    dog = "dog"


class Column:
    def to_list(self):
        return ["cat", "dog"]


@pytest.mark.parametrize(
    "names",
    [
        list(Pet),
        np.array(["cat", "dog"]),
        (name for name in ("cat", "dog")),
        {"cat": 0, "dog": 1}.keys(),
        {0: "cat", 1: "dog"}.values(),
        Column(),
    ],
    ids=lambda names: type(names).__name__,
)
def test_names_in_any_form(names):
    found = check_names("names", names)
    assert found == ["cat", "dog"]
    assert [type(name) for name in found] == [str, str]


@pytest.mark.parametrize("names", [{"cat", "dog"}, {"cat": 1}, b"cat", ["cat", ""], ["cat", "\t"], ["cat", None], None])
def test_what_are_no_names(names):
    with pytest.raises(ValueError, match="^names: expected"):
        check_names("names", names)


@pytest.mark.parametrize("shape", [(64, 64, 2), (64, 64, 5), (32, 64, 6)])
def test_channels_behind_are_said(shape):
    turned = (shape[2], *shape[:2])
    with pytest.raises(ValueError, match=rf"\({turned[0]}, {turned[1]}, {turned[2]}\) are {shape[2]} channels"):
        check_image_shape(shape)
