"""How good a segmentation is: accuracy, intersection over union, and Dice, over the pixels of all images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from labelvae.data.given_data import Batches, batches_of, pair_of
from labelvae.segmentation.losses import check_masks
from labelvae.segmentation.unet import UNet


@dataclass(frozen=True)
class SegmentationScores:
    """The scores of a segmentation. A class that is in neither the truth nor the prediction is NaN.

    Attributes:
        pixel_accuracy: share of pixels whose class is right, in [0, 1].
        mean_iou: mean of `iou` over the classes, in [0, 1].
        iou: Intersection over union of each class, in [0, 1].
        dice: Dice coefficient of each class, in [0, 1]: 2 x intersection / (pixels of the truth + pixels of the
            prediction).
    """

    pixel_accuracy: float
    mean_iou: float
    iou: list[float]
    dice: list[float]

    @classmethod
    def from_confusion(cls, counts: Tensor) -> SegmentationScores:
        """Compute the scores from counts of pixels.

        Args:
            counts: the pixels of each true class (row) and predicted class (column), `(K, K)`.

        Returns:
            The scores.

        Raises:
            ValueError: counts of another shape, or no pixel.

        >>> scores = SegmentationScores.from_confusion(torch.tensor([[6, 2], [0, 2]]))
        >>> scores.pixel_accuracy, scores.iou, [round(value, 3) for value in scores.dice]
        (0.8, [0.75, 0.5], [0.857, 0.667])
        """
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not int(counts.sum()):
            raise ValueError(f"counts: expected counts of pixels, shape (K, K), got {tuple(counts.shape)} without any")
        counts = counts.double()
        right, either = counts.diagonal(), counts.sum(dim=0) + counts.sum(dim=1)
        iou, dice = right / (either - right), 2.0 * right / either
        accuracy = float(right.sum() / counts.sum())
        return cls(accuracy, float(iou.nanmean()), iou.tolist(), dice.tolist())

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain values for JSON. NaN becomes None."""
        return {
            name: [None if math.isnan(each) else each for each in value] if isinstance(value, list) else value
            for name, value in asdict(self).items()
        }


def segmentation_scores(network: UNet, batches: Batches) -> SegmentationScores:
    """Score a network on batches.

    Args:
        network: the network. It is used in evaluation mode.
        batches: images `(B, C, H, W)` in [0, 1] and masks, integers `(B, H, W)`: a `MaskedImages` or another torch
            `Dataset`, a `DataLoader`, or a list of batches.

    Returns:
        The scores over the pixels of all images.

    Raises:
        ValueError: no batch; masks with a class that the network does not have.
    """
    counts = torch.zeros(network.num_classes, network.num_classes, dtype=torch.long)
    for batch in batches_of("batches", batches, batch_size=16):
        images, masks = (torch.stack(part) if isinstance(part, list) else part for part in pair_of(batch))
        probabilities = network.probabilities(images).cpu()
        masks = check_masks(probabilities, torch.as_tensor(masks, device="cpu"))
        counts += multiclass_confusion_matrix(probabilities.argmax(dim=1), masks, network.num_classes)
    if not int(counts.sum()):
        raise ValueError("batches: expected at least one batch of images and masks, got none")
    return SegmentationScores.from_confusion(counts)
