"""The networks of the model: an encoder to a Gaussian, and a decoder to pixel logits.

Both are pyramids: each width halves (or doubles) the resolution. Odd sizes are rounded up on the way down and cropped
on the way up, so any image from 8x8 works. The first step down folds 2x2 pixels into channels, and the last step up
unfolds them (Shi et al., 2016, "sub-pixel convolution", arXiv 1609.05158). So no convolution runs at full resolution,
where it would be slow, unless a decoder repeats pixels (`upsampling`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelvae.inputs.peeking import batched
from labelvae.inputs.tensors import ImageShape, check_rows
from labelvae.models.conditioning import ConditionalBatchNorm2d, LabelPlanes, LatentShift, convolved_with_label
from labelvae.models.latent import LOG_VARIANCE_RANGE, DiagonalGaussian
from labelvae.models.layers import ConditionalResidualBlock as ConditionalResidualBlock  # noqa: PLC0414  looked for here
from labelvae.models.layers import Fold as Fold  # noqa: PLC0414
from labelvae.models.layers import ImageNorm as ImageNorm  # noqa: PLC0414
from labelvae.models.layers import ResidualBlock as ResidualBlock  # noqa: PLC0414
from labelvae.models.layers import Unfold as Unfold  # noqa: PLC0414
from labelvae.models.layers import down_sampling as down_sampling  # noqa: PLC0414
from labelvae.models.options import Upsampling
from labelvae.models.pyramids import pyramid


class Encoder(nn.Module):
    """The encoder: images to the Gaussian posterior over their latent codes.

    Args:
        image_shape: `(C, H, W)` of the images.
        latent_dim: D.
        widths: the channels after each halving of the resolution. An empty list gives fully connected layers only.
        hidden_dim: the units between the maps and the Gaussian.
        blocks: the residual blocks at each resolution.
        label_dim: L, the entries of a label next to the image: as planes mixed in by a 1x1 convolution or, without
            maps, next to the pixels. 0 for an encoder that does not see the label there. A blind encoder cannot code an
            image differently under another label.
        shift_classes: K, if the label shifts the posterior instead (`LatentShift`); None if not.
        spatial: make the code D / (h w) channels of the coarsest maps, without the fully connected hidden layer. Each
            entry then comes from the pixels around its place.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int,
        widths: Sequence[int] = (32, 64),
        hidden_dim: int = 128,
        blocks: int = 0,
        label_dim: int = 0,
        shift_classes: int | None = None,
        spatial: bool = False,
    ) -> None:
        super().__init__()
        channels, (height, width) = image_shape[0], pyramid(image_shape, len(widths))[-1]
        self.image_shape = image_shape
        self.sees_label = label_dim > 0 or shift_classes is not None
        self.beside = label_dim > 0 and not widths
        self.planes = LabelPlanes() if label_dim and widths else None
        self.mix = nn.Conv2d(channels + label_dim, channels + label_dim, 1) if self.planes else None
        channels += label_dim if self.planes else 0
        self.maps = down_sampling(channels, widths, blocks, ImageNorm) if widths else nn.Identity()
        flat = (widths[-1] if widths else channels) * height * width + (label_dim if self.beside else 0)
        self.hidden = None if spatial else nn.Linear(flat, hidden_dim)
        self.gaussian = (
            nn.Conv2d(widths[-1], 2 * latent_dim // (height * width), 1)
            if spatial
            else nn.Linear(hidden_dim, 2 * latent_dim)
        )
        self.shift = LatentShift(shift_classes, latent_dim) if shift_classes else None

    def forward(self, images: Tensor, label: Tensor | None = None) -> DiagonalGaussian:
        """Return the posterior over codes `(B, D)`.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1].
            label: the label, `(B, L)`, if the encoder sees it.

        Raises:
            ValueError: images of another shape; no label for an encoder that sees it.
        """
        check_rows("images", images, *self.image_shape)
        maps = images * 2.0 - 1.0
        if self.sees_label:
            own_for_encoder(label)
        if label is not None and self.planes is not None and self.mix is not None:
            maps = self.mix(self.planes(maps, label))
        maps = self.maps(maps)
        if self.hidden is None:
            parameters = self.gaussian(maps).flatten(1)
        else:
            flat = maps.flatten(1)
            if label is not None and self.beside:
                flat = torch.cat([flat, label.to(flat.dtype)], dim=1)
            parameters = self.gaussian(F.silu(self.hidden(flat)))
        if label is not None and self.shift is not None:
            parameters = self.shift(parameters, label)
        mean, log_variance = parameters.chunk(2, dim=1)
        return DiagonalGaussian(mean, log_variance.clamp(*LOG_VARIANCE_RANGE))


def _doubling(coarse: int, fine: int, size: tuple[int, int], upsampling: Upsampling) -> nn.Sequential:
    """Return layers that double the size of maps, from `coarse` channels to `fine` channels."""
    if upsampling == "subpixel":
        return nn.Sequential(nn.Conv2d(coarse, 4 * fine, 3, padding=1), Unfold(size))
    return nn.Sequential(nn.Upsample(size), nn.Conv2d(coarse, fine, 3, padding=1))


def _laid_out_for(layers: nn.Module, maps: Tensor) -> Tensor:
    """Return maps with the channels of a pixel next to each other in memory, if the weights of the layers lie so."""
    first = next((each for each in layers.modules() if isinstance(each, nn.Conv2d)), None)
    if first is None or batched(first.weight):
        return maps
    last = first.weight.is_contiguous(memory_format=torch.channels_last)
    return maps.contiguous(memory_format=torch.channels_last) if last else maps


class Decoder(nn.Module):
    """The decoder: latent codes and labels to pixel logits.

    Args:
        image_shape: `(C, H, W)` of the images.
        latent_dim: D.
        label_dim: L, the entries of a label next to the code; 0 for a decoder that does not see the label there.
        norm_classes: K, if every normalization has the label's scale and shift; None for plain ones.
        plane_dim: the entries of a label that is like planes next to the maps before each doubling; 0 for none.
        widths: the channels before each doubling of the resolution, coarsest first. An empty list gives fully connected
            layers only.
        hidden_dim: the units between the code and the coarsest maps.
        blocks: the residual blocks at each resolution.
        spatial: take the code as channels of the coarsest maps. The label is then planes next to it.
        upsampling: how the resolution is doubled. "subpixel" unfolds channels. "nearest" repeats pixels before the
            convolution, which is less prone to checkerboards (Odena et al., 2016, doi 10.23915/distill.00003): repeated
            pixels have none, and the convolution after them brings none back.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int,
        label_dim: int,
        norm_classes: int | None,
        plane_dim: int = 0,
        widths: Sequence[int] = (64, 32),
        hidden_dim: int = 128,
        blocks: int = 0,
        spatial: bool = False,
        upsampling: Upsampling = "subpixel",
    ) -> None:
        super().__init__()
        sizes = pyramid(image_shape, len(widths))[::-1]
        channels = [*widths, image_shape[0]]
        self.start = (channels[0], *sizes[0])
        self.latent_dim = latent_dim
        self.label_dim = label_dim
        self.hidden = None if spatial else nn.Linear(latent_dim + label_dim, hidden_dim)
        self.spread = (
            nn.Conv2d(latent_dim // math.prod(sizes[0]) + label_dim, channels[0], 3, padding=1)
            if spatial
            else nn.Linear(hidden_dim, math.prod(self.start))
        )
        self.norms = nn.ModuleList(ConditionalBatchNorm2d(width, norm_classes) for width in widths)
        self.blocks = nn.ModuleList(
            nn.ModuleList(ConditionalResidualBlock(width, norm_classes) for _ in range(blocks)) for width in widths
        )
        self.planes = LabelPlanes()
        self.plane_dim = plane_dim
        self.ups = nn.ModuleList(
            _doubling(coarse + plane_dim, fine, size, upsampling)
            for (coarse, fine), size in zip(pairwise(channels), sizes[1:], strict=True)
        )

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Return the logits `(B, C, H, W)` of codes. Their sigmoid is the image.

        Args:
            z: the codes, `(B, D)`.
            label: the label, `(B, L)`.

        Raises:
            ValueError: codes or labels of another shape.
        """
        check_rows("z", z, self.latent_dim)
        check_rows("label", label, None, batch=z.shape[0])
        beside = label[:, : self.label_dim].to(z.dtype)
        if self.hidden is None:
            maps = self.spread(self.planes(z.unflatten(1, (-1, *self.start[1:])), beside))
        else:
            maps = self.spread(F.silu(self.hidden(torch.cat([z, beside], dim=1)))).unflatten(1, self.start)
            maps = _laid_out_for(self.ups, maps)
        for norm, blocks, up in zip(self.norms, self.blocks, self.ups, strict=True):
            maps = F.silu(norm(maps, label))
            for block in blocks:  # type: ignore[attr-defined]
                maps = block(maps, label)
            for layer in up.children() if self.plane_dim else [up]:
                maps = convolved_with_label(layer, maps, label) if isinstance(layer, nn.Conv2d) else layer(maps)
        logits: Tensor = maps
        return logits


def own_for_encoder(labels: Any) -> Any:
    """Return the images' own labels, which an encoder sees.

    Raises:
        ValueError: there are none.
    """
    if labels is None:
        raise ValueError("labels: this encoder sees the label of the image, got None; pass the images' own labels")
    return labels
