"""Pictures as files: which ones a user's words name, and one image written with its own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from einops import rearrange
from PIL import Image
from torch import Tensor

from labelvae.whole_files import write_whole

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")


def is_picture(path: Path) -> bool:
    """Whether the ending is one that a picture is written with."""
    return path.suffix.lower() in ENDINGS


def image_files(words: Sequence[str]) -> list[Path]:
    """The files that paths, folders (the pictures that lie in them) and globs name, in their order, each once.

    Raises:
        ValueError: a word that names none.
    """
    files: dict[Path, None] = {}
    for word in words:
        path = Path(word)
        if path.is_file():
            found = [path]
        elif path.is_dir():
            found = sorted(file for file in path.iterdir() if file.is_file() and is_picture(file))
        elif any(letter in word for letter in "*?["):
            anchor = Path(path.anchor)
            found = sorted(file for file in anchor.glob(str(path.relative_to(anchor))) if file.is_file())
        else:
            found = []
        if not found:
            raise ValueError(f"{word}: no images there; expected an image, a folder of them, or a glob such as '*.png'")
        files |= dict.fromkeys(found)
    return list(files)


def exact_picture(image: Tensor, enlarge: int = 1) -> Image.Image:
    """One image `(C, H, W)` in [0, 1] with 1 or 3 channels, each pixel `enlarge` pixels wide and high."""
    levels = rearrange((image.detach().cpu() * 255.0).round().byte(), "c h w -> h w c").contiguous().numpy()
    picture = Image.fromarray(levels if levels.shape[2] == 3 else levels[:, :, 0])
    return picture.resize((picture.width * enlarge, picture.height * enlarge), Image.Resampling.NEAREST)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Writes a picture in the format of its ending, whole or not at all."""
    buffer = BytesIO()
    picture.save(buffer, format=Image.registered_extensions()[path.suffix.lower()])
    write_whole(path, buffer.getvalue())


def file_name(name: str) -> str:
    """A class's name as part of a file's.

    >>> file_name("T-shirt/top")
    'T-shirt_top'
    """
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
