"""What a command finds around it: where it may write, who reads what it prints, who stops it, its current folder."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PACKAGE = str(Path(__file__).parent.parent)


class _Read(io.FileIO):
    """Standard output that takes what nobody reads any more, so that a pipe to `head` does not stop the work."""

    lost = False

    def write(self, data: Any) -> int:
        """Write bytes, or drop them if the pipe is closed. A full disk is an error once."""
        if self.lost:
            return len(data)
        try:
            return super().write(data) or 0
        except OSError as error:
            self.lost = True
            if not isinstance(error, BrokenPipeError):
                raise
            return len(data)


def keep_printing() -> None:
    """Let neither a letter that a terminal cannot show nor a pipe that is closed stop the work of this process."""
    out = sys.stdout
    if not isinstance(out, io.TextIOWrapper):
        return
    out.reconfigure(errors="backslashreplace")
    if out is sys.__stdout__:
        out.flush()
        raw, buffered = _Read(out.fileno(), "wb", closefd=False), isinstance(out.buffer, io.BufferedWriter)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw) if buffered else raw,
            out.encoding,
            "backslashreplace",
            line_buffering=out.line_buffering,
            write_through=not buffered,  # PYTHONUNBUFFERED
        )


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print the warnings of this package in one line each, without a place in its files, in this context."""
    before = warnings.formatwarning

    def text(message: Any, category: type[Warning], filename: str, *others: Any, **named: Any) -> str:
        if category is UserWarning and filename.startswith(_PACKAGE):
            return f"warning: {message}\n"
        return before(message, category, filename, *others, **named)

    warnings.formatwarning = text
    try:
        yield
    finally:
        warnings.formatwarning = before


@contextmanager
def stops_wait() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the end of this context. A second one does not wait.

    In the middle of an import they may be lost, or be taken for a library that is not installed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before: dict[int, Any] = {number: handler for number, handler in handlers.items() if callable(handler)}
    came: list[int] = []

    def wait(number: int, frame: Any) -> None:
        came.append(number)
        if len(came) > 1:
            before[number](number, frame)

    for number in before:
        signal.signal(number, wait)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def check_here() -> None:
    """Make sure that the current folder is there: libraries that are loaded later end the process without it.

    Raises:
        ValueError: It was deleted.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise ValueError("the current folder is deleted or cannot be read; cd to another one") from error


def check_place(name: str, path: Path | None, folder: bool = False) -> None:
    """Make sure that results can be written, before any work is done.

    Args:
        name: the option, for the error.
        path: the file or folder for the results. None passes.
        folder: Whether it is a folder.

    Raises:
        ValueError: A file lies where a folder is needed; a folder that nothing may be written to.
    """
    if path is None:
        return
    if path.is_dir() and not folder:
        raise ValueError(f"{name}: expected a file, got the folder {path}")
    place = path if folder else path.parent
    there = next((each for each in (place, *place.parents) if os.path.lexists(each)), Path())
    if not there.is_dir():
        raise ValueError(f"{name}: {there} is no folder, so no results can be written to {path}; give another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{name}: nothing may be written to the folder {there}; give another place")


def said(error: Exception) -> str:
    """Return an error in one line; one of the operating system without its number."""
    if isinstance(error, OSError) and error.strerror:
        what = error.strerror[:1].lower() + error.strerror[1:]
        return f"{error.filename}: {what}" if error.filename else what
    return str(error)
