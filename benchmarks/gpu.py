"""Everything that is to be known from a GPU that is at hand for minutes, in one command.

    python benchmarks/gpu.py --data-dir DIR --out OUT --minutes 9     on one modern GPU
    python benchmarks/gpu.py --out OUT --rehearse                     the same path on a CPU, two batches of everything
    python benchmarks/gpu.py --data-dir DIR --out OUT --only check,speed --then none

DIR holds torchvision's files, `MNIST/raw` and `cifar-10-batches-py`, or instead of the latter a copy as images,
`cifar10-jpeg/{train,test}/CLASS/*.jpg`. Steps run one after the other, each in a process and under a limit of its own;
those of `--then` share what is left. OUT gets `summary.json`, rewritten as results come in, and `log.txt`, which ends
with the table of docs/gpu.md; from the trainings `sheets.png`, `blind.png` with its `key.json`, and the weights of
CIFAR10's model and guide, `cifar10_0.safetensors` to `cifar10_2.safetensors`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from gpu_steps import Runner, Step

MINUTES = 9.0
"""What the limits of the steps are for; with other minutes they are in proportion."""

STEPS = (
    Step("check", 30, "gpu_check:check"),
    Step("mnist", 80, "gpu_train:mnist", "gpu_data:mnist"),
    Step("cifar10", 340, "gpu_train:cifar10", "gpu_data:cifar10"),
    Step("speed", 80, "gpu_speed:speed"),
)
"""The most important first."""

THEN = (
    Step("compile", 150, "gpu_check:compile_steps"),
    Step("last", 150, "gpu_train:last", "gpu_data:cifar10"),
    Step("small", 150, "gpu_train:small", "gpu_data:cifar10"),
    Step("unguided", 150, "gpu_train:unguided", "gpu_data:cifar10"),
)
"""The most wanted further runs; they share the time that is left."""

KEPT = ("sheets.png", "blind.png", "key.json", *(f"cifar10_{part}.safetensors" for part in range(3)))
REHEARSED = 300.0
"""Seconds that a step of a rehearsal may take."""


def main() -> None:
    """Reads the command line, runs the steps and prints the table; the exit status is 1 where a step failed."""
    args = arguments()
    scratch = args.scratch or Path(tempfile.mkdtemp(prefix="labelvae-gpu-"))
    scratch.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        (args.out / name).unlink(missing_ok=True)
    prepare_environment(scratch, args.rehearse)
    share = args.minutes / MINUTES
    steps = STEPS if args.only is None else chosen(args.only)
    then = THEN if args.only is None and args.then is None else chosen(args.then or "none")
    then = [step for step in then if step not in steps]
    steps = [replace(step, seconds=REHEARSED if args.rehearse else share * step.seconds) for step in steps]
    told = {"data_dir": str(args.data_dir.resolve()), "rehearse": args.rehearse}
    facts = {"command": shlex.join(["python", *sys.argv]), "rehearsal": args.rehearse}
    runner = Runner(args.out.resolve(), scratch.resolve(), told, args.minutes, facts)
    summary = runner.run(steps, then)
    from gpu_report import table  # it imports torch, which the steps must not wait for

    runner.log.write(text := f"\n{table(summary)}")
    runner.log.close()
    print(text, flush=True)
    failed = [name for name, step in summary["steps"].items() if step["status"] not in ("done", "not reached")]
    raise SystemExit(1 if failed else 0)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = ", ".join(step.name for step in STEPS + THEN)
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of the images")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of what is kept")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time for everything")
    parser.add_argument("--only", help=f"steps, with commas between: {names}")
    parser.add_argument("--then", help="steps for what is left of the time, or none")
    parser.add_argument("--rehearse", action="store_true", help="two batches of everything, on made-up images")
    parser.add_argument("--scratch", type=Path, help="folder of what the steps share; a new one without it")
    args = parser.parse_args()
    if not args.minutes > 0:
        parser.error(f"argument --minutes: expected a number above 0, got {args.minutes}")
    for name in ("only", "then"):
        unknown = set((getattr(args, name) or "none").split(",")) - {step.name for step in STEPS + THEN} - {"none"}
        if unknown:
            parser.error(f"argument --{name}: no such steps: {', '.join(sorted(unknown))}; choose from {names}")
    return args


def chosen(names: str) -> list[Step]:
    """The steps of these names, in the order of the names."""
    return [step for name in names.split(",") for step in STEPS + THEN if step.name == name]


def prepare_environment(scratch: Path, rehearse: bool) -> None:
    """What the steps' processes find: everything they write lies in `scratch`, and nothing asks the network."""
    folders = {
        "HOME": scratch,  # it may not be writable
        "TORCHINDUCTOR_CACHE_DIR": scratch / "inductor",
        "TRITON_CACHE_DIR": scratch / "triton",
        "MPLCONFIGDIR": scratch / "matplotlib",
        "XDG_CACHE_HOME": scratch / "cache",
    }
    os.environ |= {name: str(folder) for name, folder in folders.items()}
    os.environ |= {"WANDB_MODE": "disabled", "WANDB_SILENT": "true"}
    if rehearse:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


if __name__ == "__main__":
    main()
