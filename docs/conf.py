"""How the documentation is built: `make docs`, offline, with warnings as errors."""

import re
from typing import Any

import labelvae

project = "labelvae"
author = "The labelvae authors"
project_copyright = author
release = labelvae.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "labelvae"
html_copy_source = False
html_math_renderer = "mathjax"  # the one part of a page that is fetched, and only where the reader is online
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_ivar = True
nitpicky = False


def as_code(part: str) -> str:
    """`code` is shown as code, and the number of a paper as a link to it."""
    text = part.strip("`")
    paper = text.removeprefix("arXiv:")
    return f"``{text}``" if paper == text else f"`arXiv {paper} <https://arxiv.org/abs/{paper}>`__"


def as_rst(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `code`: what reStructuredText would take for something else is escaped.

    An indented block after a line that ends with a colon is a formula, which is shown as it is.
    """
    formula = False
    for index, line in enumerate(lines):
        formula = line.startswith("    ") and (formula or lines[max(0, index - 2)].endswith("::")) if line else formula
        if formula or line.lstrip().startswith((">>>", ":")):
            continue
        parts = re.split(r"(`+[^`]*`+)", re.sub(r"arXiv (\d{4}\.\d{4,5})", r"`arXiv:\1`", line))
        lines[index] = "".join(
            as_code(part) if part.startswith("`") else re.sub(r"([|*])", r"\\\1", part) for part in parts
        )
        after = [each[:4] for each in lines[index + 1 : index + 3]]
        if line.endswith(":") and line[0] not in " ." and after == ["", " " * 4]:
            lines[index] += ":"


def setup(app: Any) -> None:
    """Registers the hook, to run after napoleon's."""
    app.connect("autodoc-process-docstring", as_rst, priority=900)
