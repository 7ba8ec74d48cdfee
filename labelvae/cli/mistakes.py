"""Mistakes on a command line, said in one line: what came, what was expected, and what to do.

jsonargparse says them in several lines, with the types of Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import NoneType
from typing import Any, get_args, get_origin

_ONE = {int: "a whole number", float: "a number", bool: "true or false", NoneType: "null", str: "a text"}
_MANY = {int: "whole numbers such as [8,16]", float: "numbers such as [0.5,1]"}

MOST_NAMED = 4
"""Options that one line names, at most."""


def in_one_line(message: str, actions: Sequence[Any], usage: str) -> str:
    """Return what is wrong with a command line in one line.

    Args:
        message: what jsonargparse says.
        actions: the arguments of the parser.
        usage: the command, which `--help` may follow.
    """
    said = message.strip()
    for pattern, worded in _PATTERNS.items():
        if found := re.match(pattern, said, re.DOTALL):
            return worded(found, actions, usage)
    return " ".join(said.split())


def alike(word: str, known: Iterable[str]) -> str:
    """Return a question for the end of an error: which known word was meant; "" if none is like it.

    >>> alike("Relable", ["relabel", "sample"]), alike("x", ["relabel"])
    ('; did you mean relabel?', '')
    """
    words = {_plain(each): each for each in known}
    close = get_close_matches(_plain(word), words, n=1, cutoff=0.7)
    return f"; did you mean {words[close[0]]}?" if close else ""


def model_meant(sentence: str, given: Mapping[str, Any]) -> str:
    """Return a question for the end of an error of a model that is not there: which packaged model was meant.

    Args:
        sentence: the error.
        given: the arguments of the command, of which one may name the model.
    """
    from labelvae.models.hub import PACKAGED

    known = [folder.name for folder in PACKAGED.iterdir() if folder.is_dir()]
    for name in (given.get(option) for option in ("model", "judge", "guide", "classifier")):
        if name and "no such f" in sentence and sentence.startswith((f"{name}/", f"{name}: ")):
            first = name.partition("/")[0]
            return "" if first in known else alike(first, known)
    return ""


def _unknown(found: re.Match[str], actions: Sequence[Any], usage: str) -> str:
    name = found[1].split(maxsplit=1)[0].partition("=")[0]
    if name.startswith(("–", "—")):  # noqa: RUF001  into which editors turn two hyphens
        return f"{name}: begins with a dash that is no hyphen; write --{name.lstrip('–—-')}"  # noqa: RUF001
    if not name.startswith("-") or name == "--":
        return f"expected no other words than options, got {found[1]!r}; {usage} --help lists the options"
    if not name.startswith("--"):
        return f"{name}: is no option; write ./{name} for a file, or {usage} --help for the options"
    options = [option for each in actions for option in each.option_strings if option.startswith("--")]
    help_of = f"; {usage} --help lists the options"
    return f"{name}: is no option{_meant(name, options) or help_of}"


def _missing(found: re.Match[str], actions: Sequence[Any], usage: str) -> str:
    names = [_option_of(name, actions) for name in found[1].split(", ")]
    return f"expected {', '.join(names)}, got none; {usage} --help lists the options"


def _without_value(found: re.Match[str], actions: Sequence[Any], _: str) -> str:
    option = found[1].partition("/")[0]
    action = next((each for each in actions if option in each.option_strings), None)
    return f"{option.lstrip('-')}: expected {_expected(action)}, got nothing; write {option}=... if it begins with -"


def _with_value(found: re.Match[str], *_: Any) -> str:
    names = [name for name in found[1].split("/") if name.startswith("--")]
    return f"{names[0][2:]}: expected no value, got {found[2]!r}; write {' or '.join(names)}"


def _ambiguous(found: re.Match[str], *_: Any) -> str:
    return f"{found[1]}: expected one option, could be {_some(found[2].split(', '))}; write it in full"


def _no_setting(found: re.Match[str], actions: Sequence[Any], _: str) -> str:
    name = f"{found[1]}.{found[2]}" if found[1] else found[2]
    known = [each.dest for each in actions if each.option_strings and each.dest != name]  # --help is no setting
    return f"{name}: is no setting{_meant(name, known) or '; --print-config lists all'}"


def _no_switch(found: re.Match[str], *_: Any) -> str:
    return f"settings: expected true or false for a switch, got {found[1]!r}"


def _meant(name: str, known: Sequence[str]) -> str:
    """Return which names may be meant: those with the same last part, or else the most similar one."""
    tail = "." + _plain(name).rpartition(".")[2]
    same = [each for each in known if _plain(f".{each.lstrip('-')}").endswith(tail)]
    return f"; did you mean {_some(same)}?" if same else alike(name, known)


def _some(names: Sequence[str]) -> str:
    *first, last = names[:MOST_NAMED]
    if len(names) > MOST_NAMED:
        return f"{', '.join([*first, last])} or others"
    return f"{', '.join(first)} or {last}" if first else last


def _wrong_value(found: re.Match[str], actions: Sequence[Any], _: str) -> str:
    name, said = found[1], found.string
    action = next((each for each in actions if each.dest == name), None)
    given = re.findall("(?:Given|Got) value: ?(.*)", said)
    if "Unable to load config" in said:
        inner = [option for each in actions for option in each.option_strings if each.dest.startswith(f"{name}.")]
        return f"{name}: expected its settings one by one, such as {inner[-1] if inner else '--help'}"
    if _kind(action) is None:
        return " ".join(f"{name}:{said.partition(':')[2]}".split())
    if not given:
        return f"{name}: expected {_expected(action)}, got something else"
    choices = [choice for part in (_kind(action), *get_args(_kind(action))) for choice in _choices(part)]
    if given[-1] in ("True", "False") and "on" in choices:  # YAML takes them for true and false
        return f"{name}: expected {_expected(action)}, got {given[-1].lower()}; in a file, put on and off in quotes"
    return f"{name}: expected {_expected(action)}, got {given[-1]!r}{alike(given[-1], choices)}"


def _expected(action: Any) -> str:
    kind = _kind(action)
    return "a value" if kind in (None, str) else _words(kind)


def _words(kind: Any) -> str:
    """Return what a type takes, in words.

    >>> _words(int), _words(float | None), _words(tuple[int, ...])
    ('a whole number', 'a number or null', 'a list of whole numbers such as [8,16]')
    """
    parts = get_args(kind)
    if _choices(kind):
        return f"one of {', '.join(map(str, parts))}" if len(parts) > 1 else str(parts[0])
    if get_origin(kind) is tuple:
        count = "a list of" if parts[-1] is ... else str(len(parts))
        return f"{count} {_MANY.get(parts[0], 'values')}"
    if get_origin(kind) is dict:
        return "names with their values"
    if parts:
        return " or ".join(_words(part) for part in parts)
    return _ONE.get(kind, "a path")


def _choices(kind: Any) -> list[str]:
    """Return the texts that a `Literal` lists; none for another type."""
    return [each for each in get_args(kind) if isinstance(each, str)]


def _kind(action: Any) -> Any:
    return getattr(action, "_typehint", None)


def _option_of(name: str, actions: Sequence[Any]) -> str:
    action = next((each for each in actions if each.dest == name), None)
    return action.option_strings[0] if action is not None and action.option_strings else name


def _plain(word: str) -> str:
    return word.casefold().replace("_", "-")


_PATTERNS: dict[str, Callable[[re.Match[str], Sequence[Any], str], str]] = {
    "unrecognized arguments: (.+)": _unknown,
    "the following arguments are required: (.+)": _missing,
    "argument ([^ ]+): expected (?:at least )?(?:one|1) argument": _without_value,
    "argument ([^ ]+): ignored explicit argument '(.*)'": _with_value,
    "ambiguous option: ([^ =]+).* could match (.+)": _ambiguous,
    "(?:Group '([^']+)' does not accept option|Option) '([^']+)'": _no_setting,
    'Parser key "([^"]+)":': _wrong_value,
    r"Value not boolean: (.*)\.": _no_switch,
}
"""What jsonargparse says, and what says it in one line."""
