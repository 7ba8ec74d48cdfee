"""A command line from the settings: every field is an option, its docstring the help.

Nothing here imports torch before a run is asked for, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from jsonargparse import ActionYesNo, ArgumentParser

from labelvae.inputs.dotted import flat
from labelvae.runs.settings import Settings
from labelvae.system.allocator import keep_freed_memory


class DashParser(ArgumentParser):
    """Options with dashes (`--data-dir`), and flags that need no value (`--resume`, `--no-resume`)."""

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        """As argparse's."""
        if kwargs.get("type") is bool:
            del kwargs["type"]
            kwargs["action"] = ActionYesNo(yes_prefix="", no_prefix="no-")
        elif args == ("--channels_last",):  # auto, true or false; true where it stands alone
            kwargs |= {"nargs": "?", "const": True}
        dashed = [name.replace("_", "-") if name.startswith("--") else name for name in args]
        return super().add_argument(*dashed, **kwargs)


@contextmanager
def quick_start() -> Iterator[None]:
    """Import torch in a tenth less time, without collecting garbage, of which imports make little.

    Idle threads sleep rather than spin afterwards, unless the environment says otherwise; see `run`.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def run(
    main: Callable[[Settings], Any],
    defaults: Settings,
    description: str,
    args: Sequence[str] | None = None,
    usage: str = "python %(prog)s [options]",
) -> None:
    """Reads settings from the command line and calls `main` with them.

    Idle threads sleep rather than spin (OMP_WAIT_POLICY), unless the environment says otherwise: where another program
    is busy, a spinning thread takes the processor from the one it waits for.

    What cannot be leaves one sentence on standard error and exit status 2; Ctrl-C leaves what is made and
    exit status 130, and so does SIGTERM, with 143.

    Args:
        main: the run.
        defaults: a preset.
        description: the head of the help.
        args: the words; None takes the command line's.
        usage: the first line of the help.
    """
    parser = DashParser(description=description, usage=usage)
    parser.add_argument(
        "--config", action="config", help="Settings from a file, such as settings.yaml of an earlier run."
    )
    parser.add_class_arguments(Settings)
    parser.set_defaults(flat(asdict(defaults)))
    words = parser.parse_args(args)
    status = [130]

    def stop(number: int, _: Any) -> None:
        status[0] = 128 + number
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop) if threading.current_thread() is threading.main_thread() else None
    try:
        settings = parser.instantiate(words)
        settings.pop("config", None)
        settings = Settings(**vars(settings))
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # this and the next before main imports torch
        if settings.keep_memory:
            keep_freed_memory()
        main(settings)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"\nstopped; what is made is under {words.out}, --resume goes on from there", file=sys.stderr)
        raise SystemExit(status[0]) from None
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
