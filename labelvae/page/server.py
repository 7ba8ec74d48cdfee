"""Serve the page to play with a model (the `demo` extra).

The page is for this machine only, unless another address is asked for: then everyone needs a token to see it. What
people send lies in a folder that only this user can read, and is deleted when the page stops. The page asks no other
machine for anything.
"""

from __future__ import annotations

import errno
import hmac
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from labelvae.page.sent_files import STORED, deleting_old, fetch_nothing, take_only_sent

THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
COOKIE = "labelvae-token"
"""Start of the cookie's name. The port in the address follows, because a browser gives a cookie to all ports of a
machine. In a container it is another than the one that is listened on."""


def serve(model: str, judge: str | None, images: Path | None, port: int, host: str = "127.0.0.1") -> None:
    """Load everything and serve the page until it is stopped.

    Without a judge the guide that lies beside the model, if there is one, gives its opinion, under that name.

    Args:
        model: folder of a trained model, or its name.
        judge: folder of an independent classifier.
        images: a folder of images to pick from.
        port: where the page is served; 0 takes a free one.
        host: the address that is listened on.

    Raises:
        ValueError: models or images that cannot be read; a port that is taken.
    """
    with _until_stopped(), _own_folder(), _listening(host, port) as listener:
        token = None if host in THIS_MACHINE else secrets.token_urlsafe(16)
        address = _address(host, listener.getsockname()[1], token)
        print(f"loading {model}, torch and gradio ...", flush=True)
        page = _page(model, judge, images)
        if token is not None:
            print(
                f"warning: whoever reaches this machine at {host} can ask for the page. It is shown only to those who "
                "open the address with its token. The connection is not encrypted.",
                file=sys.stderr,
                flush=True,
            )
        print(f"the page is at {address}; Ctrl-C stops it", flush=True)
        launch(page, listener, token)


def launch(page: Any, listener: socket.socket, token: str | None = None) -> None:
    """Serve a page until a signal stops it.

    Args:
        page: what `labelvae.page.blocks.build` returned.
        listener: a socket that listens.
        token: what a browser must know to see the page; None shows it to everyone who reaches the socket by a name of
            this machine.
    """
    import gradio as gr
    import uvicorn
    from fastapi import FastAPI

    from labelvae.page.answering import ROUTE, endpoint
    from labelvae.page.blocks import text
    from labelvae.page.uploads import MOST_BYTES

    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    app = FastAPI(openapi_url=None)
    app.add_route(ROUTE, endpoint(page.page), methods=["POST"])
    fetch_nothing(app)
    take_only_sent(page)
    app = gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=theme,
        css=text("page.css"),
        footer_links=[],
        ssr_mode=False,
        max_file_size=2 * MOST_BYTES,  # above MOST_BYTES the page says it in its own words
    )
    config = uvicorn.Config(
        OwnNameAsked(app) if token is None else TokenAsked(app, token),
        log_level="critical",
        timeout_graceful_shutdown=1,
        lifespan="on",
    )
    uvicorn.Server(config).run(sockets=[listener])


class OwnNameAsked:
    """Refuse whoever asks for the page by another name than one of this machine.

    Another site can let its own name mean this machine. Its scripts could then read the page (DNS rebinding).

    Args:
        app: an ASGI application.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan" or self._named(scope) in THIS_MACHINE:
            await self.app(scope, receive, send)
            return
        from starlette.responses import PlainTextResponse

        refused = PlainTextResponse("Open the address that was printed at the start.", 403)
        await refused(scope, receive, send)

    def _named(self, scope: Any) -> str:
        """Return the name in the address, without the port."""
        from starlette.datastructures import Headers

        host = Headers(scope=scope).get("host", "").lower()
        return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


class TokenAsked:
    """Refuse whoever does not know a token: it is asked for once, in the address, and kept as a cookie.

    Args:
        app: an ASGI application.
        token: what must be known.
    """

    def __init__(self, app: Any, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan" or self._knows(scope):
            await self.app(scope, receive, send)
            return
        from starlette.responses import PlainTextResponse, RedirectResponse

        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["type"] == "http" and hmac.compare_digest(given.encode(), self.token.encode()):
            answer: Any = RedirectResponse("/", status_code=303)
            # A strict cookie would not come with the redirect where the address was clicked on another site.
            answer.set_cookie(_cookie(scope), self.token, httponly=True, samesite="lax")
        else:
            answer = PlainTextResponse("Open the address with the token that was printed at the start.", 403)
        await answer(scope, receive, send)

    def _knows(self, scope: Any) -> bool:
        from starlette.requests import HTTPConnection

        given = HTTPConnection(scope).cookies.get(_cookie(scope), "")
        return hmac.compare_digest(given.encode(), self.token.encode())


def _cookie(scope: Any) -> str:
    """Return the name of the cookie, of which each page on a machine has its own."""
    from starlette.datastructures import Headers

    port = Headers(scope=scope).get("host", "").rpartition(":")[2]
    return f"{COOKIE}-{port if port.isdecimal() else 80}"


def _page(model: str, judge: str | None, images: Path | None) -> Any:
    """Return the page of a model, not yet served."""
    from labelvae.page.blocks import build, import_gradio

    import_gradio()
    import torch

    from labelvae.inputs.class_names import read_classes
    from labelvae.models.attribute_classifier import AttributeClassifier
    from labelvae.models.classifier import LabelClassifier
    from labelvae.models.hub import guide_folder, locate, part_of_run, saved_kind
    from labelvae.models.vae import ConditionalVAE
    from labelvae.page.attribute_page import build_attributes
    from labelvae.page.attribute_player import AttributePlayer
    from labelvae.page.player import MOST_PICTURES, Player

    vae = ConditionalVAE.from_pretrained(model)
    folder = locate(model, vae.kind)
    who = "judge" if judge else "guide"
    asked = part_of_run(judge, who) if judge else guide_folder(model)
    pictures = None
    if images is not None:
        from labelvae.photos.picture_files import find_pictures
        from labelvae.photos.scans import read_scan

        files = find_pictures([str(images)]).paths[:MOST_PICTURES]
        pictures = torch.stack([read_scan(file, vae.image_shape) for file in files])
    one = vae.attributes is not None and vae.attributes.one_class is not None
    if vae.attributes is not None and not (one and saved_kind(str(asked)) != AttributeClassifier.kind):
        reader = AttributeClassifier.from_pretrained(asked) if asked else None
        return build_attributes(AttributePlayer(vae, reader, pictures, who))
    opinion = LabelClassifier.from_pretrained(asked) if asked else None
    return build(Player(vae, read_classes(folder, vae.num_classes), opinion, pictures, who))


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Return a socket that listens already while the models are loaded: whoever comes early waits."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError, UnicodeError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise ValueError(
                f"port: another program is at {port} already; choose another with --port, 0 takes a free one"
            ) from error
        if host in THIS_MACHINE:
            raise ValueError(f"port: {port} cannot be used ({error}); choose another with --port") from error
        raise ValueError(f"host: {host}, port {port} cannot be listened on ({error}); choose others") from error
    with listener:
        yield listener


def _address(host: str, port: int, token: str | None) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


@contextmanager
def _own_folder() -> Iterator[None]:
    """Temporary files of this process lie in a folder that only its user may read, and are deleted, at the end all."""
    folder = tempfile.mkdtemp(prefix="labelvae-page-")
    before = tempfile.tempdir, os.environ.get("GRADIO_TEMP_DIR")
    tempfile.tempdir = os.environ["GRADIO_TEMP_DIR"] = folder
    try:
        with deleting_old(folder, STORED):
            yield
    finally:
        tempfile.tempdir = before[0]
        if before[1] is None:
            del os.environ["GRADIO_TEMP_DIR"]
        else:
            os.environ["GRADIO_TEMP_DIR"] = before[1]
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _until_stopped() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program as Ctrl-C does: what must be cleaned up is."""

    def stop(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def __getattr__(name: str) -> Any:
    """Find what has moved to modules of its own."""
    if name == "Player":
        from labelvae.page.player import Player

        return Player
    if name == "build":
        from labelvae.page.blocks import build

        return build
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
