"""Draw what was read in a photograph."""

from __future__ import annotations

from PIL import Image, ImageDraw

from labelvae.photos.reading import PhotoReading


def seen_sheet(reading: PhotoReading, names: list[str], side: int = 480) -> Image.Image:
    """Draw what the model sees: the photograph with a box round each digit, and each digit in its frame.

    Args:
        reading: what `read_digits` returned.
        names: the names of the classes.
        side: longest side of the photograph on the sheet, in pixels.

    Returns:
        The photograph with the boxes, and below it each digit's image with its label and confidence.
    """
    small = reading.photo.copy()
    small.thumbnail((side, side))
    factor = small.width / reading.photo.width
    draw = ImageDraw.Draw(small)
    frame = 84
    columns = max(1, side // frame)
    rows = -(-len(reading.readings) // columns)
    sheet = Image.new("RGB", (side, small.height + rows * (frame + 18)), "white")
    caption = ImageDraw.Draw(sheet)
    for index, one in enumerate(reading.readings):
        draw.rectangle([edge * factor for edge in one.found.box], outline="grey" if one.doubted else "red", width=2)
        seen = Image.fromarray((one.image[0] * 255).round().byte().numpy()).resize((frame - 4, frame - 4), 0)
        place = (index % columns * frame, small.height + index // columns * (frame + 18))
        sheet.paste(seen, (place[0] + 2, place[1] + 16))
        caption.text(place, f"{names[one.label]} ({one.confidence:.2f})", fill="black")
    sheet.paste(small, (0, 0))
    return sheet
