"""The judges that benchmarks/judges.py makes."""

import sys
from pathlib import Path

import pytest
import torch

from labelvae import ImageData

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
from judges import Joint, fitted
from learning import accuracies, learned
from resnet import resnet9


@pytest.fixture
def data():
    """Noise that is brighter in one channel: the class."""
    torch.manual_seed(0)
    labels = torch.arange(960) % 3
    images = 0.6 * torch.rand(960, 3, 16, 16)
    images[torch.arange(960), labels] += 0.4
    return ImageData.from_tensors(images, labels, ["red", "green", "blue"], test_share=0.25)


def network():
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)]
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(8, 3))


def test_the_written_network_judges_any_batch_as_the_trained_one(data, tmp_path):
    images = data.splits["train"].load()
    judge = learned(network(), images, data, 8, tmp_path / "judge.pt2", learning_rate=3e-2)
    accuracy, *classes = accuracies(judge, data, "test")
    assert accuracy > 0.9
    assert min(classes) <= accuracy <= max(classes)
    again = torch.export.load(tmp_path / "judge.pt2").module()
    for count in (1, 7):
        torch.testing.assert_close(again(torch.ones(count, 3, 16, 16)), judge(torch.ones(count, 3, 16, 16)))

    finished = learned(network(), images, data, 8, tmp_path / "judge.pt2", learning_rate=3e-2)
    for ours, theirs in zip(judge.parameters(), finished.parameters(), strict=True):
        assert torch.equal(ours, theirs), "a finished training was not taken up"


def test_the_accuracy_is_that_of_every_image(data):
    always_first = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))
    torch.nn.init.zeros_(always_first[1].weight)
    always_first[1].bias.data = torch.tensor([1.0, 0.0, 0.0])
    accuracy, *classes = accuracies(always_first, data, "test")
    assert classes == [1.0, 0.0, 0.0]
    assert accuracy == pytest.approx(1 / 3, abs=0.01)


def test_a_joint_judge_sees_both_sides_of_every_network():
    torch.manual_seed(0)
    first, second = (resnet9(3).eval() for _ in range(2))
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        joint = Joint([first, second])(images)
        torch.testing.assert_close(joint, Joint([second, first])(images.flip(-1)))
        alone = [each(shown).softmax(dim=1).log() for each in (first, second) for shown in (images, images.flip(-1))]
        torch.testing.assert_close(joint, sum(alone) / 4)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_layer_reads_raw_features_whatever_their_scale(classes):
    torch.manual_seed(0)
    labels = torch.arange(300) % classes
    rows = torch.randn(300, 5) * torch.tensor([1e-3, 1.0, 50.0, 1.0, 1.0]) + torch.tensor([0.0, 7.0, -900.0, 0.0, 0.0])
    rows[:, 0] += 4e-3 * labels
    linear = fitted(rows, labels, 0.03)
    assert linear.weight.shape == (classes, 5)
    with torch.no_grad():
        assert (linear(rows).argmax(dim=1) == labels).float().mean() > 0.9
