import math
from dataclasses import fields, replace

import pytest
import torch
from drawn import stroke
from torch.distributions import Bernoulli, Laplace, Normal
from torch.distributions import kl_divergence as torch_kl

from labelvae import (
    Augmentation,
    ConditionalVAE,
    DiagonalGaussian,
    Discriminator,
    GuidedELBO,
    LabelClassifier,
    Objective,
)
from labelvae.losses import guidance
from labelvae.losses.adversarial import adversarial_terms
from labelvae.losses.guidance import CONSTRAINT_RATE
from labelvae.losses.objective import LEAST_SCALE
from labelvae.losses.terms import (
    bernoulli_nll,
    binary_label_loss,
    class_mean_loss,
    cycle_loss,
    gaussian_nll,
    hinge_loss,
    kl_divergence,
    label_loss,
    laplace_nll,
    linear_warm_up,
    perceptual_loss,
    style_loss,
)

EVERYTHING = Objective(
    likelihood="gaussian",
    learn_scale=True,
    label_weight=3.0,
    label_constraint=True,
    own_label_weight=1.5,
    perceptual_weight=0.1,
    class_mean_weight=4.0,
    cycle_weight=0.5,
    image_cycle_weight=0.75,
    style_weight=1.25,
    equivariance_weight=0.25,
    adversarial_weight=2.0,
    guide_augmentation=Augmentation(rotation=5, noise=0.1),
    discriminator_augmentation=Augmentation(shift=0.1, flip=True),
)


def total(distribution, images):
    return -distribution.log_prob(images).flatten(1).sum(1)


def test_likelihoods_are_those_of_torch_distributions(images):
    mean, log_scale = torch.rand_like(images), torch.tensor(-1.3)
    torch.testing.assert_close(gaussian_nll(images, mean, log_scale), total(Normal(mean, log_scale.exp()), images))
    torch.testing.assert_close(laplace_nll(images, mean, log_scale), total(Laplace(mean, log_scale.exp()), images))
    logits, binary = torch.randn_like(images), images.round()
    torch.testing.assert_close(bernoulli_nll(binary, logits), total(Bernoulli(logits=logits), binary))


def test_the_best_gaussian_scale_is_the_root_of_the_mean_squared_error(images):
    mean = torch.rand_like(images)
    log_scale = torch.tensor(0.0, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_scale], max_iter=50)

    def closure():
        optimizer.zero_grad()
        loss = gaussian_nll(images, mean, log_scale).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(log_scale.exp(), (images - mean).square().mean().sqrt(), rtol=1e-3, atol=0)


def test_label_loss_is_nats():
    uniform = label_loss(torch.zeros(4, 10), torch.arange(4))
    torch.testing.assert_close(uniform, torch.full((4,), math.log(10)))
    certain = label_loss(torch.eye(10)[:4] * 100, torch.arange(4))
    torch.testing.assert_close(certain, torch.zeros(4))
    smoothed = label_loss(torch.eye(10)[:4] * 100, torch.arange(4), smoothing=0.1)
    torch.testing.assert_close(smoothed, torch.full((4,), 9.0))


def test_binary_label_loss_is_a_bernoulli_for_each_class():
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    target = torch.eye(3)[labels]
    torch.testing.assert_close(binary_label_loss(logits, labels), -Bernoulli(logits=logits).log_prob(target).sum(1))
    certain = binary_label_loss(20.0 * (2.0 * target - 1.0), labels, smoothing=0.1)
    torch.testing.assert_close(certain, torch.full((4,), 3 * 0.05 * 20.0))


def test_noisy_labels_are_wrong_ones_everywhere_in_the_loss(vae, guide, images, labels):
    fed = []
    vae.decoder.register_forward_hook(lambda _, inputs, __: fed.append(inputs[1].argmax(dim=1)))
    objective = Objective(label_weight=0.0, own_label_weight=1.0, label_noise=0.999999)
    GuidedELBO(guide, objective=objective)(vae, images, labels)
    assert (fed[0] != labels).all()
    GuidedELBO(guide, objective=objective).eval()(vae, images, labels)
    GuidedELBO(guide, objective=Objective(label_weight=0.0))(vae, images, labels)
    assert (fed[1] == labels).all()
    assert (fed[2] == labels).all()


def test_every_part_is_told_the_label_that_is_meant(guide, images, labels, monkeypatch):
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_label="onehot")
    discriminator, told = Discriminator((1, 8, 8), 3), []
    for part in (vae.encoder, vae.decoder, discriminator):
        part.register_forward_pre_hook(lambda part, given: told.append((part, given[1].argmax(dim=1).tolist())))

    def listening(logits, asked, smoothing):
        told.append((guide, asked.tolist()))
        return label_loss(logits, asked, smoothing)

    monkeypatch.setattr(guidance, "label_loss", listening)
    weights = ("own_label", "cycle", "image_cycle", "equivariance", "adversarial")
    objective = Objective(likelihood="gaussian", **{f"{name}_weight": 1.0 for name in weights})
    wrong = (labels + 1) % 3
    GuidedELBO(guide, discriminator, objective)(vae, images, labels, wrong)
    own, asked = labels.tolist(), wrong.tolist()
    together = [(vae.encoder, own + own), (vae.decoder, own + asked + asked), (guide, own), (guide, asked)]
    cycles = [(vae.encoder, asked), (vae.decoder, own)]
    assert told == [*together, *cycles, (discriminator, asked), (discriminator, own + asked)]


def test_the_settings_of_an_objective_reach_its_terms(vae, guide, images, labels):
    vae.eval()

    def terms(**how):
        torch.manual_seed(3)
        return GuidedELBO(guide, objective=Objective(label_weight=0.0, **how))(vae, images, labels, (labels + 1) % 3)

    torch.manual_seed(3)
    logits = vae.decode_logits(vae.encode(images).rsample(), labels)
    close = torch.testing.assert_close
    some = terms(beta=3.0, free_bits=0.5)
    close(some.kl, kl_divergence(vae.encode(images), 0.5))
    close(some.total, (some.reconstruction + 3.0 * some.kl).mean())
    close(some.reconstruction, bernoulli_nll(images, logits))
    for likelihood, nll in (("gaussian", gaussian_nll), ("laplace", laplace_nll)):
        expected = nll(images, torch.sigmoid(logits), torch.tensor(math.log(0.2)))
        close(terms(likelihood=likelihood, scale=0.2).reconstruction, expected)
    said = guide(torch.sigmoid(logits))
    for kind, loss in (("categorical", label_loss), ("binary", binary_label_loss)):
        close(terms(own_label_weight=1.0, label_loss=kind, label_smoothing=0.1).own_label, loss(said, labels, 0.1))
    changed = terms(own_label_weight=1.0, guide_augmentation=Augmentation(noise=0.5)).own_label
    assert (changed - label_loss(said, labels)).abs().min() > 1e-6


def test_a_constrained_label_weight_follows_the_real_images(vae, guide, images, labels):
    loss = GuidedELBO(guide, objective=Objective(label_weight=8.0, label_constraint=True))

    def weights(count, real, progress=1.0):
        """Lambda over the steps, where the guide is right on real images or wrong on them."""
        with torch.no_grad():
            guide.to_logits.weight.zero_()
            guide.to_logits.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
        own, asked = (0, 1) if real == "right" else (1, 0)
        own, asked = torch.full_like(labels, own), torch.full_like(labels, asked)
        before = loss.guidance.label_weight
        lambdas = [loss(vae, images, own, asked, progress).label_weight for _ in range(count)]
        for y in {0, 1, 2} - {asked[0].item()}:  # of classes that were not asked lambda stays
            assert {each[y].item() for each in lambdas} == {before[y].item()}
        return [each[asked[0]].item() for each in lambdas]

    grown = weights(3, "right")
    assert grown == pytest.approx([8.0 * math.exp(CONSTRAINT_RATE * step) for step in (1, 2, 3)])
    shrunk = weights(2, "wrong")
    assert shrunk == pytest.approx([8.0 * math.exp(-CONSTRAINT_RATE * step) for step in (1, 2)])
    half_warm = 0.5 * loss.objective.warm_up_share
    assert weights(2, "right", half_warm) == pytest.approx([8.0 * math.exp(CONSTRAINT_RATE * x) for x in (3.5, 4.0)])
    assert weights(1, "right", progress=0.0) == pytest.approx([8.0 * math.exp(CONSTRAINT_RATE * 4.0)])
    terms = loss(vae, images, labels)
    assert terms.means()["label_weight"] == loss.guidance.label_weight.mean()
    again = GuidedELBO(guide, objective=loss.objective)
    again.load_state_dict(loss.state_dict())
    assert torch.equal(again.guidance.label_weight, loss.guidance.label_weight)
    now = loss.guidance.label_weight[1].item()
    assert weights(2, "right") != [now, now]
    loss.eval()
    now = loss.guidance.label_weight[1].item()
    assert weights(2, "right") == [now, now] != [8.0, 8.0]


def test_each_asked_class_has_a_label_weight_of_its_own(vae, guide, images, labels):
    """Asked for more often than real images are what is asked, one grows by its own mean excess over all real ones."""
    with torch.no_grad():
        guide.to_logits.weight.zero_()
        guide.to_logits.bias.copy_(torch.tensor([0.3, 0.2, 0.0]))
    loss = GuidedELBO(guide, objective=Objective(label_weight=8.0, label_constraint=True))
    own, asked = torch.zeros_like(labels), torch.tensor([1, 1, 1, 1, 2, 1])
    nats = -torch.tensor([0.3, 0.2, 0.0]).log_softmax(0)
    terms = loss(vae, images, own, asked)
    torch.testing.assert_close(terms.counterfactual_label, nats[asked])
    expected = 8.0 * (CONSTRAINT_RATE * torch.tensor([0.0, 0.1, 0.3])).exp()
    torch.testing.assert_close(terms.label_weight, expected)
    weighed = terms.reconstruction + terms.kl + expected[asked] * nats[asked]
    torch.testing.assert_close(terms.total, weighed.mean())
    again = loss.double()(vae.double(), images.double(), own, asked).label_weight
    torch.testing.assert_close(again, 8.0 * (expected.double() / 8.0) ** 2)


def test_a_constrained_label_weight_has_bounds_and_moves_nothing_else(vae, guide, images, labels):
    loss = GuidedELBO(guide, objective=Objective(label_weight=2.0, label_constraint=True))
    loss.guidance.log_change.fill_(100.0)
    assert loss(vae, images, labels).label_weight.tolist() == pytest.approx([2000.0] * 3, rel=1e-3)
    plain = GuidedELBO(guide, objective=Objective(label_weight=2.0))
    assert plain(vae, images, labels).label_weight is None
    assert "guidance.log_change" not in plain.state_dict()
    without = GuidedELBO(guide, objective=Objective(label_weight=0.0, label_constraint=True))
    assert without(vae, images, labels).counterfactual_label is None


def test_codes_are_noised_before_they_are_decoded_and_nowhere_else(vae, images, labels):
    sampled, decoded = [], []
    vae.encoder.register_forward_hook(lambda _, __, posterior: sampled.append(posterior))
    vae.decoder.register_forward_hook(lambda _, inputs, __: decoded.append(inputs[0]))

    def distances(latent_noise):
        torch.manual_seed(0)
        objective = Objective(latent_noise=latent_noise)
        GuidedELBO(objective=objective)(vae, images, labels, wrong=(labels + 1) % vae.num_classes)
        posterior = sampled.pop()
        torch.manual_seed(0)
        return posterior, (decoded.pop() - posterior.rsample()).detach()

    _, unmoved = distances(0.0)
    assert unmoved.abs().max() == 0
    noisy, moved = distances(2.0)
    deviations = moved.square().mean(dim=1).sqrt()
    assert (deviations > 0).all()
    assert (deviations < 2.0 * 3).all()
    assert deviations.std() > 0  # each code draws its own
    torch.testing.assert_close(noisy.mean, vae.encode(images).mean)


def test_a_decoder_blind_to_the_label_has_no_counterfactuals(guide, images, labels):
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_label="shift", decoder_label="none")
    with pytest.raises(ValueError, match="no counterfactuals to train on"):
        GuidedELBO(guide)(vae, images, labels)
    GuidedELBO(guide, objective=Objective(label_weight=0.0, own_label_weight=1.0))(vae, images, labels)


def test_free_bits_set_a_floor_without_a_gradient():
    mean = torch.tensor([[0.1, 3.0], [0.1, 3.0]], requires_grad=True)
    posterior = DiagonalGaussian(mean, torch.zeros(2, 2))
    torch.testing.assert_close(kl_divergence(posterior), torch.full((2,), 4.505))
    floored = kl_divergence(posterior, free_bits=0.5)
    torch.testing.assert_close(floored, torch.full((2,), 5.0))
    floored.sum().backward()
    torch.testing.assert_close(mean.grad, torch.tensor([[0.0, 3.0], [0.0, 3.0]]))


def test_the_cycle_is_least_where_the_code_came_from():
    posterior = DiagonalGaussian(torch.randn(3, 4), torch.randn(3, 4))
    at_mean, beside = cycle_loss(posterior.mean, posterior), cycle_loss(posterior.mean + 0.5, posterior)
    assert (at_mean < beside).all()


def test_class_mean_loss_is_an_unbiased_divergence_of_the_class_means_from_the_prior():
    labels = torch.arange(30_000) % 3
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 2.0]])
    means = centres[labels] + torch.randn(30_000, 2)
    loss = torch.cat([class_mean_loss(m, y) for m, y in zip(means.split(12), labels.split(12), strict=True)])
    for label in range(3):
        prior = Normal(torch.zeros(2), torch.ones(2))
        expected = torch_kl(Normal(centres[label], torch.ones(2)), prior).sum()
        torch.testing.assert_close(loss[labels == label].mean(), expected, atol=0.06, rtol=0)


def test_class_mean_loss_of_an_image_alone_with_its_label_is_zero():
    loss = class_mean_loss(torch.randn(3, 4), torch.tensor([0, 1, 1]))
    assert loss[0] == 0
    assert loss[1] == loss[2] != 0


def test_perceptual_loss_is_a_gaussian_of_each_channels_own_deviation():
    torch.manual_seed(0)
    size = torch.tensor([0.1, 1.0, 30.0])[:, None, None]
    target, maps = torch.randn(64, 3, 4, 4) * size, torch.randn(64, 3, 4, 4) * size
    deviation = target.transpose(0, 1).flatten(1).std(dim=1, correction=0)[:, None, None]
    unit = Normal(target, deviation)
    expected = (unit.log_prob(target) - unit.log_prob(maps)).flatten(1).sum(1)
    torch.testing.assert_close(perceptual_loss(maps, target), expected, rtol=1e-4, atol=1e-4)
    assert not perceptual_loss(target, target).any()
    dark = torch.zeros(2, 1, 4, 4)  # a channel that is silent has no deviation
    torch.testing.assert_close(perceptual_loss(dark + 0.05, dark), torch.full((2,), 0.5 * 16))


def test_the_perceptual_term_is_of_reconstructions_in_the_guides_finest_maps(vae, guide, images, labels):
    loss = GuidedELBO(guide, objective=Objective(label_weight=0.0, perceptual_weight=1.0))
    torch.manual_seed(3)
    term = loss(vae, images, labels, wrong=(labels + 1) % 3).perceptual
    torch.manual_seed(3)
    z = vae.encode(images).rsample()
    maps, target = (guide.coarse_maps(x)[0] for x in (vae.decode(z, labels), images))
    torch.testing.assert_close(term, perceptual_loss(maps, target))
    term.sum().backward()
    assert all(parameter.grad is not None for parameter in vae.encoder.parameters())


def test_the_perceptual_term_needs_a_guide_with_maps():
    mlp = LabelClassifier((1, 8, 8), 3, kind="mlp", widths=(8,))
    with pytest.raises(ValueError, match="perceptual_weight: the guide's maps are compared, this one has none"):
        GuidedELBO(mlp, objective=Objective(perceptual_weight=1.0))


def test_several_guides_must_each_be_convinced(vae, guide, images, labels):
    others = [LabelClassifier((1, 8, 8), 3, widths=(8, 8), feature_dim=8) for _ in range(2)]
    objective = Objective(label_weight=1.0, own_label_weight=1.0)
    wrong = (labels + 1) % 3

    def terms(first, *more):
        torch.manual_seed(3)
        found = GuidedELBO(first, objective=objective, more_guides=more)(vae.eval(), images, labels, wrong)
        return torch.stack([found.counterfactual_label, found.own_label])

    alone = torch.stack([terms(each) for each in (guide, *others)])
    assert (alone[0] - alone[1]).abs().max() > 0.01
    torch.testing.assert_close(terms(guide, *others), alone.mean(0))
    fresh = LabelClassifier((1, 8, 8), 3)
    GuidedELBO(guide, more_guides=[fresh])
    assert fresh.frozen
    assert not any(parameter.requires_grad for parameter in fresh.parameters())


def test_more_guides_than_one_are_checked_like_the_first(vae, guide, images, labels):
    with pytest.raises(ValueError, match="more_guides: got 1 beside no guide"):
        GuidedELBO(more_guides=[guide])
    other = LabelClassifier((1, 8, 8), 3)
    with pytest.raises(ValueError, match=r"more_guides\[1\]: expected Module, got NoneType"):
        GuidedELBO(guide, more_guides=[other, None])
    with pytest.raises(ValueError, match=r"more_guides\[0\]: fails on images of shape \(2, 1, 8, 8\)"):
        GuidedELBO(guide, more_guides=[torch.nn.Linear(2, 2)])(vae, images, labels)
    with pytest.raises(ValueError, match="more_guides: expected Sequence, got LabelClassifier"):
        GuidedELBO(guide, more_guides=guide)
    with pytest.raises(ValueError, match="more_guides: one of them is there twice, or is the guide"):
        GuidedELBO(guide, more_guides=[guide])
    with pytest.raises(ValueError, match=r"more_guides\[0\]: knows 5 classes"):
        GuidedELBO(guide, more_guides=[LabelClassifier((1, 8, 8), 5)])(vae, images, labels)


def test_hinge_loss():
    torch.testing.assert_close(
        hinge_loss(torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.5])), torch.tensor([0.0, 2.5])
    )


def test_style_is_kept_where_it_stays_the_same_for_its_class():
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    widths = (2.0, 3.0, 4.0, 3.0, 4.0, 5.0)
    images = torch.cat([stroke(width, angle) for width, angle in zip(widths, (0, 10, 20, 20, 0, 10), strict=True)])
    thicker = torch.cat([stroke(width + 2, angle) for width, angle in zip(widths, (0, 10, 20, 20, 0, 10), strict=True)])
    same = style_loss(images, labels, thicker, labels, 2)  # each class moves as a whole
    assert same.shape == (6,)
    assert same.max() < 0.05
    swapped = style_loss(images, labels, images[[2, 1, 0, 3, 4, 5]], labels, 2)
    assert swapped[[0, 2]].min() > 10 * swapped[[1, 3, 4, 5]].max()


def test_style_in_colour_is_kept_where_windows_keep_their_colours():
    labels, asked = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([1, 1, 0, 1, 0, 0])
    images = 0.2 + 0.6 * torch.rand(6, 3, 2, 2).repeat_interleave(16, 2).repeat_interleave(16, 3)
    fine = 0.1 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(16, 16)  # another texture of the same colours
    same = style_loss(images, labels, images + fine, asked, 2)
    torch.testing.assert_close(same, torch.zeros(6), atol=1e-6, rtol=0)
    swapped = style_loss(images, labels, images[[2, 1, 0, 3, 4, 5]], asked, 2)
    assert swapped[[0, 2]].min() > 10 * swapped[[1, 3, 4, 5]].max()
    assert (style_loss(images, labels, images + 0.1, asked, 2) > 1.0).all()  # not even all alike


def test_warm_up_grows_and_stays():
    weights = [linear_warm_up(progress / 10, 0.5) for progress in range(11)]
    assert weights == sorted(weights)
    assert weights[0] == 0
    assert weights[5:] == [1.0] * 6


def test_terms_and_their_weighted_sum(vae, guide, images, labels):
    loss = GuidedELBO(guide, Discriminator((1, 8, 8), 3), EVERYTHING)
    wrong = (labels + 1) % 3
    terms = loss(vae, images, labels, wrong)
    for field in fields(terms):
        value = getattr(terms, field.name)
        if field.name == "own_terms":
            assert value == {}
            continue
        assert value.shape == {"total": (), "label_weight": (3,)}.get(field.name, (6,)), field.name
        assert torch.isfinite(value).all()
    mean = terms.means()
    expected = mean["reconstruction"] + mean["kl"] + mean["discriminator"]
    expected += (terms.label_weight[wrong] * terms.counterfactual_label).mean() + 1.5 * mean["own_label"]
    expected += 0.1 * mean["perceptual"]
    expected += 4.0 * mean["class_mean"] + 0.5 * mean["cycle"] + 0.75 * mean["image_cycle"]
    expected += 1.25 * mean["style"] + 0.25 * mean["equivariance"] + 2.0 * mean["adversarial"]
    torch.testing.assert_close(terms.total, expected)


def test_at_the_start_of_the_warm_up_only_the_reconstruction_counts(vae, guide, images, labels):
    terms = GuidedELBO(guide, None, replace(EVERYTHING, adversarial_weight=0.0))(vae, images, labels, progress=0.0)
    torch.testing.assert_close(terms.total, terms.reconstruction.mean())


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "laplace"])
def test_without_a_guide_it_is_the_elbo(vae, images, labels, likelihood):
    terms = GuidedELBO(objective=Objective(likelihood=likelihood))(vae, images, labels)
    assert set(terms.means()) == {"total", "reconstruction", "kl"}
    torch.testing.assert_close(terms.total, (terms.reconstruction + terms.kl).mean())


@pytest.mark.parametrize("sees_guide", [False, True])
def test_gradients_go_where_they_belong(vae, guide, images, labels, sees_guide):
    discriminator = Discriminator((1, 8, 8), 3, beside=guide.map_widths if sees_guide else ())
    loss = GuidedELBO(guide, discriminator, EVERYTHING)
    loss(vae, images, labels).total.backward()
    silent = [name for name, p in [*vae.named_parameters(), *discriminator.named_parameters()] if p.grad is None]
    assert not silent
    assert loss.log_scale.grad.abs() > 0
    assert all(parameter.grad is None for parameter in guide.parameters())


@pytest.mark.parametrize("sees_guide", [False, True])
def test_the_discriminator_learns_from_its_own_loss_alone(vae, guide, images, labels, sees_guide):
    discriminator = Discriminator((1, 8, 8), 3, beside=guide.map_widths if sees_guide else ())
    loss = GuidedELBO(guide, discriminator, EVERYTHING)
    terms = loss(vae, images, labels)
    (terms.total - terms.discriminator.mean()).backward()
    assert all(p.grad is None or not p.grad.any() for p in discriminator.parameters())
    vae.zero_grad()
    loss(vae, images, labels).discriminator.mean().backward()
    assert all(p.grad is None for p in vae.parameters())
    assert all(p.grad is not None for p in discriminator.parameters())


@pytest.mark.parametrize("flip", [False, True])
def test_the_discriminator_sees_real_and_made_images_changed(vae, guide, images, labels, monkeypatch, flip):
    discriminator = Discriminator((1, 8, 8), 3, beside=guide.map_widths)
    seen, mapped = [], []
    discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    maps = guide.coarse_maps
    monkeypatch.setattr(guide, "coarse_maps", lambda given, most: (mapped.append(given), maps(given, most))[1])
    how = Augmentation(flip=flip, interpolation="nearest")
    objective = Objective(adversarial_weight=1.0, discriminator_augmentation=how)
    made = torch.rand_like(images).requires_grad_()
    loss = GuidedELBO(guide, discriminator, objective)
    terms = adversarial_terms(
        discriminator, loss.guide, images, labels, made, labels, loss.objective.discriminator_augmentation
    )
    (fooling, judged), (fake, real) = seen, mapped  # all four are of the same changed images
    assert torch.equal(fooling, fake)
    assert torch.equal(judged, torch.cat([real, fake]))
    given = torch.cat([images, made])
    same, mirrored = ((judged == each).flatten(1).all(dim=1) for each in (given, given.flip(-1)))
    assert (same | mirrored).all()
    assert bool(mirrored.any()) == flip
    assert torch.equal(*mirrored.chunk(2))  # an image and its counterfactual alike
    terms["adversarial"].sum().backward()
    assert made.grad.flatten(1).abs().sum(dim=1).min() > 0


def test_a_discriminator_of_other_maps_than_the_guides_is_refused(guide):
    mlp = LabelClassifier((1, 8, 8), 3, kind="mlp", widths=(8, 8))
    seeing = Discriminator((1, 8, 8), 3, beside=[width + 1 for width in guide.map_widths])
    for other, has in ((guide, r"\(\d+, "), (None, "none"), (mlp, "none")):
        with pytest.raises(ValueError, match=rf"discriminator: sees maps of \(.*\) channels, the guide has {has}"):
            GuidedELBO(other, seeing, Objective(adversarial_weight=1.0))


def test_a_discriminator_that_sees_the_guides_maps_pulls_through_them_too(vae, guide, images, labels):
    torch.manual_seed(0)
    discriminator = Discriminator((1, 8, 8), 3, beside=guide.map_widths)
    loss = GuidedELBO(guide, discriminator, Objective(adversarial_weight=1.0, label_weight=0.0)).eval()
    z = torch.randn(len(labels), vae.latent_dim)
    wrong = (labels + 1) % 3

    def pull(maps):
        image = vae.eval().decode(z, wrong).detach().requires_grad_()
        guide.coarse_maps, kept = maps, guide.coarse_maps
        terms = adversarial_terms(discriminator.eval(), loss.guide, images, labels, image, wrong, Augmentation())
        guide.coarse_maps = kept
        (gradient,) = torch.autograd.grad(terms["adversarial"].sum(), image)
        return gradient

    through = guide.coarse_maps
    apart = pull(lambda x, most: [maps.detach() for maps in through(x, most)])
    assert (pull(through) - apart).abs().max() > 1e-4 * apart.abs().max()


def test_the_label_loss_alone_moves_the_counterfactual_to_the_asked_label(vae, guide):
    with torch.no_grad():
        guide.to_logits.weight *= 30.0  # an untrained guide with opinions
    loss = GuidedELBO(guide, objective=Objective(label_weight=1.0, warm_up_share=0.0))
    images, labels, wrong = torch.rand(32, 1, 8, 8), torch.arange(32) % 3, (torch.arange(32) + 1) % 3
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-2)
    before = loss(vae, images, labels, wrong).counterfactual_label.mean()
    for _ in range(60):
        term = loss(vae, images, labels, wrong).counterfactual_label.mean()
        optimizer.zero_grad()
        term.backward()
        optimizer.step()
    assert term < 0.5 * before


class Copy(torch.nn.Module):
    """Codes an image as its pixels and ignores the label: to relabel is to copy, which any change commutes with."""

    image_shape, num_classes, decoder_sees_label = (1, 8, 8), 3, True

    def encode(self, images, labels=None):
        return DiagonalGaussian(images.flatten(1), torch.full((len(images), 64), -60.0))

    def decode_logits(self, z, labels):
        return torch.logit(z, eps=1e-6).unflatten(1, (1, 8, 8))


def test_the_image_cycle_of_a_model_that_copies_is_its_reconstruction(images, labels):
    objective = Objective(likelihood="gaussian", scale=1.0, label_weight=0.0, image_cycle_weight=1.0, cycle_noise=0.0)
    terms = GuidedELBO(objective=objective)(Copy(), images, labels)
    torch.testing.assert_close(terms.image_cycle, terms.reconstruction, rtol=1e-3, atol=1e-3)
    noisy = GuidedELBO(objective=replace(objective, cycle_noise=0.5))(Copy(), images, labels)
    assert (noisy.image_cycle > terms.image_cycle).all()


def test_equivariance_vanishes_for_a_model_that_is_equivariant(images, labels):
    change = Augmentation(shear=0.4, shift=0.1, interpolation="nearest")
    objective = Objective(likelihood="gaussian", scale=1.0, equivariance_weight=1.0, style_change=change)
    terms = GuidedELBO(objective=objective)(Copy(), images, labels)
    torch.testing.assert_close(terms.equivariance, torch.full((6,), 64 * 0.5 * math.log(2 * math.pi)))


def test_a_learned_scale_is_only_for_likelihoods_that_have_one():
    assert GuidedELBO(objective=Objective(likelihood="laplace", learn_scale=True)).log_scale.requires_grad
    assert not GuidedELBO(objective=Objective(likelihood="gaussian")).log_scale.requires_grad
    with pytest.raises(ValueError, match="learn_scale: a bernoulli likelihood has no scale"):
        Objective(likelihood="bernoulli", learn_scale=True)


def test_a_learned_scale_comes_back_from_its_least(vae, images, labels):
    loss = GuidedELBO(objective=Objective(likelihood="gaussian", scale=LEAST_SCALE, learn_scale=True))
    with torch.no_grad():
        loss.log_scale.sub_(0.5)
    loss(vae, images, labels).total.backward()
    assert loss.log_scale.item() == pytest.approx(math.log(LEAST_SCALE))
    assert loss.log_scale.grad < 0, "images are far from what the model makes: a larger scale fits better"


@pytest.mark.parametrize(
    ("guide", "says"),
    [
        (LabelClassifier((1, 8, 8), 5), "knows 5 classes of images"),
        (LabelClassifier((3, 8, 8), 3), r"images \(3, 8, 8\)"),
        (LabelClassifier((1, 9, 8), 3), "give one for the same data"),
    ],
)
def test_a_guide_of_other_images_or_classes_is_refused(vae, images, labels, guide, says):
    with pytest.raises(ValueError, match=says):
        GuidedELBO(guide)(vae, images, labels)


def test_a_discriminator_of_other_images_is_refused(vae, images, labels):
    loss = GuidedELBO(discriminator=Discriminator((3, 8, 8), 3), objective=Objective(adversarial_weight=1.0))
    with pytest.raises(ValueError, match="discriminator: knows 3 classes.*give one for the same data"):
        loss(vae, images, labels)


def test_a_guide_must_be_a_network_of_such_images(vae):
    with pytest.raises(ValueError, match="guide: expected Module, got str"):
        GuidedELBO("guide")
    with pytest.raises(ValueError, match=r"guide: fails on images of shape \(2, 1, 8, 8\)"):
        GuidedELBO(torch.nn.Linear(2, 2)).check_networks(vae)


def test_an_encoder_that_sees_the_label_is_given_it(guide, images, labels):
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_label="onehot")
    loss = GuidedELBO(guide, Discriminator((1, 8, 8), 3), EVERYTHING)
    terms = loss(vae, images, labels)
    terms.total.backward()
    assert all(parameter.grad is not None for parameter in vae.parameters())


def test_labels_of_any_integer_type(vae, guide, images, labels):
    loss = GuidedELBO(guide, Discriminator((1, 8, 8), 3), EVERYTHING)
    for dtype in (torch.uint8, torch.int32):
        assert torch.isfinite(loss(vae, images, labels.to(dtype)).total)


def test_bad_batches_are_refused(vae, guide, images, labels):
    loss = GuidedELBO(guide)
    with pytest.raises(ValueError, match=r"labels: .*shape \(6,\), got \(5,\)"):
        loss(vae, images, labels[:5])
    with pytest.raises(ValueError, match="from 0 to 2, got 3"):
        loss(vae, images, labels + 1)
    with pytest.raises(ValueError, match="wrong: .*from 0 to 2, got 7"):
        loss(vae, images, labels, torch.full((6,), 7))
    with pytest.raises(ValueError, match="NaN"):
        loss(vae, images * float("nan"), labels)
    everything = GuidedELBO(guide, Discriminator((1, 8, 8), 3), EVERYTHING)
    with pytest.raises(ValueError, match="torch.uint8"):
        everything(vae, (images * 255).byte(), labels)
    with pytest.raises(ValueError, match=r"images\[None\]"):
        everything(vae, images[0], labels)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"label_weight": -1.0}, "label_weight: expected a finite number of at least 0, got -1.0"),
        ({"beta": float("nan")}, "beta"),
        ({"beta": float("inf")}, "beta"),
        ({"cycle_weight": "much"}, "cycle_weight"),
        ({"scale": 0.0}, "scale: expected a finite number of at least 0.001"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"warm_up_share": 2.0}, "warm_up_share"),
        ({"likelihood": "poisson"}, "likelihood: expected one of gaussian, bernoulli, laplace, got 'poisson'"),
    ],
)
def test_bad_objectives_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        Objective(**arguments)


def test_an_adversarial_weight_needs_a_discriminator():
    with pytest.raises(ValueError, match=r"pass discriminator=Discriminator\("):
        GuidedELBO(objective=Objective(adversarial_weight=1.0))


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "bernoulli"])
def test_every_term_works_in_the_weights_own_type(images, labels, default, likelihood):
    torch.set_default_dtype(default)
    try:
        guide = LabelClassifier((1, 8, 8), 3, widths=(8, 8))
        vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8,))
        how = replace(EVERYTHING, likelihood=likelihood, learn_scale=likelihood != "bernoulli")
        loss = GuidedELBO(guide, Discriminator((1, 8, 8), 3, (8, 8), beside=guide.map_widths), how)
        terms = loss(vae, images, labels)
        terms.total.backward()
        assert vae.dtype == default
        assert all(torch.isfinite(value) for value in terms.means().values())
        assert vae.relabel(images, 1).dtype == default
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_small_weight_is_enough_for_the_cycle(images, labels):
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8,))
    terms = GuidedELBO(objective=Objective(cycle_weight=0.5, image_cycle_weight=0.0))(vae, images, labels)
    assert "cycle" in terms.means()
    assert "image_cycle" not in terms.means()
    assert (
        "cycle"
        in GuidedELBO(objective=Objective(cycle_weight=0.5, image_cycle_weight=0.5))(vae, images, labels).means()
    )
