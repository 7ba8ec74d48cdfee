"""A sheet of photographs: each as it was, what the model saw in it, and what came back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

WIDE, TALL, SEEN, LINE = 216, 162, 54, 14


class Row(NamedTuple):
    """One photograph of the sheet; `back` is None if it was refused, and `text` says why."""

    name: str
    photo: Image.Image
    seen: list[Tensor]
    text: str
    back: Image.Image | None


def sheet_of(rows: list[Row], columns: int = 3) -> Image.Image:
    """Draws the sheet, `columns` photographs side by side."""
    wide, tall = 2 * WIDE + SEEN + 18, TALL + LINE + 8
    sheet = Image.new("RGB", (columns * wide, -(-len(rows) // columns) * tall), "white")
    caption = ImageDraw.Draw(sheet)
    for index, row in enumerate(rows):
        left, top = index % columns * wide, index // columns * tall
        caption.text((left + 2, top + 1), f"{row.name}; {row.text}"[:76], fill="black")
        sheet.paste(_within(row.photo), (left, top + LINE))
        for number, image in enumerate(row.seen[:6]):
            side = SEEN if len(row.seen) <= 3 else SEEN // 2
            seen = Image.fromarray((image[0].numpy() * 255).round().astype(np.uint8)).resize((side, side), 0)
            per_row = SEEN // side
            place = (number % per_row * side, number // per_row * side)
            sheet.paste(seen, (left + WIDE + 4 + place[0], top + LINE + place[1]))
        if row.back is not None:
            sheet.paste(_within(row.back), (left + WIDE + SEEN + 8, top + LINE))
    return sheet


def _within(photo: Image.Image) -> Image.Image:
    small = photo.copy()
    small.thumbnail((WIDE, TALL), Image.Resampling.BOX)
    return small
