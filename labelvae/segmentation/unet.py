"""The U-Net: images to a class for every pixel (Ronneberger et al., 2015, arXiv 1505.04597)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from labelvae.data.given_data import shape_of
from labelvae.inputs.checks import (
    LARGEST_DEPTH,
    LARGEST_SIZE,
    as_list,
    check_choice,
    check_count,
    check_widths,
    plain_number,
)
from labelvae.inputs.class_names import label_of
from labelvae.inputs.conversions import described
from labelvae.inputs.tensors import Images, as_images, check_images, moved
from labelvae.models.inference import evaluation_mode
from labelvae.models.layers import ImageNorm, ResidualBlock
from labelvae.models.loaded import check_both
from labelvae.models.saving import Pretrained

Downsampling = Literal["max", "strided"]
Expanding = Literal["transposed", "nearest"]


class UNet(Pretrained):
    """A U-Net: an encoder and a decoder, with a connection between their maps at every resolution.

    It has no fully connected layer, so one model takes images of every size. Odd sizes are rounded up on the way down
    and cropped on the way up.

    Args:
        channels: the channels of the images.
        num_classes: K, from 2 to 256.
        widths: the channels at each resolution, starting with the images' own resolution.
        downsampling: how the resolution is halved: "max" by max pooling and a 3x3 convolution, "strided" by a 3x3
            convolution of stride 2. Both have the same number of weights.
        upsampling: how the resolution is doubled: "transposed" by a 2x2 transposed convolution, "nearest" by repeating
            pixels and a 3x3 convolution.
        blocks: the residual blocks at each resolution, on the way down and on the way up.

    Raises:
        ValueError: an argument out of range.

    >>> network = UNet(num_classes=3, widths=(4, 8))
    >>> network(torch.rand(2, 3, 33, 20)).shape
    torch.Size([2, 3, 33, 20])
    """

    def __init__(
        self,
        channels: int = 3,
        num_classes: int = 2,
        widths: Sequence[int] = (16, 32, 64, 128),
        downsampling: Downsampling = "max",
        upsampling: Expanding = "transposed",
        blocks: int = 1,
    ) -> None:
        channels = check_count("channels", channels, at_most=LARGEST_SIZE)
        num_classes = check_count("num_classes", num_classes, at_least=2, at_most=256)
        widths = check_widths("widths", widths)
        check_choice("downsampling", downsampling, get_args(Downsampling))
        check_choice("upsampling", upsampling, get_args(Expanding))
        blocks = check_count("blocks", blocks, at_most=LARGEST_DEPTH)
        super().__init__(
            {
                "channels": channels,
                "num_classes": num_classes,
                "widths": widths,
                "downsampling": downsampling,
                "upsampling": upsampling,
                "blocks": blocks,
            }
        )
        self.channels = channels
        self.num_classes = num_classes
        steps = list(pairwise(widths))
        self.enter = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(_residual(width, blocks) for width in widths)
        self.downs = nn.ModuleList(_halving(fine, coarse, downsampling) for fine, coarse in steps)
        self.ups = nn.ModuleList(_doubling(coarse, fine, upsampling) for fine, coarse in steps)
        self.merges = nn.ModuleList(nn.Conv2d(2 * fine, fine, 3, padding=1, bias=False) for fine, _ in steps)
        self.up_blocks = nn.ModuleList(_residual(fine, blocks) for fine, _ in steps)
        self.leave = nn.Sequential(ImageNorm(widths[0]), nn.SiLU(), nn.Conv2d(widths[0], num_classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, K, H, W)` of images `(B, C, H, W)` in [0, 1].

        Raises:
            ValueError: images of another shape.
        """
        fits = isinstance(images, Tensor) and images.ndim == 4 and images.shape[1] == self.channels
        if not fits or 0 in images.shape:
            shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"images: expected shape (B, {self.channels}, H, W), got {shape}")
        check_images(images, (self.channels, images.shape[2], images.shape[3]))
        check_both(self, "images", images)
        maps = self.down_blocks[0](self.enter(images.to(self.dtype) * 2.0 - 1.0))
        kept = [maps]
        for down, block in zip(self.downs, list(self.down_blocks)[1:], strict=True):
            maps = block(down(maps))
            kept.append(maps)
        for level in reversed(range(len(self.ups))):
            fine = kept[level]
            maps = self.ups[level](maps)[..., : fine.shape[2], : fine.shape[3]]
            maps = self.up_blocks[level](self.merges[level](torch.cat([fine, maps], dim=1)))
        logits: Tensor = self.leave(maps)
        return logits

    def probabilities(self, images: Images, chunk_size: int = 64) -> Tensor:
        """Return the probability of every class for every pixel, `(B, K, H, W)` in [0, 1], on the images' device.

        The network is used in evaluation mode and without gradients.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1], or in any form that `ConditionalVAE.relabel` takes, all of one
                size.
            chunk_size: the number of images at a time.

        Raises:
            ValueError: images of another shape, type or range.
        """
        size = check_count("chunk_size", chunk_size)
        shape = shape_of(images)
        if shape is not None and not (isinstance(images, Tensor) and images.ndim == 4):
            images = as_images(images, (self.channels, *shape[1:]))
        if isinstance(images, Tensor) and images.dtype == torch.uint8:
            images = images.to(self.dtype) / 255.0
        with evaluation_mode(self) as network:
            if not isinstance(images, Tensor) or not len(images):
                raise ValueError(f"images: expected shape (B, {self.channels}, H, W), got {described(images)}")
            parts = [network(moved(part, self.device, "images")).float().softmax(dim=1) for part in images.split(size)]
        return moved(torch.cat(parts), images.device, "model")

    def segment(self, images: Images, chunk_size: int = 64) -> Tensor:
        """Return the most probable class of every pixel, int64 `(B, H, W)`; see `probabilities`."""
        return self.probabilities(images, chunk_size).argmax(dim=1)

    def mask(self, images: Images, classes: Sequence[int | str] | int | str, chunk_size: int = 64) -> Tensor:
        """Return a mask for `ConditionalVAE.relabel`: the probability that a pixel is of one of some classes.

        Args:
            images: the images, `(B, C, H, W)` in [0, 1].
            classes: the index or the name of a class, or several of them.
            chunk_size: the number of images at a time.

        Returns:
            The mask, `(B, 1, H, W)` in [0, 1].

        Raises:
            ValueError: images of another shape, type or range; a class that the network does not have.
        """
        names = self.class_names or [str(index) for index in range(self.num_classes)]
        given = as_list(classes)
        wanted = [given] if isinstance(given, int | str) else list(given) if isinstance(given, Iterable) else []
        wanted = [plain_number(each) for each in wanted]
        if not wanted or any(isinstance(each, bool) or not isinstance(each, int | str) for each in wanted):
            raise ValueError(f"classes: expected the index or the name of a class, or several of them, got {classes!r}")
        indices = sorted({label_of(str(each), names) for each in wanted})
        inside = self.probabilities(images, chunk_size)[:, indices].sum(dim=1, keepdim=True)
        return inside.clamp(0.0, 1.0)


def _residual(width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width, ImageNorm) for _ in range(blocks)))


def _halving(fine: int, coarse: int, downsampling: Downsampling) -> nn.Module:
    if downsampling == "max":
        return nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.Conv2d(fine, coarse, 3, padding=1))
    return nn.Conv2d(fine, coarse, 3, stride=2, padding=1)


def _doubling(coarse: int, fine: int, upsampling: Expanding) -> nn.Module:
    if upsampling == "transposed":
        return nn.ConvTranspose2d(coarse, fine, 2, stride=2)
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(coarse, fine, 3, padding=1))
