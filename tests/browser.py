"""A Chromium for the tests of the page: found, or brought.

python tests/browser.py    brings one where there is none
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
HINT = (
    "no Chromium: neither on the PATH nor Playwright's own; `make page-test` brings one, or install the package "
    "`chromium` of your system (apt-get, dnf, pacman), or `brew install --cask chromium`"
)


@contextlib.contextmanager
def opened() -> Iterator[Any]:
    """A headless Chromium, from the PATH or Playwright's own; None where there is none."""
    from playwright.sync_api import Error, sync_playwright

    path = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except Error as error:
            if "Executable doesn't exist" not in str(error):
                raise
            browser = None
        yield browser
        if browser is not None:
            browser.close()


def required() -> Iterator[Any]:
    """A headless Chromium for tests. Without one they are skipped, or fail where BROWSER_REQUIRED is set."""
    import pytest

    with opened() as browser:
        if browser is None:
            (pytest.fail if os.environ.get("BROWSER_REQUIRED") else pytest.skip)(HINT)
        yield browser


def bring() -> None:
    """Install a Chromium: Playwright's, or else the system's where this user may."""
    with opened() as browser:
        if browser is not None:
            return
    brought = subprocess.run([sys.executable, "-m", "playwright", "install", "chromium-headless-shell"], check=False)
    if brought.returncode and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        print("Playwright's browser cannot be had here; installing the system's", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=False)
    with opened() as browser:
        if browser is None:
            raise SystemExit(f"error: {HINT}")


if __name__ == "__main__":
    bring()
