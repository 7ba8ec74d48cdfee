"""What the page remembers of its visitors: what each one sent, and the image that each one looks at."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from PIL import Image

MOST_VISITS = 200
"""Visitors that are remembered, at most. Whoever was away longest is forgotten first."""

REMEMBERED = 3600
"""Seconds after which a visitor is forgotten who asked for nothing."""

EMPTY = {
    "Pick": "Pick a picture.",
    "Draw": "Draw a digit first, then use the drawing.",
    "Upload": "Upload a photograph, or paste one from the clipboard.",
}
"""What is said while there is no image, by source."""

_SERIALS = itertools.count(1)


@dataclass(eq=False)
class Visit:
    """What the page remembers of one visitor.

    Attributes:
        sent: the last drawing and the last picture that was sent, by source, or why there is none.
        serial: number of what was sent last; no other visit has it.
        subject: what was asked for last, or why nothing can be shown, and what it was made from.
        every: the subject as every class, and what that was made from.
    """

    sent: dict[str, Image.Image | str] | None = None
    serial: int = 0
    subject: tuple[Any, Any] | None = None
    every: tuple[Any, Any] | None = None

    def take(self, source: str, sent: Image.Image | str) -> None:
        """Remember what somebody sent, or why it cannot be used."""
        self.sent, self.serial = {**(self.sent or {}), source: sent}, next(_SERIALS)


class Visits:
    """The visits of a page, by the random name that each browser gives its own.

    Args:
        most: remembered at most.
        seconds: without a request, after which a visit is forgotten.
    """

    def __init__(self, most: int = MOST_VISITS, seconds: float = REMEMBERED) -> None:
        self.most, self.seconds = most, seconds
        self._visits: OrderedDict[str, tuple[float, Visit]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, name: str) -> Visit:
        """Return the visit of a name; a new one if it is not remembered.

        Raises:
            ValueError: not a name that a browser makes.
        """
        if not isinstance(name, str) or re.fullmatch("[0-9a-f]{32}", name) is None:
            raise ValueError("visit: expected 32 hexadecimal digits; reload the page")
        with self._lock:
            now = time.monotonic()
            _, visit = self._visits.pop(name, (now, Visit()))
            self._visits[name] = now, visit
            while len(self._visits) > self.most or next(iter(self._visits.values()))[0] < now - self.seconds:
                self._visits.popitem(last=False)
        return visit
