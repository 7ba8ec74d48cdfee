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
from scipy import fft, ndimage
from skimage.morphology import skeletonize
from torch import Tensor

from labelvae.photos.found import Found
from labelvae.photos.frames import fit_ink
from labelvae.photos.morphology import lowest

SHARPNESS = 1.5
"""Width of a stroke's edge, in pixels of the working copy."""

FINER = 8
"""Points for each pixel of the model's image, at which the strokes' middle is followed."""

SHIFTS = 40
"""How many places are tried to copy paper from."""

WINDOW = 0.12
"""Half the side of a window that is filled as a whole, as a share of the hole."""

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
    """Levels `(H, W, 3)` with the hole filled with paper from near by.

    The hole is covered with overlapping windows. Each window gets the paper that lies at the shift at which what is
    known about the window agrees best, so that printed lines, creases and shadows go on. The copied paper is then
    shaded so that it meets the paper at the edge of the hole.
    """
    if not hole.any():
        return levels
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    side = max(10, round(WINDOW * max(np.ptp(rows), np.ptp(columns))))
    texture, height, width = levels - _through(levels, ~hole, 2.0 * side), *hole.shape
    grey, step = texture.mean(axis=2), -(-max(hole.shape) // 450)
    place = ndimage.binary_dilation(hole, np.ones((3, 3), bool), iterations=4)
    shifts = _shifts(grey, hole, side, step)
    total, weight = np.zeros_like(levels), np.full(hole.shape, 1e-6, np.float32)
    for top in range(rows[0] - side, rows[-1] + 1, side):
        for left in range(columns[0] - side, columns[-1] + 1, side):
            window = slice(max(0, top), min(height, top + 2 * side)), slice(max(0, left), min(width, left + 2 * side))
            y, x = (part + side.start for part, side in zip(np.nonzero(place[window]), window, strict=True))
            if not len(y):
                continue
            best = _best_shift(grey, hole, shifts, (top, left), side, step)
            if best is None:
                continue
            dy, dx = best
            there = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
            y, x = y[there], x[there]
            share = (1.0 - abs((y - top + 0.5) / side - 1)) * (1.0 - abs((x - left + 0.5) / side - 1)) + 1e-4
            share = share * ~hole[y + dy, x + dx]
            total[y, x] += share[:, None] * levels[y + dy, x + dx]
            weight[y, x] += share
    copied = total / weight[..., None]
    shade = _through(levels - copied, place & ~hole & (weight > 1e-5), 2.0)
    copied = np.where((weight > 1e-5)[..., None], copied + shade, _through(levels, ~hole, 2.0))
    return np.where(hole[..., None], copied, levels)


def _best_shift(
    texture: np.ndarray,
    hole: np.ndarray,
    shifts: list[tuple[int, int, float]],
    corner: tuple[int, int],
    side: int,
    step: int,
) -> tuple[int, int] | None:
    """The shift at which the paper about a window agrees best with that about the place it is copied from."""
    height, width = hole.shape
    y, x = (np.arange(max(0, start - side // 2), start + 2 * side + side // 2, 2) for start in corner)
    y, x = (part.ravel() for part in np.meshgrid(y[y < height], x[x < width], indexing="ij"))
    missing = hole[y, x]

    def wrong(dy: int, dx: int) -> float:
        fits = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        v, u = (y + dy).clip(0, height - 1), (x + dx).clip(0, width - 1)
        fits &= ~hole[v, u]
        filled, known = (fits & missing).sum() / max(1, missing.sum()), fits & ~missing
        if filled < 0.9 or known.sum() < 12:
            return np.inf
        return float(np.square(texture[y[known], x[known]] - texture[v[known], u[known]]).mean() / filled**4)

    ranked = [(wrong(dy, dx) + everywhere, dy, dx) for dy, dx, everywhere in shifts]
    least, dy, dx = min(ranked, default=(np.inf, 0, 0))
    if not np.isfinite(least):
        return None
    around = [(dy + down, dx + across) for down in range(-step, step + 1) for across in range(-step, step + 1)]
    return min(around, key=lambda shift: wrong(*shift)) if step > 1 else (dy, dx)


def _shifts(texture: np.ndarray, hole: np.ndarray, side: int, step: int) -> list[tuple[int, int, float]]:
    """From where paper may be copied: the shifts at which the paper round the hole agrees best, and how badly."""
    texture, hole = texture[::step, ::step], hole[::step, ::step]
    near = ndimage.binary_dilation(hole, np.ones((3, 3), bool), iterations=max(2, side // step)) & ~hole
    shape = [fft.next_fast_len(3 * length // 2, real=True) for length in hole.shape]

    def spectrum(part: np.ndarray) -> np.ndarray:
        return np.asarray(fft.rfft2(part.astype(np.float32), shape))

    def match(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.asarray(fft.fftshift(fft.irfft2(np.conj(one) * other, shape)))

    of_near, of_known = ([spectrum(part * texture**power) for power in (0, 1, 2)] for part in (near, ~hole))
    count, squares = match(of_near[0], of_known[0]), match(of_near[2], of_known[0]) + match(of_near[0], of_known[2])
    covered = match(spectrum(hole), spectrum(hole)) / hole.sum()
    wrong = (squares - 2 * match(of_near[1], of_known[1])).clip(0) / count.clip(1)
    wrong = np.where((count > 0.5 * near.sum()) & (covered < 0.5), wrong, np.inf)
    down, across = (abs(np.arange(length) - length // 2) for length in shape)
    wrong[(down[:, None] > hole.shape[0] // 2) | (across[None] > hole.shape[1] // 2)] = np.inf
    good = np.argwhere((wrong == lowest(wrong, 3, 3)) & np.isfinite(wrong))
    good = good[np.argsort(wrong[tuple(good.T)])[:SHIFTS]]
    return [(int(y - shape[0] // 2) * step, int(x - shape[1] // 2) * step, float(wrong[y, x])) for y, x in good]


def _through(values: np.ndarray, known: np.ndarray, reach: float) -> np.ndarray:
    """Smooth values `(H, W, 3)` by a reach in pixels, and carry them on to where they are not known."""
    step = max(1, round(max(known.shape) / 120))
    cells = (-(-known.shape[0] // step), -(-known.shape[1] // step))
    parts = np.concatenate([values * known[..., None], known[..., None]], axis=2).astype(np.float32)
    parts = np.pad(parts, ((0, cells[0] * step - known.shape[0]), (0, cells[1] * step - known.shape[1]), (0, 0)))
    parts = parts.reshape(cells[0], step, cells[1], step, 4).sum(axis=(1, 3))
    total = np.zeros_like(parts)
    for octave in range(6):  # what is nearest counts most
        blur = min(max(1.0, reach / step) * 2**octave, 60.0)
        total += 0.02**octave * ndimage.gaussian_filter(parts, (blur, blur, 0), truncate=2.5)
    smooth = total[..., :3] / total[..., 3:].clip(1e-12)
    size, cover = known.shape[::-1], (0, 0, known.shape[1] / step, known.shape[0] / step)
    channels = (Image.fromarray(np.ascontiguousarray(smooth[..., c])) for c in range(3))
    return np.stack([np.asarray(one.resize(size, Image.Resampling.BILINEAR, cover)) for one in channels], axis=2)


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
