"""The page to play with a model: draw, send or pick an image, and see it under other labels.

What is shown is a function of all controls, `show`. The browser asks for it one at a time (`page.js`), and once more
where a control was changed meanwhile: so what is shown always belongs to what is selected.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from labelvae.inputs.class_names import printable
from labelvae.page.answering import choice, count, number
from labelvae.page.html import result_html, said_html, thumbnail_css
from labelvae.page.player import Answer, Batcher, Player, Subject, Wish
from labelvae.page.sent_files import STORED
from labelvae.page.uploads import open_drawing, open_upload
from labelvae.page.visits import EMPTY, Visit, Visits

if TYPE_CHECKING:
    from labelvae.photos.scans import Fit

COLUMNS = 10
"""Pictures to pick from in a row, at most."""

SOURCES = ("Pick", "Draw", "Upload")

READERS = 2
"""Pictures that are decoded at the same time, at most: a large one takes memory."""

MOST_STYLE = 3
"""Standard deviations by which a style is moved, at most."""

READING: dict[str, Any] = {
    "trigger_mode": "always_last",
    "show_progress": "hidden",
    "concurrency_id": "read",
    "concurrency_limit": READERS,
}
"""How Gradio takes what is sent."""

FIRST_MOVED = 4
"""Place of the first control that an answer may move; those before it say which image."""

_RANKS = ("most", "second most", "third most")
_FITS = {"strokes": "A digit on paper", "pad": "The whole picture", "crop": "Its middle"}
HEAD = "<h1>labelvae</h1><p>An image and a label in; the image <em>as that label, in its own style</em> out.</p>"
_SHEET = '<canvas width="280" height="280" role="img" aria-label="Sheet to draw a digit on"></canvas>'
SHOW = "(...values) => labelvae.show(...values)"  # of page.js
SENT = "(_, file) => [labelvae.visit, file]"
_DRAWN = "() => [labelvae.visit, document.querySelector('#sheet canvas').toDataURL()]"
_CLEAR = "() => { document.querySelector('#sheet canvas').width = 280; }"  # which empties it


class Page:
    """What the page does, by the name of the event; `build` lays out its controls.

    Args:
        player: answers what is asked.
    """

    def __init__(self, player: Player) -> None:
        self.player, self.visits = player, Visits()
        self._batcher: Batcher[Wish, Answer] = Batcher(player.answer)

    def drawn(self, visit: str, sheet: str) -> None:
        """Take the drawing of a visitor."""
        self._take(visit, "Draw", lambda: open_drawing(sheet))

    def sent(self, visit: str, path: str | None) -> None:
        """Take a picture that a visitor sent, or its removal."""
        self._take(visit, "Upload", lambda: open_upload(path) if path else None)

    def _take(self, visit: str, source: str, read: Callable[[], Image.Image | None]) -> None:
        try:
            visitor = self.visits.of(visit)
        except ValueError as error:  # no browser of this page asks so
            raise import_gradio().Error(f"{error}.", print_exception=False) from None
        try:
            visitor.take(source, read() or EMPTY[source])
        except ValueError as error:
            visitor.take(source, str(error))

    async def show(self, visit: Visit, shown: str | None, *values: Any) -> dict[str, Any]:
        """Show what the controls say.

        Args:
            visit: whose controls they are.
            shown: key of the image that `own`, `share` and `style` were set for. For another image they are set back.
            values: of the controls `source`, `pick`, `fit`, `invert`, `asked`, `own`, `share` and `style`.

        Returns:
            The answer that `labelvae.page.answering.endpoint` describes.

        Raises:
            ValueError: values that the controls cannot have.
        """
        source, pick, fit, invert, asked, own, share, *style = self._checked(values)
        key = f"Pick {pick}" if source == "Pick" else f"{source} {visit.serial} {fit} {invert and fit != 'strokes'}"
        if visit.subject is None or visit.subject[0] != key:
            found = key, await asyncio.to_thread(self._subject, visit, source, pick, fit, invert)
            visit.subject = found
        else:
            found = visit.subject
        subject: Subject | str = found[1]
        if isinstance(subject, str):
            said = said_html(subject, refused=subject not in EMPTY.values())
            return {"key": key, "controls": [None] * (3 + len(style)), "said": said, "html": ""}
        if shown != key:
            own, share, style = subject.own, 1.0, [0.0] * len(style)
        every, result, opinion = await self._answer(visit, (key, own, style), subject, own, asked, share, style)
        pasted = await asyncio.to_thread(_pasted, subject, result) if subject.photo is not None else None
        names, who = self.player.class_names, self.player.who
        html = result_html(subject, result, opinion, every, names[asked], names, who, pasted, source == "Draw")
        return {"key": key, "controls": [None, own, share, *style], "said": said_html(subject.said), "html": html}

    def _checked(self, values: Sequence[Any]) -> list[Any]:
        directions = len(self.player.directions)
        count(values, 7 + directions)
        source, pick, fit, invert, asked, own, share, *style = values
        labels = range(self.player.vae.num_classes)
        return [
            choice("source", source, SOURCES),
            None if pick is None else choice("pick", pick, range(len(self.player.pictures))),
            choice("fit", fit, tuple(_FITS)),
            choice("invert", invert, (False, True)),
            choice("asked", asked, labels),
            choice("own", own, labels),
            number("share", share, 0, 1),
            *(number("style", each, -MOST_STYLE, MOST_STYLE) for each in style),
        ]

    def _subject(self, visit: Visit, source: str, pick: int | None, fit: Fit, invert: bool) -> Subject | str:
        """Return the image that the controls name, or why there is none."""
        if source == "Pick":
            return self.player.picked(pick) if pick is not None else EMPTY[source]
        picture = (visit.sent or {}).get(source, EMPTY[source])
        if isinstance(picture, str):
            return picture
        grey = self.player.vae.image_shape[0] == 1
        try:
            if source == "Draw":
                return self.player.read(picture, "strokes" if grey else "pad")
            return self.player.read(picture, fit, invert)
        except ValueError as error:
            return in_words(error)

    async def _answer(
        self, visit: Visit, made: Any, subject: Subject, own: int, asked: int, share: float, style: Sequence[float]
    ) -> tuple[Answer, Tensor, list[float]]:
        """Return the image as every class, kept for the next label, and under the asked label with its opinion."""
        every = visit.every[1] if visit.every is not None and visit.every[0] == made else None
        if every is not None and share == 1.0:
            return every, every.images[asked], every.opinions[asked]
        labels = self.player.way(own, asked, share)
        if every is None:
            labels = torch.cat([labels, self.player.classes()])
        answer = await asyncio.wrap_future(self._batcher.ask(Wish(subject.image, own, labels, style)))
        if every is None:
            every = Answer(answer.images[1:], answer.opinions[1:])
            visit.every = made, every
        return every, answer.images[0], answer.opinions[0]


def build(player: Player) -> Any:
    """Build the page, a `gradio.Blocks`, not yet served.

    Raises:
        ValueError: gradio is not installed.
    """
    gr = import_gradio()
    names, grey = [printable(name) for name in player.class_names], player.vae.image_shape[0] == 1
    choices = [(name, label) for label, name in enumerate(names)]
    page, columns = Page(player), min(COLUMNS, player.vae.num_classes)
    fits = [(text, fit) for fit, text in _FITS.items() if grey or fit != "strokes"]
    usual = "strokes" if grey and all(name.isdecimal() for name in names) else "pad"
    wide = "long" if max(map(len, names)) > 3 else ""
    picks = [(f"Picture {index + 1}, {names[guess]}", index) for index, guess in enumerate(player.guesses)]
    with gr.Blocks(title="labelvae", analytics_enabled=False, delete_cache=(STORED, STORED)) as blocks:
        visit, sheet = gr.Textbox(visible=False), gr.Textbox(visible=False)  # filled as they are sent
        gr.HTML(f"<style>{thumbnail_css(player.pictures, columns)}</style>{HEAD}", elem_id="head")
        with gr.Row(elem_id="layout"):
            with gr.Column(elem_id="controls"):
                source = gr.Radio(SOURCES, value="Pick", label="Image", show_label=False, elem_id="source")
                pick = gr.Radio(picks, value=0, label="Pictures to pick from", show_label=False, elem_id="pick")
                with gr.Column(elem_id="draw"):
                    gr.HTML(_SHEET, elem_id="sheet")
                    with gr.Row():
                        use = gr.Button("Use the drawing", variant="primary", elem_id="use", min_width=120)
                        clear = gr.Button("Clear", elem_id="clear", min_width=80)
                with gr.Column(elem_id="load"):
                    upload = gr.File(label="A photograph or any image", height=130, elem_id="upload")
                    fit = gr.Radio(fits, value=usual, label="What it shows", elem_id="fit")
                    invert = gr.Checkbox(False, label="Swap dark and bright", elem_id="invert", visible=grey)
                asked = gr.Radio(choices, value=len(names) - 1, label="Show it as", elem_id="asked", elem_classes=wide)
            with gr.Column(elem_id="results"):
                said, view = gr.HTML(elem_id="said"), gr.HTML(elem_id="view")
            with gr.Column(elem_id="more"):
                own = gr.Radio(choices, value=player.guesses[0], label="It is", elem_id="own", elem_classes=wide)
                share = _slider(gr, 0, 1, 1, 0.05, "On the way from its own label to that one", "share")
                style = [
                    _slider(gr, -MOST_STYLE, MOST_STYLE, 0, 0.1, f"Style, where images differ {rank}", f"style{index}")
                    for index, rank in enumerate(_RANKS[: len(player.directions)])
                ]
        values = [source, pick, fit, invert, asked, own, share, *style]
        use.click(page.drawn, [visit, sheet], js=_DRAWN, **READING).then(js=SHOW, **showing(values, said, view))
        sent = gr.on([upload.upload, upload.clear], page.sent, [visit, upload], js=SENT, **READING)
        sent.then(js=SHOW, **showing(values, said, view))
        clear.click(None, js=_CLEAR)
        gr.on([one.input for one in values], js=SHOW, **showing(values, said, view))
        blocks.load(js=text("page.js"), **showing(values, said, view))
    blocks.page = page  # asked by the route that `launch` adds
    return blocks


def showing(values: list[Any], said: Any, view: Any) -> dict[str, Any]:
    """Return what an event of a browser asks from, and what it sets; nothing of it runs in Gradio's server."""
    return {"fn": None, "inputs": values, "outputs": [*values[FIRST_MOVED:], said, view], "show_progress": "hidden"}


def import_gradio() -> Any:
    """Import gradio, which is told to send nothing and to keep nothing.

    Raises:
        ValueError: gradio is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_RUN_HISTORY"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError as error:
        raise ValueError(f"demo: needs the extra of that name ({error}); pip install 'labelvae[demo]'") from error
    return gradio


def in_words(error: ValueError) -> str:
    """Return an error as a sentence for the person at the page, without the name of an argument."""
    text = re.sub(r"^\w+: ", "", str(error))
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _pasted(subject: Subject, result: Tensor) -> Image.Image | None:
    """Return the photograph with the result in it, if the image is from one."""
    if subject.photo is None or subject.found is None:
        return None
    from labelvae.photos.pasting import paste

    return paste(subject.photo, subject.found, result)


def _slider(gr: Any, low: float, high: float, value: float, step: float, label: str, name: str) -> Any:
    return gr.Slider(low, high, value, step=step, label=label, elem_id=name, buttons=[])


def text(name: str) -> str:
    """Return a file of this package."""
    return files("labelvae.page").joinpath(name).read_text(encoding="utf-8")
