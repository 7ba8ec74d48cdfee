"""Read the digits in a photograph with a classifier, say how sure each reading is, and refuse what is no digit.

A classifier that has seen digits alone is sure of nearly everything. A reading is trusted as far as three answers
agree: the classifier's on slightly turned and scaled copies, how large its logits are against those on the model's
own digits, and how well the model draws what was seen as that digit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from scipy.special import expit
from torch import Tensor, nn
from torch.nn import functional as F

from labelvae.data.pixels import eight_bits, plain
from labelvae.models.inference import shallow_copy
from labelvae.models.vae import ConditionalVAE
from labelvae.photos.found import Found, PassedOver, in_reading_order, joined, turned
from labelvae.photos.outlines import is_outline
from labelvae.photos.strokes import find_writing

LEAST_CONFIDENCE = 0.5
"""A reading below this is doubted."""

SURE = 0.8
"""Confidence from which a turned photograph is believed."""

PLAIN = 0.9
"""Confidence from which a digit is whole: nothing is joined to it."""

UPRIGHT = 0.99
"""Confidence from which a photograph is not turned at all."""

SUREST = 0.998
"""Confidence above which two ways to hold a photograph are alike."""

UPRIGHT_FIRST = 2.0
"""How much more a photograph is believed as it is than turned, in log-odds."""

CLEAR = 2.2
"""By how much a turned photograph is surer than each way that reads other digits, in log-odds."""

WIDEST_GAP = 0.2
"""Widest gap between two parts of a digit, as a share of the longer side of both together."""

LEAST_ENERGY = 0.7
"""Energy that speaks neither for nor against a digit, as a share of the usual least one."""

FLATTEST = 0.3
"""Least height of a digit over its width; a dash is lower."""

MOST_HOLES = 3
"""An 8 has two; a flower or a scribble has more."""


@dataclass(frozen=True)
class Reading:
    """A digit in a photograph, and what it was read as.

    Attributes:
        found: where it is.
        image: what the model sees, `(1, H, W)` in [0, 1].
        label: index of the class that it was read as.
        confidence: in [0, 1].
    """

    found: Found
    image: Tensor
    label: int
    confidence: float

    @property
    def doubted(self) -> bool:
        """Whether the reading is too unsure to be used."""
        return self.confidence < LEAST_CONFIDENCE


@dataclass(frozen=True)
class PhotoReading:
    """What was read in a photograph.

    Attributes:
        photo: upright, in RGB; turned by `turn`.
        readings: the digits in reading order; some may be doubted, but not most of them.
        turn: degrees by which the photograph was turned counterclockwise to be read: 0, 90 or 270.
        passed_over: what was taken for no digit.
    """

    photo: Image.Image
    readings: list[Reading]
    turn: int
    passed_over: PassedOver = field(default_factory=PassedOver)


class UnreadError(ValueError):
    """A photograph that cannot be read.

    Attributes:
        reading: what was seen in it, each digit doubted; None where no digit was found.
    """

    def __init__(self, reason: str, reading: PhotoReading | None = None) -> None:
        super().__init__(reason)
        self.reading = reading


def read_digits(
    picture: Image.Image, guide: nn.Module, vae: ConditionalVAE, bright: bool | None = None
) -> PhotoReading:
    """Read the written digits in a photograph.

    A photograph that is not read plainly as it is, is turned by 90 degrees both ways. One way is believed if it is
    clearly surer than each way that reads other digits. If two ways are about equally sure, as a 6 and a 9 are on their
    side, the photograph is refused. So is a photograph that seems to lie upside down.

    Args:
        picture: a picture of any size and mode.
        guide: a classifier of the model's images, from images `(B, 1, H, W)` in [0, 1] to logits `(B, K)`.
        vae: the model of grey images that will relabel the digits.
        bright: whether the strokes are brighter than the paper; None finds out.

    Raises:
        UnreadError: no digit was found, or what was found is doubted; a ValueError that says what was seen.
        ValueError: a model of images in colour.
    """
    if vae.image_shape[0] != 1:
        raise ValueError(
            f"vae: expected a model of grey images with 1 channel, got {vae.image_shape[0]}; relabel the photograph "
            "with fit pad or crop"
        )
    picture = eight_bits(plain(picture, "RGB"))
    try:
        found, parts, passed_over = find_writing(picture, bright)
    except ValueError as error:
        raise UnreadError(str(error), None) from error
    usual = usual_energy(guide, vae)

    def read(digits: list[Found]) -> list[Reading]:
        return [_reading(one, guide, vae, usual) for one in digits]

    readings = _parts_joined(read(found), parts, read)
    readable = _is_readable(readings)
    if readable and _least(readings) >= UPRIGHT:
        return PhotoReading(picture, readings, 0, passed_over)
    if any(one.with_spot is not None for one in found):  # what is hidden may be what tells how it is held
        if readable:
            return PhotoReading(picture, readings, 0, passed_over)
        raise UnreadError(_unread(readings, vae.class_names), PhotoReading(picture, readings, 0, passed_over))

    def turned_by(quarters: int) -> list[Reading]:
        whole, small = ([turned(one, quarters, picture.size) for one in each] for each in (found, parts))
        return _parts_joined(read(in_reading_order(whole)), small, read)

    ways = [(0, readings)] if readable else []
    for quarters in (1, 3):
        side = turned_by(quarters)
        if _least(side) >= LEAST_CONFIDENCE:
            ways.append((quarters, side))
    half = (2, turned_by(2))
    others = [way for way in ways if _labels(way[1]) != _labels(half[1])]
    if _least(half[1]) >= SURE and len(others) == len(ways) and all(_is_clear(half, way) for way in others):
        reason = f"photo: may lie upside down: turned by half it reads as {_labels(half[1])}; turn it upright"
        raise UnreadError(reason, PhotoReading(picture, readings, 0))
    quarters, best = max(ways, key=_strength, default=(0, readings))
    if readable and (_labels(best) == _labels(readings) or _least(best) < SURE):
        return PhotoReading(picture, readings, 0, passed_over)
    if quarters and _least(best) >= SURE:
        others = [way for way in ways if _labels(way[1]) != _labels(best)]
        if len(others) > 1 or not all(_is_clear((quarters, best), way) for way in others):
            said = " or ".join(f"{_labels(side)} {_HELD[turn]}" for turn, side in ways)
            reason = f"photo: may lie on its side: it reads as {said}; turn it upright"
            raise UnreadError(reason, PhotoReading(picture, readings, 0))
        upright = picture.transpose(Image.Transpose.ROTATE_90 if quarters == 1 else Image.Transpose.ROTATE_270)
        return PhotoReading(upright, best, 90 * quarters, passed_over)
    raise UnreadError(_unread(readings, vae.class_names), PhotoReading(picture, readings, 0))


_HELD = {0: "as it is", 1: "turned left", 3: "turned right"}


def _is_readable(readings: list[Reading]) -> bool:
    """Return whether most pieces are digits; of two or four, half will do if nothing speaks against that half."""
    sure = [one for one in readings if not one.doubted]
    return 2 * len(sure) > len(readings) or (2 * len(sure) == len(readings) and _least(sure) >= UPRIGHT)


def _unread(readings: list[Reading], names: Sequence[str] | None) -> str:
    """Say what was found in a photograph that cannot be read, and what to do."""
    surest = max(readings, key=lambda one: one.confidence)
    name = repr(names[surest.label]) if names else f"class {surest.label}"
    said = f"reads as {name}, confidence {surest.confidence:.2f}"
    doubted = sum(one.doubted for one in readings)
    if any(one.doubted and one.found.with_spot is not None for one in readings):
        return (
            f"strokes: a bright spot may hide a part of a digit (the surest of {len(readings)} {said}); take the "
            "photograph again without the flash or the lamp's reflection"
        )
    look = "looks" if doubted == 1 else "look"
    if doubted < len(readings):
        return (
            f"strokes: found {len(readings)} pieces of writing, of which {doubted} {look} like no digit (the surest of "
            f"all {said}); crop the photograph to the digits"
        )
    found, who = ("1 piece", "it") if doubted == 1 else (f"{doubted} pieces", "the surest")
    return (
        f"strokes: found {found} of writing that {look} like no digit ({who} {said}); write the digit plainly "
        "(not in outline), or crop the photograph to it"
    )


def _least(readings: list[Reading]) -> float:
    """Return the confidence of the least sure digit."""
    return min(one.confidence for one in readings)


def _labels(readings: list[Reading]) -> list[int]:
    return [one.label for one in readings]


def _strength(way: tuple[int, list[Reading]]) -> float:
    """Return what speaks for a way to hold the photograph, in log-odds: quarters of a turn, and what is read then."""
    sure = min(max(_least(way[1]), 1e-4), SUREST)
    return math.log(sure / (1 - sure)) + (0 if way[0] else UPRIGHT_FIRST)


def _is_clear(way: tuple[int, list[Reading]], other: tuple[int, list[Reading]]) -> bool:
    """Return whether much more speaks for one way to hold the photograph than for another."""
    return _strength(way) - _strength(other) >= CLEAR


def _parts_joined(
    readings: list[Reading], parts: list[Found], read: Callable[[list[Found]], list[Reading]]
) -> list[Reading]:
    """Join what is not read plainly with a stroke close to it where both read as one digit, such as a 5 and its hat."""
    result = list(readings)
    for unsure in readings:
        if unsure.confidence >= PLAIN or not any(one is unsure for one in result):
            continue
        digits = [one.found for one in result if one is not unsure and (unsure.doubted or one.doubted)]
        others = [one for one in (*digits, *parts) if _close(unsure.found, one)]
        if not others:
            continue
        wholes = read([joined(unsure.found, one) for one in others])
        best, other = max(zip(wholes, others, strict=True), key=lambda pair: pair[0].confidence)
        if best.confidence > max(unsure.confidence, LEAST_CONFIDENCE):
            result = [one for one in result if one is not unsure and one.found is not other] + [best]
    order = in_reading_order([one.found for one in result])
    return sorted(result, key=lambda one: next(place for place, found in enumerate(order) if found is one.found))


def _close(one: Found, other: Found) -> bool:
    """Return whether there is little between two digits, down and across."""
    starts, ends = ([(one.box[side], other.box[side]) for side in pair] for pair in ((0, 1), (2, 3)))
    longest = max(max(end) - min(start) for start, end in zip(starts, ends, strict=True))
    gaps = [max(start) - min(end) for start, end in zip(starts, ends, strict=True)]
    return one.bright == other.bright and max(gaps) < WIDEST_GAP * longest


@torch.no_grad()
def usual_energy(guide: nn.Module, vae: ConditionalVAE) -> float:
    """Return the energy of a model's own digits: log-sum-exp of the logits, of which 98 of 100 have more.

    The codes are of N(0, I): they are more varied than those of a prior, which knows the digits of its data alone.
    """
    widest = shallow_copy(vae)
    widest.prior = None
    labels = torch.arange(vae.num_classes).repeat(20)
    logits = guide(widest.sample(labels, torch.Generator().manual_seed(0)))
    return float(logits.logsumexp(dim=1).quantile(0.02))


@torch.no_grad()
def _reading(found: Found, guide: nn.Module, vae: ConditionalVAE, usual: float) -> Reading:
    image = found.fit(*vae.image_shape[1:])
    belief = guide(_moved(image)).softmax(dim=1).mean(dim=0)
    label = int(belief.argmax())
    energy = float(guide(image[None]).logsumexp(dim=1))
    drawn = vae.relabel(image[None], label, label).cpu()
    missed = _smooth(drawn - image).square().sum() / _smooth(image[None]).square().sum().clamp_min(1e-6)
    known, drawn_like = expit([3 * (energy - LEAST_ENERGY * usual), 40 * (0.2 - float(missed))]).tolist()
    confidence = float(belief[label]) * known * drawn_like
    is_digit = _holes(found.ink) <= MOST_HOLES and found.ink.shape[0] > FLATTEST * found.ink.shape[1]
    is_digit = is_digit and not is_outline(found.ink)
    if found.with_spot is not None:
        is_digit = is_digit and int(guide(found.with_spot.fit(*vae.image_shape[1:])[None]).argmax()) == label
    return Reading(found, image, label, confidence if is_digit else 0.0)


def _smooth(images: Tensor) -> Tensor:
    """Return images blurred a little: a stroke that is drawn a little aside is hardly missed."""
    return F.avg_pool2d(images, 3, 1, 1)


def _holes(ink: np.ndarray) -> int:
    """Return how many areas of paper strokes enclose, without the smallest."""
    labels, _ = ndimage.label(np.pad(ink < 0.4, 1, constant_values=True))
    return int((np.bincount(labels.ravel())[2:] > 0.002 * ink.size).sum())


def _moved(image: Tensor) -> Tensor:
    """Return an image turned by up to 10 degrees, scaled and sheared, `(18, 1, H, W)`."""
    moves = [(turn, size, lean) for turn in (-0.17, 0.0, 0.17) for size in (0.9, 1.0, 1.12) for lean in (-0.1, 0.1)]
    turn, size, lean = torch.tensor(moves, dtype=image.dtype, device=image.device).T
    cosine, sine, zero = size * turn.cos(), size * turn.sin(), torch.zeros_like(turn)
    rows = [cosine + lean * sine, lean * cosine - sine, zero, sine, cosine, zero]
    theta = torch.stack(rows, dim=1).reshape(-1, 2, 3)
    grid = F.affine_grid(theta, [len(moves), 1, *image.shape[1:]], align_corners=False)
    return F.grid_sample(image.expand(len(moves), -1, -1, -1), grid, align_corners=False).clamp(0, 1)
