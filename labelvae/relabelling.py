"""Picture files relabelled in chunks: any number of them in little memory, each result written when it is made."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from labelvae.classes import file_names, printable
from labelvae.depth import Levels, is_deep, is_float, stated_levels
from labelvae.figures import style_transfer_grid
from labelvae.forms import Form, common_form, refuse, say_skipped
from labelvae.inputs import Labels
from labelvae.picture_files import Pictures, exact_picture, result_path, save_picture
from labelvae.pixels import UNREADABLE, open_image
from labelvae.refinement import Refined
from labelvae.scans import Fit, read_scan
from labelvae.vae import ConditionalVAE

CHUNK = 64
"""Pictures that are in memory at a time."""

MOST_ROWS = 300
"""Pictures on one sheet."""

DEEP_ENDINGS = (".png", ".tif", ".tiff", ".pgm", ".pnm")
"""Files that hold 16 bits."""


@dataclass
class Relabelling:
    """How pictures are relabelled, and what became of them.

    Attributes:
        vae: The model, or the model with its guide.
        names: The name of each class.
        labels: The labels that each picture is asked as.
        own: The label that the pictures have; needed by a model whose encoder sees it.
        invert: Swap dark and bright first.
        fit: How pictures come into the frame; see `fit_scan`.
        enlarge: Pixels for each pixel of a result.
        resume: Leave results that are there and whole as they are.
        skip_unreadable: Go on without pictures that cannot be read.
        chunk: Pictures that are in memory at a time.
        written: Files that were written.
        kept: Files that were there.
        broken: Why a picture cannot be read, by its file.
    """

    vae: ConditionalVAE | Refined
    names: Sequence[str]
    labels: list[int]
    own: Labels | None = None
    invert: bool = False
    fit: Fit = "pad"
    enlarge: int = 1
    resume: bool = False
    skip_unreadable: bool = False
    chunk: int = CHUNK
    written: int = 0
    kept: int = 0
    broken: dict[str, str] = field(default_factory=dict)

    def into_folder(self, pictures: Pictures, out: Path) -> None:
        """Write a PNG for each picture and label under `out`, named after both.

        Raises:
            ValueError: A result that would lie over a picture; a picture that cannot be read, unless it is skipped:
                before anything is written where its header says so, else when all others are written.
        """
        stems = pictures.result_names()
        tails = [f"_as_{name}.png" for name in file_names(self.names)]
        folder_of = cache(os.path.realpath)

        def real(path: str | Path) -> str:
            folder, name = os.path.split(path)
            return os.path.join(folder_of(folder), name)

        originals = {real(path) for path in pictures.paths} if out.exists() else set()

        def targets(place: int) -> list[Path]:
            return [result_path(out, stems[place], tails[label]) for label in self.labels]

        over = next(
            (path for place in range(len(stems)) for path in targets(place) if originals and real(path) in originals),
            None,
        )
        if over is not None:
            raise ValueError(f"out: a result would be written over {over}; give another folder")
        form = self._common_form(pictures)
        bar = tqdm(total=len(stems), desc="relabelling", unit="image", leave=False, delay=2)
        with bar:
            for places in torch.arange(len(stems)).split(self.chunk):
                wanted = [place for place in places.tolist() if not self._is_done(targets(place))]
                for place, row, white in self._relabelled(pictures.paths, wanted, form):
                    for image, path in zip(row, targets(place), strict=True):
                        save_picture(
                            exact_picture(image, self.enlarge, white), path, flush=False
                        )  # resume looks at them
                        self.written += 1
                bar.update(len(places))
        self._end(out)

    def into_picture(self, pictures: Pictures, out: Path) -> None:
        """Write one result in the format that the ending of `out` says.

        Raises:
            ValueError: Another picture is there; the picture cannot be read.
        """
        _, height, width = self.vae.image_shape
        _refuse_other_picture(out, lambda w, h: w % width == h % height == 0 and w // width == h // height)
        form = self._common_form(pictures)
        for _, row, white in self._relabelled(pictures.paths, [0], form):
            deep = white if out.suffix.lower() in DEEP_ENDINGS else 255
            save_picture(exact_picture(row[0], self.enlarge, deep), out)
            self.written += 1
        self._end(out)

    def into_sheet(self, pictures: Pictures, out: Path) -> None:
        """Write one picture with a row for each image: itself, and itself as each label.

        Raises:
            ValueError: Another picture is there; more than `MOST_ROWS` images; one that cannot be read.
        """
        if len(pictures.paths) > MOST_ROWS:
            raise ValueError(
                f"out: a sheet has a row for each image, at most {MOST_ROWS}, got {len(pictures.paths)}; give a folder"
            )
        form = self._common_form(pictures)
        places = [place for place, path in enumerate(pictures.paths) if path not in self.broken]
        rows = [row for _, row, _ in self._relabelled(pictures.paths, places, form, with_image=True)]
        if rows:
            grid = torch.stack(rows)
            sheet = style_transfer_grid(grid[:, 0], grid[:, 1:], [self.names[label] for label in self.labels])
            _refuse_other_picture(out, lambda width, _: width == sheet.width)
            save_picture(sheet, out)
            self.written += 1
        self._end(out)

    def _common_form(self, pictures: Pictures) -> Form:
        form, unreadable = common_form(pictures.paths)
        self.broken = {pictures.paths[place]: reason for place, reason in unreadable.items()}
        if not self.skip_unreadable:
            refuse(self.broken)
        return form

    def _relabelled(
        self, paths: Sequence[str], places: list[int], form: Form, with_image: bool = False
    ) -> Iterator[tuple[int, Tensor, int]]:
        """Each readable picture's place, its images under each label `(K, C, H, W)`, and the level that is white."""
        read: list[tuple[int, Tensor, int]] = []
        for place in places:
            path = paths[place]
            if path in self.broken:
                continue
            try:
                levels, white = _depth(path, form)
                image = read_scan(path, self.vae.image_shape, invert=self.invert, fit=self.fit, levels=levels)
            except ValueError as error:
                self.broken[path] = str(error).removeprefix(f"{path}: ")
            except UNREADABLE as error:
                self.broken[path] = str(error)
            else:
                if white > 255 and len(image) == 3:
                    _say_colours()
                    white = 255
                read.append((place, image, white))
        if read:
            images = torch.stack([image for _, image, _ in read])
            rows = torch.stack([self.vae.relabel(images, label, self.own).cpu() for label in self.labels], dim=1)
            rows = torch.cat([images[:, None], rows], dim=1) if with_image else rows
            yield from ((place, row, white) for (place, _, white), row in zip(read, rows, strict=True))

    def _is_done(self, targets: Sequence[Path]) -> bool:
        if not self.resume or not all(_is_whole(path) for path in targets):
            return False
        self.kept += len(targets)
        return True

    def _end(self, out: Path) -> None:
        """Say what could not be read; without leave to skip it, as an error."""
        if not self.broken:
            return
        if self.skip_unreadable and (self.written or self.kept):
            say_skipped(self.broken)
            return
        if self.written:
            print(f"{self.written} other results are under {printable(str(out))}", file=sys.stderr)
        if len(self.broken) == 1 and not self.written:
            path, reason = next(iter(self.broken.items()))
            raise ValueError(f"{path}: {reason}")
        refuse(self.broken)


def _depth(path: str, form: Form) -> tuple[Levels | None, int]:
    """The range of a picture with more than 8 bits, and the level that is white in its result."""
    with open_image(path) as image:
        if not is_deep(image):
            return None, 255
        stated, common = stated_levels(image), form.levels(image)
        if is_float(image):
            return common, 65535
        white = _largest_of_pgm(image) or (stated or common).high
        return stated or common, int(white) if 255 < white <= 65535 else 65535


def _largest_of_pgm(image: Image.Image) -> int | None:
    """The largest value that the head of a PGM names, which Pillow scales to 65535."""
    tile = getattr(image, "tile", None) if image.format == "PPM" else None
    args = tile[0][3] if tile else None
    return (
        args[1] if isinstance(args, tuple) and len(args) == 2 and isinstance(args[1], int) and args[1] > 255 else None
    )


def _refuse_other_picture(out: Path, is_result: Callable[[int, int], bool]) -> None:
    """Refuse to write over a file that is no earlier result, such as the last picture of `*.png`."""
    try:
        with open_image(out) as image:
            size = image.size
    except UNREADABLE:
        if not out.exists() or out.stat().st_size == 0 or _is_pdf_of_ours(out):
            return
        raise ValueError(f"out: {out} is a file that is no earlier result; give another name") from None
    if not is_result(*size):
        raise ValueError(f"out: {out} is a picture of {size[0]}x{size[1]}, no earlier result; give another name")


def _is_pdf_of_ours(path: Path) -> bool:
    """Whether Pillow wrote a file as PDF, which it does not read."""
    with path.open("rb") as file:
        return b"created by Pillow" in file.read(64)


def _is_whole(path: Path) -> bool:
    try:
        with open_image(path) as image:
            image.load()
    except UNREADABLE:
        return False
    return True


def _say_colours() -> None:
    warnings.warn(
        "results in colour have 8 bits, although the pictures have more: Pillow writes no others", stacklevel=2
    )
