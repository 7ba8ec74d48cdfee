"""Files that visitors send: no other file gets to the page, and none stays on the disk for long."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

STORED = 300
"""Seconds after which a file that somebody sent is deleted."""


def take_only_sent(blocks: Any) -> None:
    """Let the events of a page take only files that were sent to it.

    A browser names a file by its path. Gradio checks such paths only in pages that it launches itself. On a mounted
    page it would read any file of this machine, and fetch any address.

    Args:
        blocks: the page, a `gradio.Blocks`.
    """
    from gradio import Error

    take, folder = blocks.preprocess_data, Path(blocks.GRADIO_CACHE).resolve()

    async def checked(event: Any, inputs: Any, *others: Any, **named: Any) -> Any:
        if not all(_lies_in(folder, path) for path in _paths(inputs)):
            raise Error("This file was not sent to the page, or is deleted again. Send it anew.", print_exception=False)
        return await take(event, inputs, *others, **named)

    blocks.preprocess_data = checked


def fetch_nothing(app: Starlette) -> None:
    """Refuse addresses where Gradio's routes take the path of a file: it would fetch what lies there.

    Args:
        app: what the page is mounted on afterwards.
    """
    from starlette.responses import PlainTextResponse

    async def refuse(_: Request) -> Response:
        return PlainTextResponse("The page fetches nothing from other machines.", 403)

    for start in ("file=", "file/"):
        app.add_route(f"/gradio_api/{start}http{{rest:path}}", refuse, methods=["GET"])


@contextmanager
def deleting_old(folder: str | os.PathLike[str], seconds: float) -> Iterator[None]:
    """While the context lasts, delete files that have not changed for a while.

    Gradio deletes files that came whole. This also deletes the parts of those whose sending broke off.

    Args:
        folder: what lies in it, however deep, is deleted.
        seconds: age from which on a file is deleted, and time between two looks.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(seconds):
            _delete_old(folder, seconds)

    thread = threading.Thread(target=watch, name="deleting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _delete_old(folder: str | os.PathLike[str], seconds: float) -> None:
    for place, _, names in os.walk(folder):
        for path in (Path(place) / name for name in names):
            with suppress(OSError):  # deleted meanwhile
                if time.time() - path.lstat().st_mtime > seconds:
                    path.unlink()


def _paths(value: Any) -> Iterator[Any]:
    """Return every path in the values of an event, however deep it lies."""
    if isinstance(value, dict):
        if "path" in value:
            yield value["path"]
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _paths(each)


def _lies_in(folder: Path, path: Any) -> bool:
    try:
        return Path(path).is_file() and Path(path).resolve().is_relative_to(folder)
    except (OSError, TypeError, ValueError):  # no path at all
        return False
