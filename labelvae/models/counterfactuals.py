"""Several counterfactuals of one image, and how sure the model is of each pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from labelvae.inputs.checks import check_count, check_flag, check_kind
from labelvae.inputs.tensors import Images, Labels, as_images, moved
from labelvae.models.edits import as_masks, confined, own_for_residual, with_residual
from labelvae.models.inference import chunks, evaluation_mode
from labelvae.models.vae import ConditionalVAE
from labelvae.system.compiling import uncompiled


def counterfactuals(
    vae: ConditionalVAE,
    images: Images,
    labels: Labels,
    own_labels: Labels | None = None,
    *,
    draws: int = 8,
    mask: Images | None = None,
    residual: bool = False,
    generator: torch.Generator | None = None,
    chunk_size: int = 1024,
) -> Tensor:
    """Return several counterfactuals of each image, from codes drawn from its posterior.

    Their variance, `.var(dim=1)`, says how unsure the model is of each pixel.

    Args:
        vae: the model.
        images: the images, in any form that `ConditionalVAE.relabel` accepts.
        labels: the labels that are asked for.
        own_labels: the images' own labels, or a classifier that reads them. Needed as in `ConditionalVAE.relabel`.
        draws: the number of counterfactuals of each image.
        mask: where images may change, see `confined`. None for everywhere.
        residual: carry over the detail that the model cannot draw, see `with_residual`.
        generator: the random number generator of the draws, on the model's device. None takes torch's own.
        chunk_size: the number of images at a time.

    Returns:
        The counterfactuals, `(B, draws, C, H, W)` in [0, 1], on the device of `images`.

    Raises:
        ValueError: images, labels or a mask of another shape, type or range; a number out of range.

    >>> vae = ConditionalVAE(image_shape=(1, 8, 8), num_classes=3)
    >>> counterfactuals(vae, torch.rand(5, 1, 8, 8), 2, draws=4).shape
    torch.Size([5, 4, 1, 8, 8])
    """
    vae = uncompiled(vae)
    check_kind("vae", vae, ConditionalVAE)
    draws = check_count("draws", draws)
    check_kind("generator", generator, torch.Generator, optional=True)
    images = as_images(images, vae.image_shape)
    asked, own_labels = vae.asked_and_own(images, labels, own_labels)
    if residual or vae.encoder_label != "none":
        own_labels = vae.all_known(own_labels, "own_labels")
    seen = own_labels if vae.decoder_sees_label else vae.weighed(asked)
    own = None if seen is None else vae.label_weights(seen, images.shape[0], "own_labels", vae.device)
    mine = None
    if check_flag("residual", residual):
        mine = vae.label_weights(own_for_residual(own_labels), images.shape[0], "own_labels", vae.device)
    masks = None if mask is None else as_masks(mask, tuple(images.shape)).expand(images.shape[0], -1, -1, -1)
    made = torch.empty(images.shape[0], draws, *vae.image_shape, dtype=vae.dtype, device=images.device)
    with evaluation_mode(vae) as model:
        for part in chunks(images.shape[0], chunk_size):
            some = moved(images[part], vae.device, "images")
            posterior = other = model.encode(some, None if own is None else model.weighed(own[part]))
            if mine is not None and not vae.decoder_sees_label:
                other = model.encode(some, model.weighed(mine[part]))
            for draw in range(draws):
                codes = kept = posterior.rsample(generator)
                if other is not posterior:  # the same noise
                    noise = (codes - posterior.mean) / posterior.standard_deviation
                    kept = other.mean + other.standard_deviation * noise
                changed = model.decode(codes, model.weighed(asked[part].to(vae.device)))
                if mine is not None:
                    changed = with_residual(some, changed, model.decode(kept, model.weighed(mine[part])))
                if masks is not None:
                    changed = confined(some, changed, moved(masks[part], vae.device, "mask"))
                made[part, draw] = moved(changed, images.device, "vae").to(vae.dtype)
    return made
