"""How a label enters a network.

A label is a row of *weights over the classes*, `(B, K)`, one-hot for a plain label; with several attributes it is the
row that `Attributes.weights` makes of them. A blend of two labels, or a soft label, is then just another row, and
interpolation between labels needs no code of its own.

- `LabelPlanes` adds the label to the channels of a map, spread over H x W (Mirza & Osindero, 2014, arXiv 1411.1784;
  Sohn et al., 2015, "Learning Structured Output Representation using Deep Conditional Generative Models").
- `LatentShift` moves the posterior by an embedding of the label.
- `ConditionalBatchNorm2d` gives every label its own scale and shift of every channel (De Vries et al., 2017, arXiv
  1707.00683).

All three raise `ValueError` for maps or labels of another shape, or labels that are no floats. `encoder_label` and
`decoder_label` choose what a model has, and `runs/conditionings.py` has recipes.
"""

from __future__ import annotations

from typing import cast

import torch
from einops import repeat
from torch import Tensor, nn
from torch.nn import functional as F

from labelvae.inputs.tensors import check_rows


class LabelPlanes(nn.Module):
    """Concatenate the label to the channels of a map: one plane for each entry of the label or of its embedding.

    >>> LabelPlanes()(torch.zeros(2, 3, 8, 8), torch.eye(10)[:2]).shape
    torch.Size([2, 13, 8, 8])
    """

    def forward(self, maps: Tensor, label: Tensor) -> Tensor:
        """Concatenate the label to maps.

        Args:
            maps: the maps, `(B, C, H, W)`.
            label: the label, `(B, L)`.

        Returns:
            The maps with the planes, `(B, C + L, H, W)`.
        """
        check_rows("maps", maps, None, None, None)
        check_rows("label", label, None, batch=maps.shape[0])
        height, width = maps.shape[-2:]
        return torch.cat([maps, repeat(label.to(maps.dtype), "b l -> b l h w", h=height, w=width)], dim=1)


def convolved_with_label(convolution: nn.Conv2d, maps: Tensor, label: Tensor) -> Tensor:
    """Return `convolution(LabelPlanes()(maps, label))` without laying the planes, to rounding.

    A plane is constant, so all that it adds to a pixel is a sum over the kernel's taps: all of them inside the map,
    and at its borders those that do not reach over them. No tensor has L planes.

    Args:
        convolution: a convolution with stride 1 and zero padding, of C + L channels.
        maps: the maps, `(B, C, H, W)`.
        label: the label, `(B, L)`.

    Returns:
        The maps, `(B, O, H', W')`.

    >>> convolution = nn.Conv2d(3 + 10, 4, 3, padding=1)
    >>> maps, label = torch.rand(2, 3, 8, 8), torch.eye(10)[:2]
    >>> laid = convolution(LabelPlanes()(maps, label))
    >>> torch.allclose(convolved_with_label(convolution, maps, label), laid, atol=1e-5)
    True
    """
    check_rows("maps", maps, None, None, None)
    check_rows("label", label, convolution.in_channels - maps.shape[1], batch=maps.shape[0])
    of_maps, of_label = convolution.weight.split([maps.shape[1], label.shape[1]], dim=1)
    taps = torch.einsum("bl,olhw->bohw", label.to(maps.dtype), of_label)
    ones, size, padding = maps.new_ones(1, 1, *maps.shape[-2:]), convolution.kernel_size, convolution.padding
    inside = F.unfold(ones, cast("tuple[int, int]", size), padding=cast("tuple[int, int]", padding))
    own = F.conv2d(maps, of_maps, convolution.bias, padding=padding)
    return own + (taps.flatten(2) @ inside[0].to(taps.dtype)).view(own.shape)


class LatentShift(nn.Module):
    """Add an embedding of the label to the mean and the log-variance of a posterior.

    Args:
        num_classes: K.
        latent_dim: D.
    """

    def __init__(self, num_classes: int, latent_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(num_classes, 2 * latent_dim, bias=False)

    def forward(self, parameters: Tensor, label: Tensor) -> Tensor:
        """Shift the parameters of a posterior.

        Args:
            parameters: mean and log-variance, side by side, `(B, 2D)`.
            label: the label weights, `(B, K)`.

        Returns:
            The shifted parameters, `(B, 2D)`.
        """
        check_rows("parameters", parameters, self.embedding.out_features)
        check_rows("label", label, self.embedding.in_features, batch=parameters.shape[0])
        shifted: Tensor = parameters + self.embedding(label.to(parameters.dtype))
        return shifted


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalization whose scale and shift depend on the label:

        bn(x) * (1 + scale[label]) + shift[label]

    Scale and shift are 0 at the start, for every label. The layer then equals `BatchNorm2d`.

    Args:
        channels: C.
        num_classes: K. None for plain batch normalization, with one scale and shift for all labels.
    """

    def __init__(self, channels: int, num_classes: int | None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=num_classes is None)
        self.scale_and_shift = None
        if num_classes is not None:
            self.scale_and_shift = nn.Linear(num_classes, 2 * channels, bias=False)
            nn.init.zeros_(self.scale_and_shift.weight)

    def forward(self, maps: Tensor, label: Tensor) -> Tensor:
        """Normalize maps, and scale and shift them by their label.

        Args:
            maps: the maps, `(B, C, H, W)`.
            label: the label weights, `(B, K)`.

        Returns:
            The maps, `(B, C, H, W)`.
        """
        check_rows("maps", maps, self.norm.num_features, None, None)
        if self.scale_and_shift is None:
            plain: Tensor = self.norm(maps)
            return plain
        check_rows("label", label, self.scale_and_shift.in_features, batch=maps.shape[0])
        scale, shift = self.scale_and_shift(label.to(maps.dtype))[:, :, None, None].chunk(2, dim=1)
        mean, variance = self.norm.running_mean, self.norm.running_var
        if not self.norm.training and mean is not None and variance is not None and mean.dtype == maps.dtype:
            # With fixed statistics all is one scale and one shift of each channel: one pass over the maps, not three.
            scale = (1.0 + scale) * (variance + self.norm.eps).rsqrt()[:, None, None]
            return torch.addcmul(shift - mean[:, None, None] * scale, maps, scale)
        normalized: Tensor = self.norm(maps)
        conditioned: Tensor = normalized * (1.0 + scale) + shift
        return conditioned
