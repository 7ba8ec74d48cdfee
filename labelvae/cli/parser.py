"""A command line from the settings: every field is an option, and its description is the option's help.

Nothing here imports torch before a run starts, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from argparse import SUPPRESS
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ActionYesNo, ArgumentParser

from labelvae.cli.mistakes import in_one_line
from labelvae.cli.settings_files import SettingsFile
from labelvae.cli.surroundings import check_here, check_place, said, stops_wait
from labelvae.inputs.dotted import flat
from labelvae.runs.settings import Settings
from labelvae.system.allocator import keep_freed_memory


class DashParser(ArgumentParser):
    """A parser of options with dashes (`--data-dir`), and of flags without a value (`--resume`, `--no-resume`).

    Invalid words print one line to standard error and exit with status 2.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # jsonargparse warns of abbreviations that nobody allowed, and knows the last option by this name only
        super().__init__(*args, **{"allow_abbrev": True, "print_config": "--print-config", **kwargs})

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        """Add an argument, as `argparse` does.

        Returns:
            The action of the argument.
        """
        if kwargs.get("type") is bool:
            del kwargs["type"]
            kwargs["action"] = ActionYesNo(yes_prefix="", no_prefix="no-")
        elif args in (("--channels_last",), ("--graphs",)):  # auto, true or false; true where it stands alone
            kwargs |= {"nargs": "?", "const": True}
        dashed = [name.replace("_", "-") if name.startswith("--") else name for name in args]
        return super().add_argument(*dashed, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say in one line what is wrong, and exit."""
        if not self.exit_on_error:
            super().error(message, ex)
        usage = (self.usage or "%(prog)s").partition(" [")[0] % {"prog": self.prog}
        print(f"error: {in_one_line(message, self._actions, usage)}", file=sys.stderr)
        raise SystemExit(2)


@contextmanager
def quick_start() -> Iterator[None]:
    """Import torch in a tenth less time in this context, by not collecting garbage: imports make little.

    What was imported stays, so no later collection looks at it again. Idle threads then sleep instead of spinning,
    unless the environment says otherwise; see `run`. Ctrl-C waits for the end; see `stops_wait`.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    was_on = gc.isenabled()
    gc.disable()
    try:
        with stops_wait():
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
        check_here()
        settings = settings_of()
        check_place("out", settings.out, folder=True)
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # this and the next before torch is imported
        if settings.keep_memory:
            keep_freed_memory()
        if suited is not None:
            settings = suited(settings, lambda others: read(others)[1]())
        main(settings)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {said(error)}", file=sys.stderr)
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
        "--config", action=SettingsFile, help="Settings from a file, such as settings.yaml of an earlier run."
    )
    parser.add_class_arguments(Settings)
    parser.add_argument("--more-guides", type=int, default=0, help=SUPPRESS)  # in the settings of older runs
    parser.set_defaults(flat(asdict(defaults)))
    given = list(sys.argv[1:] if args is None else args)
    if "--out=" in given or ("--out", "") in pairwise(given):  # which a shell makes of a variable that is not set
        parser.error("out: expected a folder, got an empty name")
    words = parser.parse_args(_file_first(given))

    def made() -> Settings:
        found = parser.instantiate(words)
        files = [Path(os.path.abspath(file)) for file in found.pop("config", None) or () if file is not None]
        if found.pop("more_guides"):
            raise ValueError("more_guides: a run has one guide; GuidedELBO(guide, more_guides=[...]) takes several")
        settings = Settings(**vars(found))
        if not any(word.partition("=")[0] == "--out" for word in given):
            _check_resumed(settings, files)
        return settings

    return words, made


def _check_resumed(settings: Settings, files: Sequence[Path]) -> None:
    """Make sure that a resumed run is not started from nothing, because its folder was moved.

    Args:
        settings: the settings, with the folder that one of the files names.
        files: the settings files of the command line.

    Raises:
        ValueError: no run in the folder, and a run beside one of the files.
    """
    aside = settings.fast_dev_run or settings.find_learning_rate  # which have a folder of their own
    if not settings.resume or aside or (settings.out / "settings.yaml").is_file():
        return
    for file in files:
        if file.name == "settings.yaml" and (file.parent / "checkpoints").is_dir():
            raise ValueError(
                f"resume: {file} names the folder {settings.out}, where there is no run; --out {file.parent} goes on "
                "with the run beside the file"
            )


def _file_first(words: list[str]) -> list[str]:
    """Return the words of a command line with `--config` in front, so that the options count for more.

    >>> _file_first(["--resume", "--config", "a.yaml", "--rounds=2"])
    ['--config', 'a.yaml', '--resume', '--rounds=2']
    """
    files: list[str] = []
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        name, separator, _ = word.partition("=")
        if len(name) < len("--con") or not "--config".startswith(name):  # a shorter name could be --compile
            others.append(word)
        else:
            files += [word] if separator else [word, *islice(rest, 1)]
    return files + others
