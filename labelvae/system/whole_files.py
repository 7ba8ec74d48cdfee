"""Files that are written whole or not at all: to a temporary file, flushed to the disk, then renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_PART = ".part-"


def user_path(path: str | Path) -> Path:
    """Return a path with "~" replaced by the home folder. (A shell does not replace it after "=".)"""
    return Path(os.path.expanduser(path))


def sweep(folder: str | Path) -> None:
    """Delete the unfinished files that `write_whole` left anywhere under `folder` when its process was killed."""
    for path in Path(folder).rglob(f".*{_PART}*"):
        path.unlink(missing_ok=True)


def write_whole(path: str | Path, content: bytes | str, flush: bool = True) -> None:
    """Write a file whole or not at all. An existing file stays until then. Missing folders are made.

    Args:
        path: The file.
        content: What to write. Text is written as UTF-8.
        flush: Wait for the disk, so that a power failure cannot leave a part of the file either. For many files that
            are checked again anyway, waiting takes longer than everything else.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}{_PART}")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
