"""How a picture comes into a model's frame where nobody says how: the model's own images tell."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from labelvae.models.vae import ConditionalVAE
from labelvae.photos.scans import Fit

MOST_CLASSES = 100
"""Classes of which images are looked at."""


def usual_fit(vae: ConditionalVAE, size: tuple[int, int]) -> Fit:
    """Return how a picture of a size `(H, W)` comes into a model's frame where nobody says how.

    `pad`, which leaves the pixels as they are, for the model's own size; `strokes` for a model of strokes; else `crop`,
    as the images of a folder are cut for training.
    """
    if size == vae.image_shape[1:]:
        return "pad"
    return "strokes" if draws_strokes(vae) else "crop"


def draws_strokes(vae: ConditionalVAE) -> bool:
    """Return whether a model draws pen strokes, bright on dark: thin, and apart from the frame's edge.

    Two of the model's own images of each class are looked at; of a label of several attributes as many.
    """
    if vae.image_shape[0] != 1 or not vae.decoder_sees_label:
        return False
    if vae.attributes is None:
        labels = torch.arange(vae.num_classes)[:MOST_CLASSES].repeat(2)
    else:
        labels = vae.attributes.examples(2 * MOST_CLASSES)
    images = vae.sample(labels, torch.Generator(vae.device).manual_seed(0)).float().cpu()[:, 0].numpy()
    bright = images > 0.5
    edge = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    if float(np.median(edge)) > 0.1 or not 0.01 < bright.mean() < 0.4:
        return False
    depth = np.stack([ndimage.distance_transform_edt(np.pad(each, 1))[1:-1, 1:-1] for each in bright])
    thick = depth > max(1.5, 0.12 * min(images.shape[1:]))
    return float(thick[bright].mean()) < 0.05


def is_bright_at_its_edge(image: Tensor) -> bool:
    """Return whether the edge of an image `(C, H, W)` in [0, 1] is bright: ink is then dark on it."""
    edge = torch.cat([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], dim=1)
    return float(edge.median()) > 0.5
