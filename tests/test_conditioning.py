import pytest
import torch
from torch import nn

from labelvae import ConditionalBatchNorm2d, LabelPlanes, LatentShift
from labelvae.inputs.tensors import label_weights
from labelvae.models.conditioning import convolved_with_label


def test_neutral_conditional_batch_norm_is_batch_norm():
    conditional, plain = ConditionalBatchNorm2d(5, num_classes=3), nn.BatchNorm2d(5)
    label = label_weights([0, 1, 2, 1], 3, 4)
    for _ in range(3):
        maps = 2.0 + 3.0 * torch.randn(4, 5, 6, 7)
        torch.testing.assert_close(conditional(maps, label), plain(maps))
    conditional.eval(), plain.eval()
    torch.testing.assert_close(conditional(maps, label), plain(maps))


def test_each_label_has_its_own_scale_and_shift():
    norm = ConditionalBatchNorm2d(2, num_classes=3).eval()
    with torch.no_grad():
        norm.scale_and_shift.weight[:, 1] = torch.tensor([1.0, 0.0, 10.0, 20.0])
    maps = torch.randn(2, 2, 4, 4)
    out = norm(maps, label_weights([0, 1], 3, 2))
    plain = norm.norm(maps)
    torch.testing.assert_close(out[0], plain[0])
    torch.testing.assert_close(out[1, 0], 2.0 * plain[1, 0] + 10.0)
    torch.testing.assert_close(out[1, 1], plain[1, 1] + 20.0)


def test_a_blend_of_labels_is_between_them():
    norm = ConditionalBatchNorm2d(2, num_classes=2).eval()
    nn.init.normal_(norm.scale_and_shift.weight)
    maps = torch.randn(1, 2, 4, 4)
    ends = [norm(maps, label_weights(y, 2, 1)) for y in (0, 1)]
    torch.testing.assert_close(norm(maps, torch.tensor([[0.25, 0.75]])), 0.25 * ends[0] + 0.75 * ends[1])


def test_one_hot_planes_are_constant_over_the_map():
    out = LabelPlanes()(torch.zeros(2, 4, 5, 6), label_weights([2, 0], 3, 2))
    assert out.shape == (2, 7, 5, 6)
    assert (out[0, 6] == 1).all()
    assert (out[1, 4] == 1).all()
    assert out.sum() == 2 * 30


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("size", [(1, 1), (4, 7)])
def test_a_convolution_beside_a_label_is_that_of_the_laid_planes(padding, size):
    convolution = nn.Conv2d(3 + 5, 4, 3 if padding else 1, padding=padding)
    maps = torch.randn(6, 3, *size, requires_grad=True)
    label = torch.rand(6, 5).softmax(dim=1).requires_grad_()
    given = [maps, label, *convolution.parameters()]
    laid, not_laid = convolution(LabelPlanes()(maps, label)), convolved_with_label(convolution, maps, label)
    torch.testing.assert_close(not_laid, laid)
    weights = torch.randn_like(laid)
    for one, other in zip(
        torch.autograd.grad(not_laid, given, weights), torch.autograd.grad(laid, given, weights), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match=r"label: expected floats of shape \(6, 5\)"):
        convolved_with_label(convolution, maps, torch.rand(6, 4))


@pytest.mark.parametrize("autocast", [False, True])
def test_fixed_statistics_give_the_formula_with_them(autocast):
    norm = ConditionalBatchNorm2d(5, num_classes=3)
    nn.init.normal_(norm.scale_and_shift.weight)
    maps, label = 2.0 + 3.0 * torch.randn(4, 5, 6, 7), label_weights([0, 1, 2, 1], 3, 4)
    norm(maps, label), norm.eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = norm(maps, label)
    own = norm.scale_and_shift(label)[:, :, None, None]
    wanted = norm.norm(maps) * (1.0 + own[:, :5]) + own[:, 5:]
    assert not torch.equal(wanted, maps)
    torch.testing.assert_close(found, wanted, atol=0.2 if autocast else 2e-6, rtol=0.02 if autocast else 2e-6)


def test_without_labels_it_is_batch_norm_with_its_own_scale_and_shift():
    norm, plain = ConditionalBatchNorm2d(5, None), nn.BatchNorm2d(5)
    maps = torch.randn(4, 5, 6, 7)
    torch.testing.assert_close(norm(maps, label_weights(0, 3, 4)), plain(maps))
    assert [tuple(p.shape) for p in norm.parameters()] == [(5,), (5,)]


def test_the_latent_shift_adds_the_labels_embedding():
    shift = LatentShift(3, latent_dim=2)
    out = shift(torch.zeros(2, 4), label_weights([2, 0], 3, 2))
    torch.testing.assert_close(out, shift.embedding.weight.T[[2, 0]])
