"""Put a relabelled digit or crop back into its photograph: the same ink, the same paper, the same place.

1. The old ink is taken out. Its place is filled with paper copied from near by, shifted so that printed lines go on,
   in the light of the place.
2. The new digit is drawn with a pen's sharp edge, as large as the old one, where the model saw it.
3. It gets the old ink's colour, as a share of what the paper under it reflects, and the old ink's grain.

Pixels away from both digits stay as they were.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage
from torch import Tensor

from labelvae.photos.found import Found
from labelvae.photos.frames import fit_ink
from labelvae.photos.paper_filling import filled
from labelvae.photos.pen_strokes import FINER, pen_distance

SHARPNESS = 1.5
"""Width of a stroke's edge, in pixels of the working copy."""

LARGEST_CROP = 900
"""Longest side at which paper is filled and ink drawn; a larger digit is enlarged from it."""


def paste(photo: Image.Image, found: Found, image: Tensor) -> Image.Image:
    """Replace a digit in a photograph by another one, written with the same pen.

    Args:
        photo: the upright photograph that the digit was found in, of any mode.
        found: the digit, of `find_digits`.
        image: the new digit, `(1, H, W)` in [0, 1], relabelled from `found.fit(H, W)`.

    Returns:
        The photograph in RGB at its own size. Pixels away from the old and the new digit are unchanged.
    """
    photo = photo.convert("RGB")
    left, top, right, bottom = found.box
    margin = round(0.8 * max(right - left, bottom - top)) + 4
    window = (
        max(0, left - margin),
        max(0, top - margin),
        min(photo.width, right + margin),
        min(photo.height, bottom + margin),
    )
    crop = photo.crop(window)
    factor = min(1.0, LARGEST_CROP / max(crop.size))
    small = (
        crop.resize((round(crop.width * factor), round(crop.height * factor)), Image.Resampling.BOX)
        if factor < 1
        else crop
    )
    levels = np.asarray(small, dtype=np.float32) / 255.0
    unit = found.scale * factor
    corner = ((left - window[0]) * factor, (top - window[1]) * factor)
    old = _spread(found.ink, levels.shape[:2], unit, corner)
    new = _written(found, image, levels.shape[:2], unit, corner)
    reach = max(2, round(2.5 * unit))
    hole = ndimage.binary_dilation(old > 0.02, np.ones((3, 3), bool), iterations=reach)
    paper = filled(levels, hole)
    inked = _chalked(levels, paper, old, new) if found.bright else paper * _ink(levels, paper, old, new)
    touched = ndimage.gaussian_filter((hole | (new > 0.01)).astype(np.float32), max(0.7, 0.5 * unit))
    touched = np.maximum(touched, (old > 0.02) | (new > 0.01))[..., None]
    result = levels + touched * (inked - levels)
    pasted = Image.fromarray((result.clip(0, 1) * 255.0).round().astype(np.uint8))
    mask = Image.fromarray((touched[..., 0] > 0.004).astype(np.uint8) * 255)
    if factor < 1:
        pasted, mask = (part.resize(crop.size, Image.Resampling.BICUBIC) for part in (pasted, mask))
    photo = photo.copy()
    photo.paste(pasted, window[:2], mask)
    return photo


def paste_crop(photo: Image.Image, box: tuple[int, int, int, int], image: Tensor) -> Image.Image:
    """Put an image back into the part of a photograph that it was made from, blended at its edge.

    Args:
        photo: the upright photograph, of any mode.
        box: left, top, right and bottom of the part, in pixels; it may reach beyond the photograph.
        image: `(C, H, W)` in [0, 1], with 1 or 3 channels.

    Returns:
        The photograph in RGB at its own size.
    """
    photo = photo.convert("RGB").copy()
    levels = (image.detach().cpu().clamp(0, 1) * 255.0).round().byte().permute(1, 2, 0).numpy()
    part = Image.fromarray(levels if levels.shape[2] == 3 else levels[:, :, 0]).convert("RGB")
    left, top, right, bottom = box
    part = part.resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    edge = max(1.0, 0.06 * min(part.size))
    down, across = (np.minimum(np.arange(n), np.arange(n)[::-1]) / edge for n in (part.height, part.width))
    # A side that lies on the photograph's own border has nothing to be blended with.
    for side, (near, inside) in ((down, (top, bottom >= photo.height)), (across, (left, right >= photo.width))):
        middle = len(side) // 2
        if near <= 0:
            side[:middle] = 1.0
        if inside:
            side[middle:] = 1.0
    feather = np.minimum(down[:, None], across[None]).clip(0, 1)
    photo.paste(part, (left, top), Image.fromarray((feather * 255).round().astype(np.uint8)))
    return photo


def _spread(ink: np.ndarray, shape: tuple[int, ...], unit: float, corner: tuple[float, float]) -> np.ndarray:
    """Return ink of the working copy laid over a crop, `(H, W)`: `unit` pixels of the crop for each of its pixels."""
    rows = (np.arange(shape[0]) + 0.5 - corner[1]) / unit - 0.5
    columns = (np.arange(shape[1]) + 0.5 - corner[0]) / unit - 0.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(ndimage.map_coordinates(ink, grid, order=1, cval=0.0))


def _written(
    found: Found, image: Tensor, shape: tuple[int, ...], unit: float, corner: tuple[float, float]
) -> np.ndarray:
    """Return the new digit over a crop, as a pen would have written it, `(H, W)` in [0, 1]."""
    height, width = image.shape[-2:]
    _, scale, top, left = fit_ink(found.ink, height, width, found.width)
    pixels = image.detach().cpu().float().reshape(height, width).numpy()
    reach = 0.5 * found.width * scale  # half the pen's width, in pixels of the frame
    distance = pen_distance(pixels, reach)
    places = []
    for axis, (begin, start) in enumerate(((top, corner[1]), (left, corner[0]))):
        inked = np.flatnonzero((distance <= 0).any(axis=1 - axis))
        ends = ((inked[[0, -1]] + 0.5) / FINER - begin) / scale * unit + start if len(inked) else np.zeros(2)
        edge = 0.5 * found.width * unit
        inside = max(0.0, edge - ends[0]) - max(0.0, ends[1] + edge - shape[axis])  # a new digit may be the larger one
        places.append(((np.arange(shape[axis]) + 0.5 - start - inside) / unit * scale + begin) * FINER - 0.5)
    grid = np.meshgrid(*places, indexing="ij")
    far = ndimage.map_coordinates(distance, grid, order=1, cval=1e3) * unit / scale
    return np.asarray((0.5 - far / max(1.2, SHARPNESS * unit)).clip(0, 1), dtype=np.float32)


def _ink(levels: np.ndarray, paper: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return what share of the paper's light the new ink sends back, `(H, W, 3)`."""
    core = _core(old)
    ratio = (levels[core] + 0.004) / (paper[core] + 0.004)
    colour = np.median(ratio, axis=0)
    share = (colour + _grain(ratio, abs(1 - float(colour.mean())), new.shape)).clip(0.0, 1.0)
    return np.asarray(1.0 + new[..., None] * (share - 1.0), dtype=np.float32)


def _chalked(levels: np.ndarray, paper: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the board with new bright strokes, `(H, W, 3)`; a share of a black board's light would be nothing."""
    core = _core(old)
    added = levels[core] - paper[core]
    colour = np.median(added, axis=0)
    more = (colour + _grain(added, float(colour.mean()), new.shape)).clip(0.0, 1.0)
    return np.asarray(paper + new[..., None] * more, dtype=np.float32)


def _core(old: np.ndarray) -> np.ndarray:
    """Return where the old ink covers the paper."""
    return np.asarray(old > min(0.9, float(np.quantile(old[old > 0.02], 0.7))))


def _grain(ink: np.ndarray, strength: float, shape: tuple[int, ...]) -> np.ndarray:
    """Return grain that is as rough as that of ink `(N, 3)`, by half its strength at most, `(H, W, 1)`."""
    spread = min(float(ink.mean(axis=1).std()), 0.5 * strength)
    rough = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, shape), 0.8)
    return np.asarray((rough / rough.std() * spread)[..., None])
