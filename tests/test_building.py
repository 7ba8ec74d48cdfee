"""Networks from settings: what is too large is refused before memory is asked for."""

from dataclasses import replace

import pytest
import torch

from labelvae import ConditionalVAE
from labelvae.building import check_networks, new_classifier, new_vae, vae_task
from labelvae.experiment import run_experiment
from labelvae.presets import CIFAR10, CIFAR10_SMALL, DIGITS, FOLDER, MNIST


def test_a_network_that_is_too_large_is_refused_and_not_tried():
    with pytest.raises(ValueError, match=r"a network of 38,[0-9,]+ weights was asked for"):
        new_vae(replace(DIGITS.vae, encoder_widths=(65536, 65536)), (1, 8, 8), 10)
    with pytest.raises(ValueError, match="weights was asked for"):
        new_classifier(replace(DIGITS.judge, widths=(65536, 65536)), (1, 8, 8), 10)


def test_looking_at_the_size_draws_no_random_numbers():
    how = DIGITS.vae
    torch.manual_seed(0)
    made, after = new_vae(how, (1, 8, 8), 10), torch.rand(())
    torch.manual_seed(0)
    plain = ConditionalVAE((1, 8, 8), 10, how.latent_dim, how.encoder_widths, how.decoder_widths, how.hidden_dim)
    assert torch.equal(after, torch.rand(()))
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), plain.parameters(), strict=True))


def test_the_discriminator_sees_the_guide_where_it_shall():
    guide = new_classifier(DIGITS.guide, (1, 8, 8), 10)
    for sees, beside in ((False, ()), (True, (64,))):
        how = replace(DIGITS.vae, discriminator_sees_guide=sees)
        assert vae_task(how, new_vae(how, (1, 8, 8), 10), guide).loss.discriminator.beside == beside
    judge = new_classifier(DIGITS.judge, (1, 8, 8), 10)
    for other, changed in ((judge, how), (None, how), (guide, replace(how, discriminator_widths=(8,)))):
        with pytest.raises(ValueError, match="discriminator_sees_guide: expected a guide with maps"):
            vae_task(changed, new_vae(changed, (1, 8, 8), 10), other)


@pytest.mark.parametrize(("preset", "shape"), [(MNIST, (1, 28, 28)), (CIFAR10, (3, 32, 32)), (FOLDER, (3, 64, 48))])
def test_what_can_be_built_is_let_through_and_draws_no_random_numbers(preset, shape):
    before = torch.get_rng_state()
    check_networks(preset, shape, 10)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_built_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(ValueError, match="latent_dim: expected a multiple of 16"):
        check_networks(replace(CIFAR10_SMALL, vae=replace(CIFAR10_SMALL.vae, latent_dim=100)), (3, 32, 32), 10)
    with pytest.raises(ValueError, match="decoder_label='none' has no counterfactuals to train on"):
        check_networks(replace(DIGITS, vae=replace(DIGITS.vae, decoder_label="none")), (1, 8, 8), 10)
    settings = replace(DIGITS, out=tmp_path / "run", judge=replace(DIGITS.judge, blocks=1))
    with pytest.raises(ValueError, match="blocks: an mlp has no residual blocks"):
        run_experiment(settings)
    assert not (tmp_path / "run").exists()
