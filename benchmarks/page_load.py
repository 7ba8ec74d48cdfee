"""How the demo page answers many people at once: every session asks for one update after the other without a pause.

    python benchmarks/page_load.py --sessions 40 --updates 10

Starts the page on this machine, and asks it from this machine only, as a browser does: by the page's own route, on a
connection that is kept. Each answer is compared with what the model makes of the same picture and label. Processor time
can be compared on a busy machine too; seconds cannot. Needs the `demo` extra.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import torch
from PIL import Image

from labelvae import ConditionalVAE
from labelvae.page.answering import ROUTE
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
        self.visit = f"{seed:032x}"
        parts = urlsplit(address)
        assert parts.hostname is not None
        self.connection = HTTPConnection(parts.hostname, parts.port, timeout=300)
        self.seconds: dict[str, list[float]] = {"picture": [], "label": []}
        self.asked = 0
        self.shown: list[tuple[int, int, list[str]]] = []

    def run(self) -> None:
        """Ask for one update after the other; what came is compared later, so that asking costs little."""
        pick, own, key = self.chance.randrange(len(self.player.pictures)), 0, None
        for number in range(self.updates):
            kind = "picture" if number % 2 == 0 else "label"
            if kind == "picture":
                pick = self.chance.randrange(len(self.player.pictures))
            asked = self.chance.randrange(self.player.vae.num_classes)
            values = ["Pick", pick, "pad", False, asked, own, 1.0, *[0.0] * len(self.player.directions)]
            start = time.perf_counter()
            if start > self.until:
                return
            self.asked += 1
            answer = self._ask({"visit": self.visit, "shown": key, "values": values})
            self.seconds[kind].append(time.perf_counter() - start)
            key, own = answer["key"], answer["controls"][1]
            self.shown.append((pick, asked, [_address(answer["html"], name) for name in ("before", "after")]))

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        self.connection.request("POST", ROUTE, json.dumps(question), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise RuntimeError(f"the page answers {answer.status}: {text[:200]}")
        found: dict[str, Any] = json.loads(text)
        return found

    def right(self) -> int:
        """How many answers show the picture that was asked for, under the label that was asked for."""
        return sum(self._is_right(*each) for each in self.shown)

    def _is_right(self, pick: int, asked: int, shown: list[str]) -> bool:
        image = self.player.pictures[pick]
        expected = self.player.relabel(image, self.player.guesses[pick], asked)
        return all(
            np.abs(_levels(address) - 255 * made[0].numpy()).max() <= LEVELS
            for address, made in zip(shown, (image, expected), strict=True)
        )


def _address(html: str, figure: str) -> str:
    found = re.search(rf'<figure id="{figure}"><img src="data:image/png;base64,([^"]+)"', html)
    if found is None:
        raise RuntimeError(f"the page shows no {figure}: {html[:200]}")
    return found[1]


def _levels(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address))).convert("L"), dtype=np.float32)


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
    for kinds in (("picture",), ("label",), ("picture", "label")):
        times = [second for one in people for kind in kinds for second in one.seconds[kind]]
        if times:
            print(f"another {' or '.join(kinds)}: median {statistics.median(times):.2f} s, worst {max(times):.2f} s")
    done = sum(len(times) for one in people for times in one.seconds.values())
    right = sum(one.right() for one in people)
    print(f"{right} of {done} updates of {sessions} sessions right, {done / took:.0f} updates a second")
    print(f"processor time of the page: {1000 * busy / max(1, done):.0f} ms an update")
    if right < sum(one.asked for one in people) or right == 0:
        raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mnist", help="a model of grey images with a guide beside it")
    parser.add_argument("--sessions", type=int, default=40, help=f"at most {MOST_SESSIONS}")
    parser.add_argument("--updates", type=int, default=10, help=f"of each session, at most {MOST_UPDATES}")
    parser.add_argument("--seconds", type=float, default=120, help=f"after which none is begun, at most {MOST_SECONDS}")
    main(**vars(parser.parse_args()))
