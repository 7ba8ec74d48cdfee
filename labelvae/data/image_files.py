"""Which files of a folder are images, by their names and their first bytes. No pixel is read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

ENDINGS = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".gif", ".webp", ".bmp", ".dib"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".avif"),
)
"""Endings of image files. Such a file is read, or named if it is broken."""

_LITTER = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "#recycle", "__macosx", "$recycle.bin"),
    *("system volume information", "lost+found"),
}
_HEADS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF.{4}WEBP|BM.{4}\0{4}|II[*+]\0|MM\0[*+]|P[1-6f][\s#]"
    rb"|.{4}ftypavi[fs]",
    re.DOTALL,
)
"""First bytes of the formats that are read."""

_OTHERS = {
    rb"\Z": "an empty file",
    rb"version https://git-lfs": "a pointer of Git LFS in place of the picture; fetch the picture with git lfs pull",
    rb"(?i)\s*<(!doctype html|html|\?xml|svg)": "a web page or a drawing in XML, no picture; download it again, or "
    "save it as PNG",
    rb".{4}ftyp(hei|hev|mif)": "a HEIC picture, as telephones write them, which is not read; save it as JPEG",
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "a JPEG 2000 picture, which is not read; save it as PNG or JPEG",
    rb"\0\0\0\x0cJXL |\xff\x0a": "a JPEG XL picture, which is not read; save it as PNG or JPEG",
    rb"%PDF": "a PDF document, which is not read; save its page as PNG",
    rb"8BPS": "a Photoshop document, which is not read; save it as PNG",
    rb"PF\s": "a PFM picture in colour, which is not read; save it as PNG or TIFF",
    rb"PK\x03\x04|\x1f\x8b": "an archive, no picture; unpack it first",
    rb"\x93NUMPY": "an array of NumPy, no picture; save it as PNG or TIFF",
    rb".{128}DICM": "a DICOM picture, which is not read; save it as PNG or TIFF",
    rb"II|MM": "a TIFF that is broken or of a kind that is not read, such as floating-point colours, 64 bits, or 2 or "
    "more than 4 channels; save it as grey or RGB with 8 or 16 bits",
}
"""What a file is that is not read, by its first bytes, and what to do."""


def is_litter(name: str) -> bool:
    """Return whether an operating system left this file or folder: hidden, `Thumbs.db`, `@eaDir`, `__MACOSX`, ..."""
    return name.startswith(".") or name.lower() in _LITTER


def has_image_name(name: str) -> bool:
    """Return whether a name has the ending of an image."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def is_image(path: str) -> bool:
    """Return whether a file is an image, by its name or else by its first bytes."""
    if has_image_name(path):
        return True
    if not os.path.isfile(path):  # a pipe would be waited for
        return False
    try:
        with open(path, "rb") as file:
            return _HEADS.match(file.read(16)) is not None
    except OSError:
        return False


def other_format(head: bytes) -> str | None:
    """Return what a file is that is not read, and what to do, by its first 132 bytes; None if it is not known."""
    return next((said for start, said in _OTHERS.items() if re.match(start, head, re.DOTALL)), None)


def file_size(path: str) -> int:
    """Return the size of a file in bytes; -1 for a broken link."""
    try:
        return os.path.getsize(path)
    except OSError:
        return -1


def inside(folder: str, litter: bool = False) -> tuple[list[str], list[str]]:
    """Return the names of the files and of the folders in a folder, sorted. Links are followed.

    Args:
        folder: the folder.
        litter: keep files that are litter. Folders that are litter are always left out.

    Raises:
        ValueError: a folder that cannot be read.
    """
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_folder = _is_folder(entry)
                if not is_litter(entry.name) or (litter and not is_folder):
                    (folders if is_folder else files).append(entry.name)
    except OSError as error:
        raise ValueError(f"{folder}: this folder cannot be read ({error.strerror})") from error
    return sorted(files), sorted(folders)


def walk(folder: str, leave_out: Sequence[str] = (), litter: bool = False) -> Iterator[str]:
    """Yield the files under a folder, relative to it and sorted. Those of sub-folders come last.

    Args:
        folder: the folder.
        leave_out: folders that are not entered. A link to a folder above it is never entered.
        litter: also yield files that are litter.
    """
    left_out = {_identity(other) for other in leave_out}
    if _identity(folder) not in left_out:
        yield from _walk(folder, "", {_identity(folder)} | left_out, litter)


def _walk(root: str, under: str, above: set[tuple[int, int] | None], litter: bool) -> Iterator[str]:
    files, folders = inside(os.path.join(root, under) if under else root, litter)
    for name in files:
        yield os.path.join(under, name)
    for name in folders:
        identity = _identity(os.path.join(root, under, name))
        if identity not in above:
            yield from _walk(root, os.path.join(under, name), above | {identity}, litter)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False
