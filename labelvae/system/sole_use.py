"""A folder that one process at a time works in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder in this context, if they ask in the same way.

    The folder itself is locked, so no file is left behind. The lock ends with the process, however that ends. Where
    the system or the file system has no locks, nobody is kept out. The folder is made if it is missing, and then
    taken away again if nothing was put into it.

    Args:
        folder: the folder.

    Raises:
        ValueError: another process is at work in the folder.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(
                    f"out: another process is at work in {folder}; wait until it ends, or choose another --out"
                ) from error
        yield
    finally:
        os.close(handle)
        if is_new:
            with suppress(OSError):  # there is something in it
                folder.rmdir()
