"""Relabelled images a second on one core: `relabel` against ONNX Runtime with the exported model.

    python benchmarks/inference.py --out runs/inference
    python benchmarks/inference.py --models '[mnist]' --kept-memory --out runs/inference

The packaged models, and the digits preset's network without training, by batch size. Ways are run in turn, round after
round; a ratio is to ONNX Runtime of the same round, and above 1 is faster. Results must agree. ONNX Runtime is in the
`export` extra.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
import torch
from jsonargparse import auto_cli
from machine import machine_line
from tables import table

from labelvae import ConditionalVAE
from labelvae.cli.parser import DashParser
from labelvae.models.export import export_onnx
from labelvae.runs.building import new_vae
from labelvae.runs.presets import DIGITS
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.whole_files import write_whole

PACKAGED = Path(__file__).parent.parent / "labelvae" / "pretrained"
COLUMNS = ["model", "batch", "way", "images a second", "ratio", "least", "most", "processor ms an image"]


def main(
    models: list[Literal["digits", "mnist", "cifar10"]] = ["digits", "mnist", "cifar10"],  # noqa: B006  read only
    batches: list[int] = [1, 16, 256, 1024],  # noqa: B006
    rounds: int = 5,
    kept_memory: bool = False,
    out: Path = Path("runs/inference"),
) -> None:
    """Measure, and write `inference.md` and `inference.json`.

    Args:
        models: whose networks.
        batches: images of a call.
        rounds: rounds of every comparison.
        kept_memory: let glibc keep freed memory, as `labelvae relabel` does.
        out: folder of the tables and of the exported models.
    """
    if kept_memory:
        keep_freed_memory()
    torch.set_num_threads(1)
    rows = []
    for name in models:
        vae = model_of(name)
        out.mkdir(parents=True, exist_ok=True)
        export_onnx(vae, out / f"{name}.onnx")
        for batch in batches:
            rows += compared(name, vae, out / f"{name}.onnx", batch, rounds)
            print(table(rows[-3:], {column: column for column in COLUMNS}), flush=True)
    head = f"{machine_line('onnxruntime')}; {rounds} rounds; freed memory {'kept' if kept_memory else 'not kept'}"
    write_whole(out / "inference.json", json.dumps({"head": head, "rows": rows}, indent=2) + "\n")
    write_whole(out / "inference.md", f"{head}\n\n{table(rows, {column: column for column in COLUMNS})}\n")


def model_of(name: str) -> ConditionalVAE:
    """A packaged model, or the digits preset's network without training."""
    if name == "digits":
        torch.manual_seed(0)
        return new_vae(DIGITS.vae, (1, 8, 8), 10).eval()
    return ConditionalVAE.from_pretrained(PACKAGED / name / "vae")


def compared(name: str, vae: ConditionalVAE, file: Path, batch: int, rounds: int) -> list[dict[str, Any]]:
    """One row a way of relabelling a batch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    images, labels = torch.rand(batch, *vae.image_shape), torch.arange(batch) % vae.num_classes
    last = model_of(name).to(memory_format=torch.channels_last)
    fed = {"images": images.numpy(), "labels": labels.numpy()}
    ways: dict[str, Callable[[], Any]] = {
        "ONNX Runtime": lambda: session.run(None, fed)[0],
        "relabel": lambda: vae.relabel(images, labels),
        "relabel, model in channels-last": lambda: last.relabel(images, labels),
    }
    made = [np.asarray(way()) for way in ways.values()]
    for other in made[1:]:
        np.testing.assert_allclose(other, made[0], atol=1e-4)
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            times[way].append(timed(run))
    rows = []
    for way, found in times.items():
        pairs = zip(times["ONNX Runtime"], found, strict=True)
        ratios = sorted(theirs[0] / ours[0] for theirs, ours in pairs)
        seconds, processor = (statistics.median(column) for column in zip(*found, strict=True))
        row = {"model": name, "batch": batch, "way": way, "images a second": round(batch / seconds)}
        row |= {"ratio": statistics.median(ratios), "least": ratios[0], "most": ratios[-1]}
        rows.append(row | {"processor ms an image": 1e3 * processor / batch})
    return rows


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds and processor seconds of a call, the mean of as many as take a fifth of a second."""
    start, processor, count = time.perf_counter(), time.process_time(), 0
    while count == 0 or time.perf_counter() - start < 0.2:
        run()
        count += 1
    return (time.perf_counter() - start) / count, (time.process_time() - processor) / count


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
