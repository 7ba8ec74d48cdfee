import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labelvae import ConditionalVAE, Discriminator, LabelClassifier
from labelvae.inputs.tensors import label_weights
from labelvae.models.layers import Fold, Unfold
from labelvae.models.networks import Decoder, pyramid

SIDE = st.integers(8, 128)


@settings(max_examples=25)
@given(st.sampled_from([1, 3]), SIDE, SIDE, st.integers(2, 12), st.integers(1, 3), st.integers(0, 1))
def test_any_image_size_and_number_of_classes(channels, height, width, classes, latent, blocks):
    shape = (channels, height, width)
    vae = ConditionalVAE(shape, classes, latent_dim=latent, blocks=blocks, hidden_dim=8)
    images = torch.rand(2, *shape)
    out = vae.relabel(images, classes - 1)
    assert out.shape == images.shape
    assert ((out >= 0) & (out <= 1)).all()
    assert LabelClassifier(shape, classes, widths=(4, 4, 4)).eval()(images).shape == (2, classes)
    assert Discriminator(shape, classes, widths=(4, 4, 4))(images, label_weights(0, classes, 2)).shape == (2,)


@pytest.mark.parametrize("size", [(28, 28), (33, 47), (8, 128), (9, 9)])
def test_fold_and_unfold_are_inverse(size):
    maps = torch.rand(2, 3, *size)
    folded = Fold()(maps)
    assert folded.shape[-2:] == pyramid((3, *size), 1)[1]
    torch.testing.assert_close(Unfold(size)(folded), maps, rtol=0, atol=0)


@pytest.mark.parametrize("upsampling", ["subpixel", "nearest"])
def test_gradient_reaches_every_parameter(upsampling):
    vae = ConditionalVAE((3, 12, 15), 4, encoder_widths=(8, 8), blocks=1, encoder_label="onehot", upsampling=upsampling)
    discriminator, classifier = Discriminator((3, 12, 15), 4), LabelClassifier((3, 12, 15), 4, blocks=1)
    images, labels = torch.rand(5, 3, 12, 15), torch.tensor([0, 1, 2, 3, 0])
    out = vae(images, labels)
    (
        out.square().sum() + discriminator(out, label_weights(labels, 4, 5)).sum() + classifier(out).square().sum()
    ).backward()
    for module in (vae, discriminator, classifier):
        silent = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not silent


def test_the_encoder_codes_an_image_by_itself(vae, images):
    vae.train()
    together = vae.encode(images).mean
    alone = torch.cat([vae.encode(image[None]).mean for image in images])
    torch.testing.assert_close(together, alone)


def test_the_discriminator_knows_the_label():
    discriminator = Discriminator((1, 8, 8), 3)
    image = torch.rand(1, 1, 8, 8)
    scores = [discriminator(image, label_weights(y, 3, 1)).item() for y in range(3)]
    assert len(set(scores)) == 3


@pytest.mark.parametrize("kind", ["convolutional", "pooled"])
def test_a_discriminator_sees_a_classifiers_maps(kind):
    shape = (3, 13, 20)
    guide = LabelClassifier(shape, 3, kind=kind, widths=(4, 5, 6), blocks=1).freeze()
    images, label = torch.rand(2, *shape), label_weights(0, 3, 2)
    beside = guide.coarse_maps(images)
    assert [tuple(maps.shape[1:]) for maps in beside] == [(4, 7, 10), (5, 4, 5), (6, 2, 3)]
    discriminator = Discriminator(shape, 3, (8, 8, 8), guide.map_widths).eval()
    assert discriminator.beside == (4, 5)  # of three steps the last sees nothing more
    score = discriminator(images, label, beside)
    for seen in range(2):
        changed = [maps + (index == seen) for index, maps in enumerate(beside)]
        assert (discriminator(images, label, changed) - score).abs().min() > 1e-6
    unseen = [*beside[:2], beside[2] + 1.0]
    torch.testing.assert_close(discriminator(images, label, unseen), score)


def test_there_are_as_many_maps_as_widths_where_nothing_is_left_to_halve():
    guide = LabelClassifier((1, 8, 8), 3, widths=(4, 5, 6, 7, 8), blocks=1).eval()
    assert [maps.shape[1] for maps in guide.coarse_maps(torch.rand(2, 1, 8, 8))] == guide.map_widths


def test_a_discriminator_refuses_other_maps():
    discriminator = Discriminator((3, 8, 8), 3, (4, 4, 4), (5, 6))
    images, label = torch.rand(2, 3, 8, 8), label_weights(0, 3, 2)
    with pytest.raises(ValueError, match="beside: expected maps of 2 resolutions, got 0"):
        discriminator(images, label)
    with pytest.raises(ValueError, match=r"beside: expected floats of shape \(2, 5, 4, 4\), got .*\(2, 6, 4, 4\)"):
        discriminator(images, label, [torch.rand(2, 6, 4, 4), torch.rand(2, 6, 2, 2)])


def test_an_mlp_has_no_maps():
    guide = LabelClassifier((1, 8, 8), 3, kind="mlp", widths=(8, 8))
    with pytest.raises(ValueError, match=r"images: expected floats of shape \(B, 1, 8, 8\)"):
        guide.coarse_maps(torch.rand(2, 3, 8, 8))
    assert guide.map_widths == guide.coarse_maps(torch.rand(2, 1, 8, 8)) == []


def test_the_discriminator_is_spectrally_normalized():
    discriminator = Discriminator((1, 8, 8), 3)
    for _ in range(50):  # power iterations
        discriminator(torch.rand(2, 1, 8, 8), label_weights(0, 3, 2))
    weights = [part.weight for part in discriminator.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    for weight in weights:
        assert 0.98 < torch.linalg.matrix_norm(weight.flatten(1), 2) < 1.02


@pytest.mark.parametrize(("upsampling", "channels"), [("subpixel", []), ("nearest", [32])])
def test_only_repeated_pixels_are_convolved_at_full_resolution(upsampling, channels):
    full = []

    def note(module, inputs, _):
        if inputs[0].shape[-1] == 32:
            full.append(inputs[0].shape[1])

    vae = ConditionalVAE((1, 32, 32), 2, upsampling=upsampling)
    for part in vae.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(note)
    vae(torch.rand(2, 1, 32, 32), torch.tensor([0, 1]))
    assert full == channels


@pytest.mark.parametrize(("upsampling", "meshes"), [("subpixel", True), ("nearest", False)])
def test_no_maps_make_a_checkerboard_where_pixels_are_repeated(upsampling, meshes):
    """Energy of the pattern that changes from pixel to pixel both ways, under a window and off the padded edges."""
    up = ConditionalVAE((3, 32, 32), 2, upsampling=upsampling).decoder.ups[-1]
    with torch.no_grad():
        logits = up(10 * torch.randn(8, 32, 16, 16))[..., 2:-2, 2:-2]
    window = torch.hann_window(28, periodic=False)
    energy = torch.fft.rfft2((logits - logits.mean(dim=(2, 3), keepdim=True)) * window[:, None] * window).abs().square()
    assert (energy[..., 14, 14].mean() > 1e-3 * energy.mean()) == meshes


@pytest.mark.parametrize("upsampling", ["subpixel", "nearest"])
def test_a_decoder_in_channels_last_leaves_no_gaps_in_memory_and_answers_alike(upsampling):
    torch.manual_seed(0)
    decoder = Decoder((1, 14, 14), 4, 3, 3, widths=(8, 6), upsampling=upsampling)
    z, label = torch.randn(5, 4), torch.eye(3)[torch.tensor([0, 1, 2, 0, 1])]
    seen = []
    for norm in decoder.norms:
        norm.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    found = decoder(z, label)
    assert seen[0].is_contiguous()
    seen.clear()
    other = decoder.to(memory_format=torch.channels_last)(z, label)
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in seen)
    assert [maps.shape[2] for maps in seen] == [4, 7]  # 8 were cut to 7
    torch.testing.assert_close(other, found, rtol=1e-4, atol=1e-5)
