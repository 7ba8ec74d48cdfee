"""Grids of images with their labels, enlarged so that a person can judge them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from labelvae.inputs.checks import check_count
from labelvae.visual.given import given_image, given_images, given_labels, given_numbers
from labelvae.visual.letters import caption_font, drawable

PAPER = (255, 255, 255)
INK = (20, 20, 20)
CELL = 96
"""Pixels that the longer side of an image is enlarged to, as closely as a whole factor can."""
WIDEST_TITLE = 4
"""Width of the title of a row, in images, at most."""
OVERHANG = 1.15
"""Width of a text above or under an image, in images, at most."""


def to_picture(image: Tensor, cell: int = CELL) -> Image.Image:
    """Turn an image into a picture, enlarged by a whole factor without smoothing.

    Args:
        image: the image, `(C, H, W)` in [0, 1], or in another form that `given_image` takes. One channel is shown as
            grey. Of more than three channels, the first three are shown.
        cell: the pixels of the longer side, as closely as a whole factor can.

    Returns:
        The picture, in RGB.

    Raises:
        ValueError: no image.
    """
    levels = (given_image(image).nan_to_num(0.0).clamp(0.0, 1.0) * 255.0).round().byte()
    levels = levels[:3] if len(levels) >= 3 else levels[:1].expand(3, -1, -1)
    picture = Image.fromarray(rearrange(levels, "c h w -> h w c").contiguous().numpy())
    factor = max(1, round(cell / max(picture.size)))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def grid(
    rows: Sequence[Sequence[Tensor | Image.Image]],
    captions: Sequence[Sequence[str]] | None = None,
    row_titles: Sequence[str] | None = None,
    column_titles: Sequence[str] | None = None,
    group: int = 1,
) -> Image.Image:
    """Draw images in rows, with text.

    Args:
        rows: the images `(C, H, W)` of each row, or pictures of one size, which are drawn as they are. Rows may differ
            in length.
        captions: a text under each image.
        row_titles: a text to the left of each row.
        column_titles: a text above each column.
        group: the number of images side by side without a gap.

    Returns:
        The sheet, in RGB.

    Raises:
        ValueError: no images, or of several sizes; more or fewer texts than there is room for; a Pillow that cannot
            draw text.
    """
    pictures = [[image if isinstance(image, Image.Image) else to_picture(image) for image in row] for row in rows]
    check_count("group", group)
    _check_room(pictures, captions, row_titles, column_titles)
    width, height = next(row for row in pictures if row)[0].size
    font = caption_font(max(12, width // 8))
    if row_titles is not None:
        row_titles = [_short(title, WIDEST_TITLE * width, font) for title in row_titles]
    line = int(font.size * 1.5)
    gap = max(4, width // 10)
    left = gap + (max(int(font.getlength(title)) for title in row_titles) + gap if row_titles else 0)
    top = gap + (line if column_titles is not None else 0)
    step_y = height + (line if captions is not None else 0) + gap
    columns = max(len(row) for row in pictures)

    def left_of(column: int) -> int:
        return left + column * width + (column // group) * gap

    def side_by_side(texts: Sequence[str]) -> list[str]:
        """Cut texts that are much wider than an image, or that run into the next one."""
        shown = [_short(text, OVERHANG * width, font) for text in texts]
        for x in range(len(shown) - 1):
            room = left_of(x + 1) - left_of(x) - font.size // 3
            if sum(map(font.getlength, shown[x : x + 2])) > 2 * room:
                shown[x : x + 2] = [_short(text, room, font) for text in texts[x : x + 2]]
        return shown

    sheet = Image.new("RGB", (left_of(columns - 1) + width + gap, top + len(pictures) * step_y), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, title in enumerate(side_by_side(() if column_titles is None else column_titles)):
        draw.text((left_of(index) + width / 2, gap), title, fill=INK, font=font, anchor="ma")
    for y, row in enumerate(pictures):
        offset = top + y * step_y
        if row_titles:
            draw.text((gap, offset + height / 2), row_titles[y], fill=INK, font=font, anchor="lm")
        for x, picture in enumerate(row):
            sheet.paste(picture, (left_of(x), offset))
        for x, text in enumerate(side_by_side(captions[y]) if captions is not None else ()):
            draw.text((left_of(x) + width / 2, offset + height + 2), text, fill=INK, font=font, anchor="ma")
    return sheet


def _check_room(
    pictures: Sequence[Sequence[Image.Image]],
    captions: Sequence[Sequence[str]] | None,
    row_titles: Sequence[str] | None,
    column_titles: Sequence[str] | None,
) -> None:
    """Make sure that there are pictures, of one size, and a place for every text.

    Raises:
        ValueError: there are none, or others.
    """
    sizes = {picture.size for row in pictures for picture in row}
    if len(sizes) != 1:
        got = ", ".join(f"{width}x{height}" for width, height in sorted(sizes)) or "none"
        raise ValueError(f"rows: expected images of one size, got {got}{'; resize them' if sizes else ''}")
    for name, texts in (("captions", captions), ("row_titles", row_titles)):
        if texts is not None and len(texts) != len(pictures):
            raise ValueError(f"{name}: expected one for each of {len(pictures)} rows, got {len(texts)}")
    columns = max(map(len, pictures))
    if column_titles is not None and len(column_titles) > columns:
        raise ValueError(f"column_titles: expected at most {columns}, one for each column, got {len(column_titles)}")


def _check_names(class_names: Sequence[str], count: int) -> None:
    if len(class_names) != count:
        raise ValueError(f"class_names: expected {count}, one for each class, got {len(class_names)}")


def wrong_labels_grid(
    images: Tensor, counterfactuals: Tensor, own: Tensor, asked: Tensor, class_names: Sequence[str], columns: int = 5
) -> Image.Image:
    """Draw each image next to its counterfactual, with the own and the asked label under them.

    Args:
        images: the images, `(N, C, H, W)` in [0, 1]. 25 images make the usual 5x5 sheet.
        counterfactuals: the same images relabelled, `(N, C, H, W)` in [0, 1].
        own: the labels of the images, `(N,)`.
        asked: the labels that were asked, `(N,)`; or one for all.
        class_names: the name of each class.
        columns: the pairs in a row.

    Returns:
        The sheet, in RGB.

    Raises:
        ValueError: no images; another number of counterfactuals or labels; labels of no class.
    """
    images = given_images("images", images)
    counterfactuals = given_images("counterfactuals", counterfactuals, len(images))
    own, asked = (given_labels(*each, class_names, len(images)) for each in (("own", own), ("asked", asked)))
    check_count("columns", columns)
    rows, captions = [], []
    for start in range(0, len(images), columns):
        indices = range(start, min(start + columns, len(images)))
        rows.append([picture for i in indices for picture in (images[i], counterfactuals[i])])
        captions.append(
            [text for i in indices for text in (class_names[int(own[i])], f"as {class_names[int(asked[i])]}")]
        )
    return grid(rows, captions, group=2)


def reconstructions_grid(images: Tensor, reconstructions: Tensor, columns: int = 10) -> Image.Image:
    """Draw images in rows, and their reconstructions under each row.

    Args:
        images: the images, `(N, C, H, W)` in [0, 1].
        reconstructions: the model's reconstructions under the own labels, `(N, C, H, W)` in [0, 1].
        columns: the images in a row.

    Returns:
        The sheet, in RGB.

    Raises:
        ValueError: no images; another number of reconstructions.
    """
    images = given_images("images", images)
    reconstructions = given_images("reconstructions", reconstructions, len(images))
    check_count("columns", columns)
    rows, titles = [], []
    for start in range(0, len(images), columns):
        rows += [list(images[start : start + columns]), list(reconstructions[start : start + columns])]
        titles += ["image", "model"]
    return grid(rows, row_titles=titles)


def samples_grid(samples: Tensor, class_names: Sequence[str]) -> Image.Image:
    """Draw samples, with one row for each class.

    Args:
        samples: the samples, `(K, N, C, H, W)` in [0, 1].
        class_names: the name of each class.

    Returns:
        The sheet, in RGB.

    Raises:
        ValueError: no samples; another number of names.
    """
    samples = given_images("samples", samples, dims=5)
    _check_names(class_names, len(samples))
    return grid([list(row) for row in samples], row_titles=list(class_names))


def style_transfer_grid(images: Tensor, relabelled: Tensor, class_names: Sequence[str]) -> Image.Image:
    """Draw each image and its counterfactual in every class, with one row for each image.

    Args:
        images: the images, `(N, C, H, W)` in [0, 1].
        relabelled: the same images as every class, `(N, K, C, H, W)` in [0, 1].
        class_names: the name of each class.

    Returns:
        The sheet, in RGB.

    Raises:
        ValueError: no images; another number of relabelled images or of names.
    """
    images = given_images("images", images)
    relabelled = given_images("relabelled", relabelled, len(images), dims=5)
    rows = [[image, *row] for image, row in zip(images, relabelled, strict=True)]
    _check_names(class_names, len(rows[0]) - 1)
    return grid(rows, column_titles=["image", *class_names])


def one_of_each(labels: Tensor, count: int) -> Tensor:
    """Choose images that go through the classes in turn: the first image of every class, then the second, and so on.

    Args:
        labels: the labels, `(N,)`.
        count: the number of images, if there are as many.

    Returns:
        The indices of the images, int64 `(count,)`.

    >>> one_of_each(torch.tensor([1, 1, 0, 0]), 3)
    tensor([2, 0, 3])
    """
    labels = given_numbers("labels", labels, 1)
    members = [(labels == label).nonzero().flatten().tolist() for label in labels.unique().tolist()]
    turns = [index for turn in range(count) for group in members if turn < len(group) for index in [group[turn]]]
    return torch.tensor(turns[: check_count("count", count, at_least=0)], dtype=torch.int64)


def _short(text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
    """Return a text that is not wider than `width`, cut by halves of what is left: a name may be very long."""
    text = drawable(str(text))
    if font.getlength(text) <= width:
        return text
    fits, too_many = 0, len(text)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if font.getlength(text[:middle] + "…") <= width:
            fits = middle
        else:
            too_many = middle
    return text[:fits] + "…"
