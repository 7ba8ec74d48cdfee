"""The page to play with a model: draw, send or pick an image, and see it under other labels.

What is shown is a function of all controls, `show`. The browser runs it one at a time, and once more where a control
was changed meanwhile: so what is shown always belongs to what is selected.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from labelvae.page.html import result_html, said_html, thumbnail_css
from labelvae.page.player import Answer, Batcher, Player, Subject, Wish
from labelvae.page.uploads import open_drawing, open_upload

if TYPE_CHECKING:
    from labelvae.photos.scans import Fit

COLUMNS = 10
"""Pictures to pick from in a row, at most."""

SOURCES = ("Pick", "Draw", "Upload")

STORED = 300
"""Seconds after which a file that somebody sent is deleted."""

READERS = 2
"""Pictures that are decoded at the same time, at most: a large one takes memory."""

_RANKS = ("most", "second most", "third most")
_FITS = {"strokes": "A digit on paper", "pad": "The whole picture", "crop": "Its middle"}
HEAD = "<h1>labelvae</h1><p>An image and a label in; the image <em>as that label, in its own style</em> out.</p>"
_SHEET = '<canvas width="280" height="280" role="img" aria-label="Sheet to draw a digit on"></canvas>'
_DRAWN = "(visit) => [visit, document.querySelector('#sheet canvas').toDataURL()]"
_CLEAR = "() => { document.querySelector('#sheet canvas').width = 280; }"  # which empties it


@dataclass(eq=False)
class Visit:
    """What the page remembers of one visitor.

    Attributes:
        sent: the last drawing and the last picture that was sent, by source, or why there is none.
        serial: counts them.
        subject: what is shown, or why nothing is, and what it was made from.
        every: the subject as every class, and what that was made from.
    """

    sent: dict[str, Image.Image | str] | None = None
    serial: int = 0
    subject: tuple[Any, Subject | str] | None = None
    every: tuple[Any, Answer] | None = None

    def take(self, source: str, sent: Image.Image | str) -> None:
        """Remember what somebody sent, or why it cannot be used."""
        self.sent, self.serial = {**(self.sent or {}), source: sent}, self.serial + 1


EMPTY = {
    "Pick": "Pick a picture.",
    "Draw": "Draw a digit first, then use the drawing.",
    "Upload": "Upload a photograph, or paste one from the clipboard.",
}


class Page:
    """What the page does, by the name of the event; `build` lays out its controls.

    Args:
        player: answers what is asked.
    """

    def __init__(self, player: Player) -> None:
        self.player = player
        self._batcher: Batcher[Wish, Answer] = Batcher(player.answer)
        self._serials = itertools.count(1)

    def drawn(self, visit: Visit, sheet: str) -> int:
        """Take the drawing; a new number tells the page to show it."""
        try:
            visit.take("Draw", open_drawing(sheet) or EMPTY["Draw"])
        except ValueError as error:
            visit.take("Draw", str(error))
        return next(self._serials)

    def sent(self, visit: Visit, path: str | None) -> int:
        """Take a picture that was sent, or its removal; a new number tells the page to show it."""
        try:
            visit.take("Upload", open_upload(path) if path else EMPTY["Upload"])
        except ValueError as error:
            visit.take("Upload", str(error))
        return next(self._serials)

    async def show(
        self,
        visit: Visit,
        source: str,
        pick: int | None,
        fit: Fit,
        invert: bool,
        own: int,
        asked: int,
        share: float,
        *style: float,
    ) -> tuple[list[float] | None, str, str]:
        """Show what the controls say.

        Returns:
            Where `own`, `share` and `style` are set to, for a new image only; a sentence; what is shown.
        """
        key = (source, pick) if source == "Pick" else (source, visit.serial, fit, invert and fit != "strokes")
        fresh = visit.subject is None or visit.subject[0] != key
        if fresh:
            visit.subject = key, await asyncio.to_thread(self._subject, visit, source, pick, fit, invert)
        assert visit.subject is not None
        subject = visit.subject[1]
        if isinstance(subject, str):
            return None, said_html(subject, refused=subject not in EMPTY.values()), ""
        if fresh:
            own, share, style = subject.own, 1.0, (0.0,) * len(style)
        every, result, opinion = await self._answer(visit, (key, own, style), subject, own, asked, share, style)
        pasted = await asyncio.to_thread(_pasted, subject, result)
        names, who = self.player.class_names, self.player.who
        html = result_html(subject, result, opinion, every, names[asked], names, who, pasted, source == "Draw")
        return [own, share, *style] if fresh else None, said_html(subject.said), html

    def _subject(self, visit: Visit, source: str, pick: int | None, fit: Fit, invert: bool) -> Subject | str:
        """The image that the controls name, or why there is none."""
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
        """The image as every class, which is kept for the next label, and under the asked label with its opinion."""
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
    names, grey = player.class_names, player.vae.image_shape[0] == 1
    choices = [(name, label) for label, name in enumerate(names)]
    page, columns = Page(player), min(COLUMNS, player.vae.num_classes)
    fits = [(text, fit) for fit, text in _FITS.items() if grey or fit != "strokes"]
    usual = "strokes" if grey and all(name.isdecimal() for name in names) else "pad"
    wide = "long" if max(map(len, names)) > 3 else ""
    picks = [(f"Picture {index + 1}, {names[guess]}", index) for index, guess in enumerate(player.guesses)]
    with gr.Blocks(title="labelvae", analytics_enabled=False, delete_cache=(STORED, STORED)) as blocks:
        visit, serial = gr.State(Visit()), gr.State(0)
        sheet = gr.Textbox(visible=False)
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
                    _slider(gr, -3, 3, 0, 0.1, f"Style, where images differ {rank}", f"style{index}")
                    for index, rank in enumerate(_RANKS[: len(player.directions)])
                ]
        controls = [own, share, *style]

        async def show(*values: Any) -> list[Any]:
            moved, sentence, html = await page.show(*values)
            return [values[0], *(moved or [gr.skip()] * len(controls)), sentence, html]

        gr.on(
            [blocks.load, serial.change, *(one.input for one in (source, pick, fit, invert, asked, *controls))],
            show,
            [visit, source, pick, fit, invert, own, asked, share, *style],
            [visit, *controls, said, view],
            api_name="show",
            trigger_mode="always_last",
            show_progress="hidden",
            queue=False,
        )
        reading = {
            "outputs": serial,
            "trigger_mode": "always_last",
            "show_progress": "hidden",
            "concurrency_id": "read",
        }
        use.click(page.drawn, [visit, sheet], js=_DRAWN, concurrency_limit=READERS, **reading)
        gr.on([upload.upload, upload.clear], page.sent, [visit, upload], concurrency_limit=READERS, **reading)
        clear.click(None, js=_CLEAR)
        blocks.load(None, js=text("page.js"))
    return blocks


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
    """The photograph with the result in it, if the image is from one."""
    if subject.photo is None or subject.found is None:
        return None
    from labelvae.photos.pasting import paste

    return paste(subject.photo, subject.found, result)


def _slider(gr: Any, low: float, high: float, value: float, step: float, label: str, name: str) -> Any:
    return gr.Slider(low, high, value, step=step, label=label, elem_id=name, buttons=[])


def text(name: str) -> str:
    """Return a file of this package."""
    return files("labelvae.page").joinpath(name).read_text(encoding="utf-8")
