"""Every recipe end to end on real digits, in seconds: where its label enters, and what that does."""

from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Trainer

from labelvae import ConditionalVAE, Discriminator, GuidedELBO, LabelClassifier, Scores, VAETraining, evaluate
from labelvae.runs.building import new_vae, vae_task
from labelvae.runs.conditionings import recipes
from labelvae.runs.presets import CIFAR10, CIFAR10_SMALL, DIGITS

RECIPES = recipes(DIGITS, channels=1)


@pytest.fixture(scope="module")
def classifiers(digits):
    torch.manual_seed(0)
    shape = (digits.image_shape, digits.num_classes)
    return LabelClassifier(*shape, widths=(8, 16)), LabelClassifier(*shape, kind="mlp", widths=(16,)).eval()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_saves_and_is_scored(name, digits, classifiers, tmp_path):
    guide, judge = classifiers
    how = RECIPES[name]
    vae = ConditionalVAE(
        digits.image_shape,
        digits.num_classes,
        latent_dim=how.latent_dim,
        encoder_widths=how.encoder_widths and (8, 16),
        decoder_widths=how.decoder_widths and (16, 8),
        hidden_dim=32,
        encoder_label=how.encoder_label,
        decoder_label=how.decoder_label,
    )
    critic = Discriminator(digits.image_shape, digits.num_classes, (8, 8))
    images, labels = next(iter(digits.loader("test")))
    before = vae.reconstruct(images, labels)
    task = VAETraining(vae, GuidedELBO(guide, critic, how.objective))
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=3, enable_model_summary=False, num_sanity_val_steps=0, **options)
    trainer.fit(task, digits.loader("train", 64, shuffle=True, drop_last=True), digits.loader("validation"))
    after = vae.reconstruct(images, labels)
    assert (images - after).square().mean() < (images - before).square().mean()
    vae.save_pretrained(tmp_path)
    again = ConditionalVAE.from_pretrained(tmp_path)
    torch.testing.assert_close(again.relabel(images, 3, labels), vae.relabel(images, 3, labels))
    assert isinstance(evaluate(vae, [(images, labels)], judge, guide=guide, progress=False), Scores)
    follows = not torch.allclose(vae.relabel(images, 3, labels), vae.relabel(images, 8, labels), atol=1e-6)
    assert follows == (name != "vanilla")


def test_recipes_differ_in_where_the_label_enters_and_in_the_loss():
    assert len({repr(replace(how, optimization=DIGITS.vae.optimization)) for how in RECIPES.values()}) == len(RECIPES)
    assert RECIPES["labelvae"] == DIGITS.vae


def test_colour_images_get_the_sizes_of_the_authors():
    assert (RECIPES["latent-shift"].latent_dim, RECIPES["latent-shift"].objective.own_label_weight) == (10, 100.0)
    colour = recipes(CIFAR10, channels=3)["latent-shift"]
    assert (colour.latent_dim, colour.objective.own_label_weight) == (512, 300.0)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_colour_images(name):
    how, guide = recipes(CIFAR10_SMALL, channels=3)[name], LabelClassifier((3, 32, 32), 10, widths=(4, 4))
    task = vae_task(how, new_vae(how, (3, 32, 32), 10), guide)
    terms = task.loss(task.vae, torch.rand(4, 3, 32, 32), torch.arange(4))
    terms.total.backward()
    assert torch.isfinite(terms.total)
