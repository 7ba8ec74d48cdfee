"""A command line from the settings: every field is an option, and its description is the option's help.

Nothing here imports torch before a run starts, so that `--help` answers at once.
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
from functools import partial
from typing import Any

from jsonargparse import ActionYesNo, ArgumentParser

from labelvae.inputs.dotted import flat
from labelvae.runs.settings import Settings
from labelvae.system.allocator import keep_freed_memory


class DashParser(ArgumentParser):
    """A parser of options with dashes (`--data-dir`), and of flags without a value (`--resume`, `--no-resume`)."""

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        """Add an argument, as `argparse` does.

        Returns:
            The action of the argument.
        """
        if kwargs.get("type") is bool:
            del kwargs["type"]
            kwargs["action"] = ActionYesNo(yes_prefix="", no_prefix="no-")
        elif args == ("--channels_last",):  # auto, true or false; true where it stands alone
            kwargs |= {"nargs": "?", "const": True}
        dashed = [name.replace("_", "-") if name.startswith("--") else name for name in args]
        return super().add_argument(*dashed, **kwargs)


@contextmanager
def quick_start() -> Iterator[None]:
    """Import torch in a tenth less time in this context, by not collecting garbage: imports make little.

    What was imported stays, so no later collection looks at it again. Idle threads then sleep instead of spinning,
    unless the environment says otherwise; see `run`.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def run(
    main: Callable[[Settings], Any],
    defaults: Settings,
    description: str,
    args: Sequence[str] | None = None,
    usage: str = "python %(prog)s [options]",
    suited: Callable[[Settings, Callable[[Settings], Settings]], Settings] | None = None,
) -> None:
    """Read settings from the command line, and call `main` with them.

    Idle threads sleep instead of spinning (OMP_WAIT_POLICY), unless the environment says otherwise. On a busy machine a
    spinning thread takes the processor from the thread that it waits for.

    Invalid input prints one line to standard error and exits with status 2. Ctrl-C exits with status 130, and SIGTERM
    with 143. What was made until then is kept.

    Args:
        main: the function to call.
        defaults: the settings to start from, such as a preset.
        description: the first text of the help.
        args: the words of the command line. None takes `sys.argv`.
        usage: the first line of the help.
        suited: returns other settings, given those of the command line and a function that reads the command line
            again, with other settings to start from.
    """
    read = partial(_read, description=description, args=args, usage=usage)
    words, settings_of = read(defaults)
    status = [130]

    def stop(number: int, _: Any) -> None:
        status[0] = 128 + number
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop) if threading.current_thread() is threading.main_thread() else None
    try:
        settings = settings_of()
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # this and the next before torch is imported
        if settings.keep_memory:
            keep_freed_memory()
        if suited is not None:
            settings = suited(settings, lambda others: read(others)[1]())
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


def _read(
    defaults: Settings, description: str, args: Sequence[str] | None, usage: str
) -> tuple[Any, Callable[[], Settings]]:
    """Read the words of a command line, and return them with a function that makes settings of them."""
    parser = DashParser(description=description, usage=usage)
    parser.add_argument(
        "--config", action="config", help="Settings from a file, such as settings.yaml of an earlier run."
    )
    parser.add_class_arguments(Settings)
    parser.set_defaults(flat(asdict(defaults)))
    words = parser.parse_args(args)

    def made() -> Settings:
        found = parser.instantiate(words)
        found.pop("config", None)
        return Settings(**vars(found))

    return words, made
