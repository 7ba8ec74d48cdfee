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


def as_rst(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `code`: what reStructuredText would take for something else is escaped."""
    parts = [re.split(r"(`+[^`]*`+)", line) for line in lines]
    for index, line in enumerate(parts):
        if not lines[index].lstrip().startswith((">>>", ":")):
            lines[index] = "".join(
                f"``{part.strip('`')}``" if part.startswith("`") else re.sub(r"([|*])", r"\\\1", part) for part in line
            )


def setup(app: Any) -> None:
    """Registers the hook, to run after napoleon's."""
    app.connect("autodoc-process-docstring", as_rst, priority=900)
