"""The linear layer of a probe, as benchmarks/probe.py fits it."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
from probe import fitted


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
