"""What the page shows of a result, as HTML that holds its pictures: no file is written, and nothing is fetched."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image
from torch import Tensor

from labelvae.inputs.class_names import printable
from labelvae.page.player import Answer, Subject, likeliest
from labelvae.visual.grids import to_picture

THUMBNAIL = 48
"""Longest side of a picture to pick from, in pixels."""

MOST_BARS = 3
"""Classes of the judge's opinion that are shown."""


def data_uri(picture: Image.Image, quality: int | None = None) -> str:
    """Return a picture as an address that holds it: PNG, or JPEG of a quality."""
    file = io.BytesIO()
    if quality is None:
        picture.save(file, "PNG", compress_level=1)
    else:
        picture.save(file, "JPEG", quality=quality)
    kind = "png" if quality is None else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def result_html(
    subject: Subject,
    result: Tensor,
    opinion: Sequence[float],
    every: Answer,
    asked: str,
    class_names: Sequence[str],
    who: str,
    pasted: Image.Image | None = None,
    drawn: bool = False,
) -> str:
    """Return all that is shown of an image and what became of it.

    Args:
        subject: the image.
        result: `(C, H, W)` in [0, 1].
        opinion: the judge's on the result; empty without one.
        every: the image as every class.
        asked: the name of the label that was asked for.
        class_names: name of each label.
        who: what the classifier is called.
        pasted: the photograph with the result in it.
        drawn: the photograph is what was drawn on the page.
    """
    names = [escape(printable(name)) for name in class_names]
    asked, own = escape(printable(asked)), names[subject.own]
    pair = ""
    if subject.photo is not None and pasted is not None:
        pair += _photo("photo", subject.photo, f"your picture, read as {own}", "Your picture")
        pair += _photo("pasted", pasted, f"your picture with {asked}", f"With {asked}", save=f"{asked}.jpg")
    pair += _figure("before", subject.image, f"what the model sees, {own}", "The model sees")
    pair += _figure("after", result, f"the image as {asked}", f"As {asked}", save=f"as {asked}.png")
    rows = ""
    if opinion:
        ranked = sorted(range(len(opinion)), key=lambda label: -opinion[label])[:MOST_BARS]
        bars = "".join(
            f'<li><span>{names[label]}</span><span class="bar"><i style="width:{opinion[label]:.1%}"></i></span>'
            f"<span>{opinion[label]:.0%}</span></li>"
            for label in ranked
        )
        rows = f'<section id="opinion"><h2>The {who}\'s opinion</h2><ol>{bars}</ol></section>'
    figures = ""
    for name, image, judged in zip(names, every.images, every.opinions, strict=True):
        taken = names[likeliest(judged)] if judged else ""
        note = f" <small>({taken})</small>" if judged else ""
        text = f"as {name}" + (f", taken for {taken}" if judged else "")
        figures += f'<figure><img src="{_small(image)}" alt="{text}"><figcaption>{name}{note}</figcaption></figure>'
    told = f" <small>(and what the {who} takes it for)</small>" if opinion else ""
    return (
        f'<div class="pair {"drawn" if drawn else ""}">{pair}</div>{rows}'
        f'<section><h2>As every class{told}</h2><div id="every">{figures}</div></section>'
    )


def attribute_html(image: Tensor, result: Tensor, lines: Sequence[tuple[str, str, str]], who: str) -> str:
    """Return what is shown of an image and what became of it, under a label of several attributes.

    Args:
        image: what the model sees, `(C, H, W)` in [0, 1].
        result: `(C, H, W)` in [0, 1].
        lines: for each attribute its name, what was asked for, and what the classifier reads; "" without one.
        who: what the classifier is called.
    """
    told = [[escape(printable(word)) for word in line] for line in lines]
    asked = ", ".join(f"{name} {value}" for name, value, _ in told)
    pair = _figure("before", image, "what the model sees", "The model sees")
    pair += _figure("after", result, f"the image as {asked}", "As asked", save="as asked.png")
    rows = "".join(
        f"<tr><th>{name}</th><td>{value}</td>{f'<td>{read}</td>' if read else ''}</tr>" for name, value, read in told
    )
    head = f"<th>the {escape(who)} reads</th>" if any(read for *_, read in told) else ""
    return f'<div class="pair">{pair}</div><table id="readings"><tr><th></th><th>asked</th>{head}</tr>{rows}</table>'


def said_html(text: str, refused: bool = False) -> str:
    """Return a sentence for the person at the page."""
    return f'<p class="{"refused" if refused else "told"}">{escape(printable(text))}</p>' if text else ""


def thumbnail_css(pictures: Tensor, columns: int) -> str:
    """Return a style sheet that puts pictures `(N, C, H, W)` on the choices of the group `pick`."""
    small = [to_picture(picture, 0) for picture in pictures]
    for picture in small:
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
    width, height = small[0].size
    strip = Image.new("RGB", (width, height * len(small)))
    for row, picture in enumerate(small):
        strip.paste(picture, (0, row * height))
    rules = [
        f"#pick label{{background-image:url({data_uri(strip)});aspect-ratio:{width}/{height}}}",
        f"#pick .wrap:has(label){{grid-template-columns:repeat({columns},minmax(0,1fr))}}",
    ]
    last = max(1, len(small) - 1)
    for row in range(len(small)):
        rules.append(f"#pick label:nth-of-type({row + 1}){{background-position:0 {100 * row / last:.4f}%}}")
    return f"#pick label{{background-size:100% {100 * len(small)}%}}" + "".join(rules)


def _small(image: Tensor) -> str:
    return data_uri(to_picture(image, 0))


def _figure(name: str, image: Tensor, text: str, caption: str, save: str = "") -> str:
    return _whole_figure(name, _small(image), text, caption, save)


def _photo(name: str, photo: Image.Image, text: str, caption: str, save: str = "") -> str:
    return _whole_figure(name, data_uri(photo.convert("RGB"), quality=85), text, caption, save)


def _whole_figure(name: str, address: str, text: str, caption: str, save: str) -> str:
    link = f' <a href="{address}" download="{save}" aria-label="Save {text}">save</a>' if save else ""
    return f'<figure id="{name}"><img src="{address}" alt="{text}"><figcaption>{caption}{link}</figcaption></figure>'
