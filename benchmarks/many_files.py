"""Folders of more images than memory should hold: listed, streamed, and relabelled by the command, in bounded memory.

    python benchmarks/many_files.py --out runs/many-files
    python benchmarks/many_files.py --out runs/many-files --listed 20000 --relabelled 2000

Each part runs in a process of its own and prints its seconds and the most memory that it held. The files are hard links
to a few pictures of noise, so that a million of them take no room.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from PIL import Image

from labelvae.cli.parser import DashParser
from labelvae.system.whole_files import write_whole

LINKS = 50_000
"""Names of one picture; some file systems allow 65,000."""

MEASURED = """
import resource, sys, time
start = time.perf_counter()
{code}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"MEASURED {{time.perf_counter() - start:.1f}} {{peak}}")
"""

IMPORTED = "import labelvae.data.image_data, labelvae.cli.commands, labelvae.cli.relabelling"
LISTED = """
from labelvae.data.folders import list_folder
print(len(list_folder(sys.argv[1]).paths))
"""
STREAMED = """
from labelvae import ImageData
data = ImageData("folder", sys.argv[1], memory_share=0.0)
batches = iter(data.loader("train", 64, shuffle=True))
for _ in range(200):
    next(batches)
"""
RELABELLED = """
from labelvae.__main__ import main
main(["relabel", "--model", "mnist", "--to", "8", *sys.argv[3:], sys.argv[1], sys.argv[2]])
"""


def main(out: Path = Path("runs/many-files"), listed: int = 1_000_000, relabelled: int = 100_000) -> None:
    """Makes the folders, runs each part and writes `many_files.json`.

    Args:
        out: folder of everything, which is made anew.
        listed: images of the folder that is listed and streamed.
        relabelled: pictures of the folder that is relabelled.
    """
    shutil.rmtree(out, ignore_errors=True)
    make_folder(out / "listed", listed)
    make_folder(out / "pictures", relabelled)
    rows = {"imports alone": measure(IMPORTED, out)}
    rows[f"list {listed:,} images"] = measure(LISTED, out / "listed")
    rows[f"read the headers of {listed:,} images, stream 200 batches of 64"] = measure(STREAMED, out / "listed")
    rows[f"relabel {relabelled:,} pictures"] = measure(RELABELLED, out / "pictures", out / "results")
    rows["the same again with --resume"] = measure(RELABELLED, out / "pictures", out / "results", "--resume")
    made = sum(len(files) for _, _, files in os.walk(out / "results"))
    print(f"results: {made:,}")
    write_whole(out / "many_files.json", json.dumps(rows, indent=2) + "\n")


def make_folder(root: Path, count: int) -> None:
    """Makes `count` images of 28x28 grey pixels in the folders of ten classes."""
    chance = np.random.default_rng(0)
    for label in range(10):
        folder = root / f"class {label}"
        folder.mkdir(parents=True)
        for number in range(count // 10):
            path = folder / f"image {number:06}.png"
            if number % LINKS == 0:
                first = path
                Image.fromarray(chance.integers(0, 256, (28, 28), dtype=np.uint8)).save(path)
            else:
                os.link(first, path)


def measure(code: str, *words: Path | str) -> dict[str, float]:
    """Seconds and peak memory of a program, in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", MEASURED.format(code=code), *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = result.stdout.rpartition("MEASURED ")[2].split()
    row = {"seconds": float(seconds), "peak memory, MB": int(peak)}
    print(code.strip().splitlines()[-1][:60], row, flush=True)
    return row


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
