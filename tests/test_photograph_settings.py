"""Settings for photographs of any size and number."""

import pytest
import torch

from labelvae.runs.building import check_networks, new_classifier, new_vae, vae_task
from labelvae.runs.photographs import photograph_settings

SIZES = [(8, 8), (8, 40), (16, 16), (31, 33), (32, 32), (48, 64), (64, 64), (96, 96), (128, 128), (200, 130)]


@pytest.mark.parametrize("size", SIZES)
def test_settings_of_every_size_can_be_built_and_trained(size):
    shape = (3, *size)
    settings = photograph_settings(shape, 100)
    check_networks(settings, shape, 3)
    task = vae_task(settings.vae, new_vae(settings.vae, shape, 3), new_classifier(settings.guide, shape, 3)).train()
    terms = task.step(torch.rand(4, *shape), torch.tensor([0, 1, 2, 0]), 0.5)
    assert torch.isfinite(terms["total"])


def test_what_grows_with_the_size():
    small, large = (photograph_settings((3, side, side), 9000).vae for side in (32, 96))
    assert large.refine == pytest.approx(3 * small.refine)
    assert large.objective.label_weight == pytest.approx(3 * small.objective.label_weight)
    guides = [photograph_settings((3, side, side), 9000).guide.adversarial for side in (32, 64)]
    assert guides == pytest.approx([4 / 255, 2 / 255], abs=1e-4)
    assert large.objective.scale == pytest.approx(3**0.5 * small.objective.scale, abs=1e-3)


def test_few_images_are_trained_on_for_fewer_steps():
    steps = [photograph_settings((3, 64, 64), count).vae.optimization.least_steps for count in (60, 1250, 2500, 9**9)]
    assert steps == [1250, 1250, 2500, 5000]
    with pytest.raises(ValueError, match="count: expected an integer of at least 1, got 0"):
        photograph_settings((3, 64, 64), 0)
