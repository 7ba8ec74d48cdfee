"""The page of a model of several attributes: a choice a category, a switch a binary, a slider a number."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import torch

from labelvae.attributes.choices import Category
from labelvae.attributes.continuous import Continuous
from labelvae.attributes.kind import Kind
from labelvae.inputs.class_names import printable
from labelvae.inputs.conversions import described
from labelvae.page.answering import choice, count, number
from labelvae.page.attribute_player import AttributePlayer, AttributeWish
from labelvae.page.blocks import (
    COLUMNS,
    FIRST_MOVED,
    HEAD,
    READING,
    SENT,
    SHOW,
    Page,
    import_gradio,
    showing,
    text,
)
from labelvae.page.html import attribute_html, said_html, thumbnail_css
from labelvae.page.sent_files import STORED
from labelvae.page.visits import EMPTY, Visit

SOURCES = ("Pick", "Upload")
FITS = [("The whole picture", "pad"), ("Its middle", "crop")]
STEPS = 100
"""Of a slider."""

MOST_SHOWN = 24
"""Names of a category that are shown side by side, at most; more are a menu."""

_STYLE = """
body:has(#source label:nth-of-type(2) input:checked) #load { display: flex; } #load { display: none; }
@media (max-width: 760px) {  /* the result stays in view while its controls are moved */
  .gradio-container { overflow: clip !important; }  /* hidden, it would hold what is sticky */
  body #layout { display: flex; flex-direction: column; align-items: stretch; }
  #results, #view, #view :has(.pair) { display: contents; }
  #view .pair { position: sticky; top: 0; z-index: 100; padding: 4px 0; background: var(--body-background-fill); }
  #more { order: 1; }
  #view #readings { order: 2; margin: 0 0 12px; }
}
"""


class AttributePage(Page):
    """What the page does, by the name of the event; `build_attributes` lays out its controls.

    Args:
        player: answers what is asked.
    """

    def __init__(self, player: AttributePlayer) -> None:
        super().__init__(player)  # type: ignore[arg-type]
        self.attributes, self.who = player.attributes, player.who

    async def show(self, visit: Visit, shown: str | None, *values: Any) -> dict[str, Any]:
        """Show what the controls say.

        Args:
            visit: whose controls they are.
            shown: key of the image that the attributes were set for. For another image they are set anew.
            values: of the controls `source`, `pick`, `fit` and `invert`, and one of each attribute.

        Returns:
            The answer that `labelvae.page.answering.endpoint` describes.

        Raises:
            ValueError: values that the controls cannot have.
        """
        source, pick, fit, invert, *rows = self._checked(values)
        key = f"Pick {pick}" if source == "Pick" else f"{source} {visit.serial} {fit} {invert}"
        if visit.subject is None or visit.subject[0] != key:
            found = key, await asyncio.to_thread(self._subject, visit, source, pick, fit, invert)
            visit.subject = found
        else:
            found = visit.subject
        subject: Any = found[1]
        if isinstance(subject, str):
            said = said_html(subject, refused=subject not in EMPTY.values())
            return {"key": key, "controls": [None] * len(rows), "said": said, "html": ""}
        asked = subject.own if shown != key else torch.tensor(rows)
        wish: Any = AttributeWish(subject.image, subject.own, asked)
        answer: Any = await asyncio.wrap_future(self._batcher.ask(wish))
        result, read = answer
        html = attribute_html(subject.image, result, self._lines(asked, read), self.who)
        controls = [_set(kind, float(value)) for kind, value in zip(self.attributes.values(), asked, strict=True)]
        return {"key": key, "controls": controls, "said": said_html(subject.said), "html": html}

    def _checked(self, values: Sequence[Any]) -> list[Any]:
        count(values, FIRST_MOVED + len(self.attributes))
        source, pick, fit, invert, *asked = values
        rows = [_row(name, kind, value) for (name, kind), value in zip(self.attributes.items(), asked, strict=True)]
        return [
            choice("source", source, SOURCES),
            None if pick is None else choice("pick", pick, range(len(self.player.pictures))),
            choice("fit", fit, tuple(fit for _, fit in FITS)),
            choice("invert", invert, (False, True)),
            *rows,
        ]

    def _lines(self, asked: torch.Tensor, read: torch.Tensor | None) -> list[tuple[str, str, str]]:
        """Return each attribute's name, what it is asked to be, and what it is read as."""
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
    texts = [printable(player.attributes.text(row)) for row in player.rows]
    picks = [(f"Picture {index + 1}, {text}", index) for index, text in enumerate(texts)]
    with gr.Blocks(title="labelvae", analytics_enabled=False, delete_cache=(STORED, STORED)) as blocks:
        visit = gr.Textbox(visible=False)  # filled as it is sent
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

        values = [source, pick, fit, invert, *asked]
        sent = gr.on([upload.upload, upload.clear], page.sent, [visit, upload], js=SENT, **READING)
        sent.then(js=SHOW, **showing(values, said, view))
        gr.on([one.input for one in values], js=SHOW, **showing(values, said, view))
        blocks.load(js=text("page.js"), **showing(values, said, view))
    blocks.page = page  # asked by the route that `launch` adds
    return blocks


def control(gr: Any, name: str, kind: Kind, value: float, elem_id: str) -> Any:
    """Return the control of an attribute: a choice, a menu where there are many, a switch, or a slider."""
    name = printable(name)
    if isinstance(kind, Category):
        choices = [(printable(each), index) for index, each in enumerate(kind.names)]
        many = gr.Dropdown if len(choices) > MOST_SHOWN else gr.Radio
        return many(choices, value=round(value), label=name, elem_id=elem_id)
    if isinstance(kind, Continuous):
        label = f"{name}, {printable(kind.unit)}" if kind.unit else name
        step = (kind.high - kind.low) / STEPS
        return gr.Slider(kind.low, kind.high, kind.rounded(value), step=step, label=label, elem_id=elem_id, buttons=[])
    return gr.Checkbox(bool(value), label=name, elem_id=elem_id)


def _row(name: str, kind: Kind, value: Any) -> float:
    """Return the value of a control as the model takes it. A category's is an index, whatever its names are."""
    if isinstance(kind, Category):
        return float(choice(name, value, range(kind.entries)))
    if isinstance(kind, Continuous):
        return number(name, value, kind.low, kind.high)
    found = kind.number(value)
    if found is None:
        raise ValueError(f"{name}: expected {kind.expected}, got {described(value)}; reload the page")
    return found


def _set(kind: Kind, value: float) -> Any:
    """Return a value as its control takes it."""
    if isinstance(kind, Continuous):
        return kind.rounded(value)
    return round(value) if isinstance(kind, Category) else bool(value)
