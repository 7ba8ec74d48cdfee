"""The pages that labelvae makes, as a reader sees them: pictures for these docs, taken in a headless Chromium.

labelvae train digits
labelvae train digits --out runs/digits_unguided --vae.objective.label-weight 0
python docs/screenshots.py --runs runs/digits runs/digits_unguided --out docs/images
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Page, sync_playwright

PORT = 7861


def main(runs: list[Path], model: str, out: Path) -> None:
    """The comparison of the runs, and the page to play with after two clicks."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if browser is None:
        raise SystemExit("error: no Chromium on the path; install one to take pictures of pages")
    with (
        sync_playwright() as driver,
        contextlib.closing(driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])) as chromium,
        tempfile.TemporaryDirectory() as folder,
    ):
        page = chromium.new_page(viewport={"width": 1200, "height": 900})
        html = Path(folder) / "comparison.html"
        subprocess.run([sys.executable, "-m", "labelvae", "compare", *map(str, runs), "--html", str(html)], check=True)
        page.goto(html.as_uri())
        page.screenshot(path=out / "comparison.png")
        with served(model) as address:
            page.goto(address)
            relabelled(page)
            page.screenshot(path=out / "demo.png")


def relabelled(page: Page) -> None:
    """Picks an image and asks for another label, and waits for the answers."""
    page.wait_for_selector("#after img")
    page.locator("#pick button.thumbnail-item, #pick .thumbnail-lg").nth(4).click()
    page.wait_for_timeout(3000)
    page.locator("#asked label", has_text="8").click()
    page.wait_for_timeout(3000)


@contextlib.contextmanager
def served(model: str) -> Iterator[str]:
    """The address of the demo page of a model, while it is served."""
    command = [sys.executable, "-m", "labelvae", "demo", "--model", model, "--port", str(PORT)]
    process, address = subprocess.Popen(command), f"http://127.0.0.1:{PORT}/"
    try:
        for _ in range(120):
            with contextlib.suppress(URLError):
                urlopen(address).close()
                break
            time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True, help="folders of finished runs to compare")
    parser.add_argument("--model", default="mnist", help="the model to play with")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the pictures")
    main(**vars(parser.parse_args()))
