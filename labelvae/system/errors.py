"""The words of an error of another program, inside an error of ours."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; its type's name if there is none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
