from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from labelvae import ConditionalVAE
from labelvae.models.confidence import relabel_to_confidence
from labelvae.models.counterfactuals import counterfactuals
from labelvae.models.options import DecoderLabel, EncoderLabel


def test_inference_restores_the_modes_and_records_no_gradient(vae, images, labels):
    vae.train()
    vae.decoder.norms[0].eval()  # one that was left so stays so
    modes = [part.training for part in vae.modules()]
    statistics = [part.running_mean.clone() for part in vae.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(statistics) == 2
    for out in (
        vae.relabel(images, 1),
        vae.reconstruct(images, labels),
        vae.sample(labels),
        vae.interpolate(images, 0, 2, steps=3),
    ):
        assert not out.requires_grad
        assert not out.is_inference()
    assert [part.training for part in vae.modules()] == modes
    after = [part.running_mean for part in vae.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(torch.equal(one, other) for one, other in zip(after, statistics, strict=True))


def test_modes_are_restored_after_an_error(vae, images):
    vae.train()
    with pytest.raises(ValueError, match="labels"):
        vae.relabel(images, 99)
    with pytest.raises(ValueError, match="images"):
        vae.relabel(images * 255, 1)
    assert all(part.training for part in vae.modules())


def test_inference_does_not_depend_on_the_mode(vae, images):
    expected = vae.eval().relabel(images, 1)
    torch.testing.assert_close(vae.train().relabel(images, 1), expected)


def test_relabelling_decodes_the_posterior_mean(vae, images):
    vae.eval()
    torch.testing.assert_close(vae.relabel(images, 2), vae.decode(vae.encode(images).mean, 2))


def test_reconstruction_is_relabelling_to_the_own_label(vae, images, labels):
    torch.testing.assert_close(vae.reconstruct(images, labels), vae.relabel(images, labels, labels))


def test_chunks_do_not_change_the_result(vae, images, labels):
    for chunk_size in (1, 4, 6, 100):
        torch.testing.assert_close(vae.relabel(images, labels, chunk_size=chunk_size), vae.relabel(images, labels))
    whole = vae.sample(labels, torch.Generator().manual_seed(0))
    torch.testing.assert_close(vae.sample(labels, torch.Generator().manual_seed(0), chunk_size=2), whole)


def test_samples_are_decoded_draws_of_the_prior(vae):
    codes = torch.randn(5, 4, generator=torch.Generator().manual_seed(7))
    found = vae.sample([1] * 5, torch.Generator().manual_seed(7))
    torch.testing.assert_close(found, vae.eval().decode(codes, 1).detach())


def test_labels_matter_once_they_are_told_apart(vae, images):
    with torch.no_grad():
        vae.decoder.hidden.weight[:, -3:] = 0.0  # the label beside the code
    nn.init.normal_(vae.decoder.norms[0].scale_and_shift.weight)
    assert not torch.allclose(vae.relabel(images, 0), vae.relabel(images, 1))


def test_interpolation_starts_at_what_the_images_are():
    images = torch.rand(6, 1, 8, 8)
    seeing = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_label="onehot")
    torch.testing.assert_close(seeing.interpolate(images, 0, 2)[:, -1], seeing.relabel(images, 2, own_labels=0))
    shifted = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_label="shift", decoder_label="none")
    way = shifted.interpolate(images, 0, 2)
    for place, label in ((0, 0), (-1, 2)):
        torch.testing.assert_close(way[:, place], shifted.relabel(images, label))


def test_interpolation_goes_from_one_label_to_the_other(vae, images):
    way = vae.interpolate(images, 0, 2, steps=5)
    assert way.shape == (6, 5, 1, 8, 8)
    torch.testing.assert_close(way[:, 0], vae.relabel(images, 0))
    torch.testing.assert_close(way[:, 4], vae.relabel(images, 2))


def test_an_encoder_that_sees_the_label_uses_the_own_one(images, labels):
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_label="onehot").eval()
    assert not torch.allclose(vae.encode(images, 0).mean, vae.encode(images, 1).mean)
    expected = vae.decode(vae.encode(images, labels).mean, 2)
    torch.testing.assert_close(vae.relabel(images, 2, own_labels=labels), expected)
    with pytest.raises(ValueError, match="encoder sees the label"):
        vae.relabel(images, 2)


WAYS = [(e, d) for e in get_args(EncoderLabel) for d in get_args(DecoderLabel)]


@pytest.mark.parametrize(("encoder_label", "decoder_label"), WAYS)
@pytest.mark.parametrize(("widths", "spatial"), [((8, 8), False), ((8, 8), True), ((), False)])
def test_every_conditioning(encoder_label, decoder_label, widths, spatial, images, labels, tmp_path):
    how = {"encoder_label": encoder_label, "decoder_label": decoder_label, "embedding_dim": 5}
    how["spatial_latent"] = spatial
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=widths, **how)
    vae(images, labels).square().sum().backward()
    silent = [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent
    torch.optim.SGD(vae.parameters(), lr=0.01).step()
    differ = not torch.allclose(vae.relabel(images, 0, labels), vae.relabel(images, 1, labels))
    assert differ == (decoder_label != "none" or encoder_label != "none")
    vae.save_pretrained(tmp_path)
    again = ConditionalVAE.from_pretrained(tmp_path)
    torch.testing.assert_close(again.relabel(images, 2, labels), vae.relabel(images, 2, labels))


def test_encoder_and_decoder_share_an_embedding():
    vae = ConditionalVAE((1, 8, 8), 3, encoder_label="embedding", decoder_label="embedding", embedding_dim=5)
    assert [name for name, _ in vae.named_parameters() if "embedding" in name] == ["embedding.weight"]


def test_a_decoder_blind_to_the_label_is_given_images_encoded_under_the_asked_one(images, labels):
    vae = ConditionalVAE((1, 8, 8), 3, encoder_label="shift", decoder_label="none").eval()
    with torch.no_grad():
        expected = vae.decode(vae.encode(images, 2).mean, 0)
    torch.testing.assert_close(vae.relabel(images, 2, own_labels=labels), expected)
    with pytest.raises(ValueError, match="draws no images of a label"):
        vae.sample(labels)


def test_a_blind_encoder_does_not_read_the_label(vae, images):
    torch.testing.assert_close(vae.encode(images, 0).mean, vae.encode(images, 1).mean)


def test_a_spatial_code_has_a_place():
    vae = ConditionalVAE((3, 32, 32), 3, latent_dim=64, encoder_widths=(8, 8, 8), spatial_latent=True).eval()
    code = torch.randn(1, 64)
    moved = code.unflatten(1, (4, 4, 4)).clone()
    moved[:, :, 0, 0] += 5.0
    change = (vae.decode_logits(moved.flatten(1), 1) - vae.decode_logits(code, 1)).abs()[0].sum(dim=0)
    assert change[:8, :8].min() > 0
    assert change[-1].max() == 0
    assert change[:, -1].max() == 0


def test_half_and_double_precision(vae, images):
    assert vae.relabel(images.double(), 1).dtype == torch.float32
    assert vae.to(torch.float64).relabel(images, 1).dtype == torch.float64


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"image_shape": (1, 4, 4)}, "8x8"),
        ({"num_classes": 1}, "num_classes"),
        ({"num_classes": 2.0}, "num_classes"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"hidden_dim": -1}, "hidden_dim"),
        ({"blocks": -1}, "blocks"),
        ({"encoder_widths": (8, 0)}, r"encoder_widths\[1\]"),
        ({"encoder_widths": 32}, "encoder_widths"),
        ({"encoder_label": "planes"}, "encoder_label"),
        ({"decoder_label": "shift"}, "decoder_label"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"image_shape": 8}, "image_shape"),
        ({"decoder_widths": (8.5,)}, r"decoder_widths\[0\]"),
        ({"spatial_latent": 1}, "spatial_latent"),
        ({"upsampling": "bilinear"}, "upsampling"),
        ({"spatial_latent": True, "encoder_widths": (8, 8), "latent_dim": 6}, "a multiple of 4"),
        ({"spatial_latent": True, "encoder_widths": ()}, "at least one, got 0 and 0"),
        ({"spatial_latent": True, "encoder_widths": (8, 8), "decoder_widths": (8,)}, "got 2 and 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        ConditionalVAE(**({"image_shape": (1, 8, 8), "num_classes": 3} | arguments))


@pytest.mark.parametrize("z", [torch.zeros(2, 5), torch.zeros(4), torch.zeros(0, 4), [[0.0] * 4]])
def test_bad_codes_are_refused(vae, z):
    with pytest.raises(ValueError, match=r"z: expected latent codes of shape \(B, 4\)"):
        vae.decode(z, 0)


def test_other_bad_input_is_refused(vae, images):
    with pytest.raises(ValueError, match="steps"):
        vae.interpolate(images, 0, 1, steps=1)
    with pytest.raises(ValueError, match="chunk_size"):
        vae.relabel(images, 0, chunk_size=0)
    with pytest.raises(ValueError, match="own_labels"):
        vae.relabel(images, 0, own_labels=[5] * 6)
    for labels in ("a", None, [], torch.zeros(0, dtype=torch.long), {"a": 1}):
        with pytest.raises(ValueError, match="labels"):
            vae.sample(labels)
    with torch.no_grad(), pytest.raises(ValueError, match="finite latent codes"):
        vae.decode(torch.full((2, 4), float("nan")), 0)


def test_samples_of_labels_in_every_form(vae):
    for labels, count in ((1, 1), ([0, 1], 2), (np.array([0, 1]), 2), (torch.tensor(1), 1), (np.int64(2), 1)):
        assert vae.sample(labels).shape == (count, 1, 8, 8)


def test_codes_of_other_types_are_cast(vae):
    assert vae.decode(torch.zeros(2, 4, dtype=torch.float64), 0).dtype == torch.float32
    assert vae.decode(torch.zeros(2, 4, dtype=torch.long), 0).dtype == torch.float32


def test_values_that_are_not_there_and_generators_that_are_none_are_refused(vae, images):
    with pytest.raises(ValueError, match="images: expected values, got a tensor of the meta device"):
        vae.relabel(images.to("meta"), 0)
    with pytest.raises(ValueError, match="labels: expected values, got a tensor of the meta device"):
        vae.relabel(images, torch.zeros(len(images), dtype=torch.long, device="meta"))
    for wrong in (0, 3, {}, "seed"):
        with pytest.raises(ValueError, match="generator: expected Generator, got"):
            vae.sample(0, generator=wrong)
    with pytest.raises(ValueError, match="encoder_widths: expected a list of widths"):
        ConditionalVAE((1, 8, 8), 3, encoder_widths=torch.tensor(8))


def test_interpolation_under_another_default_device(vae, images):
    expected = vae.interpolate(images, 0, 1, steps=3)
    with torch.device("meta"):
        torch.testing.assert_close(vae.interpolate(images, 0, 1, steps=3), expected, rtol=0, atol=0)


def test_weights_that_are_not_there_are_named_wherever_they_are_used(vae, guide, images, labels):
    far, z = images.to("meta"), torch.zeros(6, 4)
    for call in (lambda: vae.encode(far), lambda: guide(far), lambda: guide.coarse_maps(far)):
        with pytest.raises(ValueError, match="images: expected values, got a tensor of the meta device"):
            call()
    with pytest.raises(ValueError, match="z: expected values, got a tensor of the meta device"):
        vae.decode(z.to("meta"), 1)
    with pytest.raises(ValueError, match="mask: expected values, got a tensor of the meta device"):
        vae.relabel(images, 1, mask=torch.ones(8, 8, device="meta"))
    vae.to("meta")
    for call in (lambda: vae.encode(images), lambda: vae.decode(z, 1), lambda: vae(images, labels)):
        with pytest.raises(ValueError, match="model: expected weights, got a network on the meta device"):
            call()
    for call in (lambda: counterfactuals(vae, images, 1), lambda: relabel_to_confidence(vae, guide, images, 1, 0.5)):
        with pytest.raises(ValueError, match="vae: expected .* the meta device"):
            call()
    assert vae.encode(far).mean.shape == (6, 4)
    guide.to("meta")
    for call in (lambda: guide(images), lambda: guide.coarse_maps(images)):
        with pytest.raises(ValueError, match="model: expected weights, got a network on the meta device"):
            call()
