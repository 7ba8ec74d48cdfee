"""Networks from settings: what is too large is refused before memory is asked for."""

from dataclasses import replace

import pytest
import torch

from labelvae import ConditionalVAE
from labelvae.data.settings import Augmentation
from labelvae.losses.objective import Objective
from labelvae.runs.building import check_networks, classifier_task, new_classifier, new_vae, vae_task
from labelvae.runs.experiment import run_experiment
from labelvae.runs.presets import CIFAR10, CIFAR10_SMALL, DIGITS, FOLDER, MNIST
from labelvae.runs.settings import ClassifierSettings, VAESettings
from labelvae.training.options import Optimization

OFTEN = Optimization(batch_size=512, tuned_batch_size=128, learning_rate=1e-3, schedule="one-cycle", weight_decay=0.3)
"""Twice its learning rate, since the batch is four times as large."""


def same(config, how):
    """Whether a network was made with all of these settings that it knows."""
    known = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
    return all(known[name] == getattr(how, name) for name in known if hasattr(how, name))


def test_settings_of_a_model_reach_its_network_and_its_training():
    sizes = {"latent_dim": 32, "encoder_widths": (4,), "decoder_widths": (6,), "hidden_dim": 5, "blocks": 2}
    label = {"encoder_label": "embedding", "decoder_label": "embedding", "embedding_dim": 3}
    others = {"spatial_latent": True, "upsampling": "nearest", "discriminator_learning_rate": 3e-4}
    others |= {"augmentation": Augmentation(sizes=(0.6, 1.3), share=0.5)}
    how = VAESettings(**sizes, **label, **others, objective=Objective(adversarial_weight=1.0), optimization=OFTEN)
    assert all(getattr(how, name) != getattr(VAESettings(), name) for name in (*sizes, *label, *others))
    vae = new_vae(how, (1, 8, 8), 3)
    assert same(vae.config, how)
    assert set(sizes) | set(label) <= set(vae.config)
    task = vae_task(how, vae, None)
    assert (task.learning_rate, task.discriminator_learning_rate) == pytest.approx((2e-3, 6e-4))
    assert (task.weight_decay, task.schedule) == (0.3, "one-cycle")
    assert task.loss.objective == how.objective
    assert task.augmentation == how.augmentation


def test_settings_of_a_classifier_reach_its_network_and_its_training():
    how = ClassifierSettings("pooled", (4,), 1, 5, 0.2, 0.1, Augmentation(noise=0.3), OFTEN)
    classifier = new_classifier(how, (1, 8, 8), 3)
    assert same(classifier.config, how)
    assert {"kind", "widths", "blocks", "feature_dim", "dropout"} <= set(classifier.config)
    task = classifier_task(how, classifier)
    assert (task.learning_rate, task.weight_decay, task.schedule) == (pytest.approx(2e-3), 0.3, "one-cycle")
    assert (task.label_smoothing, task.augmentation) == (0.1, Augmentation(noise=0.3))


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
    with pytest.raises(ValueError, match=r"vae.refine: expected .* at most 8.0, got 8.5"):
        check_networks(replace(DIGITS, vae=replace(DIGITS.vae, refine=8.5)), (1, 8, 8), 10)
    settings = replace(DIGITS, out=tmp_path / "run", judge=replace(DIGITS.judge, blocks=1))
    with pytest.raises(ValueError, match="blocks: an mlp has no residual blocks"):
        run_experiment(settings)
    assert not (tmp_path / "run").exists()
