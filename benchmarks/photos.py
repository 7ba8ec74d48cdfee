"""Reads drawn photographs of written digits and writes other digits in their place, by kind.

    python benchmarks/photos.py --data-dir DIR
    python benchmarks/photos.py --data-dir DIR --sheet photos.jpg

A digit is drawn with its pen before any paper is, and that ink is passed over if the guide does not read it, if a 0, 6,
8 or 9 has lost a loop, or if it lies in three pieces or more: a pen that follows the middle of a blot leaves a line,
and a 6 becomes a C. The table measures how digits are found, not how legible MNIST's are. A photograph without a digit
is right when it is refused.
"Wrong" answers are given without a doubt; below the least confidence there must be none. "Pasted" are the photographs,
of those that were read rightly, in which every digit was relabelled, put back, and then read as the asked one by
another network than the guide.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from drawn_no_digits import NO_DIGITS, draw_no_digit
from drawn_photos import FRAMES, LIGHTS, PAPERS, PENS, Drawn, Kind, draw_photo, written
from jsonargparse import auto_cli
from photo_reader import train_reader
from photo_sheet import Row, sheet_of
from PIL import Image
from scipy import ndimage
from torch import nn
from torchvision.datasets import MNIST
from tqdm import tqdm

from labelvae import ConditionalVAE, LabelClassifier
from labelvae.cli.parser import DashParser
from labelvae.photos.frames import fit_ink
from labelvae.photos.pasting import paste
from labelvae.photos.reading import LEAST_CONFIDENCE, PhotoReading, read_digits

KINDS = {
    **{f"pen: {pen}": Kind(pen=pen) for pen in PENS},
    **{f"paper: {paper}": Kind(paper=paper) for paper in PAPERS},
    **{f"light: {light}": Kind(light=light) for light in LIGHTS},
    **{f"frame: {frame}": Kind(frame=frame) for frame in FRAMES},
    **{f"{count} digits": Kind(digits=count) for count in range(2, 7)},
}

LOOPS = {0: 1, 6: 1, 8: 2, 9: 1}
"""The digits that are written with loops, and how many they have."""

MOST_PIECES = 2
"""A 4, 5 or 7 may be written with two strokes; a pen that leaves more has followed the middle of a torn blot."""

TWINS = (6, 9)
"""On its side, each reads as the other if the photograph is turned the wrong way: they are not drawn turned."""


class Photographer:
    """Draws photographs of a kind, of MNIST's test digits."""

    def __init__(self, data_dir: Path, guide: nn.Module) -> None:
        test = MNIST(str(data_dir), train=False)
        self.digits, self.labels, self.guide = test.data.numpy(), test.targets.numpy(), guide

    def draw(self, name: str, rng: np.random.Generator) -> Drawn:
        """Draws a photograph of a kind."""
        if name not in KINDS:
            return draw_no_digit(name.removeprefix("none: "), rng)
        return draw_photo(lambda tall: self.legible(tall, KINDS[name], rng), KINDS[name], rng)

    def legible(self, tall: int, kind: Kind, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        """Writes digits until one can be read: ink before any paper, and which digit it is."""
        while True:
            index = int(rng.integers(len(self.digits)))
            label = int(self.labels[index])
            if kind.frame == "turned by 90" and label in TWINS:
                continue
            ink = written(self.digits[index], tall, kind, rng)
            if loops(ink) < LOOPS.get(label, 0) or pieces(ink) > MOST_PIECES:
                continue
            clean = fit_ink(ink.astype(np.float32), 28, 28, 0.06 * tall).image
            belief = self.guide(clean[None]).detach().softmax(dim=1)[0]
            if belief.argmax() == label and belief.max() > 0.9:
                return ink, label


def loops(ink: np.ndarray) -> int:
    """How many areas of paper ink `(H, W)` encloses, without the smallest."""
    labels, _ = ndimage.label(np.pad(ink < 0.4, 1, constant_values=True))
    return int((np.bincount(labels.ravel())[2:] > 0.002 * ink.size).sum())


def pieces(ink: np.ndarray) -> int:
    """How many pieces ink `(H, W)` lies in, without the smallest."""
    labels, _ = ndimage.label(ink > 0.2, np.ones((3, 3)))
    return int((np.bincount(labels.ravel())[1:] > 0.01 * (ink > 0.2).sum()).sum())


def relabelled(read: PhotoReading, vae: ConditionalVAE, asked: list[int]) -> Image.Image:
    """The photograph with each digit replaced by the one asked for."""
    photo = read.photo
    for one, label in zip(read.readings, asked, strict=True):
        photo = paste(photo, one.found, vae.relabel(one.image[None], label, one.label)[0])
    return photo


def reads_as(photo: Image.Image, reader: nn.Module, vae: ConditionalVAE, asked: list[int]) -> bool:
    """Whether a reader finds the digits that were asked for."""
    try:
        return [one.label for one in read_digits(photo, reader, vae).readings] == asked
    except ValueError:
        return False


def answer(read: PhotoReading, labels: list[int]) -> str:
    """Whether what was read is right, refused (those that are doubted are named) or wrong."""
    said = [one.label for one in read.readings if not one.doubted]
    if said == labels:
        return "right"
    doubted = len(said) < len(read.readings)
    pairs = zip(read.readings, labels, strict=False)
    if doubted and len(read.readings) == len(labels) and all(one.doubted or one.label == label for one, label in pairs):
        return "refused"
    return "wrong" if min(one.confidence for one in read.readings if not one.doubted) >= LEAST_CONFIDENCE else "silent"


def main(
    data_dir: Path = Path("data"),
    count: int = 20,
    seed: int = 0,
    kinds: list[str] | None = None,
    sheet: Path | None = None,
) -> None:
    """Draws, reads, relabels and prints the table, or writes a sheet of one photograph of each kind.

    Args:
        data_dir: where MNIST's files are.
        count: photographs of each kind.
        seed: of the drawing.
        kinds: only kinds whose names contain one of these.
        sheet: a picture file; no table is printed.
    """
    guide, vae = LabelClassifier.from_pretrained("mnist").eval(), ConditionalVAE.from_pretrained("mnist").eval()
    photographer, names = Photographer(data_dir, guide), [*KINDS, *(f"none: {name}" for name in NO_DIGITS)]
    chosen = [name for name in names if not kinds or any(word in name for word in kinds)]
    if sheet is not None:
        write_sheet(sheet, [name for name in chosen if name in KINDS], photographer, guide, vae, seed)
        return
    reader = train_reader(str(data_dir))
    print("| kind | tried | right | refused in words | wrong | silently wrong | pasted, read as asked |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in chosen:
        total = dict.fromkeys(("right", "refused", "wrong", "silent", "pasted"), 0)
        for index in tqdm(range(count), desc=name, leave=False, delay=2, disable=None):
            rng = np.random.default_rng([seed, names.index(name), index])
            drawn = photographer.draw(name, rng)
            try:
                read = read_digits(drawn.picture, guide, vae)
            except ValueError:
                total["refused"] += 1
                continue
            said = answer(read, drawn.labels)
            total[said] += 1
            if said == "right":
                asked = [int(label + rng.integers(1, 10)) % 10 for label in drawn.labels]
                total["pasted"] += reads_as(relabelled(read, vae, asked), reader, vae, asked)
        pasted = f"{total['pasted']} of {total['right']}" if name in KINDS else "-"
        right = total["right"] if name in KINDS else total["refused"]
        counts = f"{right} | {total['refused']} | {total['wrong']} | {total['silent']}"
        print(f"| {name} | {count} | {counts} | {pasted} |", flush=True)


def write_sheet(
    path: Path, names: list[str], photographer: Photographer, guide: nn.Module, vae: ConditionalVAE, seed: int
) -> None:
    """Writes one photograph of each kind, what was seen in it, and what came back."""
    rows = []
    for number, name in enumerate(names):
        rng = np.random.default_rng([seed, number])
        drawn = photographer.draw(name, rng)
        try:
            read = read_digits(drawn.picture, guide, vae)
        except ValueError as error:
            rows.append(Row(name, drawn.picture, [], str(error), None))
            continue
        asked = [int(label + rng.integers(1, 10)) % 10 for label in drawn.labels]
        asked = (asked + [0] * 12)[: len(read.readings)]
        text = " ".join(f"{one.label} ({one.confidence:.2f})" for one in read.readings[:1])
        seen = [one.image for one in read.readings]
        wanted = "".join(map(str, asked))
        rows.append(Row(name, read.photo, seen, f"seen as {text}, asked {wanted}", relabelled(read, vae, asked)))
    sheet_of(rows).save(path, quality=66, optimize=True, progressive=True)


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
