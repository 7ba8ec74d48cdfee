import math

import pytest
import torch
from lightning.pytorch import Trainer
from torch.distributions import Independent, Normal
from torch.nn import functional as F
from torch.utils.data import DataLoader

from labelvae import ConditionalVAE
from labelvae.evaluation import evaluate
from labelvae.flows import Codes, ConditionalFlow, FlowTraining, LatentFlow, RealNVP, WithFlow
from labelvae.flows.coupling import Coupling, map_layers
from labelvae.models.coupling import flat_layers


def moved_off_identity(flow, size=0.3):
    """A new flow changes nothing; give the last layers weights."""
    with torch.no_grad():
        for layer in flow.modules():
            if isinstance(layer, Coupling):
                layer.network.last.weight.normal_(std=size / math.sqrt(layer.network.last.weight[0].numel()))
                layer.network.last.bias.normal_(std=size)
    return flow.eval()


def trainer(epochs, **others):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(max_epochs=epochs, accelerator="cpu", enable_model_summary=False, **(quiet | others))


@pytest.fixture
def latent():
    return moved_off_identity(LatentFlow(5, 3, couplings=4, hidden_dim=8))


@pytest.fixture
def nvp():
    return moved_off_identity(RealNVP((1, 8, 8), 3, widths=(4, 8), couplings=4, hidden_dim=16, flat_couplings=3))


@pytest.fixture
def levels(labels):
    """Images of 256 grey levels, black and white among them."""
    images = torch.randint(0, 256, (6, 1, 8, 8)) / 255.0
    images[0], images[1] = 0.0, 1.0
    return images


# both ways


@pytest.mark.parametrize("entries", [2, 3, 5, 16])
def test_the_inverse_of_codes(entries):
    flow = moved_off_identity(LatentFlow(entries, 4, couplings=6, hidden_dim=16))
    z, labels = 2.0 * torch.randn(50, entries), torch.arange(50) % 4
    u, _ = flow(z, labels)
    assert (u - z).abs().amax() > 0.1
    torch.testing.assert_close(flow.inverse(u, labels), z, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("shape", "widths"), [((1, 8, 8), (4, 8)), ((3, 16, 8), (6,)), ((1, 28, 28), (4, 4)), ((2, 9, 11), ())]
)
def test_the_inverse_of_images(shape, widths):
    flow = moved_off_identity(RealNVP(shape, 3, widths, couplings=5, hidden_dim=16, flat_couplings=3))
    images, labels = torch.rand(6, *shape), torch.tensor([0, 1, 2, 0, 1, 2])
    u, _ = flow(images, labels)
    assert u.shape == (6, math.prod(shape))
    torch.testing.assert_close(flow.inverse(u, labels), images, atol=1e-5, rtol=0)


def test_black_and_white_come_back(nvp, levels, labels):
    torch.testing.assert_close(nvp.reconstruct(levels, labels), levels, atol=1e-5, rtol=0)
    torch.testing.assert_close(nvp.relabel(levels, labels, labels), levels, atol=1e-5, rtol=0)


def test_there_and_back_is_where_it_began(latent, labels):
    z = torch.randn(6, 5)
    changed = latent.carry(z, labels, 2)
    assert (changed - z)[labels != 2].abs().amax() > 0.05
    torch.testing.assert_close(changed[labels == 2], z[labels == 2], atol=1e-5, rtol=0)
    torch.testing.assert_close(latent.carry(changed, 2, labels), z, atol=1e-5, rtol=0)


# the density


def test_the_log_determinant_of_codes_is_that_of_autograd(latent):
    flow, z, labels = latent.double(), torch.randn(3, 5, dtype=torch.float64), torch.tensor([0, 1, 2])
    _, log_det = flow(z, labels)
    for index in range(3):
        jacobian = torch.autograd.functional.jacobian(
            lambda one, at=index: flow(one[None], labels[at : at + 1])[0][0], z[index]
        )
        torch.testing.assert_close(log_det[index], torch.linalg.slogdet(jacobian).logabsdet)


def test_the_log_determinant_of_images_is_that_of_autograd(nvp):
    flow, labels = nvp.double(), torch.tensor([0, 2])
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    _, log_det = flow(images, labels)
    for index in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda one, at=index: flow(one[None], labels[at : at + 1])[0][0], images[index]
        )
        torch.testing.assert_close(log_det[index], torch.linalg.slogdet(jacobian.reshape(64, 64)).logabsdet)


def test_a_new_flow_of_codes_is_the_normal_distribution():
    flow, z = LatentFlow(5, 3), torch.randn(6, 5)
    normal = Independent(Normal(torch.zeros(5), torch.ones(5)), 1)
    torch.testing.assert_close(flow.log_prob(z, 1), normal.log_prob(z))


def test_the_density_of_codes_sums_to_one():
    flow = moved_off_identity(LatentFlow(2, 2, couplings=4, hidden_dim=8), size=0.5)
    steps = torch.linspace(-20, 20, 801)
    z = torch.cartesian_prod(steps, steps)
    with torch.no_grad():
        total = flow.log_prob(z, 1).exp().sum() * (steps[1] - steps[0]) ** 2
    assert float(total) == pytest.approx(1.0, abs=1e-3)


def test_the_likelihood_of_an_image_of_one_colour_depth():
    """A flow that draws every pixel uniformly would need 8 bits a pixel; a new one is near, whatever its image."""
    flow, images = RealNVP((1, 8, 8), 3, widths=(4,), hidden_dim=8), torch.randint(0, 256, (200, 1, 8, 8)) / 255.0
    shares = (torch.arange(2048) + 0.5) / 2048
    inside = 0.05 + 0.9 * shares
    logit = torch.logit(inside)
    density = Normal(0.0, 1.0).log_prob(logit) + math.log(0.9) - torch.log(inside) - torch.log1p(-inside)
    expected = 8.0 - float(density.mean()) / math.log(2.0)
    with torch.no_grad():
        bits = flow.bits_per_dimension(images, 0)
    assert float(bits.mean()) == pytest.approx(expected, abs=0.02)
    assert bits.shape == (200,)


# the label


def test_the_label_is_seen(latent, nvp, images):
    assert not torch.allclose(latent(torch.zeros(1, 5), 0)[0], latent(torch.zeros(1, 5), 1)[0])
    assert not torch.allclose(nvp(images[:1], 0)[0], nvp(images[:1], 1)[0])
    for flow in (latent, nvp):
        for layer in flow.modules():
            if isinstance(layer, Coupling):
                kept = torch.zeros(1, layer.kept, *([2, 2] if layer in _of_maps(flow) else []))
                one, other = (layer.network(kept, F.one_hot(torch.tensor([k]), 3).float()) for k in (0, 1))
                assert not torch.allclose(one, other)


def _of_maps(flow):
    return [layer for scale in getattr(flow, "scales", []) for layer in scale]


def test_every_entry_is_changed_by_some_layer():
    for layers, entries in ((flat_layers(7, 2, 3, 4), 7), (map_layers(12, 2, 3, 4), 12), (map_layers(4, 4, 3, 4), 4)):
        changed = {int(entry) for layer in layers for entry in layer.order[layer.kept :]}
        assert changed == set(range(entries))


def test_checkerboards_are_those_of_pixels():
    """Of 2x2 pixels that lie in four channels, the first layer keeps one diagonal and the second the other."""
    first, second, rows, _ = map_layers(4, 4, 3, 4)
    board = torch.arange(16.0).view(1, 1, 4, 4)
    assert sorted(F.pixel_unshuffle(board, 2)[0, first.order[:2], 0, 0].tolist()) == [0.0, 5.0]
    assert sorted(F.pixel_unshuffle(board, 2)[0, second.order[:2], 0, 0].tolist()) == [1.0, 4.0]
    assert sorted(F.pixel_unshuffle(board, 2)[0, rows.order[:2], 0, 0].tolist()) == [0.0, 1.0]


def test_labels_by_name_and_blended(latent):
    latent.class_names = ["a", "b", "c"]
    z = torch.randn(2, 5)
    torch.testing.assert_close(latent.carry(z, "a", "c"), latent.carry(z, 0, 2))
    assert torch.isfinite(latent.carry(z, "a", [[0.5, 0.5, 0.0]] * 2)).all()


# use


def test_chunks_change_nothing(latent, nvp, levels, labels):
    z = torch.randn(6, 5)
    torch.testing.assert_close(latent.carry(z, labels, 1, chunk_size=4), latent.carry(z, labels, 1))
    torch.testing.assert_close(nvp.relabel(levels, 1, labels, chunk_size=4), nvp.relabel(levels, 1, labels))
    drawn = [nvp.sample(labels, torch.Generator().manual_seed(1), chunk_size=size) for size in (4, 100)]
    torch.testing.assert_close(*drawn)
    assert drawn[0].shape == (6, 1, 8, 8)
    assert float(drawn[0].min()) >= 0.0
    assert float(drawn[0].max()) <= 1.0


@pytest.mark.parametrize("which", ["latent", "nvp"])
def test_saved_and_loaded(which, request, tmp_path):
    flow = request.getfixturevalue(which)
    flow.class_names = ["a", "b", "c"]
    with torch.no_grad():
        for layer in flow.modules():  # other halves than a new flow draws
            if isinstance(layer, Coupling):
                layer.order.copy_(layer.order.roll(1))
    flow.save_pretrained(tmp_path)
    again = type(flow).from_pretrained(tmp_path)
    assert again.class_names == ["a", "b", "c"]
    drawn = [each.sample("b", torch.Generator().manual_seed(1)) for each in (flow, again)]
    torch.testing.assert_close(*drawn, rtol=0, atol=0)


def test_evaluate_takes_a_real_nvp(nvp, guide, levels, labels):
    scores = evaluate(nvp, [(levels, labels)], guide, progress=False)
    assert scores.psnr > 80.0


def test_gradients_are_finite(nvp, levels, labels):
    nvp.log_prob(levels, labels).sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in nvp.parameters())


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda: LatentFlow(1, 3), "latent_dim: expected an integer of at least 2, got 1"),
        (lambda: LatentFlow(4, 1), "num_classes: expected an integer of at least 2"),
        (lambda: RealNVP((1, 28, 28), 10, widths=(8, 8, 8)), "as often as|at most as many as 28x28"),
        (lambda: RealNVP((1, 9, 9), 10), "at most as many as 9x9 pixels can be halved, got 2"),
        (lambda: RealNVP((1, 8, 8), 10, widths=(), flat_couplings=0), "at least 1 where there are no widths"),
        (lambda: LatentFlow(4, 3)(torch.zeros(2, 5), 0), "x: expected floats of shape"),
        (lambda: LatentFlow(4, 3).inverse(torch.zeros(2, 5), 0), "u: expected floats of shape"),
        (lambda: LatentFlow(4, 3).carry(torch.zeros(2, 4), 0, 3), "labels: "),
        (lambda: LatentFlow(4, 3).carry(torch.zeros(2, 4), [0, 1, 2], 1), "own_labels: "),
        (lambda: LatentFlow(4, 3).carry(torch.zeros(0, 4), 0, 1), "x: expected a tensor of finite data, at least one"),
        (lambda: LatentFlow(4, 3).carry(torch.full((2, 4), float("nan")), 0, 1), "x: expected a tensor of finite data"),
        (lambda: LatentFlow(4, 3).carry([0.0], 0, 1), "x: expected a tensor of finite data, at least one, got list"),
        (lambda: LatentFlow(4, 3).sample(3), "labels: "),
        (lambda: LatentFlow(4, 3).sample(0, generator=1), "generator: expected Generator, got int"),
        (lambda: RealNVP((1, 8, 8), 3).relabel(torch.zeros(2, 1, 8, 8), 0, None), "own_labels: "),
        (lambda: RealNVP((1, 8, 8), 3).relabel(torch.zeros(2, 1, 9, 9), 0, 1), "images: expected"),
        (lambda: RealNVP((1, 8, 8), 3).log_prob(torch.full((1, 1, 8, 8), 2.0), 1), r"images: expected values in \[0"),
        (lambda: FlowTraining(torch.nn.Linear(2, 2)), "flow: expected ConditionalFlow, got Linear"),
        (lambda: FlowTraining(LatentFlow(4, 3), learning_rate=0.0), "learning_rate: "),
    ],
)
def test_bad_input(what, message):
    with pytest.raises(ValueError, match=message):
        what()


# training


def test_training_learns_what_codes_of_each_label_are_like():
    """Two labels on either side of 0, one of them wide: the density is near that of the normal distributions."""
    labels = torch.arange(2000) % 2
    centre, width = torch.tensor([-2.0, 2.0])[labels], torch.tensor([0.3, 1.0])[labels]
    z = centre[:, None] + width[:, None] * torch.randn(2000, 2)
    flow = LatentFlow(2, 2, couplings=4, hidden_dim=16)
    task = FlowTraining(flow, learning_rate=1e-2)
    batches = [(z[part], labels[part]) for part in torch.arange(2000).split(200)]
    trainer(25, num_sanity_val_steps=0).fit(task, DataLoader(batches, None), DataLoader(batches, None))
    best = -Normal(centre[:, None], width[:, None]).log_prob(z).sum(1).mean()
    assert task.history[-1]["nats"] < float(best) + 0.15
    assert len(task.history) == 25
    drawn = flow.eval().sample(torch.zeros(2000, dtype=torch.long), torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), torch.full((2,), -2.0), atol=0.1, rtol=0)
    carried = flow.carry(torch.full((1, 2), -2.0 + 0.3), 0, 1)  # one deviation right of its centre
    torch.testing.assert_close(carried, torch.full((1, 2), 3.0), atol=0.4, rtol=0)


def test_training_images_raises_their_likelihood(digits):
    flow = RealNVP(digits.image_shape, 10, widths=(8,), couplings=2, hidden_dim=32, flat_couplings=2)
    task = FlowTraining(flow)
    trainer(2).fit(task, digits.loader("train", 64, shuffle=True), digits.loader("validation"))
    assert task.history[1]["nats"] < task.history[0]["nats"]
    assert task.history[1]["train_nats"] < task.history[0]["train_nats"]


def test_a_likelihood_that_is_not_finite_stops():
    flow = LatentFlow(2, 2)
    broken = DataLoader([(torch.full((4, 2), float("nan")), torch.zeros(4, dtype=torch.long))], None)
    alone = trainer(1, num_sanity_val_steps=0)
    with pytest.raises(FloatingPointError, match="train_nats is not finite"):
        alone.fit(FlowTraining(flow), broken, broken)


def test_a_training_that_cannot_be_is_refused(vae, images, labels):
    batches = DataLoader([(torch.zeros(2, 4), torch.tensor([0, 1]))], None)
    endless = trainer(-1, num_sanity_val_steps=0)
    with pytest.raises(ValueError, match="max_steps: the learning rate's schedule needs to know when"):
        endless.fit(FlowTraining(LatentFlow(4, 3)), batches, batches)
    with torch.inference_mode(), pytest.raises(ValueError, match="inference_mode: there are no gradients"):
        WithFlow.fit(vae, [(images, labels)], epochs=1)


def test_a_flow_is_trained_as_other_programs_train(tmp_path):
    batch = {"image": torch.randn(4, 2), "label": torch.tensor([0, 1, 0, 1]), "name": list("abcd")}
    batches = DataLoader([batch, (*list(batch.values())[:2], "more")], None)
    task, path = FlowTraining(LatentFlow(2, 2)), tmp_path / "flow.ckpt"
    first = trainer(2)
    first.fit(task, batches, [batches, batches])
    assert len(task.history) == 2
    first.save_checkpoint(path)
    resumed = FlowTraining(LatentFlow(2, 2))
    trainer(3, limit_val_batches=0).fit(resumed, batches, batches, ckpt_path=path, weights_only=True)
    assert resumed.history[:2] == task.history
    assert len(resumed.history) == 3
    nothing = trainer(1, limit_train_batches=0)
    nothing.fit(FlowTraining(LatentFlow(2, 2)), batches, batches)
    assert nothing.global_step == 0
    task.flow.requires_grad_(False)
    with pytest.raises(ValueError, match="weights: all are frozen"):
        trainer(1).fit(task, batches, batches)
    with pytest.raises(ValueError, match="batch: expected images and labels"):
        trainer(1, num_sanity_val_steps=0).fit(task, DataLoader([torch.randn(4, 2)], None), batches)


# on the codes of a model


def test_the_history_weighs_images_and_forgets_what_came_before():
    flow = LatentFlow(2, 2)
    near, far = torch.zeros(9, 2), torch.full((9, 2), 100.0)
    near[8] = 20.0
    data = [DataLoader(list(zip(x, torch.zeros(9, dtype=torch.long), strict=True)), 8) for x in (near, far)]
    task, alone = FlowTraining(flow, learning_rate=1e-12), trainer(1, num_sanity_val_steps=0)
    alone.validate(task, data[1], verbose=False)
    alone.fit(task, data[0], data[0])
    expected = -flow.log_prob(near, 0).mean().item()
    assert task.history == [pytest.approx({"train_nats": expected, "nats": expected}, rel=1e-4)]


@pytest.mark.parametrize("count", [3, 5, 6])
def test_an_epoch_has_every_code_once(vae, images, labels, count):
    codes = Codes(vae, [(images[:count], labels[:count])], batch_size=4)
    codes.deviations.zero_()
    sizes = [len(own) for _, own in codes]
    assert len(codes) == len(sizes) == math.ceil(count / 4)
    assert max(sizes) - min(sizes) <= 1
    torch.testing.assert_close(torch.cat([z for z, _ in codes]).sort(0).values, codes.means.sort(0).values)


def test_noise_of_another_type_is_taken(latent, nvp):
    for flow in (latent, nvp):
        noise = torch.randn(2, flow.entries)
        torch.testing.assert_close(flow.inverse(noise.double(), 1), flow.inverse(noise, 1))


def test_codes_are_drawn_anew_around_their_means(vae, images, labels):
    codes = Codes(vae, [(images, labels)], batch_size=3)
    first, second = (torch.cat([z for z, _ in codes]) for _ in range(2))
    assert first.shape == (6, 4)
    assert not torch.allclose(first.sort(0).values, second.sort(0).values)
    posterior = vae.eval().encode(images)
    torch.testing.assert_close(codes.means, posterior.mean.detach())
    again = torch.cat([z for z, _ in Codes(vae, [(images, labels)], batch_size=3)])
    torch.testing.assert_close(again, first)  # the seed


def test_a_carried_model_relabels_by_the_flow(vae, images, labels):
    vae.eval()
    flow = moved_off_identity(LatentFlow(4, 3, hidden_dim=8))
    carried = WithFlow(vae, flow)
    z = vae.encode(images).mean.detach()
    torch.testing.assert_close(carried.relabel(images, 2, labels), vae.decode(flow.carry(z, labels, 2), 2).detach())
    torch.testing.assert_close(carried.relabel(images, labels, labels), vae.relabel(images, labels), atol=1e-5, rtol=0)
    new = WithFlow(vae, LatentFlow(4, 3))  # which changes nothing
    torch.testing.assert_close(new.relabel(images, 2, labels), vae.relabel(images, 2))
    drawn = [each.sample(labels, torch.Generator().manual_seed(1)) for each in (new, vae)]
    torch.testing.assert_close(*drawn)
    assert torch.equal(carried.relabel(images, 2, labels, mask=torch.zeros(8, 8)), images)


def test_a_flow_fitted_to_a_model(vae, images, labels):
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    vae.class_names = ["a", "b", "c"]
    state = torch.get_rng_state()
    carried = WithFlow.fit(vae, [(images.repeat(50, 1, 1, 1), labels.repeat(50))], epochs=2, couplings=2, hidden_dim=8)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in vae.state_dict().items())
    assert carried.flow.class_names == ["a", "b", "c"]
    assert not carried.flow.training
    assert carried.sample("b").shape == (1, 1, 8, 8)
    again = WithFlow.fit(vae, [(images.repeat(50, 1, 1, 1), labels.repeat(50))], epochs=2, couplings=2, hidden_dim=8)
    torch.testing.assert_close(carried.relabel(images, 1, labels), again.relabel(images, 1, labels), rtol=0, atol=0)


def test_flows_of_other_models_are_refused(vae):
    with pytest.raises(
        ValueError, match="flow: expected a flow on codes of 4 entries and 3 classes, got one on 5 entries"
    ):
        WithFlow(vae, LatentFlow(5, 3))
    with pytest.raises(ValueError, match="flow: expected LatentFlow"):
        WithFlow(vae, RealNVP((1, 8, 8), 3))
    several = ConditionalVAE((1, 8, 8), attributes={"angle": {"kind": "continuous", "low": 0, "high": 1}})
    with pytest.raises(ValueError, match="num_classes: "):
        WithFlow.fit(several, [(torch.zeros(2, 1, 8, 8), torch.zeros(2))])


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "batches: expected at least one batch of images, got none"),
        (3, "batches: expected a torch Dataset or DataLoader, or a list of batches of images and labels, got 3"),
        ([torch.zeros(2, 1, 8, 8)], "batches: expected images and labels, as a pair"),
        ([(torch.zeros(2, 1, 9, 9), torch.zeros(2, dtype=torch.long))], "images: expected"),
        ([(torch.zeros(2, 1, 8, 8), torch.full((2,), 3))], "labels: expected class indices from 0 to 2, got 3"),
    ],
)
def test_batches_that_are_none(vae, batches, message):
    with pytest.raises(ValueError, match=message):
        Codes(vae, batches)


def test_few_codes_are_one_batch(vae, images, labels):
    vae.class_names = ["a", "b", "c"]
    ((z, own),) = Codes(vae, [(images[:3], ["a", "b", "c"])])
    assert z.shape == (3, 4)
    assert sorted(own.tolist()) == [0, 1, 2]


def test_a_model_whose_encoder_alone_sees_the_label(shape, images, labels):
    """The flow tells codes of labels apart, so that such a model relabels, and draws images of a label."""
    vae = ConditionalVAE(shape, 3, 4, (8,), encoder_label="onehot", decoder_label="none").eval()
    flow = moved_off_identity(LatentFlow(4, 3, hidden_dim=8))
    carried = WithFlow(vae, flow)
    z = vae.encode(images, labels).mean.detach()
    torch.testing.assert_close(carried.relabel(images, 2, labels), vae.decode(flow.carry(z, labels, 2), 2).detach())
    first, other = (carried.sample(label, torch.Generator().manual_seed(1)) for label in (0, 1))
    assert not torch.allclose(first, other)


def test_a_flow_is_to_be_subclassed():
    flow = ConditionalFlow({}, 2, 2)
    with pytest.raises(NotImplementedError):
        flow(torch.zeros(1, 2), 0)


@pytest.mark.parametrize("which", ["latent", "nvp"])
def test_flows_are_exported_for_any_number_and_mapped_over(which, request):
    flow = request.getfixturevalue(which)
    data = torch.rand(5, 5) if which == "latent" else torch.rand(5, 1, 8, 8)
    expected = flow.carry(data, 0, 2)

    class Carrying(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = flow

        def forward(self, data):
            return self.flow.carry(data, 0, 2)

    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(Carrying(), (data,), dynamic_shapes={"data": {0: batch}}).module()
        torch.testing.assert_close(program(data[:2]), expected[:2])
        torch.testing.assert_close(torch.vmap(lambda one: flow.carry(one[None], 0, 2)[0])(data), expected)


def test_flows_without_values_are_refused(vae, nvp, latent, images, labels):
    for flow, data in ((nvp, images), (latent, torch.rand(6, 5))):
        with pytest.raises(ValueError, match="x: expected values, got a tensor of the meta device"):
            flow.carry(data.to("meta"), 0, 1)
        flow.to("meta")
        with pytest.raises(ValueError, match="flow: expected values, got a tensor of the meta device"):
            flow.carry(data, 0, 1)
        with pytest.raises(ValueError, match="model: expected weights, got a network on the meta device"):
            flow.log_prob(data, 0)
    with pytest.raises(ValueError, match="vae: expected weights, got a network on the meta device"):
        Codes(vae.to("meta"), [(images, labels)])
