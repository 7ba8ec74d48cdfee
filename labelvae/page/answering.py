"""The route by which a browser asks the page what its controls show: JSON in, JSON out.

It is a plain route beside those of Gradio. An event of Gradio takes several times the processor time of the model.
"""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from labelvae.inputs.class_names import printable
from labelvae.inputs.conversions import described

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

ROUTE = "/show"

MOST_BODY = 64 * 1024
"""Bytes of the largest request; those of the page have less than one thousand."""


def endpoint(page: Any) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint that answers for a page.

    A request holds `visit`, the random name that the browser gave itself; `shown`, the key of the image that its
    controls belong to; and `values`, those of the controls. The answer holds the `key` of the image, `said` and `html`
    to show, and where the `controls` stand for that image; null leaves a control alone. A request that is wrong is
    answered by status 4xx and one sentence.

    Args:
        page: a `Page` or `AttributePage`.
    """
    from starlette.responses import JSONResponse, PlainTextResponse

    async def answer(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return PlainTextResponse("Expected JSON, of the content type application/json.", 415)  # no form sends it
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY:
                return PlainTextResponse(f"This request is too large; at most {MOST_BODY:,} bytes are taken.", 413)
        try:
            visit, shown, values = _parts(body)
            return JSONResponse(await page.show(page.visits.of(visit), shown, *values))
        except ValueError as error:
            return PlainTextResponse(printable(f"{error}."), 400)
        except Exception:
            traceback.print_exc()  # the server logs nothing of it
            return PlainTextResponse("The page failed at this. Its terminal says why.", 500)

    return answer


def choice(name: str, value: Any, choices: Any) -> Any:
    """Return a value that is one of some choices.

    Raises:
        ValueError: it is none of them.
    """
    for one in choices:
        if type(value) is type(one) and value == one:
            return one
    shown = f"{choices[0]} to {choices[-1]}" if isinstance(choices, range) else ", ".join(map(str, choices))
    raise ValueError(f"{name}: expected one of {shown}, got {described(value)}; reload the page")


def number(name: str, value: Any, low: float, high: float) -> float:
    """Return a number as its slider shows it in the end: the nearest within the range; an emptied one counts as 0.

    Raises:
        ValueError: no finite number.
    """
    given = 0.0 if value is None else value
    if type(given) not in (int, float) or not abs(given) < math.inf:  # isfinite fails at a very long whole number
        raise ValueError(f"{name}: expected a number from {low:g} to {high:g}, got {described(value)}; reload the page")
    return float(min(max(given, low), high))


def count(values: Any, expected: int) -> None:
    """Check how many values came.

    Raises:
        ValueError: another number of them.
    """
    if len(values) != expected:
        raise ValueError(f"values: expected {expected}, got {len(values)}; reload the page")


def _parts(body: bytes) -> tuple[Any, str | None, list[Any]]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("request: expected JSON, got something else") from error
    if not isinstance(asked, dict) or not isinstance(asked.get("values"), list):
        raise ValueError("request: expected an object with visit, shown and the list values, got something else")
    if not isinstance(shown := asked.get("shown"), str | None):
        raise ValueError(f"shown: expected text or null, got {described(shown)}; reload the page")
    return asked.get("visit"), shown, asked["values"]
