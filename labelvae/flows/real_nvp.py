"""Real NVP on images, every layer of which sees the label (Dinh et al., 2017, arXiv 1605.08803)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelvae.flows.coupling import map_layers
from labelvae.inputs.checks import LARGEST_DEPTH, LARGEST_SIZE, check_count, check_widths
from labelvae.inputs.tensors import Images, ImageShape, Labels, as_images, check_image_shape, check_images, check_rows
from labelvae.models.coupling import flat_layers
from labelvae.models.flow import ConditionalFlow, log_normal
from labelvae.models.loaded import check_both

LEVELS = 256
"""Grey levels of a pixel."""

MARGIN = 0.05
"""Pixels are squeezed into [MARGIN, 1 - MARGIN] before the logit, which has no value at 0 and 1."""


class RealNVP(ConditionalFlow):
    """Images to Gaussian noise and back, with the likelihood of an image under its label.

    Pixels become logits. At each of several resolutions, squares of 2x2 pixels become channels, and coupling layers
    change the colours of a checkerboard and the halves of the channels in turn. Then come coupling layers on all
    entries at once. Unlike in the paper, no entries leave before the end, and layers are not batch-normalized.

    Relabelling goes to noise under an image's own label and back under the asked one. Under its own label an image
    comes back as it was, up to rounding.

    Args:
        image_shape: `(C, H, W)`; height and width can be halved as often as there are widths.
        num_classes: K, at least 2.
        widths: channels inside the layers at each resolution, the finest (half the image's) first; an empty list for
            layers on all entries alone.
        couplings: layers at each resolution.
        hidden_dim: units inside the layers on all entries.
        flat_couplings: layers on all entries, after the others.

    Raises:
        ValueError: an argument out of range.

    >>> flow = RealNVP((1, 8, 8), num_classes=10, widths=(8,), hidden_dim=16)
    >>> flow.relabel(torch.rand(5, 1, 8, 8), 8, own_labels=3).shape
    torch.Size([5, 1, 8, 8])
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int,
        widths: Sequence[int] = (16, 32),
        couplings: int = 4,
        hidden_dim: int = 512,
        flat_couplings: int = 8,
    ) -> None:
        image_shape = check_image_shape(image_shape)
        num_classes = check_count("num_classes", num_classes, at_least=2, at_most=LARGEST_SIZE)
        widths = check_widths("widths", widths, at_least=0)
        couplings = check_count("couplings", couplings, at_most=LARGEST_DEPTH)
        hidden_dim = check_count("hidden_dim", hidden_dim, at_most=LARGEST_SIZE)
        flat_couplings = check_count("flat_couplings", flat_couplings, at_least=0, at_most=LARGEST_DEPTH)
        channels, height, width = image_shape
        if height % 2 ** len(widths) or width % 2 ** len(widths):
            raise ValueError(
                f"widths: expected at most as many as {height}x{width} pixels can be halved, got {len(widths)}; "
                "give fewer widths, or resize the images"
            )
        if not widths and not flat_couplings:
            raise ValueError("flat_couplings: expected at least 1 where there are no widths, got 0")
        super().__init__(
            {
                "image_shape": image_shape,
                "num_classes": num_classes,
                "widths": widths,
                "couplings": couplings,
                "hidden_dim": hidden_dim,
                "flat_couplings": flat_couplings,
            },
            math.prod(image_shape),
            num_classes,
        )
        self.image_shape = image_shape
        self.scales = nn.ModuleList(
            nn.ModuleList(map_layers(channels * 4 ** (scale + 1), couplings, num_classes, each))
            for scale, each in enumerate(widths)
        )
        self.flat = nn.ModuleList(flat_layers(self.entries, flat_couplings, num_classes, hidden_dim))
        coarse = 2 ** len(widths)
        self.coarsest = (channels * coarse**2, height // coarse, width // coarse)

    def forward(self, x: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
        """Return the noise u `(B, C * H * W)` of images under their labels, and `log |det du/dx|` `(B,)`.

        Args:
            x: images `(B, C, H, W)` in [0, 1]; each pixel stands for the middle of its grey level.
            labels: what they are.

        Raises:
            ValueError: images or labels of another shape, type or range.
        """
        check_images(x, self.image_shape)
        check_both(self, "x", x)
        return self._to_noise((x.to(self.dtype) * (LEVELS - 1) + 0.5) / LEVELS, labels)

    def _to_noise(self, shares: Tensor, labels: Labels) -> tuple[Tensor, Tensor]:
        """Turn shares of white `(B, C, H, W)` in [0, 1] into noise; the log-determinant is that of images in [0, 1]."""
        label = self.label_weights(labels, shares.shape[0])
        inside = MARGIN + (1.0 - 2.0 * MARGIN) * shares
        maps = torch.logit(inside)
        slope = math.log(1.0 - 2.0 * MARGIN) + math.log((LEVELS - 1) / LEVELS)
        log_det = (slope - torch.log(inside) - torch.log1p(-inside)).flatten(1).sum(dim=1)
        for layers in self.scales:
            maps = F.pixel_unshuffle(maps, 2)
            for layer in layers:  # type: ignore[attr-defined]
                maps, more = layer(maps, label)
                log_det = log_det + more
        u = maps.flatten(1)
        for layer in self.flat:
            u, more = layer(u, label)
            log_det = log_det + more
        return u, log_det

    def inverse(self, u: Tensor, labels: Labels) -> Tensor:
        """Return the images `(B, C, H, W)` in [0, 1] of noise `(B, C * H * W)` under labels.

        Raises:
            ValueError: noise or labels of another shape, type or range.
        """
        check_rows("u", u, self.entries)
        check_both(self, "u", u)
        label, u = self.label_weights(labels, u.shape[0]), u.to(self.dtype)
        for layer in reversed(self.flat):
            u = layer.inverse(u, label)  # type: ignore[operator]
        maps = u.unflatten(1, self.coarsest)
        for layers in reversed(self.scales):
            for layer in reversed(layers):  # type: ignore[call-overload]
                maps = layer.inverse(maps, label)
            maps = F.pixel_shuffle(maps, 2)
        shares = (torch.sigmoid(maps) - MARGIN) / (1.0 - 2.0 * MARGIN)
        return ((shares * LEVELS - 0.5) / (LEVELS - 1)).clamp(0.0, 1.0)

    def log_prob(self, x: Tensor, labels: Labels) -> Tensor:
        """Return a lower bound on the log-probability of images of 256 grey levels, `(B,)`, in nats; differentiable.

        Each pixel is drawn uniformly from its grey level (Theis et al., 2016, arXiv 1511.01844).

        Args:
            x: images `(B, C, H, W)` in [0, 1].
            labels: what they are.

        Raises:
            ValueError: images or labels of another shape, type or range.
        """
        check_images(x, self.image_shape)
        check_both(self, "x", x)
        levels = (x.to(self.dtype) * (LEVELS - 1)).round()
        u, log_det = self._to_noise((levels + torch.rand_like(levels)) / LEVELS, labels)
        return log_normal(u) + log_det - self.entries * math.log(LEVELS - 1)

    def bits_per_dimension(self, x: Tensor, labels: Labels) -> Tensor:
        """Return the bits that a pixel of a colour takes, `(B,)`; see `log_prob`."""
        return -self.log_prob(x, labels) / (self.entries * math.log(2.0))

    def relabel(self, images: Images, labels: Labels, own_labels: Labels, chunk_size: int = 256) -> Tensor:
        """Return the counterfactuals of images: as `labels`, with the same noise.

        Args:
            images: `(B, C, H, W)` in [0, 1], or in any form that `ConditionalVAE.relabel` takes.
            labels: what each image is asked to be.
            own_labels: what each image is.
            chunk_size: images at a time.

        Returns:
            `(B, C, H, W)` in [0, 1], on the device of `images`.

        Raises:
            ValueError: images or labels of another shape, type or range.
        """
        return self.carry(as_images(images, self.image_shape), own_labels, labels, chunk_size)

    def reconstruct(self, images: Images, labels: Labels, chunk_size: int = 256) -> Tensor:
        """Return images through noise and back under their own labels: the images, up to rounding."""
        return self.relabel(images, labels, labels, chunk_size)
