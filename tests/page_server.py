"""The demo page as a user starts it, for tests."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Server:
    """A page that is served.

    Attributes:
        address: with the token, if there is one.
        process: that serves it.
        printed: what it has written so far, of both its streams.
    """

    address: str
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def printed(self) -> str:
        return self.output.read_text()

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(300)


@contextlib.contextmanager
def served(folder: Path, *options: str) -> Iterator[Server]:
    """Serve the page; what it writes and its temporary files are under `folder`."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    output = folder / "printed"
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "labelvae", "demo", "--port", "0", *options]
    with (
        output.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment) as process,
    ):
        try:
            while (found := re.search(r"the page is at (http://\S+);", output.read_text())) is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
                assert process.poll() is None, output.read_text()
            yield Server(found[1].replace("0.0.0.0", "127.0.0.1"), process, output)
        finally:
            process.kill()
