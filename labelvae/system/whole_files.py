"""Files that are written whole or not at all: to a temporary file, flushed to the disk, then renamed."""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
import time
from pathlib import Path

_PART = ".part-"

_HERE = hashlib.sha256(platform.node().encode("utf-8", "surrogateescape")).hexdigest()[:8]
"""This machine, in the name of an unfinished file. A process is known by its number on its own machine only."""

_LONGEST = 3600.0
"""Seconds after which nobody writes an unfinished file any more."""


def user_path(path: str | Path) -> Path:
    """Return a path with "~" replaced by the home folder. (A shell does not replace it after "=".)"""
    return Path(os.path.expanduser(path))


def sweep(*folders: str | Path) -> None:
    """Delete the unfinished files that `write_whole` left when its process was killed.

    Files that a process may still be writing are left alone.

    Args:
        folders: the folders to look into. Their sub-folders are left alone. A folder may be missing.
    """
    for folder in folders:
        for path in Path(folder).glob(f".*{_PART}*"):
            if _is_left(path):
                path.unlink(missing_ok=True)


def _is_left(path: Path) -> bool:
    """Return whether the process that wrote an unfinished file is gone, or has not written for long."""
    import psutil

    machine, _, rest = path.name.rpartition(_PART)[2].partition("-")
    number = rest.partition("-")[0]
    if machine == _HERE and number.isdecimal() and not psutil.pid_exists(int(number)):
        return True
    try:
        return time.time() - path.stat().st_mtime > _LONGEST
    except FileNotFoundError:  # it has just become whole
        return False


def write_whole(path: str | Path, content: bytes | str, flush: bool = True) -> None:
    """Write a file whole or not at all. An existing file stays until then. Missing folders are made.

    Args:
        path: the file.
        content: what to write. Text is written as UTF-8.
        flush: wait for the disk, so that a power failure cannot leave a part of the file either. For many files that
            are checked again anyway, waiting takes longer than everything else.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}{_PART}{_HERE}-{os.getpid()}-")
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
