import torch
from torch import nn

from labelvae import ConditionalBatchNorm2d, LabelPlanes, LatentShift
from labelvae.inputs.tensors import label_weights


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


def test_without_labels_it_is_batch_norm_with_its_own_scale_and_shift():
    norm, plain = ConditionalBatchNorm2d(5, None), nn.BatchNorm2d(5)
    maps = torch.randn(4, 5, 6, 7)
    torch.testing.assert_close(norm(maps, label_weights(0, 3, 4)), plain(maps))
    assert [tuple(p.shape) for p in norm.parameters()] == [(5,), (5,)]


def test_the_latent_shift_adds_the_labels_embedding():
    shift = LatentShift(3, latent_dim=2)
    out = shift(torch.zeros(2, 4), label_weights([2, 0], 3, 2))
    torch.testing.assert_close(out, shift.embedding.weight.T[[2, 0]])
