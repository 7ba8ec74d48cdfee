"""Photographs of written digits, drawn: MNIST's digits with a pen on paper, under a light, through a camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import morphology

PENS = ("thin", "marker", "pencil", "blue", "red", "chalk")
PAPERS = ("plain", "ruled", "squared", "coloured", "crumpled")
LIGHTS = ("even", "soft shadow", "hard shadow", "lamp spot", "dim")
FRAMES = ("middle", "tight", "small in a corner", "table's edge", "a finger", "turned by 90", "tilted by 15")


@dataclass(frozen=True)
class Kind:
    """What a photograph shows.

    Attributes:
        pen: one of `PENS`, or "ballpoint", black and of middling width.
        paper: one of `PAPERS`.
        light: one of `LIGHTS`.
        frame: one of `FRAMES`.
        digits: how many.
        size: width and height of the scene in pixels, before the camera.
    """

    pen: str = "ballpoint"
    paper: str = "plain"
    light: str = "even"
    frame: str = "middle"
    digits: int = 1
    size: tuple[int, int] = (1000, 750)


@dataclass
class Drawn:
    """A drawn photograph.

    Attributes:
        picture: RGB.
        labels: the digits in reading order; none for what is no digit.
    """

    picture: Image.Image
    labels: list[int] = field(default_factory=list)


Writer = Callable[[int], tuple[np.ndarray, int]]
"""Writes a digit so many pixels high: how much of each pixel the pen covers, and which digit it is."""


def draw_photo(write: Writer, kind: Kind, rng: np.random.Generator) -> Drawn:
    """Draws a photograph of digits that are written one after the other, in reading order."""
    width, height = kind.size
    paper, light = paper_of(kind, rng), light_of(kind.light, height, width, rng)
    ink, labels = np.zeros((height, width)), []
    for left, top, tall in _places(kind, rng):
        coverage, label = write(tall)
        labels.append(label)
        rows, columns = coverage.shape
        begin = min(left, width - columns - 2)
        view = ink[top : top + rows, begin : begin + columns]
        np.maximum(view, coverage[: view.shape[0], : view.shape[1]], out=view)
    colour = colour_of(kind.pen, rng)
    surface = paper * (1 - ink[..., None]) + colour * ink[..., None]
    if kind.frame == "tilted by 15":
        surface = _tilted(surface, float(rng.choice([-15, 15])))
    if kind.frame == "table's edge":
        surface = _on_a_table(surface, rng)
    if kind.frame == "a finger":
        surface = _with_a_finger(surface, rng)
    picture = camera(surface * light[..., None], rng, noise=0.02 if kind.light == "dim" else 0.01)
    if kind.frame == "turned by 90":
        picture = picture.transpose(Image.Transpose.ROTATE_90 if rng.random() < 0.5 else Image.Transpose.ROTATE_270)
    return Drawn(picture, labels)


def camera(scene: np.ndarray, rng: np.random.Generator, noise: float = 0.01) -> Image.Image:
    """Photographs a scene `(H, W, 3)` in [0, 1] with 0.75 to 12 megapixels.

    The camera stands a little aslant, its lens blurs and darkens the corners, its white balance drifts across the
    picture, its sensor has noise, and JPEG takes the finest detail.
    """
    height, width = scene.shape[:2]
    down, across = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[None, :, None]
    cast = rng.uniform(0.92, 1.0, 3) + rng.uniform(-0.025, 0.025, 3) * down + rng.uniform(-0.025, 0.025, 3) * across
    scene = ndimage.gaussian_filter(scene, (rng.uniform(0.5, 1.3),) * 2 + (0,))
    scene = scene * cast * (1 - rng.uniform(0, 0.1) * (down**2 + across**2))
    factor = float(np.sqrt(rng.choice([0.75, 1, 1.5, 2, 4, 8, 12], p=[0.2, 0.3, 0.2, 0.14, 0.08, 0.04, 0.04]) / 0.75))
    size = (round(width * factor), round(height * factor))
    picture = Image.fromarray((scene.clip(0, 1) * 255).round().astype(np.uint8))
    picture = picture.transform(
        size, Image.Transform.PERSPECTIVE, _aslant((width, height), size, rng), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 255 * noise * rng.uniform(0.5, 1.5), (256, 256, 3)).astype(np.float32)
    grain = 0.7 * grain + 0.5 * (np.roll(grain, 1, 0) + np.roll(grain, 1, 1))  # neighbours share their colours
    tiled = np.tile(grain, (-(-size[1] // 256), -(-size[0] // 256), 1))[: size[1], : size[0]]
    file = BytesIO()
    picture = Image.fromarray((np.asarray(picture) + tiled).clip(0, 255).astype(np.uint8))
    picture.save(file, "JPEG", quality=int(rng.integers(60, 95)))
    return Image.open(file).convert("RGB")


def _aslant(scene: tuple[int, int], size: tuple[int, int], rng: np.random.Generator) -> tuple[float, ...]:
    """Coefficients of a slight perspective, for Pillow: from pixels of the photograph to those of the scene."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    source = (corners + np.where(corners > 0, -1, 1) * rng.uniform(0, 0.035, (4, 2))) * scene
    rows, target = [], corners * size
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    return tuple(np.linalg.solve(np.array(rows), source.ravel()).tolist())


def written(digit: np.ndarray, tall: int, kind: Kind, rng: np.random.Generator) -> np.ndarray:
    """How much of each pixel a pen covers that writes a digit `(28, 28)`, uint8, `tall` pixels high.

    Beside others a digit is written smaller if it were wider than its place.
    """
    coverage = _stroked(digit, tall, kind, rng)
    if kind.digits > 1 and coverage.shape[1] > 0.75 * tall:
        coverage = _stroked(digit, int(0.75 * tall * tall / coverage.shape[1]), kind, rng)
    return coverage


def _stroked(digit: np.ndarray, tall: int, kind: Kind, rng: np.random.Generator) -> np.ndarray:
    rows, columns = (np.flatnonzero((digit > 60).any(axis=axis)) for axis in (1, 0))
    digit = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    digit = np.pad(digit, 3).astype(float) / 255
    smooth = ndimage.gaussian_filter(ndimage.zoom(digit, tall / (digit.shape[0] - 6), order=3), tall / 30)
    stroke = smooth > 0.4
    pen = {"thin": 0.012, "pencil": 0.016, "ballpoint": 0.03, "blue": 0.025, "red": 0.025}.get(kind.pen)
    if pen:
        line = morphology.skeletonize(stroke)
        waver = 1 + 0.3 * ndimage.gaussian_filter(rng.normal(0, 1, line.shape), tall / 20) * tall / 20
        reach = max(0.8, pen * tall * rng.uniform(0.8, 1.3)) * waver.clip(0.7, 1.3)
        coverage = (0.5 + reach - ndimage.distance_transform_edt(~line)).clip(0, 1)
    else:
        widen = rng.uniform(0.0, 0.03) * tall if kind.pen == "marker" else 0
        coverage = (0.5 + widen - ndimage.distance_transform_edt(~stroke) + stroke).clip(0, 1)
    if kind.pen in ("pencil", "chalk"):
        grain = ndimage.gaussian_filter(rng.normal(0, 1, coverage.shape), 0.8)
        coverage = coverage * (0.8 + 0.45 * grain / grain.std()).clip(0.15 if kind.pen == "chalk" else 0.35, 1)
    else:
        coverage = coverage * (0.95 + 0.05 * ndimage.gaussian_filter(rng.normal(0, 1, coverage.shape), 4)).clip(0.8, 1)
    seen = np.argwhere(coverage > 0.1)
    (top, left), (bottom, right) = seen.min(axis=0), seen.max(axis=0) + 1
    return np.asarray(coverage[top:bottom, left:right])


def colour_of(pen: str, rng: np.random.Generator) -> np.ndarray:
    """What the ink of a pen reflects, `(3,)`."""
    ink = {
        "blue": (0.12, 0.18, 0.62),
        "red": (0.75, 0.1, 0.12),
        "pencil": (0.42, 0.42, 0.44),
        "chalk": (0.9, 0.9, 0.86),
    }
    return (np.array(ink.get(pen, (0.1, 0.1, 0.12))) + rng.uniform(-0.04, 0.04, 3)).clip(0, 1)


def _places(kind: Kind, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Left, top and height of each digit, in reading order."""
    width, height = kind.size
    side = min(width, height)
    if kind.digits > 1:
        per_row = kind.digits if kind.digits <= 3 else (kind.digits + 1) // 2
        rows = -(-kind.digits // per_row)
        tall = int(min(side * 0.3, side * 0.8 / rows / 1.3, width * 0.8 / per_row / 1.3))
        step_x, step_y = width * 0.9 / per_row, height * 0.9 / rows
        return [
            (
                int(width * 0.06 + (index % per_row) * step_x + rng.uniform(0, 0.1) * tall),
                int(height * 0.05 + (index // per_row + 0.5) * step_y - tall / 2 + rng.uniform(-0.08, 0.08) * tall),
                int(tall * rng.uniform(0.9, 1.1)),
            )
            for index in range(kind.digits)
        ]
    if kind.frame == "tight":
        tall = int(side * rng.uniform(0.8, 0.88))
        return [(int(width * 0.1), int((height - tall) / 2), tall)]
    if kind.frame == "small in a corner":
        tall = int(side * rng.uniform(0.09, 0.13))
        left, top = rng.choice([0.08, 0.8]) * width, rng.choice([0.08, 0.78]) * height
        return [(int(left), int(top), tall)]
    tall = int(side * rng.uniform(0.3, 0.5))
    return [(int(width * rng.uniform(0.3, 0.5)), int(height * rng.uniform(0.25, 0.4)), tall)]


def paper_of(kind: Kind, rng: np.random.Generator) -> np.ndarray:
    """What the paper, or the board for chalk, reflects, `(H, W, 3)`."""
    width, height = kind.size
    fibre = ndimage.gaussian_filter(rng.normal(0, 1, (height, width)), 1.2)
    colour = np.array([0.93, 0.92, 0.89]) * rng.uniform(0.93, 1.0)
    if kind.pen == "chalk":
        colour = np.array([[0.14, 0.26, 0.2], [0.13, 0.13, 0.14]])[rng.integers(2)]
        fibre = fibre + 2 * ndimage.gaussian_filter(rng.normal(0, 1, (height, width)), 15) * 15
    elif kind.paper == "coloured":
        colour = np.array(
            [[0.95, 0.87, 0.45], [0.6, 0.8, 0.9], [0.95, 0.7, 0.75], [0.65, 0.85, 0.6], [0.74, 0.6, 0.44]]
        )[rng.integers(5)]
    paper = colour * (1 + 0.02 * fibre[..., None])
    across, down = np.arange(width), np.arange(height)
    if kind.paper in ("ruled", "squared"):
        gap = int(rng.integers(28, 60)) * width // 1000 + 2
        tint = np.array([[0.55, 0.68, 0.88], [0.6, 0.6, 0.62], [0.7, 0.72, 0.8]])[rng.integers(3)]
        lean, bend = rng.uniform(-0.03, 0.03), rng.uniform(-6, 6)
        row = down[:, None] + lean * across[None] + bend * np.sin(np.pi * across[None] / width)
        lines = _near(row % gap - gap / 2, rng.uniform(0.7, 1.5))
        if kind.paper == "squared":
            column = across[None] - lean * down[:, None] + bend * np.sin(np.pi * down[:, None] / height)
            lines = np.maximum(lines, _near(column % gap - gap / 2, rng.uniform(0.7, 1.5)))
        paper = paper * (1 - lines[..., None]) + tint * lines[..., None]
        if kind.paper == "ruled":
            margin = _near(across[None] - 0.05 * width + lean * down[:, None], 1.2)[..., None]
            paper = paper * (1 - margin) + np.array([0.85, 0.45, 0.45]) * margin
    if kind.paper == "crumpled":
        paper = paper * _creases(height, width, rng)[..., None]
    return paper


def _near(distance: np.ndarray, reach: float) -> np.ndarray:
    return (reach + 0.5 - abs(distance)).clip(0, 1)


def _creases(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """The shading of a sheet that was crumpled: flat facets that meet in sharp creases."""
    points = rng.uniform(0, 1, (28, 2)) * (height, width)
    tilts = rng.normal(0, 1, (28, 2))
    down, across = np.mgrid[:height, :width]
    down = down + 12 * ndimage.gaussian_filter(rng.normal(0, 1, (height, width)), 25) * 25
    distances = np.stack([np.hypot(down - y, across - x) for y, x in points])
    nearest = distances.argmin(axis=0)
    first, second = np.partition(distances, 1, axis=0)[:2]
    facet = (
        tilts[nearest, 0] * (down - points[nearest, 0]) + tilts[nearest, 1] * (across - points[nearest, 1])
    ) / height
    return np.asarray((1 + 0.15 * facet.clip(-1, 1) - 0.1 * np.exp(-(second - first) / 6)).clip(0.6, 1.15))


def light_of(name: str, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """How much light falls on each pixel, `(H, W)`."""
    down, across = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * (across - 0.5) + np.sin(angle) * (down - 0.5)
    if name == "soft shadow":
        return np.asarray(1 - rng.uniform(0.35, 0.55) / (1 + np.exp(-along * rng.uniform(6, 14))))
    if name == "hard shadow":  # of a hand, whose edge is not straight
        edge = along + 0.06 * np.sin(9 * (down + across) + angle) + rng.uniform(-0.1, 0.1)
        return np.asarray(1 - rng.uniform(0.3, 0.5) * (edge * width / rng.uniform(3, 8) + 0.5).clip(0, 1))
    if name == "lamp spot":
        y, x = rng.uniform(0.2, 0.8, 2)
        return np.asarray(0.35 + 0.7 * np.exp(-((across - x) ** 2 + (down - y) ** 2) / rng.uniform(0.08, 0.2)))
    if name == "dim":
        return np.asarray(np.full((height, width), rng.uniform(0.2, 0.35)) * (1 + 0.15 * along))
    return np.asarray(1 + 0.06 * along)


def _tilted(surface: np.ndarray, degrees: float) -> np.ndarray:
    """A scene that is turned about its centre and enlarged, so that no corner is empty."""
    enlarged = ndimage.rotate(
        np.pad(surface, ((150, 150), (150, 150), (0, 0)), "symmetric"), degrees, (1, 0), False, order=1
    )
    return enlarged[150:-150, 150:-150]


def _wood(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    grain = ndimage.gaussian_filter(rng.normal(0, 1, (height, width)), (1.5, 40))
    colour = np.array([[0.35, 0.22, 0.14], [0.5, 0.36, 0.24], [0.12, 0.12, 0.13]])[rng.integers(3)]
    return np.asarray((colour * (1 + 0.12 * grain / grain.std())[..., None]).clip(0, 1))


def _on_a_table(surface: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = surface.shape[:2]
    down, across = np.mgrid[:height, :width]
    paper = (across - 0.12 * width + rng.uniform(-0.06, 0.06) * down).clip(0, 1)
    if rng.random() < 0.6:
        paper = np.minimum(paper, (0.88 * height - down + rng.uniform(-0.06, 0.06) * across).clip(0, 1))
    shade = 1 - 0.4 * np.exp(-ndimage.distance_transform_edt(paper < 0.5) / 12)
    return np.asarray(
        surface * paper[..., None] + (_wood(height, width, rng) * shade[..., None]) * (1 - paper[..., None])
    )


def _with_a_finger(surface: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = surface.shape[:2]
    down, across = np.mgrid[:height, :width]
    x, half, tip = rng.uniform(0.7, 0.85) * width, rng.uniform(0.05, 0.08) * width, rng.uniform(0.7, 0.8) * height
    off = abs(across - x - (down - tip) * rng.uniform(-0.2, 0.2)) / half
    inside = np.where(down > tip + half, 1 - off, 1 - np.hypot(off, (down - tip - half) / half)) * half
    finger = np.array([0.8, 0.58, 0.46]) * (0.7 + 0.3 * (1 - off**2).clip(0, 1))[..., None]
    shadow = 1 - 0.3 * np.exp(-np.maximum(-ndimage.shift(inside, (6, 10), order=0, mode="nearest"), 0) / 8)
    cover = inside.clip(0, 1)[..., None]
    return np.asarray(surface * np.where(inside > 0, 1, shadow)[..., None] * (1 - cover) + finger * cover)
