"""The page of a model of several attributes: a choice a category, a switch a binary, a slider a number."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import torch

from labelvae.attributes.choices import Category
from labelvae.attributes.continuous import Continuous
from labelvae.attributes.kind import Kind
from labelvae.page.attribute_player import AttributePlayer, AttributeWish
from labelvae.page.blocks import COLUMNS, EMPTY, HEAD, READERS, STORED, Page, Visit, import_gradio, text
from labelvae.page.html import attribute_html, said_html, thumbnail_css

if TYPE_CHECKING:
    from labelvae.photos.scans import Fit

SOURCES = ("Pick", "Upload")
FITS = [("The whole picture", "pad"), ("Its middle", "crop")]
STEPS = 100
"""Of a slider."""

_STYLE = "body:has(#source label:nth-of-type(2) input:checked) #load { display: flex; } #load { display: none; }"


class AttributePage(Page):
    """What the page does, by the name of the event; `build_attributes` lays out its controls.

    Args:
        player: answers what is asked.
    """

    def __init__(self, player: AttributePlayer) -> None:
        super().__init__(player)  # type: ignore[arg-type]
        self.attributes, self.who = player.attributes, player.who

    async def show(
        self, visit: Visit, source: str, pick: int | None, fit: Fit, invert: bool, *values: float
    ) -> tuple[list[float] | None, str, str]:
        """Show what the controls say.

        Returns:
            Where the attributes' controls are set to, for a new image only; a sentence; what is shown.
        """
        key = (source, pick) if source == "Pick" else (source, visit.serial, fit, invert)
        fresh = visit.subject is None or visit.subject[0] != key
        if fresh:
            visit.subject = key, await asyncio.to_thread(self._subject, visit, source, pick, fit, invert)
        assert visit.subject is not None
        subject: Any = visit.subject[1]
        if isinstance(subject, str):
            return None, said_html(subject, refused=subject not in EMPTY.values()), ""
        asked = subject.own if fresh else torch.tensor([float(value) for value in values])
        wish: Any = AttributeWish(subject.image, subject.own, asked)
        answer: Any = await asyncio.wrap_future(self._batcher.ask(wish))
        result, read = answer
        html = attribute_html(subject.image, result, self._lines(asked, read), self.who)
        return [float(value) for value in asked] if fresh else None, said_html(subject.said), html

    def _lines(self, asked: torch.Tensor, read: torch.Tensor | None) -> list[tuple[str, str, str]]:
        """Each attribute's name, what it is asked to be, and what it is read as."""
        return [
            (name, kind.text(float(asked[place])), "" if read is None else kind.text(float(read[place])))
            for place, (name, kind) in enumerate(self.attributes.items())
        ]


def build_attributes(player: AttributePlayer) -> Any:
    """Build the page of a model of several attributes, a `gradio.Blocks`, not yet served.

    Raises:
        ValueError: gradio is not installed.
    """
    gr = import_gradio()
    page, columns = AttributePage(player), min(COLUMNS, len(player.pictures))
    picks = [(f"Picture {index + 1}, {player.attributes.text(row)}", index) for index, row in enumerate(player.rows)]
    with gr.Blocks(title="labelvae", analytics_enabled=False, delete_cache=(STORED, STORED)) as blocks:
        visit, serial = gr.State(Visit()), gr.State(0)
        gr.HTML(f"<style>{thumbnail_css(player.pictures, columns)}{_STYLE}</style>{HEAD}", elem_id="head")
        with gr.Row(elem_id="layout"):
            with gr.Column(elem_id="controls"):
                source = gr.Radio(SOURCES, value="Pick", label="Image", show_label=False, elem_id="source")
                pick = gr.Radio(picks, value=0, label="Pictures to pick from", show_label=False, elem_id="pick")
                with gr.Column(elem_id="load"):
                    upload = gr.File(label="A photograph or any image", height=130, elem_id="upload")
                    fit = gr.Radio(FITS, value="pad", label="What it shows", elem_id="fit")
                    invert = gr.Checkbox(False, label="Swap dark and bright", elem_id="invert")
            with gr.Column(elem_id="results"):
                said, view = gr.HTML(elem_id="said"), gr.HTML(elem_id="view")
            with gr.Column(elem_id="more"):
                asked = [
                    control(gr, name, kind, float(player.rows[0, place]), f"attribute{place}")
                    for place, (name, kind) in enumerate(player.attributes.items())
                ]

        async def show(*values: Any) -> list[Any]:
            moved, sentence, html = await page.show(*values)
            said_of = zip(player.attributes.values(), moved or [], strict=False)
            return [values[0], *([_set(*each) for each in said_of] or [gr.skip()] * len(asked)), sentence, html]

        gr.on(
            [blocks.load, serial.change, *(one.input for one in (source, pick, fit, invert, *asked))],
            show,
            [visit, source, pick, fit, invert, *asked],
            [visit, *asked, said, view],
            api_name="show",
            trigger_mode="always_last",
            show_progress="hidden",
            queue=False,
        )
        gr.on(
            [upload.upload, upload.clear],
            page.sent,
            [visit, upload],
            serial,
            concurrency_limit=READERS,
            trigger_mode="always_last",
            show_progress="hidden",
        )
        blocks.load(None, js=text("page.js"))
    return blocks


def control(gr: Any, name: str, kind: Kind, value: float, elem_id: str) -> Any:
    """Return the control of an attribute: a choice, a switch, or a slider."""
    if isinstance(kind, Category):
        choices = [(each, index) for index, each in enumerate(kind.names)]
        return gr.Radio(choices, value=round(value), label=name, elem_id=elem_id)
    if isinstance(kind, Continuous):
        label = f"{name}, {kind.unit}" if kind.unit else name
        step = (kind.high - kind.low) / STEPS
        return gr.Slider(kind.low, kind.high, value, step=step, label=label, elem_id=elem_id, buttons=[])
    return gr.Checkbox(bool(value), label=name, elem_id=elem_id)


def _set(kind: Kind, value: float) -> Any:
    """A value as its control takes it."""
    return value if isinstance(kind, Continuous) else round(value) if isinstance(kind, Category) else bool(value)
