"""Every Python block of the README and the documentation runs, from top to bottom of its page; every command exists."""

import contextlib
import inspect
import re
import shlex
from pathlib import Path

import pytest

from labelvae.__main__ import COMMANDS, PRESETS
from labelvae.cli.parser import run

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE):
        exec(compile(block, str(page), "exec"), namespace)


def shell_lines() -> list[list[str]]:
    """The words of every `labelvae` and `python` line of the pages' shell blocks."""
    pages = "".join(page.read_text() for page in PAGES)
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```", pages, flags=re.DOTALL | re.MULTILINE))
    lines = blocks.splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith(("labelvae ", "python "))]


@pytest.mark.parametrize("words", shell_lines(), ids=" ".join)
def test_shell_lines_name_what_there_is(words):
    program, first, *options = words
    if program == "python" and first in ("-m", "..."):
        return
    source = (ROOT / first).read_text() if program == "python" else ""  # its options, as words of it
    if first == "train" or "    run(main" in source:
        preset = PRESETS[options.pop(0) if first == "train" else "mnist"]
        seen = []
        with contextlib.suppress(SystemExit):  # after --help
            run(seen.append, preset, "", [*options, "--no-keep-memory"])
        assert seen or "--help" in options
        return
    known = source or inspect.signature(COMMANDS[first][0]).parameters
    names = [option.partition("=")[0][2:].removeprefix("no-") for option in options if option.startswith("--")]
    assert [name for name in names if name.replace("-", "_") not in known and name != "help"] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing
