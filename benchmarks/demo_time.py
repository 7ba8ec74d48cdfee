"""How long the demo takes: with all instructions and with AVX2 alone, quiet and beside one busy process.

    python benchmarks/demo_time.py --out DIR                   the digits, four runs, some minutes each
    python benchmarks/demo_time.py --mnist DATA --out DIR      mnist_brief instead: one run with each kind

Take it on a machine that does nothing else. Every run is a process of its own. `first picture` counts from the start
of the command until the sheet of the packaged model lies in the folder. Writes demo_time.md under --out.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tables import table

BUSY = "import os; first = os.getppid()\nwhile os.getppid() == first: pass"
"""A process that computes for as long as the one that started it is there."""

INSTRUCTIONS: dict[str, dict[str, str]] = {
    "all": {},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}


def timed(words: list[str], out: Path, environment: dict[str, str], busy: bool) -> dict[str, str]:
    """Run a preset and say what it printed of its times.

    Args:
        words: the preset and its options.
        out: folder of the run.
        environment: variables besides this process's own.
        busy: Whether another process computes without end meanwhile.

    Raises:
        RuntimeError: The run failed.
    """
    other = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
    first, row, start = out / "first_look" / "mnist.png", {}, time.perf_counter()
    first.unlink(missing_ok=True)
    log = out.with_suffix(".txt")
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("w") as file:
            command = [sys.executable, "-m", "labelvae", "train", *words, "--overwrite", f"--out={out}"]
            run = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | environment)
            while run.poll() is None:
                if first.is_file() and "first picture" not in row:
                    row["first picture"] = f"{time.perf_counter() - start:.1f} s"
                time.sleep(0.1)
    finally:
        if other is not None:
            other.kill()
            other.wait()
    text = log.read_text()
    if run.returncode:
        raise RuntimeError(f"{command} failed: {text[-1000:]}")
    chosen = re.search(r"precision: (\S+),.*?(\d+) thread", text)
    row["precision"], row["threads"] = chosen.groups() if chosen else ("?", "?")
    row |= {name: f"{seconds} s" for name, seconds in re.findall(r"(\w+): (\d+) s$", text, re.MULTILINE)}
    return row | {"whole run": f"{time.perf_counter() - start:.0f} s"}


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="folder of MNIST's files; without it the digits are run")
    parser.add_argument("--out", type=Path, default=Path("runs/demo_time"))
    args = parser.parse_args()
    words = ["mnist_brief", f"--data-dir={args.mnist}"] if args.mnist else ["digits"]
    rows = []
    for kind, environment in INSTRUCTIONS.items():
        for busy in (False,) if args.mnist else (False, True):
            beside = "one busy process" if busy else "nothing"
            name = f"{'mnist' if args.mnist else 'digits'}-{kind}{'-busy' if busy else ''}"
            row = {"instructions": kind, "beside": beside} | timed(words, args.out / name, environment, busy)
            rows.append(row)
            print(row, flush=True)
    columns = {name: name for row in rows for name in row}
    text = table([dict.fromkeys(columns, "") | row for row in rows], columns) + "\n"
    (args.out / "demo_time.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
