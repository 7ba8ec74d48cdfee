"""Batches of other people's loaders: what is plain is taken, the rest is one sentence."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from labelvae.training.batches import class_indices, unpack, unpack_images

X, Y = torch.rand(4, 1, 8, 8), torch.tensor([0, 2, 1, 2])
Pair = namedtuple("Pair", ["picture", "kind"])


@pytest.mark.parametrize(
    "batch",
    [
        (X, Y),
        [X, Y],
        (X, Y, torch.arange(4)),
        [X, Y, "names", {}],
        Pair(X, Y),
        {"image": X, "label": Y},
        {"pixel_values": X, "labels": Y, "id": torch.arange(4)},
        {"img": X, "target": Y},
        (X, Y[:, None]),
        (X, Y.float()),
        (X, Y.to(torch.uint8)),
        (X, F.one_hot(Y, 3)),
        (X, F.one_hot(Y, 3).double()),
        (X, F.one_hot(Y, 3).bool()),
        [(X, Y)],
        [{"image": X, "label": Y}],
    ],
)
def test_what_is_plain_is_taken(batch):
    images, labels = unpack(batch, 3)
    assert images is X
    torch.testing.assert_close(labels.long(), Y)


def test_8_bit_images_are_scaled():
    pixels = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(unpack((pixels, Y), 3)[0], pixels.float() / 255)


def test_images_may_come_alone_where_no_label_is_needed():
    for batch in (X, [X], {"image": X}):
        images, labels = unpack_images(batch, 3)
        assert images is X
        assert labels is None
    assert unpack_images((X, Y), 3)[1] is Y


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (X, "expected images and labels, got images alone"),
        ([X], "expected images and labels, got images alone"),
        ({"a": (X, Y), "b": (X, Y)}, "got a dict of a, b; rename them"),
        ({"image": X, "images": X, "label": Y}, "got a dict of image, images, label"),
        ({}, "got a dict of nothing"),
        ([], "got a list of 0 parts"),
        (None, "got a NoneType"),
        ((X, "cat"), "expected a tensor of labels, got a str"),
        ((X.numpy(), Y), "expected a tensor of images, got a numpy.ndarray"),
        ([[np.zeros((8, 8))], [1]], "expected a tensor of images, got a list"),
        ([(X, Y), (X, Y)], "expected a tensor of images, got a tuple"),
    ],
)
def test_the_rest_is_named(batch, says):
    with pytest.raises(ValueError, match="batch: ") as error:
        unpack(batch, 3)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (torch.full((4, 3), 1 / 3), "one-hot rows, got rows that blend classes"),
        (torch.tensor([0.5, 1.0, 2.0, 0.0]), "got numbers that are not whole"),
        (torch.full((4,), torch.nan), "got numbers that are not whole"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, says):
    with pytest.raises(ValueError, match=says):
        class_indices(labels, 3)
