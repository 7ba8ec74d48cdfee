"""`labelvae COMMAND ...`, for people who do not write Python. It is the same as `python -m labelvae COMMAND ...`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, get_args, get_type_hints

from labelvae.cli import commands, explaining, picture_commands
from labelvae.cli.mistakes import alike, model_meant
from labelvae.cli.parser import DashParser, quick_start, run
from labelvae.cli.surroundings import check_here, keep_printing, plain_warnings, said
from labelvae.runs import presets
from labelvae.runs.settings import Settings

PRESETS = {
    "digits": presets.DIGITS,
    "mnist": presets.MNIST,
    "mnist_brief": presets.MNIST_BRIEF,
    "mnist_varied": presets.MNIST_VARIED,
    "fashion_mnist": presets.FASHION_MNIST,
    "kmnist": presets.KMNIST,
    "cifar10": presets.CIFAR10,
    "cifar10_small": presets.CIFAR10_SMALL,
    "folder": presets.FOLDER,
    "table": presets.TABLE,
}

COMMANDS: dict[str, tuple[Callable[..., None], dict[str, str]]] = {
    "evaluate": (commands.run_evaluate, {}),
    "prior": (commands.prior, {}),
    "relabel": (picture_commands.relabel, {"paths": "+"}),
    "sample": (picture_commands.sample, {"out": ""}),
    "explain": (explaining.explain, {"paths": "+"}),
    "compare": (commands.compare, {"runs": "+"}),
    "export": (commands.export, {"out": ""}),
    "demo": (commands.demo, {}),
}
"""The function of each command, and its positional arguments; "+" for one or more."""

USAGE = """usage: labelvae COMMAND [options]

  train PRESET   train guide, judge and model; score and draw ({presets})
{commands}

labelvae COMMAND --help lists the options of a command.
"""


def main(args: Sequence[str] | None = None) -> None:
    """Run a command. Invalid input prints one line to standard error and exits with status 2."""
    keep_printing()
    try:
        with plain_warnings():
            _main(list(sys.argv[1:] if args is None else args) or ["--help"])
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk is said here
    except OSError as error:
        _refuse(said(error))


def _main(args: list[str]) -> None:
    command, *words = args
    if command in ("-h", "--help"):
        print(_usage(), end="")
    elif command == "--version":
        from labelvae import __version__

        print(f"labelvae {__version__}")
    elif command == "train":
        _train(words)
    elif command in COMMANDS:
        _run(command, words)
    else:
        _refuse(_no_such("command", command, ["train", *COMMANDS], ["--help", "--version"]))


def _train(words: list[str]) -> None:
    preset, *options = words or ["--help"]
    usage = f"labelvae train PRESET [options]; PRESET is one of {', '.join(PRESETS)}"
    if preset in ("-h", "--help"):
        print(f"usage: {usage}\n\nlabelvae train PRESET --help lists the options and the preset's values.")
    elif preset not in PRESETS:
        _refuse(_no_such("preset", preset, PRESETS, ["--help"]))
    else:
        text = "Train guide, judge, model and reference; score them on held-out images; draw."
        usage, images = f"labelvae train {preset} [options]", _ImagesOfRun()
        suited = images.suited if preset == "folder" else None
        run(images.experiment, PRESETS[preset], text, options, usage, suited)


class _ImagesOfRun:
    """The images of a run, read at most once. torch is imported only here, after --help."""

    def __init__(self) -> None:
        self.data: list[Any] = []

    def suited(self, settings: Settings, read_again: Callable[[Settings], Settings]) -> Settings:
        """Read the images of a folder, and return the settings that suit them, with the options of the command line.

        If the options do not fit these settings, such as a size of the code that cannot be laid out, those of `FOLDER`
        are kept.
        """
        if settings.data.name != "folder":
            return settings
        with quick_start():
            from labelvae.runs.building import check_networks, read_images
            from labelvae.runs.folder_looks import folder_settings, kind_of

        self.data = [read_images(settings)]
        data = self.data[0]
        kind = kind_of(data)
        try:
            found = read_again(folder_settings(data, kind))
            check_networks(found, data.image_shape, data.label_form)
        except ValueError as error:
            print(f"settings: for any images, because those for {kind} do not fit the options ({error})", flush=True)
            return settings
        print(f"settings: for {kind}, as a first look at the images says", flush=True)
        return found

    def experiment(self, settings: Settings) -> None:
        """Run the experiment, on the images that were read already, if they were."""
        is_new = not (settings.resume or settings.fast_dev_run or settings.find_learning_rate)
        is_free = settings.overwrite or not (settings.out / "settings.yaml").is_file()
        if settings.data.name == "digits" and is_new and is_free:  # they are the demo
            with quick_start():
                from labelvae.runs.first_look import first_look

            first_look(settings.out)
        with quick_start():
            from labelvae.runs.experiment import run_experiment

        run_experiment(settings, *self.data)


def _run(command: str, words: list[str]) -> None:
    function, positional = COMMANDS[command]
    text, _, described = (inspect.getdoc(function) or "").partition("\n\nArgs:\n")  # nothing under python -OO
    parser = DashParser(prog=f"labelvae {command}", description=text)
    help_of = _argument_help(described)
    for name, count in positional.items():
        parser.add_argument(name, help=help_of.get(name), **({"nargs": count} if count else {}))
    parser.add_function_arguments(function, as_group=False, skip=set(positional))
    arguments: dict[str, Any] = {}
    try:
        arguments |= vars(parser.instantiate(parser.parse_args(words)))
        check_here()
        hints = get_type_hints(function)
        for name, count in positional.items():
            value = arguments[name]
            arguments[name] = [get_args(hints[name])[0](word) for word in value] if count else hints[name](value)
        function(**arguments)
    except (ValueError, OSError) as error:
        _refuse(said(error) + model_meant(said(error), arguments))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _argument_help(described: str) -> dict[str, str]:
    lines = (line.strip().partition(": ") for line in described.splitlines())
    return {name: rest for name, separator, rest in lines if separator}


def _usage() -> str:
    lines = [f"  {name:<14} {(inspect.getdoc(how[0]) or '').partition(chr(10))[0]}" for name, how in COMMANDS.items()]
    return USAGE.format(presets=", ".join(PRESETS), commands="\n".join(line.rstrip() for line in lines))


def _no_such(name: str, word: str, known: Collection[str], options: Sequence[str]) -> str:
    """Return that a command or preset was expected, and which one may be meant."""
    meant = alike(word, [*known, *options])
    if not meant and word.startswith("-"):
        meant = f"; the {name} comes before its options"
    return f"{name}: expected one of {', '.join(known)}, got {word!r}{meant}"


def _refuse(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
