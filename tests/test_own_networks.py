import json
import math

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from labelvae import (
    AttributeELBO,
    Category,
    ConditionalVAE,
    Continuous,
    DiagonalGaussian,
    GuidedELBO,
    ImageData,
    VAETraining,
    evaluate,
)
from labelvae.models.export import exported

SHAPE = (3, 9, 12)


class Encoding(nn.Module):
    """Pixels to a mean and a log-variance."""

    def __init__(self, dims=4, form="one", shape=SHAPE, labels=0):
        super().__init__()
        self.form = form
        self.to_code = nn.Linear(torch.Size(shape).numel() + labels, 2 * dims)

    def forward(self, images, label=None):
        seen = images.flatten(1) if label is None else torch.cat([images.flatten(1), label], dim=1)
        both = self.to_code(seen)
        return {"one": both, "two": both.chunk(2, dim=1), "gaussian": DiagonalGaussian(*both.chunk(2, dim=1))}[
            self.form
        ]


class Decoding(nn.Module):
    """A code and a label to pixel logits."""

    def __init__(self, dims=4, classes=3, shape=SHAPE):
        super().__init__()
        self.shape = shape
        self.norm = nn.BatchNorm1d(dims + classes)
        self.to_pixels = nn.Linear(dims + classes, torch.Size(shape).numel())

    def forward(self, z, label):
        return self.to_pixels(self.norm(torch.cat([z, label], dim=1))).unflatten(1, self.shape)


class Counting(nn.Module):
    """A network that counts what it sees, and changes it in place."""

    def __init__(self, network, times=2.0, mask=()):
        super().__init__()
        self.network, self.times = network, times
        self.register_buffer("seen", torch.tensor(0))
        self.register_buffer("mask", torch.tensor(mask))

    def forward(self, *given):
        self.seen += len(given[0])
        return self.network(*(each.mul_(self.times) for each in given))


class Still(nn.Module):
    """A network without a weight."""

    def forward(self, first, label=None):
        return first.flatten(1)[:, :8] if label is None else first.repeat(1, 81).unflatten(1, SHAPE)


def made(**parts):
    return ConditionalVAE(SHAPE, 3, latent_dim=4, encoder_widths=(8,), hidden_dim=8, **parts)


@pytest.mark.parametrize("form", ["one", "two", "gaussian"])
def test_networks_of_your_own_encode_decode_and_train(form):
    decoder = Decoding()
    vae = made(encoder=Encoding(form=form), decoder=decoder)
    assert int(decoder.norm.num_batches_tracked) == 0, "the trial changed nothing"
    assert vae.training
    images, labels = torch.rand(6, *SHAPE), torch.tensor([0, 1, 2, 0, 1, 2])
    GuidedELBO()(vae, images, labels).total.backward()
    assert all(weight.grad is not None for weight in vae.parameters())
    vae.eval()
    mean, log_variance = vae.encoder.to_code(images.flatten(1)).chunk(2, dim=1)
    torch.testing.assert_close(vae.encode(images).mean, mean)
    torch.testing.assert_close(vae.encode(images).log_variance, log_variance)
    asked = torch.eye(3)[[2] * 6]
    torch.testing.assert_close(vae.relabel(images, 2), decoder(mean, asked).sigmoid())
    assert exported(vae).module()(images[:2], torch.tensor([2, 2])).shape == (2, *SHAPE)


def test_an_encoder_that_sees_the_label_is_given_it_as_it_enters():
    vae = made(encoder=Encoding(labels=3), encoder_label="onehot")
    images, own = torch.rand(2, *SHAPE), torch.tensor([1, 2])
    torch.testing.assert_close(vae.encode(images, own).mean, vae.encoder(images, torch.eye(3)[own])[:, :4])
    vae = made(encoder=Encoding(labels=5), encoder_label="embedding", embedding_dim=5)
    torch.testing.assert_close(vae.encode(images, own).mean, vae.encoder(images, vae.embedding.weight.T[own])[:, :4])


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (
            {"encoder": Encoding(dims=5)},
            r"encoder: expected mean and log-variance, \(B, 2D\) = \(3, 8\).*got \(3, 10\)",
        ),
        ({"encoder": Encoding(dims=5, form="two")}, r"got \(3, 5\) and \(3, 5\)"),
        ({"encoder": Encoding(dims=5, form="gaussian")}, r"got \(3, 5\) and \(3, 5\)"),
        ({"encoder": Counting(Encoding(), times=math.nan)}, "encoder: expected numbers, got NaN; look at its weights"),
        ({"decoder": Counting(Decoding(), times=math.nan)}, "decoder: expected numbers, got NaN; look at its weights"),
        ({"encoder": Encoding(shape=(1, 8, 8))}, r"encoder: fails on images of shape \(3, 3, 9, 12\)"),
        ({"encoder": Encoding}, r"encoder: expected a torch.nn.Module.*make one: encoder=Encoding\(...\)"),
        ({"decoder": Decoding(shape=(3, 12, 9))}, r"decoder: expected pixel logits of shape \(3, 3, 9, 12\), got"),
        ({"decoder": Decoding(dims=5)}, r"decoder: fails on codes of shape \(3, 4\)"),
        ({"decoder": nn.Linear(4, 4)}, "decoder: fails on codes"),
        ({"decoder": "mine"}, "decoder: expected a torch.nn.Module"),
    ],
)
def test_networks_that_do_not_fit_are_refused_at_construction(parts, says):
    with pytest.raises(ValueError, match=says):
        made(**parts)


def test_a_saved_model_with_a_decoder_of_its_own_comes_back_with_one(tmp_path):
    vae = made(decoder=Decoding()).eval()
    vae.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["own_parts"] == {"decoder": "Decoding"}
    with pytest.raises(ValueError, match=r"saved with a decoder of your own \(Decoding\).*pass from_pretrained"):
        ConditionalVAE.from_pretrained(tmp_path)
    again = ConditionalVAE.from_pretrained(tmp_path, decoder=Decoding())
    images = torch.rand(2, *SHAPE)
    assert torch.equal(again.relabel(images, 1), vae.relabel(images, 1))
    with pytest.raises(ValueError, match="encoder: the model under .* the library's own encoder"):
        ConditionalVAE.from_pretrained(tmp_path, decoder=Decoding(), encoder=Encoding())
    with pytest.raises(ValueError, match="decoer: no such argument"):
        ConditionalVAE.from_pretrained(tmp_path, decoer=Decoding())
    other = nn.Sequential()
    other.append(Decoding())
    with pytest.raises(ValueError, match="decoder: fails|weights are not those"):
        ConditionalVAE.from_pretrained(tmp_path, decoder=other)


def test_an_encoder_of_its_own_is_asked_for(tmp_path):
    made(encoder=Encoding()).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"saved with an encoder of your own \(Encoding\), which a folder cannot hold"):
        ConditionalVAE.from_pretrained(tmp_path)


def test_a_decoder_of_other_widths_than_the_saved_one_is_blamed_itself(tmp_path):
    def deep(hidden):
        decoder = Decoding()
        decoder.to_pixels = nn.Sequential(nn.Linear(7, hidden), nn.Linear(hidden, torch.Size(SHAPE).numel()))
        return decoder

    made(decoder=deep(5)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"decoder: .* not those saved under .* is of shape .* there and of shape"):
        ConditionalVAE.from_pretrained(tmp_path, decoder=deep(6))
    with pytest.raises(ValueError, match=r"decoder: .*'decoder.to_pixels.0.bias' is .* there and missing in yours"):
        ConditionalVAE.from_pretrained(tmp_path, decoder=Decoding())


@pytest.mark.parametrize("change", ["assigned", "norms", "activation"])
def test_a_part_that_was_changed_later_is_not_saved_as_what_it_is_not(change, tmp_path):
    vae = made().eval()
    if change == "assigned":
        vae.decoder = Decoding().eval()
    elif change == "norms":
        vae.decoder.norms[0].norm = nn.InstanceNorm2d(8)
    else:
        vae.decoder.ups[0] = nn.Sequential(*vae.decoder.ups[0], nn.Tanh())  # no weight tells
    vae.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="saved with a decoder of your own"):
        ConditionalVAE.from_pretrained(tmp_path)
    again = ConditionalVAE.from_pretrained(tmp_path, decoder=vae.decoder)
    images = torch.rand(2, *SHAPE)
    assert torch.equal(again.relabel(images, 1), vae.relabel(images, 1))


def test_a_model_of_the_library_is_saved_as_before(tmp_path):
    state = torch.random.get_rng_state()
    vae = made()
    torch.random.set_rng_state(state)
    vae.save_pretrained(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state), "saving draws nothing"
    assert "own_parts" not in json.loads((tmp_path / "config.json").read_text())
    assert not vae.own_parts()
    compiled = made()
    compiled.decoder = torch.compile(compiled.decoder, backend="eager")
    assert not compiled.own_parts()


def test_training_with_networks_of_your_own_is_kept(digits: ImageData, tmp_path):
    shape = digits.image_shape
    parts = {"encoder": Encoding(shape=shape), "decoder": Decoding(classes=10, shape=shape)}
    vae = ConditionalVAE(shape, 10, latent_dim=4, **parts)
    how = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=1, limit_train_batches=2, limit_val_batches=1, enable_checkpointing=False, **how)
    trainer.fit(VAETraining(vae, GuidedELBO()), datamodule=digits)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(
        ValueError, match="vae: .* ConditionalVAE with encoder Encoding and decoder Decoding of your own"
    ):
        VAETraining.load_from_checkpoint(tmp_path / "a.ckpt")
    new = ConditionalVAE(
        shape, 10, latent_dim=4, encoder=Encoding(shape=shape), decoder=Decoding(classes=10, shape=shape)
    )
    again = VAETraining.load_from_checkpoint(tmp_path / "a.ckpt", vae=new)
    assert torch.equal(again.vae.decoder.to_pixels.weight, vae.decoder.to_pixels.weight)
    judge = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert 0 <= evaluate(vae, digits.loader("validation"), judge, progress=False).effectiveness <= 1


def test_networks_of_your_own_take_labels_of_several_attributes(tmp_path):
    attributes = {"kind": Category(3), "angle": Continuous(0, 360, periodic=True)}

    def parts():
        return {"encoder": Encoding(labels=5), "decoder": Decoding(classes=5)}

    vae = ConditionalVAE(SHAPE, attributes=attributes, latent_dim=4, encoder_label="onehot", **parts())
    images, rows = torch.rand(3, *SHAPE), torch.tensor([[0, 10.0], [1, 200.0], [2, float("nan")]])
    AttributeELBO()(vae, images, rows).total.backward()
    assert all(weight.grad is not None for weight in vae.parameters())
    asked = {"own_labels": {"kind": [0, 1, 2], "angle": [10, 200, 90]}}
    seen = vae.relabel(images, {"angle": 90}, **asked)
    assert not torch.equal(seen, vae.relabel(images, {"angle": 180}, **asked))
    vae.save_pretrained(tmp_path / "vae")
    again = ConditionalVAE.from_pretrained(tmp_path / "vae", **parts())
    assert torch.equal(again.relabel(images, {"angle": 90}, **asked), seen)
    with pytest.raises(ValueError, match=r"decoder: .*fails"):
        ConditionalVAE(SHAPE, attributes=attributes, latent_dim=4, decoder=Decoding(classes=2))


def test_a_network_that_changes_what_it_is_given_changes_nothing_of_the_callers():
    vae = made(encoder=Counting(Encoding()), decoder=Counting(Decoding())).eval()
    images, weights, z = torch.rand(4, *SHAPE), torch.eye(3)[[0, 1, 2, 0]], torch.randn(4, 4)
    before = [each.clone() for each in (images, weights, z)]
    first = vae.relabel(images, weights)
    vae.encode(images)
    vae.decode(z, weights)
    assert all(torch.equal(now, then) for now, then in zip((images, weights, z), before, strict=True))
    assert torch.equal(vae.relabel(images, weights), first)


def test_a_network_that_counts_what_it_sees_has_not_been_tried():
    vae = made(encoder=Counting(Encoding()), decoder=Counting(Decoding()))
    assert (int(vae.encoder.seen), int(vae.decoder.seen)) == (0, 0)
    vae.relabel(torch.rand(4, *SHAPE), 1)
    assert (int(vae.encoder.seen), int(vae.decoder.seen)) == (4, 4)


def test_networks_without_a_weight_encode_and_decode():
    vae = made(encoder=Still(), decoder=Still())
    assert (vae.device.type, vae.dtype) == ("cpu", torch.float32)
    assert vae.relabel(torch.rand(2, *SHAPE), 1).shape == (2, *SHAPE)


def test_a_mask_of_infinity_is_saved_and_loaded(tmp_path):
    vae = made(decoder=Counting(Decoding(), mask=[0.0, -math.inf])).eval()
    vae.save_pretrained(tmp_path)
    again = ConditionalVAE.from_pretrained(tmp_path, decoder=Counting(Decoding(), mask=[0.0, 0.0]))
    assert torch.equal(again.decoder.mask, vae.decoder.mask)
    vae.decoder.mask[0] = math.nan
    with pytest.raises(ValueError, match=r"model: 'decoder.mask' has weights that are not finite; go back to"):
        vae.save_pretrained(tmp_path)
