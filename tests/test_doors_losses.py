import math

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from labelvae import (
    Bernoulli,
    ConditionalVAE,
    Gaussian,
    GuidedELBO,
    ImageData,
    LabelClassifier,
    Laplace,
    Objective,
    VAETraining,
)

QUICK = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


def total_variation(record):
    images = record.counterfactual
    return images.diff(dim=2).abs().flatten(1).sum(dim=1) + images.diff(dim=3).abs().flatten(1).sum(dim=1)


def of_reconstructions(record):
    return (record.reconstruction - record.images).abs().flatten(1).sum(dim=1)


def stepped(guide, images, labels, steps=3, **arguments):
    torch.manual_seed(5)
    task = VAETraining(
        ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8,), hidden_dim=8), GuidedELBO(guide, **arguments)
    )
    optimizer = torch.optim.SGD(task.parameters(), lr=1e-4)
    for _ in range(steps):
        optimizer.zero_grad()
        task.step(images, labels, 0.5)["total"].backward()
        optimizer.step()
    return task.vae.state_dict()


@pytest.mark.parametrize("term", [total_variation, of_reconstructions])
@pytest.mark.parametrize("guided", [True, False])
def test_a_term_of_no_weight_to_speak_of_changes_nothing(guide, images, labels, term, guided):
    objective = Objective(class_mean_weight=1.0)
    if term is total_variation and not guided:  # counterfactuals are in the batch for another reason
        objective = Objective(cycle_weight=1e-9)
    of = guide if guided else None
    without = stepped(of, images, labels, objective=objective)
    with_it = stepped(of, images, labels, objective=objective, terms={"mine": (1e-9, term)})
    for name, value in without.items():
        torch.testing.assert_close(with_it[name], value, rtol=1e-5, atol=1e-6)
        if "running" in name or "num_batches" in name:
            assert torch.allclose(value, with_it[name], rtol=1e-5), "no second forward pass"
    heavy = stepped(of, images, labels, objective=objective, terms={"mine": (10.0, term)})
    assert any(not torch.allclose(heavy[name], value, rtol=1e-3) for name, value in without.items())


def test_a_term_is_weighed_warmed_up_and_named(vae, guide, images, labels):
    loss = GuidedELBO(guide, terms={"smooth": (0.25, total_variation)}, objective=Objective(warm_up_share=0.5))
    full, half, plain = (torch.manual_seed(0) and loss(vae, images, labels, progress=p) for p in (1.0, 0.25, 0.0))
    assert list(full.means())[-1] == "smooth"
    assert full.own_terms["smooth"].shape == (len(images),)
    rest = {name: value for name, value in full.means().items() if name not in ("total", "smooth", "reconstruction")}
    weighed = full.own_terms["smooth"].mean() * 0.25 + rest["kl"] + 5.0 * rest["counterfactual_label"]
    torch.testing.assert_close(full.total - full.reconstruction.mean(), weighed)
    torch.testing.assert_close(half.total - half.reconstruction.mean(), weighed / 2)
    torch.testing.assert_close(plain.total, plain.reconstruction.mean())


def test_a_term_sees_what_the_step_made(vae, guide, images, labels):
    seen = []
    loss = GuidedELBO(
        guide, terms={"look": (1.0, lambda record: seen.append(record) or record.counterfactual.sum((1, 2, 3)))}
    )
    wrong = (labels + 1) % 3
    loss.eval()(vae.eval(), images, labels, wrong)
    record = seen[-1]
    assert torch.equal(record.images, images)
    assert torch.equal(record.wrong, wrong)
    assert record.guide is guide
    torch.testing.assert_close(record.reconstruction, vae.decode(record.code, labels))
    torch.testing.assert_close(record.counterfactual, vae.decode(record.code, wrong))
    torch.testing.assert_close(record.posterior.mean, vae.encode(images).mean)


class Learned(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, record):
        return self.scale * record.code.square().sum(dim=1)


def test_a_trained_term_is_logged_kept_by_name_and_missed_in_words(digits: ImageData, tmp_path):
    vae = ConditionalVAE(digits.image_shape, 10, latent_dim=4, encoder_widths=(8,), hidden_dim=8)
    learned = Learned()
    terms = {"total_variation": (0.1, total_variation), "learned": (0.1, learned)}
    task = VAETraining(vae, GuidedELBO(objective=Objective(), terms=terms))
    logger = CSVLogger(tmp_path)
    trainer = Trainer(
        max_epochs=1, limit_train_batches=2, limit_val_batches=1, log_every_n_steps=1, logger=logger, **QUICK
    )
    trainer.fit(task, datamodule=digits)
    assert "train/total_variation" in trainer.callback_metrics
    assert "val/learned" in trainer.callback_metrics
    assert learned.scale != 1.0
    path = tmp_path / "task.ckpt"
    trainer.save_checkpoint(path)
    with pytest.raises(
        ValueError, match="loss: the checkpoint was made with the term 'total_variation' and the term 'lea"
    ):
        VAETraining.load_from_checkpoint(path)
    again = VAETraining.load_from_checkpoint(path, loss=GuidedELBO(terms={**terms, "learned": (0.1, Learned())}))
    assert torch.equal(again.loss.own_terms.functions["learned"].scale, learned.scale)
    with pytest.warns(UserWarning, match="the term 'total_variation' of your own, which this loss does not have"):
        VAETraining.load_from_checkpoint(path, loss=GuidedELBO(terms={"learned": (0.1, Learned())}))
    with pytest.warns(UserWarning, match="made with total_variation 0.1, now 0.9"):
        VAETraining.load_from_checkpoint(
            path, loss=GuidedELBO(terms={"total_variation": (0.9, total_variation), "learned": (0.1, Learned())})
        )


def test_a_checkpoint_takes_the_functions_of_its_terms_and_knows_the_rest(digits: ImageData, tmp_path):
    vae = ConditionalVAE(digits.image_shape, 10, latent_dim=4, encoder_widths=(8,), hidden_dim=8)
    guide = LabelClassifier(digits.image_shape, 10, widths=(8,))
    learned = Learned()
    objective = Objective(label_weight=3.0)
    terms = {"total_variation": (0.1, total_variation), "learned": (0.2, learned)}
    task = VAETraining(vae, GuidedELBO(guide, objective=objective, terms=terms))
    trainer = Trainer(
        max_epochs=1, limit_train_batches=1, limit_val_batches=0, logger=False, enable_checkpointing=False, **QUICK
    )
    trainer.fit(task, datamodule=digits)
    path = tmp_path / "task.ckpt"
    trainer.save_checkpoint(path)
    with pytest.raises(ValueError, match=r"pass terms=\{'total_variation': function, 'learned': function\}"):
        VAETraining.load_from_checkpoint(path)
    functions = {"total_variation": total_variation, "learned": Learned()}
    again = VAETraining.load_from_checkpoint(path, terms=functions)
    assert again.loss.own_terms.weights == {"total_variation": 0.1, "learned": 0.2}
    assert torch.equal(again.loss.own_terms.functions["learned"].scale, learned.scale)
    assert again.loss.objective == objective
    assert again.loss.guide is not None
    for name, value in task.loss.state_dict().items():
        assert torch.equal(again.loss.state_dict()[name], value), name
    with pytest.raises(ValueError, match=r"expected the functions of the terms .*, got \['learned'\]"):
        VAETraining.load_from_checkpoint(path, terms={"learned": Learned()})
    with pytest.warns(UserWarning, match=r"made with label_weight 3.0, now 1.0"):
        VAETraining.load_from_checkpoint(
            path,
            loss=GuidedELBO(guide, objective=Objective(label_weight=1.0), terms={**terms, "learned": (0.2, Learned())}),
        )


def test_a_checkpoint_takes_a_guide_of_your_own_and_sees_how_it_was_wrapped(digits: ImageData, tmp_path):
    def wrapped(size=12, mean=0.3):
        network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
        return LabelClassifier.wrap(network, digits.image_shape, 10, mean=mean, size=size)

    vae = ConditionalVAE(digits.image_shape, 10, latent_dim=4, encoder_widths=(8,), hidden_dim=8)
    objective, terms = Objective(label_weight=3.0), {"total_variation": (0.1, total_variation)}
    task = VAETraining(vae, GuidedELBO(wrapped(), objective=objective, terms=terms))
    trainer = Trainer(
        max_epochs=1, limit_train_batches=1, limit_val_batches=0, logger=False, enable_checkpointing=False, **QUICK
    )
    trainer.fit(task, datamodule=digits)
    path, functions = tmp_path / "task.ckpt", {"total_variation": total_variation}
    trainer.save_checkpoint(path)
    with pytest.raises(ValueError, match=r"guide: the checkpoint was made with a Sequential of your own.*pass guide="):
        VAETraining.load_from_checkpoint(path, terms=functions)
    again = VAETraining.load_from_checkpoint(path, guide=wrapped(), terms=functions)
    assert (again.loss.objective, again.loss.own_terms.weights) == (objective, {"total_variation": 0.1})
    for name, value in task.loss.state_dict().items():
        assert torch.equal(again.loss.state_dict()[name], value), name
    with pytest.warns(
        UserWarning, match=r"the guide's mean \[0.3\], now \[0.5\]; the guide's size \[12, 12\], now None"
    ):
        VAETraining.load_from_checkpoint(path, guide=wrapped(size=None, mean=0.5), terms=functions)
    with pytest.raises(ValueError, match="guide and terms: give them to the loss that is passed"):
        VAETraining.load_from_checkpoint(path, loss=GuidedELBO(wrapped()), guide=wrapped(), terms=functions)


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ([total_variation], r"terms: expected \{"),
        ({"mine": total_variation}, "as mine"),
        ({"mine": (1.0, 3)}, "as the function of mine"),
        ({"mine": (-1.0, total_variation)}, r"terms\['mine'\]: expected"),
        ({"my term": (1.0, total_variation)}, "got the name 'my term'"),
        ({"kl": (1.0, total_variation)}, "'kl' is the name of a term of the objective"),
        (
            {"mine": (1.0, lambda record: record.images.mean())},
            r"expected mine to return one number an image.*got shape \(\)",
        ),
        ({"mine": (1.0, lambda record: 3.0)}, "expected mine to return"),
        ({"mine": (1.0, lambda record: record.pictures)}, "mine fails on three grey images of shape"),
    ],
)
def test_bad_terms_are_refused_before_training(vae, terms, says):
    with pytest.raises(ValueError, match=says):
        VAETraining(vae, GuidedELBO(terms=terms))


CONSTANT = {
    "detached": lambda record: record.reconstruction.detach().flatten(1).sum(dim=1),
    "chosen": lambda record: record.guide(record.counterfactual).argmax(dim=1).float(),
    "still": lambda record: record.images.flatten(1).sum(dim=1),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_a_term_without_a_gradient_is_said(vae, guide, name):
    with pytest.warns(UserWarning, match=f"terms: {name} has no gradient on three grey images"):
        VAETraining(vae, GuidedELBO(guide, terms={name: (1.0, CONSTANT[name])}))


class OnImages(nn.Module):
    """Its weight alone has a gradient."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, record):
        return self.scale * record.images.flatten(1).sum(dim=1)


GRADED = {
    "tv": total_variation,
    "code": lambda record: record.posterior.mean.square().sum(dim=1),
    "spread": lambda record: record.posterior.log_variance.sum(dim=1),
    "guided": lambda record: record.guide(record.counterfactual).logsumexp(dim=1),
    "in_place": lambda record: record.reconstruction.clamp_(0.1, 0.9).flatten(1).sum(dim=1),
    "of_its_own": OnImages(),
}


@pytest.mark.parametrize("name", GRADED)
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_a_term_with_a_gradient_is_not(vae, guide, name, mode):
    with mode():
        GuidedELBO(guide, terms={name: (1.0, GRADED[name])}).check_networks(vae)


def test_a_term_of_counterfactuals_needs_a_decoder_that_sees_the_label(images, labels):
    blind = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_label="onehot", decoder_label="none")
    with pytest.raises(ValueError, match="has no counterfactuals to train on"):
        GuidedELBO(terms={"mine": (1.0, total_variation)})(blind, images, labels)
    assert GuidedELBO(terms={"mine": (1.0, of_reconstructions)})(blind, images, labels).own_terms["mine"].shape == (6,)


def test_likelihoods_as_objects_are_those_of_the_names(vae, images, labels):
    for likelihood, objective in (
        (Gaussian(0.2), Objective(likelihood="gaussian", scale=0.2)),
        (Laplace(0.3, learn_scale=True), Objective(likelihood="laplace", scale=0.3, learn_scale=True)),
        (Bernoulli(), Objective(likelihood="bernoulli")),
    ):
        given, named = (
            GuidedELBO(likelihood=likelihood, objective=Objective(label_weight=1.0)),
            GuidedELBO(objective=objective),
        )
        assert (given.objective.likelihood, given.objective.scale) == (objective.likelihood, objective.scale)
        assert given.log_scale.requires_grad == objective.learn_scale
        logits = torch.randn_like(images)
        assert torch.equal(given.reconstruction(images, logits), named.reconstruction(images, logits))
        torch.testing.assert_close(likelihood.nll(images, logits), named.reconstruction(images, logits))


class Cauchy(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_width = nn.Parameter(torch.tensor(-2.0))

    def nll(self, images, logits):
        width = self.log_width.exp()
        return -torch.distributions.Cauchy(logits.sigmoid(), width).log_prob(images).flatten(1).sum(dim=1)


def test_a_likelihood_of_your_own_is_trained_with_and_kept(vae, images, labels, tmp_path):
    own = Cauchy()
    loss = GuidedELBO(likelihood=own)
    task = VAETraining(vae, loss)
    assert any(own.log_width is each for group in task.parameter_groups() for each in group["params"])
    terms = loss(vae, images, labels)
    terms.total.backward()
    assert own.log_width.grad.abs() > 0
    assert math.isfinite(terms.total.item())
    trainer = Trainer(max_epochs=1, limit_val_batches=0, logger=False, enable_checkpointing=False, **QUICK)
    loader = DataLoader(TensorDataset(images, labels), batch_size=6)
    trainer.fit(task, loader, loader)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="loss: the checkpoint was made with the likelihood Cauchy of your own"):
        VAETraining.load_from_checkpoint(tmp_path / "x.ckpt")
    again = VAETraining.load_from_checkpoint(tmp_path / "x.ckpt", loss=GuidedELBO(likelihood=Cauchy()))
    assert torch.equal(again.loss.likelihood.log_width, own.log_width)


def test_bad_likelihoods_are_refused(vae, images, labels):
    for given in ("gaussian", Gaussian, 3):
        with pytest.raises(ValueError, match="likelihood: expected an object with nll"):
            GuidedELBO(likelihood=given)
    with pytest.raises(ValueError, match="scale"):
        Gaussian(0.0)

    class Mean:
        def nll(self, images, logits):
            return (images - logits).square().mean()

    with pytest.raises(ValueError, match=r"likelihood: expected nll to return \(6,\)"):
        GuidedELBO(likelihood=Mean())(vae, images, labels)


def test_a_likelihood_made_from_one_of_ours_is_your_own(vae, images, labels):
    class Wider(Gaussian):
        def nll(self, images, logits):
            return super().nll(images, logits) + 1.0

    for given in (Wider(scale=0.5), type("Alike", (Gaussian,), {})(scale=0.5)):
        found = GuidedELBO(likelihood=given).reconstruction(images, torch.zeros_like(images))
        torch.testing.assert_close(found, given.nll(images, torch.zeros_like(images)))
    GuidedELBO(likelihood=Wider())(vae, images, labels).total.backward()
