"""How the demo page answers many people at once: every session asks for one update after the other without a pause.

    python benchmarks/page_load.py --sessions 40 --updates 10

Starts the page on this machine, and asks it from this machine only. Each answer is compared with what the model makes
of the same picture and label. Needs the `demo` extra.
"""

from __future__ import annotations

import argparse
import base64
import io
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil
import torch
from gradio_client import Client
from PIL import Image

from labelvae import ConditionalVAE
from labelvae.page.player import Player

MOST_SESSIONS, MOST_UPDATES, MOST_SECONDS = 200, 1000, 600
LEVELS = 2
"""Grey levels that a pixel may be off: images of a batch are rounded differently."""


class Session(threading.Thread):
    """One visitor: half of the updates ask for another picture, half for another label."""

    def __init__(self, address: str, player: Player, seed: int, updates: int, until: float) -> None:
        super().__init__(daemon=True)
        self.player, self.updates, self.until = player, updates, until
        self.chance = random.Random(seed)
        self.client = Client(address, verbose=False, httpx_kwargs={"timeout": 300})
        self.seconds: dict[str, list[float]] = {"picture": [], "label": []}
        self.right = 0

    def run(self) -> None:
        """Ask for one update after the other."""
        pick, asked = self.chance.randrange(len(self.player.pictures)), 0
        for number in range(self.updates):
            kind = "picture" if number % 2 == 0 else "label"
            if kind == "picture":
                pick = self.chance.randrange(len(self.player.pictures))
            asked = self.chance.randrange(self.player.vae.num_classes)
            start = time.perf_counter()
            if start > self.until:
                return
            styles = [0.0] * len(self.player.directions)
            *_, html = self.client.predict("Pick", pick, "pad", False, 0, asked, 1.0, *styles, api_name="/show")
            self.seconds[kind].append(time.perf_counter() - start)
            self.right += self._is_right(html, pick, asked)

    def _is_right(self, html: str, pick: int, asked: int) -> bool:
        image = self.player.pictures[pick]
        expected = self.player.relabel(image, self.player.guesses[pick], asked)
        shown = [_levels(html, name) for name in ("before", "after")]
        return all(
            np.abs(levels - (255 * made[0].numpy())).max() <= LEVELS
            for levels, made in zip(shown, (image, expected), strict=True)
        )


def _levels(html: str, figure: str) -> np.ndarray:
    found = re.search(rf'<figure id="{figure}"><img src="data:image/png;base64,([^"]+)"', html)
    if found is None:
        raise SystemExit(f"error: the page shows no {figure}: {html[:200]}")
    picture = Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("L")
    return np.asarray(picture, dtype=np.float32)


def _processor(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def served(model: str) -> Iterator[tuple[str, psutil.Process]]:
    """The address of the page of a model and its process, while it is served."""
    command = [sys.executable, "-m", "labelvae", "demo", "--model", model, "--port", "0"]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                print(f"{time.perf_counter() - start:5.1f} s: {line.strip()}")
                if found := re.search(r"http://\S+/", line):
                    yield found[0], psutil.Process(process.pid)
                    break
        finally:
            process.terminate()


def main(model: str, sessions: int, updates: int, seconds: float) -> None:
    """Drive the sessions; print how long updates took and how many were right."""
    torch.set_num_threads(1)
    sessions, updates = min(sessions, MOST_SESSIONS), min(updates, MOST_UPDATES)
    player = Player(ConditionalVAE.from_pretrained(model), [str(label) for label in range(10)])
    player.guesses = [index % player.vae.num_classes for index in range(len(player.pictures))]
    with served(model) as (address, server):
        until = time.perf_counter() + min(seconds, MOST_SECONDS)
        people = [Session(address, player, seed, updates, until) for seed in range(sessions)]
        start, busy = time.perf_counter(), _processor(server)
        for one in people:
            one.start()
        for one in people:
            one.join(max(0.0, until + 30 - time.perf_counter()))
        took, busy = time.perf_counter() - start, _processor(server) - busy
    for kind in ("picture", "label"):
        times = [second for one in people for second in one.seconds[kind]]
        if times:
            print(f"another {kind}: median {statistics.median(times):.2f} s, worst {max(times):.2f} s")
    done = sum(len(times) for one in people for times in one.seconds.values())
    right = sum(one.right for one in people)
    print(f"{right} of {done} updates of {sessions} sessions right, {done / took:.0f} updates a second")
    print(f"processor time of the page: {1000 * busy / max(1, done):.0f} ms an update")
    if right < done or done == 0:
        raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mnist", help="a model of grey images with a guide beside it")
    parser.add_argument("--sessions", type=int, default=40, help=f"at most {MOST_SESSIONS}")
    parser.add_argument("--updates", type=int, default=10, help=f"of each session, at most {MOST_UPDATES}")
    parser.add_argument("--seconds", type=float, default=120, help=f"after which none is begun, at most {MOST_SECONDS}")
    main(**vars(parser.parse_args()))
