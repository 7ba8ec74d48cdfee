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
from skimage.morphology import skeletonize
from torch import Tensor

from labelvae.frames import fit_ink
from labelvae.strokes import Found

SHARPNESS = 1.5
"""Width of a stroke's edge, in pixels of the working copy."""

FINER = 8
"""Points for each pixel of the model's image, at which the strokes' middle is followed."""

SHIFTS = 24
"""How many places are tried to copy paper from."""

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
    paper = _filled(levels, hole)
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
    """Ink of the working copy laid over a crop, `(H, W)`: `unit` pixels of the crop for each of its pixels."""
    rows = (np.arange(shape[0]) + 0.5 - corner[1]) / unit - 0.5
    columns = (np.arange(shape[1]) + 0.5 - corner[0]) / unit - 0.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(ndimage.map_coordinates(ink, grid, order=1, cval=0.0))


def _written(
    found: Found, image: Tensor, shape: tuple[int, ...], unit: float, corner: tuple[float, float]
) -> np.ndarray:
    """The new digit over a crop, as a pen would have written it, `(H, W)` in [0, 1]."""
    height, width = image.shape[-2:]
    _, scale, top, left, _ = fit_ink(found.ink, height, width, found.width)
    pixels = image.detach().cpu().float().reshape(height, width).numpy()
    reach = 0.5 * found.width * scale  # half the pen's width, in pixels of the frame
    distance = _pen_distance(pixels, reach)
    rows = ((np.arange(shape[0]) + 0.5 - corner[1]) / unit) * scale + top
    columns = ((np.arange(shape[1]) + 0.5 - corner[0]) / unit) * scale + left
    grid = np.meshgrid(rows * FINER - 0.5, columns * FINER - 0.5, indexing="ij")
    far = ndimage.map_coordinates(distance, grid, order=1, cval=1e3) * unit / scale
    return np.asarray((0.5 - far / max(1.2, SHARPNESS * unit)).clip(0, 1), dtype=np.float32)


def _pen_distance(pixels: np.ndarray, reach: float) -> np.ndarray:
    """How far each point is from the edge of the pen's strokes, in pixels of the image, negative inside.

    There are `FINER` points for each pixel. The strokes follow the middle of the image's strokes. Their width varies
    about the pen's as the image's does.
    """
    smooth = ndimage.gaussian_filter(
        ndimage.zoom(pixels / max(float(pixels.max()), 1e-6), FINER, order=3, mode="grid-constant", grid_mode=True),
        0.4 * FINER,
    )
    stroke = smooth > np.maximum(0.4 * ndimage.gaussian_filter(ndimage.maximum_filter(smooth, 3 * FINER), FINER), 0.1)
    labels, count = ndimage.label(stroke, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    stroke = (sizes > 0.12 * sizes.sum())[labels]  # no specks
    if not stroke.any():
        return np.full(smooth.shape, 1e3, np.float32)
    middle = skeletonize(np.pad(stroke, 1))[1:-1, 1:-1]
    depth = ndimage.distance_transform_edt(stroke) / FINER
    near = ndimage.gaussian_filter(middle.astype(np.float32), FINER)
    half = ndimage.gaussian_filter(np.where(middle, depth, 0.0), FINER) / near.clip(1e-6)
    half = reach * (half / float(np.median(half[middle]))).clip(0.8, 1.2)
    far, (rows, columns) = ndimage.distance_transform_edt(~middle, return_indices=True)
    return np.asarray(ndimage.gaussian_filter(far / FINER - half[rows, columns], 0.2 * FINER), dtype=np.float32)


def _filled(levels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Levels `(H, W, 3)` with the hole filled with paper from near by."""
    light = _light(levels, hole)
    texture = levels - light
    result, left = levels.copy(), hole.copy()
    rows, columns = np.nonzero(ndimage.binary_dilation(hole, np.ones((3, 3), bool), iterations=4) & ~hole)
    some = slice(None, None, max(1, len(rows) // 3000))
    rows, columns = rows[some], columns[some]
    span_y, span_x = (int(np.ptp(np.flatnonzero(hole.any(axis)))) if hole.any() else 0 for axis in (1, 0))
    ranked = []
    for dy, dx in _shifts(span_y, span_x):
        y, x = rows + dy, columns + dx
        fits = (y >= 0) & (y < hole.shape[0]) & (x >= 0) & (x < hole.shape[1])
        y, x = y.clip(0, hole.shape[0] - 1), x.clip(0, hole.shape[1] - 1)
        fits &= ~hole[y, x]
        if fits.sum() > 0.3 * len(rows):
            wrong = np.square(texture[rows, columns] - texture[y, x]).mean(axis=1)[fits].mean()
            ranked.append((float(wrong), dy, dx))
    for _, dy, dx in sorted(ranked):
        y, x = np.nonzero(left)
        if not len(y):
            break
        there = (y + dy >= 0) & (y + dy < hole.shape[0]) & (x + dx >= 0) & (x + dx < hole.shape[1])
        y, x = y[there], x[there]
        clean = ~hole[y + dy, x + dx]
        y, x = y[clean], x[clean]
        result[y, x] = light[y, x] + texture[y + dy, x + dx]
        left[y, x] = False
    result[left] = light[left]
    return result


def _shifts(span_y: int, span_x: int) -> list[tuple[int, int]]:
    """Where paper may be copied from: sideways and up and down by a part of the digit, and any way round it."""
    rng = np.random.default_rng(0)
    far_y, far_x = max(8, round(0.7 * span_y)), max(8, round(0.9 * span_x))
    along = [(0, round(sign * share * far_x)) for share in (0.3, 0.5, 0.75, 1.0, 1.25) for sign in (-1, 1)]
    across = [(round(sign * share * far_y), 0) for share in (0.3, 0.5, 0.75, 1.0) for sign in (-1, 1)]
    near = [(int(y), int(x)) for y in range(-3, 4) for x in (-far_x, far_x, -far_x // 2, far_x // 2)]
    anywhere = [(int(rng.integers(-far_y, far_y)), int(rng.integers(-far_x, far_x))) for _ in range(SHIFTS)]
    return along + across + near + anywhere


def _light(levels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The smooth light on the paper, through the hole as well, `(H, W, 3)`."""
    step = max(1, round(max(hole.shape) / 120))
    size = (-(-hole.shape[0] // step), -(-hole.shape[1] // step))
    known = (~hole).astype(np.float32)
    parts = np.concatenate([levels * known[..., None], known[..., None]], axis=2)
    parts = np.pad(parts, ((0, size[0] * step - hole.shape[0]), (0, size[1] * step - hole.shape[1]), (0, 0)))
    parts = parts.reshape(size[0], step, size[1], step, 4).sum(axis=(1, 3))
    total = np.zeros_like(parts)
    for octave in range(6):  # the nearest paper counts most
        total += 0.02**octave * ndimage.gaussian_filter(parts, (1.5 * 2**octave,) * 2 + (0,), truncate=2.5)
    light = total[..., :3] / total[..., 3:].clip(1e-12)
    rows, columns = ((np.arange(n) - 0.5 * (step - 1)) / step for n in hole.shape)
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([ndimage.map_coordinates(light[..., c], grid, order=1, mode="nearest") for c in range(3)], axis=2)


def _ink(levels: np.ndarray, paper: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """What share of the paper's light the new ink sends back, `(H, W, 3)`."""
    core = _core(old)
    ratio = (levels[core] + 0.004) / (paper[core] + 0.004)
    colour = np.median(ratio, axis=0)
    share = (colour + _grain(ratio, abs(1 - float(colour.mean())), new.shape)).clip(0.0, 1.0)
    return np.asarray(1.0 + new[..., None] * (share - 1.0), dtype=np.float32)


def _chalked(levels: np.ndarray, paper: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The board with new bright strokes, `(H, W, 3)`; a share of a black board's light would be nothing."""
    core = _core(old)
    added = levels[core] - paper[core]
    colour = np.median(added, axis=0)
    more = (colour + _grain(added, float(colour.mean()), new.shape)).clip(0.0, 1.0)
    return np.asarray(paper + new[..., None] * more, dtype=np.float32)


def _core(old: np.ndarray) -> np.ndarray:
    """Where the old ink covers the paper."""
    return np.asarray(old > min(0.9, float(np.quantile(old[old > 0.02], 0.7))))


def _grain(ink: np.ndarray, strength: float, shape: tuple[int, ...]) -> np.ndarray:
    """Grain that is as rough as that of ink `(N, 3)`, by half its strength at most, `(H, W, 1)`."""
    spread = min(float(ink.mean(axis=1).std()), 0.5 * strength)
    rough = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, shape), 0.8)
    return np.asarray((rough / rough.std() * spread)[..., None])
