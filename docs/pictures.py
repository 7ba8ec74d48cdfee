"""The pictures of these docs that are of no benchmark: a photograph and what becomes of it, and pages in a browser.

    labelvae train digits
    labelvae train digits --out runs/digits_unguided --vae.objective.label-weight 0
    python docs/pictures.py --runs runs/digits runs/digits_unguided

The pages are taken in a headless Chromium. `make pictures` does all three; `python docs/pictures.py` without runs draws
the photograph alone.
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

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Page, sync_playwright

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
from drawn_photos import Kind, draw_photo, written

PORT = 7861
CAPTIONS = 22
"""Pixels above the first row of a sheet."""
HANDS = (1, 4, 7, 8)
"""Rows of the sheet of every class that the README shows."""


def main(runs: list[Path], model: str, out: Path) -> None:
    """Four hands of a sheet; the photograph, relabelled; runs compared; the page to play with after two clicks."""
    rows_of(out / "mnist_every_class.png", HANDS).save(out / "mnist_hands.png", optimize=True)
    drawn_photo().save(out / "photo.jpg", quality=90)
    for label, name in (("8", "photo_as_8.jpg"), ("all", "photo_sheet.jpg")):
        labelvae("relabel", "--model", model, "--to", label, str(out / "photo.jpg"), str(out / name))
    if not runs:
        return
    shutil.copyfile(runs[0] / "wrong_labels.png", out / "digits_wrong_labels.png")
    drawn_scan().save(out / "scan.jpg", quality=85)
    with tempfile.TemporaryDirectory() as folder:
        labelvae("explain", "--model", model, "--classifier", model, "--to", "8", str(out / "scan.jpg"), folder)
        shutil.copyfile(Path(folder) / "explanations.png", out / "explanation.png")
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
        labelvae("compare", *map(str, runs), "--html", str(html))
        page.goto(html.as_uri())
        page.screenshot(path=out / "comparison.png", full_page=True)
        with served(model) as address:
            page.goto(address)
            relabelled(page, out / "scan.jpg")
            page.screenshot(path=out / "demo.png")


def rows_of(sheet: Path, rows: tuple[int, ...]) -> Image.Image:
    """The captions of a square sheet of ten rows, and some of the rows."""
    with Image.open(sheet) as whole:
        tall = (whole.height - CAPTIONS) // 10
        parts = [(0, CAPTIONS), *((CAPTIONS + row * tall, CAPTIONS + (row + 1) * tall) for row in rows)]
        made = Image.new(whole.mode, (whole.width, sum(end - start for start, end in parts)), "white")
        place = 0
        for start, end in parts:
            made.paste(whole.crop((0, start, whole.width, end)), (0, place))
            place += end - start
    return made


def drawn_photo() -> Image.Image:
    """A 4 in blue ink on ruled paper, half of it in a shadow, as a telephone sees it."""
    sheet = Image.new("L", (280, 280))
    pen = ImageDraw.Draw(sheet)
    for stroke in (
        [(128, 40), (118, 85), (88, 150), (90, 158), (140, 156), (205, 150)],
        [(180, 45), (176, 150), (163, 238)],
    ):
        pen.line(stroke, fill=255, width=24, joint="curve")
    digit = np.asarray(sheet.resize((28, 28), Image.Resampling.BOX))
    kind = Kind(pen="blue", paper="ruled", light="soft shadow", size=(640, 480))
    rng = np.random.default_rng(3)
    return draw_photo(lambda tall: (written(digit, tall, kind, rng), 4), kind, rng).picture


def drawn_scan() -> Image.Image:
    """A 4 in ink on paper that is not quite white, lit from one side, as a telephone sees it."""
    paper = Image.new("L", (640, 480), 255)
    pen = ImageDraw.Draw(paper)
    for stroke in ([(330, 90), (255, 265), (400, 250)], [(385, 130), (350, 400)]):
        pen.line(stroke, fill=30, width=22, joint="curve")
        for x, y in stroke:
            pen.ellipse((x - 11, y - 11, x + 11, y + 11), fill=30)
    ink = np.asarray(paper.filter(ImageFilter.GaussianBlur(2)), dtype=np.float64) / 255.0
    light = np.linspace(0.95, 0.75, 640) + 0.02 * np.random.default_rng(0).standard_normal((480, 640))
    tint = np.array([1.0, 0.97, 0.9])
    return Image.fromarray((255.0 * (ink * light)[..., None] * tint).clip(0, 255).astype(np.uint8))


def labelvae(*words: str) -> None:
    """The command line."""
    subprocess.run([sys.executable, "-m", "labelvae", *words], check=True)


def relabelled(page: Page, scan: Path) -> None:
    """Uploads the scan, asks for another label, and waits for the answers."""
    page.wait_for_selector("#after img")
    page.locator("#source label", has_text="Upload").click()
    page.locator("#upload input[type=file]").set_input_files(scan)
    page.wait_for_selector("#pasted img")
    page.locator("#asked label", has_text="8").click()
    page.wait_for_selector("#after img[alt='the image as 8']")


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
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="folders of finished runs to compare")
    parser.add_argument("--model", default="mnist", help="the model to play with")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the pictures")
    main(**vars(parser.parse_args()))
