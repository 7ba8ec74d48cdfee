import pytest
import torch

from labelvae import LabelClassifier
from labelvae.refinement import refined
from labelvae.terms import label_loss


@pytest.fixture
def guide():
    torch.manual_seed(0)
    return LabelClassifier((1, 8, 8), 3, kind="mlp", widths=(16,), feature_dim=8).train()


IMAGES = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0])


def test_the_guide_is_more_convinced_and_the_images_stay_near(guide):
    after = refined(guide, IMAGES, LABELS, radius=0.5, steps=5)
    assert guide.training  # as it was
    guide.eval()
    assert (label_loss(guide(after), LABELS) < label_loss(guide(IMAGES), LABELS)).all()
    lengths = (after - IMAGES).flatten(1).norm(dim=1)
    assert lengths.max() <= 0.5 + 1e-5
    assert lengths.min() > 0.3
    assert after.min() >= 0
    assert after.max() <= 1
    assert not after.requires_grad
    assert all(weight.grad is None for weight in guide.parameters())


class Corners(LabelClassifier):
    """A guide whose gradient is known: its logits are three pixels."""

    def forward(self, images):
        return torch.stack([images[:, 0, 0, 0], images[:, 0, 1, 1], images[:, 0, 2, 2]], dim=1)


def test_a_gradient_is_followed_to_the_radius():
    guide = Corners((1, 8, 8), 3)
    after = refined(guide, torch.full((1, 1, 8, 8), 0.5), torch.tensor([0]), radius=0.2, steps=8)
    assert after[0, 0, 0, 0] > 0.5 + 0.2 / 2**0.5  # up where it is asked
    assert after[0, 0, 1, 1] < 0.5  # down where it is not
    assert (after - 0.5).norm() == pytest.approx(0.2, rel=1e-4)
    assert (after != 0.5).sum() == 3


def test_chunks_change_nothing_and_a_radius_of_nothing_neither(guide):
    torch.testing.assert_close(refined(guide, IMAGES, LABELS, chunk_size=3), refined(guide, IMAGES, LABELS))
    torch.testing.assert_close(refined(guide, IMAGES, LABELS, radius=0), IMAGES)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"radius": -1.0}, "radius: expected"),
        ({"steps": 0}, "steps: expected"),
        ({"chunk_size": 0}, "chunk_size: expected"),
        ({"labels": LABELS[:3]}, "labels: expected"),
        ({"images": 2 * IMAGES}, "images: expected"),
    ],
)
def test_what_cannot_be_is_refused(guide, changed, message):
    with pytest.raises(ValueError, match=message):
        refined(**({"guide": guide, "images": IMAGES, "labels": LABELS} | changed))
