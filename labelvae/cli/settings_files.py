"""Files of settings on a command line: what is wrong with one is said in one line, with its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from jsonargparse import ActionConfigFile, Namespace  # type: ignore[attr-defined]

from labelvae.runs.settings import Settings
from labelvae.system.whole_files import user_path


class SettingsFile(ActionConfigFile):
    """An option that reads settings from a file. An empty section of the file changes nothing."""

    def __call__(self, parser: Any, found: Any, word: Any, option: str | None = None) -> None:
        """Read the file into what was found before.

        Raises:
            TypeError: no file, or one that is not UTF-8 or not YAML; names that are there twice, or that are no text; a
                section without names; a folder that is null or a number.
        """
        before = found.clone()
        settings = _checked(word)
        if len(settings) == 1 and None in settings.values():  # which jsonargparse takes for no settings
            (name,) = settings
            if name in _sections(Settings()):
                return
            expected = "a folder" if name in ("out", "data_dir") else "a value"
            raise TypeError(f"{name}: expected {expected} in {word}, got null")
        super().__call__(parser, found, str(user_path(word)), option)  # type: ignore[no-untyped-call]
        for name in _sections(Settings()):
            value = found.get(name)
            if value is None:
                found[name] = before[name]
            elif not isinstance(value, Namespace):
                raise TypeError(f"{name}: expected a section of settings by name in {word}, got {value!r:.80}")
        for name in ("out", "data_dir"):
            if found[name] is None:
                raise TypeError(f"{name}: expected a folder in {word}, got null")


def _checked(word: str) -> dict[str, Any]:
    """Return what is in the file of settings that a word names.

    Raises:
        TypeError: it names no such file.
    """
    import yaml

    path = user_path(word)
    if not word:
        raise TypeError("config: expected a file of settings, got an empty name")
    if not path.is_file():
        there = "a folder" if path.is_dir() else "a pipe or a device" if path.exists() else "no such file"
        raise TypeError(f"config: expected a file of settings such as settings.yaml of a run, got {word!r}: {there}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        node = yaml.compose(text, yaml.SafeLoader)
    except OSError as error:
        raise TypeError(f"{word}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise TypeError(f"{word}: expected a text file in UTF-8 ({error})") from error
    except yaml.YAMLError as error:
        raise TypeError(f"{word}: is not YAML ({_where(error)})") from error
    except RecursionError as error:
        raise TypeError(f"{word}: expected settings by name, got sections too deep in each other") from error
    if not isinstance(node, yaml.MappingNode):
        raise TypeError(f"{word}: expected settings by name, such as rounds: 4, got {'others' if node else 'none'}")
    _check_names(word, node, [])
    try:
        settings: dict[str, Any] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError) as error:  # by a tag such as !!python/object, or !!int abc
        raise TypeError(f"{word}: expected plain values ({_where(error)})") from error
    for name in ("out", "data_dir"):
        if type(value := settings.get(name)) in (bool, int, float):
            said = next((each.value for key, each in node.value if key.value == name), value)
            got = f"{'switch' if isinstance(value, bool) else 'number'} {said}"
            raise TypeError(f"{name}: expected a folder in {word}, got the {got}; write {name}: '{said}'")
    return settings


def _where(error: Any) -> str:
    """Return what the YAML reader found wrong, and in which line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if not problem:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}: {problem}" if mark else str(problem)


def _check_names(word: str, node: Any, outer: list[Any]) -> None:
    """Make sure that names are texts, none in one section twice, and no section in itself. YAML would take the last.

    Raises:
        TypeError: There is such a name or section.
    """
    import yaml

    if node in outer:
        raise TypeError(f"{word}: line {node.start_mark.line + 1}: this section contains itself")
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value)
        if isinstance(key, yaml.ScalarNode) and key.tag.rpartition(":")[2] not in ("str", "merge"):
            raise TypeError(
                f"{word}: line {key.start_mark.line + 1}: expected the name of a setting, got {name or None}"
            )
        if name in seen:
            raise TypeError(f"{word}: line {key.start_mark.line + 1}: {name} is there twice in one section; keep one")
        seen.add(name)
        _check_names(word, value, [*outer, node])


def _sections(settings: Any, before: str = "") -> Iterator[str]:
    """Yield the dotted names of the parts that have settings of their own, the outer ones first."""
    for part in fields(settings):
        value = getattr(settings, part.name)
        if is_dataclass(value):
            yield f"{before}{part.name}"
            yield from _sections(value, f"{before}{part.name}.")
