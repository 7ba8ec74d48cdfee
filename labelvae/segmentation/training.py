"""A thin Lightning task that trains a U-Net."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

import torch
from torch import Tensor

from labelvae.data.given_data import pair_of
from labelvae.inputs.checks import check_choice, check_count, check_flag, check_kind
from labelvae.segmentation.losses import PixelLoss, pixel_loss
from labelvae.segmentation.unet import UNet
from labelvae.training.history import TaskWithHistory


class SegmentationTraining(TaskWithHistory):
    """Train a U-Net with AdamW, a linear warm-up and a cosine.

    With `labelvae.training.callbacks.LastCheckpoint`, a training that was stopped goes on as if it had never stopped:
    pass its file to `Trainer.fit` as `ckpt_path`.

    Args:
        network: the network to train, in place.
        loss: "cross-entropy", in nats per image, or "dice".
        learning_rate: the largest step size of AdamW.
        weight_decay: the weight decay of AdamW.
        flip: mirror half of the training images, with their masks, left to right.
        turn: also mirror half of them top to bottom, and half of square ones along the diagonal. For images without an
            up.
        crop: the side, in pixels, of the squares to train on, cut at one random place in each batch. None trains on
            whole images.

    Attributes:
        history: for each epoch, the means of `train_loss` and, with held-out images, of their `loss` and
            `pixel_accuracy`.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        network: UNet,
        loss: PixelLoss = "cross-entropy",
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        flip: bool = True,
        turn: bool = False,
        crop: int | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        check_kind("network", network, UNet)
        check_choice("loss", loss, get_args(PixelLoss))
        self.network = network
        self.loss = loss
        self.flip = check_flag("flip", flip)
        self.turn = check_flag("turn", turn)
        self.crop = None if crop is None else check_count("crop", crop, at_least=8)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, K, H, W)` of images `(B, C, H, W)` in [0, 1]."""
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the mean loss of a batch of images `(B, C, H, W)` in [0, 1] and masks `(B, H, W)`.

        A batch is a tuple, whose first two parts count, or a dict of images and masks.

        Raises:
            ValueError: a batch of another form; images or masks of another shape, type or range.
        """
        images, masks = _parts(batch)
        images, masks = (images, masks) if self.crop is None else cropped(images, masks, self.crop)
        images, masks = mirrored(images, masks, left_right=self.flip or self.turn, turn=self.turn)
        loss = pixel_loss(self.loss, self.forward(images), masks).mean()
        self.keep("train_loss", loss, len(images))
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keep the loss and the pixel accuracy of held-out images, and log the accuracy."""
        images, masks = _parts(batch)
        logits = self.forward(images)
        accuracy = (logits.argmax(dim=1) == masks).float().mean()
        self.keep("loss", pixel_loss(self.loss, logits, masks).mean(), len(images))
        self.keep("pixel_accuracy", accuracy, len(images))
        self.log("val/pixel_accuracy", accuracy, batch_size=len(images))

    def hyperparameters(self) -> dict[str, Any]:
        """Return the arguments of the network and of the training, as plain values."""
        names = ("loss", "learning_rate", "weight_decay", "flip", "turn", "crop")
        return {"network": dict(self.network.config), **{name: getattr(self, name) for name in names}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the history and the arguments."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = self.hyperparameters()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the history.

        Raises:
            ValueError: a checkpoint that was made with other arguments.
        """
        before, now = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {}), self.hyperparameters()
        for name in sorted(set(before) & set(now)):
            if before[name] != now[name]:
                raise ValueError(
                    f"{name}: expected {before[name]!r}, with which the checkpoint was made, got {now[name]!r}; "
                    "go on with the same arguments, or train anew"
                )
        super().on_load_checkpoint(checkpoint)


def _parts(batch: Any) -> tuple[Tensor, Tensor]:
    """Return the images and the masks of a batch."""
    if isinstance(batch, Mapping):
        batch = {"label" if key in ("mask", "masks") else key: value for key, value in batch.items()}
    return pair_of(batch, "batch")


def cropped(images: Tensor, masks: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Cut a square out of images and their masks, at one random place for the whole batch.

    Args:
        images: the images, `(B, C, H, W)`.
        masks: the class of every pixel, `(B, H, W)`.
        side: the side of the square, in pixels.

    Returns:
        Images `(B, C, side, side)` and masks `(B, side, side)`.

    Raises:
        ValueError: images that are smaller.
    """
    height, width = masks.shape[1:]
    if min(height, width) < side:
        raise ValueError(f"crop: expected at most the shorter side of the images, {min(height, width)}, got {side}")
    top, left = (int(torch.randint(size - side + 1, ())) for size in (height, width))
    place = (..., slice(top, top + side), slice(left, left + side))
    return images[place], masks[place]


def mirrored(images: Tensor, masks: Tensor, left_right: bool, turn: bool) -> tuple[Tensor, Tensor]:
    """Mirror images and their masks at random, each image by its own draw.

    Args:
        images: the images, `(B, C, H, W)`.
        masks: the class of every pixel, `(B, H, W)`.
        left_right: mirror half of the images left to right.
        turn: mirror half of them top to bottom, and half of square ones along the diagonal.

    Returns:
        The images and masks, of the same shapes.
    """

    def half() -> Tensor:
        return torch.rand(len(images), device=images.device) < 0.5

    square = images.shape[2] == images.shape[3]
    changes: list[tuple[bool, Callable[[Tensor], Tensor]]] = [
        (left_right, lambda maps: maps.flip(-1)),
        (turn, lambda maps: maps.flip(-2)),
        (turn and square, lambda maps: maps.mT),
    ]
    for wanted, change in changes:
        if wanted:
            chosen = half()
            images = torch.where(chosen[:, None, None, None], change(images), images)
            masks = torch.where(chosen[:, None, None], change(masks), masks)
    return images, masks
