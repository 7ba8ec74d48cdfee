"""Fill a hole in a photograph of paper with paper from near by, so that its lines, creases and shadows go on."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import fft, ndimage

from labelvae.photos.morphology import lowest

SHIFTS = 40
"""How many places are tried to copy paper from."""

WINDOW = 0.12
"""Half the side of a window that is filled as a whole, as a share of the hole."""

STRONG = 0.3
"""What differs by more from the paper is another digit or the line of a form, unless it goes on into the hole."""


def filled(levels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return levels `(H, W, 3)` with the hole filled with paper from near by.

    The hole is covered with overlapping windows. Each window gets the paper that lies at the shift at which what is
    known about the window agrees best, so that printed lines, creases and shadows go on. The copied paper is then
    shaded so that it meets the paper at the edge of the hole. Other digits and the lines of a form are not copied.
    """
    if not hole.any():
        return levels
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    side = max(10, round(WINDOW * max(np.ptp(rows), np.ptp(columns))))
    barred = hole | _apart(levels, hole)
    texture, height, width = levels - _through(levels, ~barred, 2.0 * side), *hole.shape
    grey, step = texture.mean(axis=2), -(-max(hole.shape) // 450)
    place = ndimage.binary_dilation(hole, np.ones((3, 3), bool), iterations=4)
    shifts = _shifts(grey, barred, side, step)
    margin = step + max((abs(way) for dy, dx, _ in shifts for way in (dy, dx)), default=0)
    wide = np.pad(grey, margin), np.pad(barred, margin, constant_values=True)
    total, weight = np.zeros_like(levels), np.full(hole.shape, 1e-6, np.float32)
    for top in range(rows[0] - side, rows[-1] + 1, side):
        for left in range(columns[0] - side, columns[-1] + 1, side):
            window = slice(max(0, top), min(height, top + 2 * side)), slice(max(0, left), min(width, left + 2 * side))
            y, x = (part + side.start for part, side in zip(np.nonzero(place[window]), window, strict=True))
            if not len(y):
                continue
            best = _best_shift(*wide, margin, shifts, (top, left), side, step)
            if best is None:
                continue
            dy, dx = best
            there = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
            y, x = y[there], x[there]
            share = (1.0 - abs((y - top + 0.5) / side - 1)) * (1.0 - abs((x - left + 0.5) / side - 1)) + 1e-4
            share = share * ~barred[y + dy, x + dx]
            total[y, x] += share[:, None] * levels[y + dy, x + dx]
            weight[y, x] += share
    copied = total / weight[..., None]
    shade = _through(levels - copied, place & ~barred & (weight > 1e-5), 2.0)
    copied = np.where((weight > 1e-5)[..., None], copied + shade, _through(levels, ~barred, 2.0))
    return np.where(hole[..., None], copied, levels)


def _apart(levels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return strong marks that do not touch the hole, and what is next to them: no paper to copy, `(H, W)`."""
    if hole.all():
        return np.zeros_like(hole)
    strong = (abs(levels - np.median(levels[~hole], axis=0)).max(axis=2) > STRONG) & ~hole
    labels, count = ndimage.label(strong, np.ones((3, 3)))
    apart = np.ones(count + 1, bool)
    apart[np.unique(labels[ndimage.binary_dilation(hole, iterations=3)])] = False
    apart[0] = False
    return np.asarray(ndimage.binary_dilation(apart[labels], iterations=3))


def _best_shift(
    texture: np.ndarray,
    hole: np.ndarray,
    margin: int,
    shifts: list[tuple[int, int, float]],
    corner: tuple[int, int],
    side: int,
    step: int,
) -> tuple[int, int] | None:
    """Return the shift at which the paper about a window agrees best with that about the place it is copied from.

    The texture and the hole have a margin on each side, which is hole, so that every shift lies within them.
    """
    starts = [margin + max(0, start - side // 2) for start in corner]
    ends = [
        min(length - margin, margin + start + 2 * side + side // 2)
        for length, start in zip(hole.shape, corner, strict=True)
    ]

    def about(dy: int, dx: int) -> tuple[slice, slice]:
        return slice(starts[0] + dy, ends[0] + dy, 2), slice(starts[1] + dx, ends[1] + dx, 2)

    own, here = texture[about(0, 0)], ~hole[about(0, 0)]
    missing = max(1, int(np.count_nonzero(~here)))

    def wrong(dy: int, dx: int) -> float:
        there = about(dy, dx)
        fits = ~hole[there]
        known = fits & here
        count = int(np.count_nonzero(known))
        filled = (int(np.count_nonzero(fits)) - count) / missing
        if filled < 0.9 or count < 12:
            return np.inf
        return float(np.square(own[known] - texture[there][known]).mean()) / float(filled**4)

    least, best = np.inf, (0, 0)
    for dy, dx, everywhere in shifts:
        if everywhere > least:  # and so are all that follow
            break
        least, best = min((least, best), (wrong(dy, dx) + everywhere, (dy, dx)))
    if not np.isfinite(least):
        return None
    if step == 1:
        return best
    reach = range(-step, step + 1)
    return min(((best[0] + down, best[1] + across) for down in reach for across in reach), key=lambda to: wrong(*to))


def _shifts(texture: np.ndarray, hole: np.ndarray, side: int, step: int) -> list[tuple[int, int, float]]:
    """Return from where to copy paper: the shifts at which the paper round the hole agrees best, and how badly."""
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
