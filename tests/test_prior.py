"""A model's prior: what `sample` draws codes from, saved and loaded with the model."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader

from labelvae import ConditionalVAE, GuidedELBO, VAETraining
from labelvae.__main__ import main
from labelvae.flows import LatentFlow, WithFlow, fit_prior
from labelvae.models.coupling import Coupling
from labelvae.models.export import export_program


def moved_flow(entries=4, classes=3):
    """A flow that has learned something: a new one changes nothing."""
    flow = LatentFlow(entries, classes, couplings=4, hidden_dim=8)
    with torch.no_grad():
        for layer in flow.modules():
            if isinstance(layer, Coupling):
                layer.network.last.weight.normal_(std=0.3)
                layer.network.last.bias.normal_(std=0.5)
    return flow.eval()


@pytest.fixture
def with_prior(vae):
    vae.prior = moved_flow()
    return vae.eval()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# what it does


def test_samples_are_decoded_codes_of_the_prior(with_prior, labels):
    codes = with_prior.prior.sample(labels, seeded())
    made = with_prior.sample(labels, seeded())
    torch.testing.assert_close(made, with_prior.decode(codes, labels).detach(), rtol=0, atol=0)
    torch.testing.assert_close(made, WithFlow(with_prior, with_prior.prior).sample(labels, seeded()), rtol=0, atol=0)
    parts = with_prior.sample(labels, seeded(), chunk_size=4)
    torch.testing.assert_close(parts, made)


def test_without_a_prior_codes_are_standard_normal(with_prior, labels):
    with_prior.prior = None
    codes = torch.randn(len(labels), 4, generator=seeded())
    made = with_prior.sample(labels, seeded())
    torch.testing.assert_close(made, with_prior.decode(codes, labels).detach(), rtol=0, atol=0)


def test_names_and_blends_are_labels_of_a_prior(with_prior):
    with_prior.class_names = ["a", "b", "c"]
    by_name, by_index = (with_prior.sample(label, seeded()) for label in (["c", "a"], [2, 0]))
    torch.testing.assert_close(by_name, by_index, rtol=0, atol=0)
    blend = with_prior.sample(torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]), seeded())
    torch.testing.assert_close(blend[1:], with_prior.sample([2, 2], seeded())[1:])


def test_nothing_but_sample_knows_of_a_prior(vae, images, labels):
    vae.eval()
    calls = [
        lambda: vae.relabel(images, 2),
        lambda: vae.relabel(images, 2, labels, residual=True),
        lambda: vae.reconstruct(images, labels),
        lambda: vae.interpolate(images, 0, 2, steps=3),
    ]
    state, count = vae.state_dict(), len(list(vae.parameters()))
    before = [call() for call in calls]
    vae.prior = moved_flow()
    assert all(torch.equal(call(), old) for call, old in zip(calls, before, strict=True))
    assert list(vae.state_dict()) == list(state)
    assert len(list(vae.parameters())) == count
    assert vae.config == ConditionalVAE(**vae.config).config


def test_a_decoder_that_does_not_see_the_label_samples_by_its_prior(shape):
    vae = ConditionalVAE(shape, 3, 4, (8,), encoder_label="onehot", decoder_label="none").eval()
    with pytest.raises(ValueError, match="draws no images of a label"):
        vae.sample(0)
    vae.prior = moved_flow()
    assert not torch.allclose(vae.sample(0, seeded()), vae.sample(1, seeded()))


def test_one_category_samples_by_a_prior(shape):
    kinds = {"digit": {"kind": "category", "names": ["a", "b", "c"]}}
    vae = ConditionalVAE(shape, attributes=kinds, latent_dim=4, encoder_widths=(8,)).eval()
    vae.prior = moved_flow()
    torch.testing.assert_close(vae.sample({"digit": ["b", "c"]}, seeded()), vae.sample([1, 2], seeded()))


# what it may be


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (LatentFlow(5, 3), "prior: expected a flow on codes of 4 entries and 3 classes, got one on 5 entries and 3"),
        (LatentFlow(4, 2), "prior: expected a flow on codes of 4 entries and 3 classes, got one on 4 entries and 2"),
        (nn.Linear(4, 4), "prior: expected LatentFlow, got Linear"),
        (torch.zeros(4), "prior: expected LatentFlow, got Tensor"),
        (LatentFlow, "prior: expected LatentFlow, got type"),
        ("flow", "prior: expected LatentFlow, got str"),
    ],
)
def test_another_prior_is_refused_and_the_one_there_stays(with_prior, prior, message):
    before = with_prior.prior
    with pytest.raises(ValueError, match=message):
        with_prior.prior = prior
    assert with_prior.prior is before


def test_a_model_of_several_attributes_has_no_prior(shape):
    several = ConditionalVAE(shape, latent_dim=4, attributes={"angle": {"kind": "continuous", "low": 0, "high": 1}})
    with pytest.raises(ValueError, match="num_classes: expected a ConditionalVAE of one class"):
        several.prior = LatentFlow(4, 3)


def test_a_prior_without_values_is_refused_when_it_is_used(vae):
    with torch.device("meta"):
        vae.prior = LatentFlow(4, 3)
    with pytest.raises(ValueError, match="prior: expected values, got a tensor of the meta device"):
        vae.sample(0)


# saved, loaded, copied


@pytest.mark.parametrize("bits", [None, 8])
def test_saved_and_loaded(with_prior, labels, bits, tmp_path):
    with_prior.class_names = ["a", "b", "c"]
    with_prior.save_pretrained(tmp_path, bits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.json", "config.json", "model.safetensors"]
    again = ConditionalVAE.from_pretrained(tmp_path)
    assert again.prior.config == with_prior.prior.config
    assert again.prior.class_names == ["a", "b", "c"]
    assert again.config == with_prior.config
    assert not again.prior.training
    close = {"rtol": 0, "atol": 0} if bits is None else {"rtol": 0, "atol": 0.05}
    torch.testing.assert_close(again.sample(labels, seeded()), with_prior.sample(labels, seeded()), **close)
    (tmp_path / "config.json").unlink()  # the weights know it
    assert ConditionalVAE.from_pretrained(tmp_path).prior is not None


def test_saved_without_a_prior_over_a_model_with_one(with_prior, tmp_path):
    with_prior.save_pretrained(tmp_path)
    with_prior.prior = None
    with_prior.save_pretrained(tmp_path)
    assert "prior" not in json.loads((tmp_path / "config.json").read_text())
    assert not [name for name in load_file(tmp_path / "model.safetensors") if name.startswith("prior")]
    assert ConditionalVAE.from_pretrained(tmp_path).prior is None


def test_a_prior_in_half_precision_is_saved_so_and_draws_in_single(with_prior, tmp_path):
    with_prior.prior.half()
    with_prior.half().save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert {value.dtype for name, value in stored.items() if name.startswith("prior.")} == {torch.float16, torch.int64}
    again = ConditionalVAE.from_pretrained(tmp_path)
    assert again.prior.dtype == again.dtype == torch.float32


def test_a_model_in_half_precision_samples_by_a_prior_in_single(with_prior, labels):
    expected = with_prior.sample(labels, seeded())
    made = with_prior.to(torch.bfloat16).sample(labels, seeded())
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), expected, rtol=0, atol=0.1)


def test_copies_have_a_prior_of_their_own(with_prior, labels):
    expected = with_prior.sample(labels, seeded())
    for again in (copy.deepcopy(with_prior), pickle.loads(pickle.dumps(with_prior))):
        assert again.prior is not with_prior.prior
        torch.testing.assert_close(again.sample(labels, seeded()), expected, rtol=0, atol=0)
    other = copy.copy(with_prior)
    other.prior = None
    assert with_prior.prior is not None


def rewritten(folder, change):
    """Change the header and the weights of a saved model."""
    header = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    change(header, weights)
    save_file(weights, folder / "model.safetensors", {"config": json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, _: header.pop("prior"), "the weights are not those of its configuration"),
        (lambda header, _: header.update(prior=3), "not a configuration of LatentFlow: int"),
        (lambda header, _: header.update(prior={"latent_dim": 4}), "not a configuration of LatentFlow: .*num_classes"),
        (lambda header, _: header["prior"].update(couplings=10**9), "couplings: "),
        (lambda header, _: header["prior"].update(hidden_dim=9), r"differ, the first is 'prior\.layers"),
        (lambda _, weights: weights.pop("prior.layers.0.order"), r"differ, the first is 'prior\.layers\.0\.order'"),
        (
            lambda _, weights: weights["prior.layers.2.order"].fill_(3),
            r"layers\.2\.order: expected each of 0 to 3 once",
        ),
        (lambda _, weights: weights["prior.layers.0.network.last.bias"].fill_(torch.nan), r"'prior\..* not finite"),
    ],
)
def test_a_broken_prior_is_refused_with_its_model(with_prior, change, message, tmp_path):
    with_prior.save_pretrained(tmp_path)
    rewritten(tmp_path, change)
    with pytest.raises(ValueError, match=message):
        ConditionalVAE.from_pretrained(tmp_path)


def test_a_prior_of_other_codes_is_refused_with_its_model(with_prior, tmp_path):
    with_prior.save_pretrained(tmp_path)
    other = LatentFlow(5, 3)

    def exchange(header, weights):
        header["prior"] = other.config
        for name in [name for name in weights if name.startswith("prior.")]:
            del weights[name]
        weights.update({f"prior.{name}": value for name, value in other.state_dict().items()})

    rewritten(tmp_path, exchange)
    with pytest.raises(ValueError, match="prior: expected a flow on codes of 4 entries"):
        ConditionalVAE.from_pretrained(tmp_path)


# commands, exports, trainings


def test_a_model_with_a_prior_is_exported_as_without(with_prior, images, labels, tmp_path):
    export_program(with_prior, tmp_path / "model.pt2")
    again = torch.export.load(tmp_path / "model.pt2").module()
    torch.testing.assert_close(again(images, labels), with_prior.relabel(images, labels))
    assert with_prior.prior is not None


def test_the_command_samples_by_the_prior(with_prior, tmp_path):
    with_prior.save_pretrained(tmp_path / "vae")
    main(["sample", "--model", str(tmp_path / "vae"), "--label=1", "--count=3", "--seed=5", str(tmp_path / "some")])
    expected = with_prior.sample([1] * 3, seeded(5))
    for index, image in enumerate(expected):
        with Image.open(tmp_path / "some" / f"1_{index:04d}.png") as found:
            levels = torch.from_numpy(np.asarray(found) / 255.0).float()
        torch.testing.assert_close(levels, image[0], rtol=0, atol=0.5 / 255 + 1e-6)


def test_the_command_fits_a_prior_to_a_saved_model(tmp_path, capsys):
    vae = ConditionalVAE((1, 8, 8), 10, latent_dim=4, encoder_widths=(8,), hidden_dim=16).eval()
    vae.save_pretrained(tmp_path / "run" / "vae")
    main(["prior", "--model", str(tmp_path / "run"), "--data=digits", "--epochs=1"])
    assert f"the model with its prior: {tmp_path / 'run' / 'vae'}" in capsys.readouterr().out
    again = ConditionalVAE.from_pretrained(tmp_path / "run")
    assert again.prior is not None
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in vae.state_dict().items())


def refused(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_the_command_refuses(with_prior, tmp_path, capsys):
    assert "model: expected a folder of your own" in refused(capsys, "prior", "--model=mnist", "--data=mnist")
    with_prior.save_pretrained(tmp_path / "vae")
    assert "data: there is no" in refused(capsys, "prior", "--model", tmp_path / "vae")
    assert "there are 3 classes" in refused(capsys, "prior", "--model", tmp_path / "vae", "--data=digits")
    assert "epochs: " in refused(capsys, "prior", "--model", tmp_path / "vae", "--data=digits", "--epochs=0")
    several = ConditionalVAE((1, 8, 8), latent_dim=4, attributes={"angle": {"kind": "continuous", "low": 0, "high": 1}})
    several.save_pretrained(tmp_path / "several")
    assert "model: expected a model of one class" in refused(capsys, "prior", "--model", tmp_path / "several")


def test_a_training_drops_the_prior_of_the_codes_before(with_prior, guide, images, labels):
    task = VAETraining(with_prior, GuidedELBO(guide))
    assert not [name for name in task.state_dict() if "prior" in name]
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_steps=1, accelerator="cpu", enable_model_summary=False, num_sanity_val_steps=0, **quiet)
    with pytest.warns(UserWarning, match="prior: other weights have other codes"):
        trainer.fit(task, DataLoader([(images, labels)], None), DataLoader([(images, labels)], None))
    assert with_prior.prior is None


def test_other_weights_drop_the_prior_and_the_same_ones_do_not(with_prior):
    with_prior.load_state_dict(copy.deepcopy(with_prior.state_dict()))
    assert with_prior.prior is not None
    other = ConditionalVAE(**with_prior.config)
    with pytest.warns(UserWarning, match="prior: other weights have other codes"):
        with_prior.load_state_dict(other.state_dict())
    assert with_prior.prior is None


# fitted


def test_a_fitted_prior_draws_codes_as_images_of_each_class_have_them(shape):
    """Two classes of images, dark and bright: an encoder that looks at the brightness has two kinds of codes."""

    class Brightness(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(4.0))

        def forward(self, images):
            mean = self.factor * (images.mean(dim=(2, 3)) - 0.5)
            return torch.cat([mean, -mean, torch.full_like(mean, -4.0), torch.full_like(mean, -4.0)], dim=1)

    vae = ConditionalVAE(shape, 2, latent_dim=2, encoder_widths=(8,), encoder=Brightness())
    labels = torch.arange(6000) % 2
    images = (0.25 + 0.5 * labels.view(-1, 1, 1, 1) + 0.2 * (torch.rand(6000, 1, 1, 1) - 0.5)).expand(-1, *shape)
    state = vae.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    vae.prior = fit_prior(vae, [(images, labels)], epochs=25, couplings=4, hidden_dim=16)
    assert all(torch.equal(before[name], value) for name, value in vae.state_dict().items())
    for label, centre in ((0, -1.0), (1, 1.0)):
        codes = vae.prior.sample([label] * 500, seeded())
        torch.testing.assert_close(codes.mean(0), torch.tensor([centre, -centre]), atol=0.1, rtol=0)
        assert codes.std(0).max() < 0.5, "N(0, I) is wider"
