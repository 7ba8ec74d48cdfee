"""Pictures as files: which ones a user's words name, what a result is called, and one image written with its pixels."""

from __future__ import annotations

import glob
import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from PIL import Image, ImageCms

from labelvae.data.image_files import is_image, is_litter, walk
from labelvae.data.pixels import MOST_PIXELS, UNREADABLE, open_image
from labelvae.inputs.class_names import shortened
from labelvae.system.whole_files import user_path, write_whole

if TYPE_CHECKING:  # pictures are found before torch is imported
    from torch import Tensor

ENDINGS = {
    **{".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".webp": "WEBP"},
    **{".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF", ".pgm": "PPM", ".ppm": "PPM", ".pnm": "PPM"},
    **{".avif": "AVIF", ".pdf": "PDF"},
}
"""The format that a picture is written in, by the ending of its name."""

_PROFILED = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF")
"""Formats that hold a colour profile."""

_SOFTWARE = 0x0131
"""The entry of EXIF that says which program made a picture."""

_LARGE = 2**18
"""Pixels from which PNG files are compressed fast: a photograph's grain does not become smaller."""

_LONGEST = 230
"""Bytes of a file's name, which most systems limit to 255."""


@dataclass
class Pictures:
    """Picture files, each once, in the order in which they were named.

    Attributes:
        paths: the files.
        others: files that were passed over, because they are no images.
        example: one of them.
    """

    paths: list[str] = field(default_factory=list)
    others: int = 0
    example: str = ""
    _starts: array[int] = field(default_factory=lambda: array("q"))

    def result_names(self) -> list[str]:
        """Return what each result is called, without its ending: as its picture is, in the same sub-folders.

        Pictures that would share a name, in capitals or not, are told apart by their folders, then by their endings.
        """
        names = [os.path.splitext(path[start:])[0] for path, start in zip(self.paths, self._starts, strict=True)]
        shared = _shared(names)
        if shared:
            whole = [os.path.abspath(path) for path in self.paths]
            common = os.path.commonpath([os.path.dirname(path) for path in whole])
            longer = [os.path.relpath(path, common) for path in whole]
            stems = [os.path.splitext(name)[0] for name in longer]
            again = _shared(stems)
            told = [name if stem.casefold() in again else stem for name, stem in zip(longer, stems, strict=True)]
            names = [full if name.casefold() in shared else name for name, full in zip(names, told, strict=True)]
        return names

    def _add(self, path: str, start: int) -> None:
        self.paths.append(path)
        self._starts.append(start)


def find_pictures(words: Sequence[str], leave_out: str | None = None) -> Pictures:
    """Find the files that paths, folders (all pictures under them) and globs name.

    Litter is passed over. A hidden file that a path names is taken if it is an image by its content.

    Args:
        words: what the user wrote.
        leave_out: a folder that is not looked into.

    Raises:
        ValueError: A word that names no file; no image for all words.
    """
    nothing = "no images there; expected an image, a folder of them, or a glob such as '*.png'"
    found = Pictures()
    seen: set[str] = set()
    for word in words:
        path = str(user_path(word))
        count = 0
        for file, start, is_meant in _files(path, leave_out):
            count += 1
            if file in seen:
                continue
            if _is_wanted(file, is_meant):
                found._add(file, start)
                if len(words) > 1:
                    seen.add(file)
            else:
                found.others += 1
                found.example = found.example or file
        if not count:
            raise ValueError(f"{word}: {nothing}")
    if words and not found.paths:
        raise ValueError(f"{', '.join(words[:5])}: {nothing}")
    return found


def is_picture_name(out: str | Path) -> bool:
    """Return whether an output is meant as one picture; otherwise it is a folder.

    Raises:
        ValueError: An ending that no picture has, of something that does not exist; a file where a folder is meant.
    """
    path = user_path(out)
    is_folder = path.is_dir() or str(out).endswith(("/", os.sep))
    if not is_folder and path.suffix.lower() in ENDINGS:
        return True
    if path.is_file():
        raise ValueError(f"out: {out} is a file, expected a folder or a picture to be written; give another name")
    if is_folder:
        return False
    if path.suffix:
        raise ValueError(
            f"out: {out} ends in {path.suffix}, which pictures do not; expected {', '.join(ENDINGS)}, or a folder, "
            f"which a slash at the end says: {out}{os.sep}"
        )
    return False


def result_path(folder: Path, name: str, tail: str) -> Path:
    """Return where a result goes; names that are too long for a file are cut and marked by a hash of the whole."""
    *parents, stem = os.path.split(name)
    room = _LONGEST - len(os.fsencode(tail))
    if len(os.fsencode(stem)) > room:
        stem = f"{shortened(stem, room - 9)}-{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}"
    return folder.joinpath(*parents, stem + tail)


def exact_picture(image: Tensor, enlarge: int = 1, white: int = 255) -> Image.Image:
    """Return one image `(C, H, W)` in [0, 1] with 1 or 3 channels, each pixel `enlarge` pixels wide and high.

    Args:
        image: the image.
        enlarge: pixels for each pixel.
        white: the level of 1; above 255, for grey images alone, the picture has 16 bits.

    Raises:
        ValueError: A picture of more pixels than one that is read may have.
    """
    height, width = (enlarge * side for side in image.shape[-2:])
    if height * width > MOST_PIXELS:
        raise ValueError(
            f"enlarge: expected a picture of at most {MOST_PIXELS:,} pixels, got {width}x{height}; ask for a smaller "
            "factor"
        )
    dtype = np.uint8 if white <= 255 else np.uint16
    levels = (image.detach().cpu() * float(white)).round().numpy().astype(dtype)
    levels = np.ascontiguousarray(rearrange(levels, "c h w -> h w c"))
    levels = levels.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    return Image.fromarray(levels if levels.shape[2] == 3 else levels[:, :, 0])


def save_picture(picture: Image.Image, path: Path, flush: bool = True) -> None:
    """Write a picture in the format of its ending, whole or not at all, marked as made here where the format can.

    A colour profile is kept. A format that holds none gets the colours in sRGB.

    Raises:
        ValueError: A picture that the format does not hold.
    """
    buffer = BytesIO()
    kind = ENDINGS[path.suffix.lower()]
    mark = Image.Exif()
    mark[_SOFTWARE] = "labelvae"
    fast = {"compress_level": 1} if kind == "PNG" and picture.width * picture.height > _LARGE else {}
    picture = picture if kind in _PROFILED else _in_srgb(picture)
    profile = picture.info.get("icc_profile")
    try:
        picture.save(buffer, format=kind, exif=mark, quality=95, icc_profile=profile, **fast)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: a picture of {picture.width}x{picture.height} cannot be written as {kind} ({error}); try .png"
        ) from error
    write_whole(path, buffer.getvalue(), flush)


def _in_srgb(picture: Image.Image) -> Image.Image:
    """Return a picture in sRGB without a profile; as it is if it has no profile, or a broken one."""
    profile = picture.info.get("icc_profile")
    if profile is None:
        return picture
    plain = picture.copy()
    del plain.info["icc_profile"]
    with suppress(OSError, ImageCms.PyCMSError):
        ImageCms.profileToProfile(plain, BytesIO(profile), ImageCms.createProfile("sRGB"), inPlace=True)
    return plain


def refuse_other_picture(out: Path, is_result: Callable[[int, int], bool]) -> None:
    """Refuse to write over a file that is no earlier result, such as the last picture of `*.png`.

    Args:
        out: the file that would be written.
        is_result: Whether a picture of a width and a height that carries no mark is an earlier result.

    Raises:
        ValueError: Another file is there.
    """
    try:
        with open_image(out) as image:
            size, software = image.size, image.getexif().get(_SOFTWARE)
    except UNREADABLE:
        if not out.exists() or out.stat().st_size == 0 or _is_pdf_of_ours(out):
            return
        raise ValueError(f"out: {out} is a file that is no earlier result; give another name") from None
    if software != "labelvae" and not is_result(*size):
        raise ValueError(f"out: {out} is a picture of {size[0]}x{size[1]}, no earlier result; give another name")


def is_whole(path: Path) -> bool:
    """Return whether a file is a picture that can be read to its end."""
    try:
        with open_image(path) as image:
            image.load()
    except UNREADABLE:
        return False
    return True


def _is_pdf_of_ours(path: Path) -> bool:
    """Return whether Pillow wrote a file as PDF, which it does not read."""
    with path.open("rb") as file:
        return b"created by Pillow" in file.read(64)


def _is_wanted(file: str, is_meant: bool) -> bool:
    """Return whether a file is taken: one that the user named always, unless it is litter without a picture."""
    if not is_litter(os.path.basename(file)):
        return is_meant or is_image(file)
    if not is_meant:
        return False
    try:
        with open_image(file):
            return True
    except UNREADABLE:
        return False


def _files(path: str, leave_out: str | None) -> Iterator[tuple[str, int, bool]]:
    """Return a word's files, where the part of their path begins that results keep, and whether it names them."""
    if os.path.isfile(path):
        yield path, len(path) - len(os.path.basename(path)), True
    elif os.path.isdir(path):
        start = len(os.path.join(path, ""))
        yield from (
            (os.path.join(path, name), start, False)
            for name in walk(path, [leave_out] if leave_out else (), litter=True)
        )
    elif glob.has_magic(path):
        fixed = path
        while glob.has_magic(fixed):
            fixed = os.path.dirname(fixed)
        start = len(os.path.join(fixed, "")) if fixed else 0
        found = (file for file in glob.iglob(path, recursive=True) if os.path.isfile(file))
        found = (file for file in found if not any(map(is_litter, Path(file[start:]).parent.parts)))
        yield from ((file, start, False) for file in sorted(found))


def _shared(names: Sequence[str]) -> set[str]:
    counts = Counter(name.casefold() for name in names)
    return {name for name, count in counts.items() if count > 1}
