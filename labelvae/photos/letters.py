"""Small letters beside digits: a word or a line of print, which is no digit and no part of one."""

from __future__ import annotations

from collections.abc import Mapping

from labelvae.photos.pieces import Box, longer_side

MOST_PIECES = 300
"""More pieces than this are a pattern or a page of print, in which no words are looked for."""

SMALL = 0.6
"""Longer side of a letter over that of the largest piece of writing, at most; larger ones may be digits."""

FEWEST = 3
"""Small letters of a word, at least; a digit may be written in two strokes."""

GAP = 0.35
"""Widest gap between two letters of a word, over the height of the taller one."""

CAPITAL = 1.8
"""Height of a word's capital over that of its highest small letter, at most."""

OVERLAP = 0.5
"""Share of the lower letter's height that stands beside the taller one, at least."""


def letters_among(boxes: Mapping[int, Box]) -> list[int]:
    """Return the labels of pieces that are letters: small, three or more side by side, and their capitals.

    Args:
        boxes: by label the box of each piece.
    """
    if len(boxes) > MOST_PIECES:
        return []
    longest = max((longer_side(box) for box in boxes.values()), default=0)
    words: list[list[int]] = []
    for index in sorted(boxes, key=lambda index: boxes[index][1].start):
        if longer_side(boxes[index]) > SMALL * longest:
            continue
        near = [word for word in words if any(_beside(boxes[other], boxes[index]) for other in word)]
        words = [word for word in words if word not in near] + [[*(other for word in near for other in word), index]]
    words = [word for word in words if len(word) >= FEWEST]
    letters = {index for word in words for index in word}
    for word in words:
        tallest = max(_height(boxes[index]) for index in word)
        for index, box in boxes.items():
            beside = any(_beside(*pair) for other in word for pair in ((box, boxes[other]), (boxes[other], box)))
            if beside and _height(box) < CAPITAL * tallest and longer_side(box) < longest:
                letters.add(index)
    return sorted(letters)


def _height(box: Box) -> int:
    return int(box[0].stop - box[0].start)


def _beside(left: Box, right: Box) -> bool:
    """Return whether a piece stands close to the right of another one, on one line with it."""
    gap, heights = right[1].start - left[1].stop, (_height(left), _height(right))
    overlap = min(left[0].stop, right[0].stop) - max(left[0].start, right[0].start)
    return bool(-max(heights) < gap < GAP * max(heights) and overlap >= OVERLAP * min(heights))
