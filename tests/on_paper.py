"""Small photographs of digits, drawn for tests: ten written digits on papers and in lights."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from labelvae import ConditionalVAE, LabelClassifier

HEIGHT, WIDTH = 300, 400


@cache
def packaged():
    """The guide and the model of MNIST's digits."""
    return LabelClassifier.from_pretrained("mnist").eval(), ConditionalVAE.from_pretrained("mnist").eval()


@cache
def sure_digits():
    """One plainly written digit of each class, `(10, 28, 28)` in [0, 1]."""
    with Image.open(Path(__file__).parent / "ten_digits.png") as row:
        return np.stack(np.split(np.asarray(row, dtype=np.float32) / 255, 10, axis=1))


def ink_of(*placed):
    """Ink on a sheet: digits, each with left, top and side."""
    sheet = np.zeros((HEIGHT, WIDTH))
    for digit, left, top, side in placed:
        large = ndimage.zoom(digit, side / 28, order=3).clip(0, 1)
        stroke = ndimage.gaussian_filter((large > 0.45).astype(float), 0.7)
        view = sheet[top : top + side, left : left + side]
        np.maximum(view, stroke[: view.shape[0], : view.shape[1]], out=view)
    return sheet[..., None]


def photo(ink, paper=(0.92, 0.9, 0.86), colour=(0.1, 0.1, 0.14), light=1.0, noise=0.01):
    surface = (np.asarray(paper) * (1 - ink) + np.asarray(colour) * ink) * np.asarray(light)
    surface = surface + np.random.default_rng(0).normal(0, noise, surface.shape)
    return Image.fromarray((surface.clip(0, 1) * 255).astype(np.uint8))


DOWN, ACROSS = np.mgrid[:HEIGHT, :WIDTH]
LINES = np.where((DOWN % 24 < 1)[..., None], (0.55, 0.65, 0.9), (0.93, 0.92, 0.9))
SQUARES = np.where(((DOWN % 24 < 1) | (ACROSS % 24 < 1))[..., None], (0.6, 0.6, 0.65), (0.93, 0.92, 0.9))
TABLE = np.where((ACROSS < 40 + 0.1 * DOWN)[..., None], (0.3, 0.2, 0.12), (0.93, 0.92, 0.9))
KINDS = {
    "plain": {},
    "ruled": {"paper": LINES},
    "squared": {"paper": SQUARES},
    "table": {"paper": TABLE},
    "soft shadow": {"light": (1 - 0.6 * ACROSS / WIDTH)[..., None]},
    "hard shadow": {"light": np.where(ACROSS + DOWN < 330, 0.55, 1.0)[..., None]},
    "lamp spot": {"light": 0.35 + 0.7 * np.exp(-((ACROSS - 130) ** 2 + (DOWN - 90) ** 2) / 9000)[..., None]},
    "dim": {"light": 0.25},
    "red on blue": {"paper": (0.6, 0.75, 0.9), "colour": (0.75, 0.15, 0.15)},
    "pencil": {"colour": (0.5, 0.5, 0.5)},
    "chalk": {"paper": (0.12, 0.25, 0.18), "colour": (0.9, 0.9, 0.85)},
}
