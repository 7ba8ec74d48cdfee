"""The campaign: what goes wrong is made to go wrong, and what is lost is counted.

    python benchmarks/faults.py --out runs/faults            about half an hour on two cores
    python benchmarks/faults.py --out runs/faults --short    a few minutes, to see that it runs

Faults are injected into real processes of `labelvae train digits`, into files and into inputs. A run is *lost* if it
cannot be resumed, bytes are lost if they had been reported as kept and are gone (a checkpoint that no longer loads
or has gone back), and an answer is *silent and wrong* if a resumed run ends with other weights than an undisturbed
one, or bad input gets an answer. Writes `faults.md` and `faults.json`. What is done stays under `--out`: run it again
to go on after a stop.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from stopped_runs import Example, Row, full_disk, kills

from labelvae import ConditionalVAE, GuidedELBO, LabelClassifier, VAETraining, evaluate
from labelvae.data.image_sets import ImageSet
from labelvae.data.labelled_files import read_folder
from labelvae.data.loaders import ImageLoader
from labelvae.system.whole_files import write_whole


def refused(row: Row, call: Callable[[], Any]) -> None:
    """Counts a bad input: refused in words, or answered in silence."""
    row.injected += 1
    try:
        call()
    except ValueError:
        row.refused += 1
    except Exception as error:
        print(f"{row.kind}: {type(error).__name__}: {error}", file=sys.stderr)
        row.silent_wrong_answers += 1
    else:
        row.silent_wrong_answers += 1


def broken_files(work: Path, count: int) -> Row:
    """Truncated, overwritten and foreign weights and configurations."""
    row, chance = Row("truncated and foreign model files"), random.Random(0)
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8,), hidden_dim=16)
    for _ in range(count):
        folder = Path(tempfile.mkdtemp(dir=work))
        vae.save_pretrained(folder)
        path = folder / "model.safetensors"
        whole = path.read_bytes()
        kind = chance.choice(["cut", "longer", "foreign", "header"])
        if kind == "cut":
            path.write_bytes(whole[: chance.randrange(len(whole))])
        elif kind == "longer":
            path.write_bytes(whole + chance.randbytes(chance.randint(1, 100)))
        elif kind == "foreign":
            path.write_bytes(chance.randbytes(chance.randint(0, 10_000)))
        else:
            path.write_bytes(chance.randbytes(8) + whole[8:])
        refused(row, lambda folder=folder: ConditionalVAE.from_pretrained(folder))  # type: ignore[misc]
        shutil.rmtree(folder)
    return row


class _Malicious:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def malicious_files(work: Path) -> Row:
    """Pickles that make a file when they are read, wherever the library reads one."""
    row, mark = Row("malicious pickles"), work / "mark"
    plain = pickle.dumps(_Malicious(mark))
    torch.save({"epoch": 0, "state_dict": {}, "extra": _Malicious(mark)}, work / "zip")
    for content in (plain, (work / "zip").read_bytes()):
        for name in ("model.safetensors", "config.json"):
            folder = Path(tempfile.mkdtemp(dir=work))
            LabelClassifier((1, 8, 8), 3, widths=(8,)).save_pretrained(folder)
            (folder / "model.safetensors").unlink()
            (folder / name).write_bytes(content)
            refused(row, lambda folder=folder: LabelClassifier.from_pretrained(folder))  # type: ignore[misc]
        example = Example(Path(tempfile.mkdtemp(dir=work)))
        process = example.start()
        checkpoint = example.folder / "out" / "checkpoints" / "guide.ckpt"
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.05)
        process.kill()
        process.wait()
        checkpoint.write_bytes(content)
        row.injected += 1
        row.refused += example.run("--resume") == 2
    row.silent_wrong_answers += mark.exists()
    return row


def bad_inputs(count: int) -> Row:
    """Images and labels of wrong shapes, types, ranges and numbers, to every use of a model."""
    row, chance = Row("bad inputs"), random.Random(0)
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=2, encoder_widths=(4,), hidden_dim=4)
    guide = LabelClassifier((1, 8, 8), 3, widths=(4,), feature_dim=4).eval()
    good, labels = torch.rand(2, 1, 8, 8), torch.tensor([0, 1])
    bad_images: list[Any] = [
        good[0],
        good.byte(),
        good * 255,
        good - 1,
        good * torch.nan,
        good[:0],
        good[..., :7],
        None,
    ]
    bad_images += [good.expand(2, 3, 8, 8), good.numpy(), good.bool(), good / 0, "image"]
    bad_labels: list[Any] = [3, -1, 10**30, None, "cat", 0.5, labels + 2, -labels - 1, labels[:1], labels.float()]
    bad_labels += [labels.bool(), [[0.5, 0.5]], [[1.0, 1.0, 0.0]] * 2, labels[:, None], [0, 1, 2], np.array(["a", "b"])]
    uses: list[Callable[[Any, Any], Any]] = [
        vae.relabel,
        vae.reconstruct,
        vae,
        lambda images, asked: vae.interpolate(images, asked, 0),
        lambda images, asked: vae.interpolate(images, 0, asked),
        lambda images, asked: GuidedELBO(guide)(vae, images, asked),
        lambda images, asked: evaluate(vae, [(images, asked)], guide, progress=False),
    ]
    for _ in range(count):
        images, asked = (
            (chance.choice(bad_images), labels) if chance.random() < 0.5 else (good, chance.choice(bad_labels))
        )
        use = chance.choice(uses)
        refused(row, lambda use=use, images=images, asked=asked: use(images, asked))  # type: ignore[misc]
    return row


def resident_megabytes() -> float:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def long_training(steps: int) -> dict[str, float]:
    """Memory at a tenth of a training and at its end."""
    from lightning.pytorch import Callback, Trainer

    seen: dict[int, float] = {}

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step in (steps // 10, steps):
                seen[trainer.global_step] = resident_megabytes()

    images = ImageSet(torch.randint(256, (256, 1, 8, 8), dtype=torch.uint8), torch.arange(256) % 10)
    vae = ConditionalVAE((1, 8, 8), 10, latent_dim=4, encoder_widths=(8,), hidden_dim=16)
    task = VAETraining(vae, GuidedELBO(LabelClassifier((1, 8, 8), 10, widths=(8,), feature_dim=8)))
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        callbacks=[Watch()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, ImageLoader(images, 16, shuffle=True))
    return {"steps": steps, "MB at a tenth": seen[steps // 10], "MB at the end": seen[steps]}


def large_folder(work: Path, count: int) -> dict[str, float]:
    """Memory and pixels of a folder of many images, links to a few files."""
    root, chance = work / "images", np.random.default_rng(0)
    for label in range(10):
        (root / f"class{label}").mkdir(parents=True)
        first = root / f"class{label}" / "0.png"
        Image.fromarray(chance.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(first)
        for index in range(1, count // 10):
            os.link(first, root / f"class{label}" / f"{index}.png")
    before = resident_megabytes()
    source = read_folder(root, None)
    grown = resident_megabytes() - before
    shutil.rmtree(root)
    return {"images": len(source.train), "MB of pixels": source.train.nbytes / 1e6, "MB grown": grown}


def markdown(rows: list[Row], measures: dict[str, dict[str, float]]) -> str:
    """The tables."""
    head = ["fault", "injected", "runs lost", "bytes lost", "silent wrong answers", "refused in words"]
    lines = [head, ["---"] + ["---:"] * 5]
    lines += [[str(value) for value in asdict(row).values()] for row in [*rows, total(rows)]]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    said = "\n".join(
        f"- {name}: " + ", ".join(f"{key} {value:,.0f}" for key, value in values.items())
        for name, values in measures.items()
    )
    where = (
        f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores"
    )
    return f"{table}\n\n{said}\n\nMade by `{' '.join(sys.argv)}`; {where}.\n"


def total(rows: list[Row]) -> Row:
    """The sum of all rows."""
    numbers = [list(asdict(row).values())[1:] for row in rows]
    return Row("all", *(sum(column) for column in zip(*numbers, strict=True)))


def main() -> int:
    """The campaign; 0 if nothing was lost and nothing was answered in silence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/faults"), help="folder of the tables")
    parser.add_argument("--short", action="store_true", help="a few of each, to see that it runs")
    parser.add_argument("--only", help="one part alone, such as SIGKILL or disk")
    words = parser.parse_args()
    torch.manual_seed(0)
    short = words.short
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        example = Example(Path(tempfile.mkdtemp(dir=work)))
        began = time.monotonic()
        if example.run() != 0:
            print((example.folder / "said").read_text(), file=sys.stderr)
            return 1
        seconds, whole = time.monotonic() - began, example.weights()
        sizes = [path.stat().st_size for path in (example.folder / "out" / "checkpoints").glob("*.ckpt")]
        killers = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
        steps: dict[str, Callable[[], Any]] = {
            **{each.name: partial(kills, work, whole, seconds, each, 2 if short else 40) for each in killers},
            "disk": partial(full_disk, work, whole, sizes, 1 if short else 10),
            "broken": partial(broken_files, work, 50 if short else 2000),
            "malicious": partial(malicious_files, work),
            "inputs": partial(bad_inputs, 200 if short else 10_000),
            "a long training": partial(long_training, 500 if short else 20_000),
            "a large folder": partial(large_folder, work, 2_000 if short else 100_000),
        }
        if words.only is not None and words.only not in steps:
            parser.error(f"--only: expected one of {', '.join(steps)}, got {words.only}")
        folder_of_parts = words.out / ("parts-short" if short else "parts")
        for name, step in steps.items():
            kept = folder_of_parts / f"{name}.json"
            if words.only in (None, name) and not kept.is_file():
                came = step()
                write_whole(kept, json.dumps(asdict(came) if isinstance(came, Row) else came))
                print(f"{name}: {came}", flush=True)
        parts = {name: folder_of_parts / f"{name}.json" for name in steps}
        missing = [name for name, path in parts.items() if not path.is_file()]
        if missing:
            print(f"still missing: {', '.join(missing)}")
            return 0
        found: dict[str, Any] = {name: json.loads(path.read_text()) for name, path in parts.items()}
        rows = [Row(**part) for part in found.values() if "kind" in part]
        measures = {name: part for name, part in found.items() if "kind" not in part}
    write_whole(words.out / "faults.md", markdown(rows, measures))
    report = {"rows": [asdict(row) for row in [*rows, total(rows)]], "measures": measures}
    write_whole(words.out / "faults.json", json.dumps(report, indent=2) + "\n")
    print(markdown(rows, measures))
    lost = total(rows)
    return int(lost.runs_lost + lost.bytes_lost + lost.silent_wrong_answers > 0)


if __name__ == "__main__":
    sys.exit(main())
