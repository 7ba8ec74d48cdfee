"""Photographs without a digit, drawn or from scikit-image: blank sheets, text, faces, drawings, noise, scenes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from drawn_photos import LIGHTS, PAPERS, Drawn, Kind, camera, colour_of, light_of, paper_of
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from skimage import data

NO_DIGITS = ("nothing written", "text", "a face", "a drawing", "noise", "a scene")


def draw_no_digit(name: str, rng: np.random.Generator, size: tuple[int, int] = (1000, 750)) -> Drawn:
    """Draws a photograph without a digit, of one of `NO_DIGITS`."""
    width, height = size
    kind = Kind(paper=str(rng.choice(PAPERS)), light=str(rng.choice(LIGHTS[:4])), size=size)
    draw: Callable[[ImageDraw.ImageDraw, np.random.Generator, int, int], None] | None = {
        "text": _text,
        "a face": _face,
        "a drawing": _drawing,
    }.get(name)
    bundled: dict[str, tuple[Any, ...]] = {
        "text": (data.page, data.text),
        "a face": (data.astronaut,),
        "a scene": (data.camera, data.coffee, data.chelsea, data.rocket, data.coins, data.brick, data.grass),
    }
    if name == "noise":
        coarse = ndimage.gaussian_filter(rng.normal(0, 1, (height, width, 3)), (rng.uniform(0, 12),) * 2 + (0,))
        return Drawn(camera(0.5 + 0.2 * coarse / coarse.std(), rng))
    if name == "a scene" or (name in bundled and rng.random() < 0.2):
        scene = np.asarray(
            Image.fromarray(bundled[name][rng.integers(len(bundled[name]))]()).convert("RGB").resize(size)
        )
        return Drawn(camera(scene[:, :: int(rng.choice([-1, 1]))] / 255, rng))
    ink = Image.new("L", size)
    if draw is not None:
        draw(ImageDraw.Draw(ink), rng, width, height)
    cover = (np.asarray(ink) / 255)[..., None]
    surface = paper_of(kind, rng) * (1 - cover) + colour_of("ballpoint", rng) * cover
    return Drawn(camera(surface * light_of(kind.light, height, width, rng)[..., None], rng))


def _text(ink: ImageDraw.ImageDraw, rng: np.random.Generator, _: int, height: int) -> None:
    words = ["the", "paper", "lies", "on", "a", "table", "and", "someone", "wrote", "letters", "with", "many", "words"]
    size = int(rng.integers(24, 60))
    font = ImageFont.load_default(size)
    for top in range(60, height - 80, int(size * 1.6)):
        ink.text((60, top), " ".join(rng.choice(words, int(rng.integers(4, 9)))), fill=255, font=font)


def _face(ink: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    x, y, r, pen = (
        width / 2 + rng.uniform(-80, 80),
        height / 2,
        height * rng.uniform(0.25, 0.38),
        int(rng.integers(4, 14)),
    )
    ink.ellipse((x - 0.8 * r, y - r, x + 0.8 * r, y + r), outline=255, width=pen)
    for side in (-1, 1):
        ink.ellipse(
            (x + side * 0.35 * r - 20, y - 0.3 * r - 12, x + side * 0.35 * r + 20, y - 0.3 * r + 12),
            outline=255,
            width=pen,
        )
    ink.line((x, y - 0.1 * r, x - 0.1 * r, y + 0.2 * r, x + 0.05 * r, y + 0.2 * r), fill=255, width=pen)
    ink.arc((x - 0.4 * r, y + 0.1 * r, x + 0.4 * r, y + 0.6 * r), 20, 160, fill=255, width=pen)
    for angle in np.linspace(np.pi * 1.1, np.pi * 1.9, 14):
        dx, dy = np.cos(angle), np.sin(angle)
        ink.line((x + 0.8 * r * dx, y + r * dy, x + 0.95 * r * dx, y + 1.2 * r * dy), fill=255, width=pen)


def _drawing(ink: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    x, y, r, pen = width / 2, height / 2, height * rng.uniform(0.2, 0.35), int(rng.integers(5, 16))
    shape = rng.integers(5)
    if shape == 0:  # a house
        ink.rectangle((x - r, y, x + r, y + r), outline=255, width=pen)
        ink.line((x - r, y, x, y - r, x + r, y), fill=255, width=pen)
        ink.rectangle((x - 0.2 * r, y + 0.4 * r, x + 0.2 * r, y + r), outline=255, width=pen)
    elif shape == 1:  # a star
        points = [(x + r * np.sin(4 * np.pi * i / 5), y - r * np.cos(4 * np.pi * i / 5)) for i in range(6)]
        ink.line(points, fill=255, width=pen)
    elif shape == 2:  # a scribble
        path = ndimage.gaussian_filter1d(rng.normal(0, 1, (400, 2)), 8, axis=0) * 5 * r / 2
        ink.line([(x + a, y + b) for a, b in path], fill=255, width=pen)
    elif shape == 3:  # a tree
        ink.line((x, y + r, x, y - r), fill=255, width=pen)
        for i in range(5):
            for side in (-1, 1):
                ink.line((x, y + r * (0.4 - 0.3 * i), x + side * r * 0.6, y + r * (0.1 - 0.3 * i)), fill=255, width=pen)
    else:  # a flower
        for i in range(6):
            a, b = x + 0.6 * r * np.cos(i * np.pi / 3), y + 0.6 * r * np.sin(i * np.pi / 3)
            ink.ellipse((a - 0.3 * r, b - 0.3 * r, a + 0.3 * r, b + 0.3 * r), outline=255, width=pen)
        ink.ellipse((x - 0.3 * r, y - 0.3 * r, x + 0.3 * r, y + 0.3 * r), outline=255, width=pen)
