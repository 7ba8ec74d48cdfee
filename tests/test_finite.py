"""Numbers stay finite at the edges, and a run stops in words where they do not."""

import math

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from labelvae import (
    Augmentation,
    ClassifierTraining,
    ConditionalVAE,
    DiagonalGaussian,
    Discriminator,
    GuidedELBO,
    ImageData,
    LabelClassifier,
    Objective,
    VAETraining,
    evaluate,
)
from labelvae.models.latent import LOG_VARIANCE_RANGE
from labelvae.training.callbacks import LastCheckpoint
from labelvae.training.term_window import TermWindow

IMAGES = {
    "black": torch.zeros(6, 1, 8, 8),
    "white": torch.ones(6, 1, 8, 8),
    "constant": torch.full((6, 1, 8, 8), 0.3),
    "checkered": (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).float().expand(6, 1, 8, 8),
    "one": torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
}


def objective(**changes):
    everything = {
        "likelihood": "gaussian",
        "learn_scale": True,
        "free_bits": 0.1,
        "own_label_weight": 1.0,
        "class_mean_weight": 1.0,
        "cycle_weight": 1.0,
        "style_weight": 1.0,
        "equivariance_weight": 1.0,
        "adversarial_weight": 1.0,
        "guide_augmentation": Augmentation(rotation=5, noise=0.1),
        "discriminator_augmentation": Augmentation(shift=0.1, flip=True),
    }
    return Objective(**(everything | changes))


def steps(images, labels, objective, classes=3, count=20, precision=torch.float32):
    """The model, its loss and the last terms after some steps; everything that is seen on the way must be finite."""
    vae = ConditionalVAE((1, 8, 8), classes, latent_dim=4, encoder_widths=(8,), hidden_dim=16)
    guide = LabelClassifier((1, 8, 8), classes, widths=(8, 8), feature_dim=8)
    loss = GuidedELBO(guide, Discriminator((1, 8, 8), classes, (8,)), objective)
    task = VAETraining(vae, loss)
    optimizer = torch.optim.AdamW(task.parameter_groups(), lr=2e-3)
    for _ in range(count):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            terms = loss(vae, images, labels)
        assert all(torch.isfinite(value) for value in terms.means().values()), terms.means()
        optimizer.zero_grad()
        terms.total.backward()
        task.configure_gradient_clipping(optimizer)
        optimizer.step()
    assert all(torch.isfinite(value).all() for value in task.state_dict().values())
    return vae


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "laplace"])
@pytest.mark.parametrize("kind", IMAGES)
def test_images_that_say_little(kind, likelihood):
    images = IMAGES[kind]
    vae = steps(
        images, torch.arange(len(images)) % 3, objective(likelihood=likelihood, learn_scale=likelihood != "bernoulli")
    )
    again = vae.relabel(images, 1)
    assert torch.isfinite(again).all()
    assert again.min() >= 0
    assert again.max() <= 1


@pytest.mark.parametrize("weight", [0.0, 1e-6, 1.0, 1e6])
def test_label_weights_from_nothing_to_a_million(weight, images, labels):
    steps(images, labels, objective(label_weight=weight, own_label_weight=weight, class_mean_weight=weight))


def test_one_class_only(images):
    steps(images, torch.zeros(6, dtype=torch.long), objective())


def test_a_thousand_classes(images):
    steps(images, torch.tensor([0, 1, 500, 997, 998, 999]), objective(), classes=1000, count=3)


def test_bfloat16(images, labels):
    steps(images, labels, objective(label_weight=1e3), precision=torch.bfloat16)


@pytest.mark.parametrize("log_variance", [-1e30, -100.0, -8.0, 4.0, 100.0, 1e30])
def test_log_variances_beyond_the_range_are_taken_at_its_ends(images, log_variance, vae):
    with torch.no_grad():
        vae.encoder.gaussian.bias[4:] = log_variance
    posterior = vae.encode(images)
    low, high = LOG_VARIANCE_RANGE
    assert posterior.log_variance.min() >= low
    assert posterior.log_variance.max() <= high
    for value in (posterior.kl(), posterior.rsample(), posterior.log_prob(posterior.mean)):
        assert torch.isfinite(value).all()


def test_the_divergence_is_infinite_only_where_it_is():
    far = DiagonalGaussian(torch.tensor([[0.0], [1e10], [0.0]]), torch.tensor([[-80.0], [0.0], [80.0]]))
    assert torch.isfinite(far.kl()).all()
    assert (far.kl() > 10).all()


def test_scores_of_black_images_are_numbers_or_said_to_be_none(vae, guide):
    scores = evaluate(vae, [(torch.zeros(8, 1, 8, 8), torch.arange(8) % 3)], guide, progress=False)
    assert math.isfinite(scores.psnr)
    assert math.isfinite(scores.ssim)
    assert 0 <= scores.effectiveness <= 1


class Breaking(VAETraining):
    """A task whose cycle term (or, without a name, a weight) becomes NaN at a step."""

    def __init__(self, *args, term=None, at=0, **how):
        super().__init__(*args, **how)
        self.term, self.at = term, at

    def log_terms(self, terms):
        if self.global_step == self.at:
            if self.term:
                terms = terms | {self.term: torch.tensor(float("nan")), "total": torch.tensor(float("nan"))}
            else:
                with torch.no_grad():
                    self.vae.decoder.hidden.bias[0] = float("inf")
        super().log_terms(terms)


def fit(tmp_path, callback=None, **how):
    data = ImageData.from_tensors(
        (torch.rand(90, 1, 8, 8) * 255).byte(), torch.arange(90) % 3, list("abc"), batch_size=8
    )
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8,), hidden_dim=16)
    loss = GuidedELBO(LabelClassifier((1, 8, 8), 3, widths=(8,), feature_dim=8), objective=Objective(cycle_weight=1.0))
    task = Breaking(vae, loss, prefix="vae/", **how)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=4,
        logger=False,
        callbacks=[callback or LastCheckpoint(tmp_path / "last.ckpt")],
        log_every_n_steps=3,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(task, datamodule=data)


@pytest.mark.parametrize("at", [0, 1, 7, 8, 20])
def test_a_term_that_is_not_finite_stops_the_run_in_words(tmp_path, at):
    """Eight steps an epoch: the first epoch leaves no checkpoint."""
    with pytest.raises(FloatingPointError, match=rf"training: vae/cycle is not finite at step {at}, ") as error:
        fit(tmp_path, term="cycle", at=at)
    if at < 8:
        assert "the last good checkpoint is none" in str(error.value)
        assert not (tmp_path / "last.ckpt").exists()
    else:
        assert f"the last good checkpoint is {tmp_path / 'last.ckpt'}" in str(error.value)
        kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
        assert kept["epoch"] == at // 8 - 1
        assert all(torch.isfinite(value).all() for value in kept["state_dict"].values())


def test_a_last_step_that_breaks_the_weights_leaves_the_checkpoint_before(tmp_path):
    with pytest.raises(FloatingPointError, match=r"the weights vae.decoder.hidden.bias are not finite after step 15"):
        fit(tmp_path, at=15)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0


def test_weights_that_break_do_not_take_the_place_of_good_ones_within_an_epoch(tmp_path):
    every = ModelCheckpoint(tmp_path, "kept", every_n_train_steps=1, enable_version_counter=False)
    with pytest.raises(FloatingPointError, match=r"decoder.hidden.bias are not finite after step 5, .*kept.ckpt;"):
        fit(tmp_path, every, at=5)
    kept = torch.load(tmp_path / "kept.ckpt", weights_only=True)
    assert kept["global_step"] == 5
    assert all(torch.isfinite(value).all() for value in kept["state_dict"].values())


def test_weights_that_break_within_an_epoch_are_not_taken_for_bad_images(tmp_path):
    with pytest.raises(FloatingPointError, match=r"the weights vae.decoder.hidden.bias are not finite after step 4"):
        fit(tmp_path, at=4)


def test_a_classifier_that_breaks_says_so(tmp_path):
    class Breaking(ClassifierTraining):
        def log_terms(self, terms):
            super().log_terms({"total": terms["total"] * (float("inf") if self.global_step == 2 else 1.0)})

    data = ImageData.from_tensors(
        (torch.rand(90, 1, 8, 8) * 255).byte(), torch.arange(90) % 3, list("abc"), batch_size=8
    )
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    with pytest.raises(FloatingPointError, match=r"training: total is not finite at step 2"):
        trainer.fit(Breaking(LabelClassifier((1, 8, 8), 3, widths=(8,), feature_dim=8)), datamodule=data)


def test_a_stop_names_the_term_and_the_total_only_where_nothing_else_is_wrong():
    nan, one = torch.tensor(math.nan), torch.tensor(1.0)
    for terms, name in (
        ({"total": nan, "kl": nan, "reconstruction": one}, "kl"),
        ({"kl": one, "reconstruction": nan, "total": nan}, "reconstruction"),
        ({"kl": one, "total": nan}, "total"),
    ):
        window = TermWindow()
        window.add(3, terms)
        assert window.read() == (3, name)
