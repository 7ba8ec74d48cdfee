"""Picture files relabelled in chunks: any number of them in little memory. Each result is written when it is made."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from labelvae.data.forms import Form, common_form, refuse, say_skipped
from labelvae.data.pixels import UNREADABLE, open_image
from labelvae.inputs.class_names import file_names, printable
from labelvae.inputs.tensors import Labels
from labelvae.losses.refinement import Refined
from labelvae.models.asked import Asked
from labelvae.models.vae import ConditionalVAE
from labelvae.photos.masking import keep_outside, read_mask
from labelvae.photos.photographs import AUTO, unread_picture
from labelvae.photos.picture_files import (
    ENDINGS,
    Pictures,
    is_whole,
    refuse_other_picture,
    result_path,
    save_picture,
)
from labelvae.photos.picture_inputs import Input, PictureReader
from labelvae.photos.reading import UnreadError
from labelvae.system.whole_files import sweep
from labelvae.visual.grids import CELL, grid, to_picture

CHUNK = 64
"""Most pictures in memory at a time."""

MOST_ROWS = 300
"""Most pictures on one sheet."""

LARGE_CELL, MOST_LARGE_ROWS = 168, 30
"""Pixels of an image on a sheet with few rows, and the largest number of rows that are few."""

MOST_COLUMNS = 6
"""Images side by side on the sheet of a single picture."""

MOST_LINES = 20
"""Most pictures for which a line says what was found in them."""

DEEP_ENDINGS = (".png", ".tif", ".tiff", ".pgm", ".pnm")
"""Endings of files that hold 16 bits."""

UNMARKED = ("BMP", "GIF", "PPM")
"""Formats whose files cannot say that they were made here. An earlier result is known by its size."""


@dataclass
class Relabelling:
    """The way to relabel pictures, and what became of them.

    Attributes:
        vae: the model, or the model with its guide, or a model of attributes that is asked for some labels.
        names: the name of each class.
        labels: the labels to relabel each picture to.
        own: the label of the pictures. Needed by a model whose encoder sees the label.
        guide: a classifier of the model's images, which reads the digits in photographs.
        invert: swap dark and bright first. Otherwise a model of strokes finds out.
        fit: how pictures come into the frame: "auto", see `usual_fit`, or one of `fit_scan`'s.
        paste: put results back into their pictures. A picture of the model's size keeps its dark and bright.
        enlarge: pixels for each pixel of a result that is not put back. None makes results from photographs large
            enough to be seen.
        resume: keep results that are there and whole.
        skip_unreadable: leave out pictures that cannot be read.
        debug: also write what the model sees, next to each result.
        chunk: most pictures in memory at a time.
        mask: where a picture may change; for `into_picture` only.
        written: number of files that were written.
        kept: number of files that were there.
        broken: the reason why a picture cannot be read, by its file.
    """

    vae: ConditionalVAE | Refined | Asked
    names: Sequence[str]
    labels: list[int]
    own: Labels | None = None
    guide: nn.Module | None = None
    invert: bool = False
    fit: str = AUTO
    paste: bool = True
    enlarge: int | None = None
    resume: bool = False
    skip_unreadable: bool = False
    debug: bool = False
    chunk: int = CHUNK
    mask: Path | None = None
    written: int = 0
    kept: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    _lines: int = 0

    @cached_property
    def _reader(self) -> PictureReader:
        model = self.vae if isinstance(self.vae, ConditionalVAE) else self.vae.vae
        return PictureReader(model, self.guide, self.invert, self.fit, self.paste, self.enlarge)

    def into_folder(self, pictures: Pictures, out: Path) -> None:
        """Write a PNG for each picture and label in the folder `out`, named after both.

        Raises:
            ValueError: A result that would replace a picture, or a file that is no earlier result; a picture that
                cannot be read, unless it is skipped. A picture with a broken header is refused before anything is
                written, any other after all others are written.
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

        def seen(place: int) -> Path:
            return result_path(out, stems[place], "_seen.png")

        def made(place: int) -> list[Path]:
            return [*targets(place), *([seen(place)] if self.debug else [])]

        over = next(
            (path for place in range(len(stems)) for path in made(place) if originals and real(path) in originals),
            None,
        )
        if over is not None:
            raise ValueError(f"out: a result would be written over {over}; give another folder")
        if out.exists() and not self.resume:  # which keeps what is whole
            for path in (path for place in range(len(stems)) for path in made(place) if path.exists()):
                refuse_other_picture(path, lambda *_: False)
        form = self._common_form(pictures)
        sweep(*{targets(place)[0].parent for place in range(len(stems))})
        bar = tqdm(total=len(stems), desc="relabelling", unit="image", leave=False, delay=2)
        with bar:
            for places in torch.arange(len(stems)).split(self.chunk):
                wanted = [place for place in places.tolist() if not self._is_done(targets(place))]
                sights = {pictures.paths[place]: seen(place) for place in wanted if self.debug}
                for place, read, row in self._relabelled(pictures.paths, wanted, form, sights):
                    for images, path in zip(row, targets(place), strict=True):
                        save_picture(
                            self._reader.result(read, images, read.white), path, flush=False
                        )  # resume looks at them
                        self.written += 1
                bar.update(len(places))
        self._end(out)

    def into_picture(self, pictures: Pictures, out: Path) -> None:
        """Write one result, in the format of the ending of `out`.

        Raises:
            ValueError: Another picture is there; the picture cannot be read.
        """
        _, height, width = self.vae.image_shape
        refuse_other(out, lambda w, h: w % width == h % height == 0 and w // width == h // height)
        form = self._common_form(pictures)
        (path,) = pictures.paths
        mask = None if self.mask is None or path in self.broken else read_mask(self.mask, path)
        for _, read, row in self._relabelled(pictures.paths, [0], form, self._sights(pictures, out)):
            deep = read.white if out.suffix.lower() in DEEP_ENDINGS else 255
            result = self._reader.result(read, row[0], deep)
            save_picture(result if mask is None else keep_outside(path, result, mask), out)
            self.written += 1
        self._end(out)

    def into_sheet(self, pictures: Pictures, out: Path) -> None:
        """Write one picture with a row for each image, or each digit: the image, and its counterfactual for each label.

        Raises:
            ValueError: Another picture is there; more than `MOST_ROWS` images; an image that cannot be read.
        """
        if len(pictures.paths) > MOST_ROWS:
            raise ValueError(
                f"out: a sheet has a row for each image, at most {MOST_ROWS}, got {len(pictures.paths)}; give a folder"
            )
        form = self._common_form(pictures)
        places = [place for place, path in enumerate(pictures.paths) if path not in self.broken]
        cell = LARGE_CELL if len(places) <= MOST_LARGE_ROWS else CELL
        rows: list[list[Image.Image]] = []
        for _, read, row in self._relabelled(pictures.paths, places, form, self._sights(pictures, out)):
            rows += self._reader.rows(read, row, cell)
        if rows:
            names = ["image", *(self.names[label] for label in self.labels)]
            if len(rows) == 1:
                starts = range(0, len(names), MOST_COLUMNS)
                lines, titles = ([part[at : at + MOST_COLUMNS] for at in starts] for part in (rows[0], names))
                sheet = grid(lines, captions=titles)  # type: ignore[arg-type]
            else:
                sheet = grid(rows, column_titles=names)
            refuse_other(out, lambda width, height: (width, height) == sheet.size)
            save_picture(sheet, out)
            self.written += 1
        self._end(out)

    def _sights(self, pictures: Pictures, out: Path) -> dict[str, Path]:
        """Return the file for the picture of what was seen in each input. Nothing else may be there."""
        if not self.debug:
            return {}
        tails = ["_seen.png"] if len(pictures.paths) == 1 else [f"_{name}_seen.png" for name in _each_name(pictures)]
        sights = [result_path(out.parent, out.stem, tail) for tail in tails]
        for path in sights:
            refuse_other_picture(path, lambda *_: False)
        return dict(zip(pictures.paths, sights, strict=True))

    def _common_form(self, pictures: Pictures) -> Form:
        form, unreadable = common_form(pictures.paths)
        self.broken = {pictures.paths[place]: reason for place, reason in unreadable.items()}
        if not self.skip_unreadable:
            refuse(self.broken)
        return form

    def _relabelled(
        self, paths: Sequence[str], places: list[int], form: Form, sights: dict[str, Path]
    ) -> Iterator[tuple[int, Input, Tensor]]:
        """Yield each readable picture's place, its input, and its images under each label, `(K, N, C, H, W)`."""
        read: list[tuple[int, Input]] = []
        for place in places:
            path = paths[place]
            if path in self.broken:
                continue
            try:
                one = self._reader.read(path, form)
            except UNREADABLE as error:
                self.broken[path] = str(error).removeprefix(f"{path}: ")
                if path in sights and isinstance(error, UnreadError):
                    self._draw_unread(path, error, sights[path])
                continue
            self._say(path, self._reader.said(one, list(self.names)))
            if path in sights:
                seen = one.photo.seen(self.names) if one.photo is not None else to_picture(one.images[0], LARGE_CELL)
                save_picture(seen, sights[path], flush=False)
            if one.photo is None:
                read.append((place, one))
            else:  # a photograph is large: it is not kept
                yield from self._made(read)
                yield from self._made([(place, one)])
                read = []
        yield from self._made(read)

    def _made(self, read: list[tuple[int, Input]]) -> Iterator[tuple[int, Input, Tensor]]:
        if read:
            images = torch.cat([one.images for _, one in read])
            own = read[0][1].labels if self.own is None else self.own
            made = torch.stack([self.vae.relabel(images, label, own).cpu() for label in self.labels])
            parts = made.split([len(one.images) for _, one in read], dim=1)
            yield from ((place, one, part) for (place, one), part in zip(read, parts, strict=True))

    def _draw_unread(self, path: str, error: UnreadError, out: Path) -> None:
        with open_image(path) as picture:
            save_picture(unread_picture(picture, error, self.names), out, flush=False)
        print(f"what was seen: {printable(str(out))}", file=sys.stderr)

    def _say(self, path: str, found: str) -> None:
        if not found:
            return
        self._lines += 1
        if self._lines <= MOST_LINES or self.debug:
            tqdm.write(f"{printable(path)}: {printable(found)}")
        elif self._lines == MOST_LINES + 1:
            tqdm.write("what is found in further pictures is not listed; --debug lists all")

    def _is_done(self, targets: Sequence[Path]) -> bool:
        if not self.resume or not all(is_whole(path) for path in targets):
            return False
        self.kept += len(targets)
        return True

    def _end(self, out: Path) -> None:
        """Report what could not be read; as an error, unless it may be skipped."""
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


def refuse_other(out: Path, is_result: Callable[[int, int], bool]) -> None:
    """Refuse to write over another picture. The size of a result counts only in a format that holds no mark."""
    unmarked = ENDINGS[out.suffix.lower()] in UNMARKED
    refuse_other_picture(out, is_result if unmarked else lambda *_: False)


def _each_name(pictures: Pictures) -> list[str]:
    """Return the name of each picture's result, without folders."""
    return [name.replace(os.sep, "_") for name in pictures.result_names()]
