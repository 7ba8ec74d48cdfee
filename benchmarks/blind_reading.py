"""A reader names counterfactuals without being told what was asked: sheets first, the score after.

    python benchmarks/blind_reading.py draw --model runs/cifar10/vae --data folder --data-dir DIR --out docs/blind
    python benchmarks/blind_reading.py draw --model cifar10 --mixed 20 --data folder --data-dir DIR --out docs/blind
    python benchmarks/blind_reading.py draw --model cifar10 --samples --data folder --data-dir DIR --out docs/blind
    python benchmarks/blind_reading.py draw --real --data folder --data-dir DIR --out runs/blind_real
    (look at docs/blind/sheet_*.png, and write a line "number,class" or "number,class,high" for each picture to
    docs/blind/reading.csv, further readers to reading_2.csv and so on)
    python benchmarks/blind_reading.py score --out docs/blind

What was asked lies in key.json, which is not opened before the readings are written. How well a reader reads at all,
real images tell: `--mixed` shows some among the others. With `--real` and the same seed they are those whose
counterfactuals are shown, so they are read last or by somebody else. Settings are chosen by `--split validation`.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli

from labelvae import ConditionalVAE, ImageData
from labelvae.cli.parser import DashParser
from labelvae.data.image_data import Split
from labelvae.data.settings import DataName
from labelvae.inputs.tensors import wrong_labels
from labelvae.losses.refinement import refining
from labelvae.photos.picture_files import save_picture
from labelvae.system.whole_files import write_whole
from labelvae.visual.grids import grid

A_SHEET = 25
SURE = ("high", "medium", "low")
"""How sure a reader is."""


def draw(
    out: Path,
    model: Path | None = None,
    real: bool = False,
    samples: bool = False,
    refine: float | None = None,
    mixed: int = 0,
    split: Split = "test",
    data: DataName = "cifar10",
    data_dir: Path = Path("data"),
    count: int = 100,
    seed: int = 0,
) -> None:
    """Held-out images, under wrong labels or as they are, on sheets with numbers; what they shall be goes to key.json.

    Args:
        out: folder of sheets, key and reading.
        model: folder of the model, or its name.
        real: show the images as they are, without a model.
        samples: show what the model draws from the prior under the same labels, not the counterfactuals.
        refine: radius by which the model's guide refines them; 0 for none. Without it, what is saved beside the model.
        mixed: so many of the pictures, drawn by seed, are images as they are.
        split: which images of the data set.
        data: which images.
        data_dir: where their files are.
        count: pictures, at most as many as there are images.
        seed: of the images, of the labels asked and of those that are shown as they are.

    Raises:
        SystemExit: a model and real images, or neither; more images mixed in than there are pictures.
    """
    if (model is None) != real:
        raise SystemExit(f"error: expected --model FOLDER or --real, one of them; got model {model}, real {real}")
    vae = None if model is None else ConditionalVAE.from_pretrained(str(model))
    images = ImageData(data, data_dir, image_size=None if vae is None or data != "folder" else vae.image_shape[1:])
    generator = torch.Generator().manual_seed(seed)
    held_out = images.splits[split]
    some = held_out.subset(torch.randperm(len(held_out), generator=generator)[:count]).load()
    count = len(some)
    if not 0 <= mixed <= count:
        raise SystemExit(f"error: --mixed: expected 0 to {count} of {count} pictures, got {mixed}")
    pictures, asked = some.images.float() / 255.0, some.labels
    made = torch.zeros(count, dtype=torch.bool)
    if vae is not None:
        wrong = wrong_labels(some.labels, images.num_classes, generator)
        made[torch.randperm(count, generator=generator)[mixed:]] = True
        best = refining(vae, str(model), refine)
        asked = torch.where(made, wrong, asked)
        shown = best.sample(wrong, generator) if samples else best.relabel(pictures, wrong, some.labels)
        pictures = torch.where(made[:, None, None, None], shown, pictures)
    for first in range(0, count, A_SHEET):
        numbers = range(first, min(first + A_SHEET, count))
        rows = [[pictures[i] for i in numbers[start : start + 5]] for start in range(0, len(numbers), 5)]
        captions = [[str(i) for i in numbers[start : start + 5]] for start in range(0, len(numbers), 5)]
        save_picture(grid(rows, captions), out / f"sheet_{first // A_SHEET}.png")
    key = {
        "classes": images.class_names,
        "seed": seed,
        "asked": [images.class_names[label] for label in asked],
        "own": [images.class_names[label] for label in some.labels],
    }
    write_whole(out / "key.json", json.dumps(key) + "\n")
    print(f"read {out}/sheet_*.png into {out}/reading.csv; the classes are {', '.join(images.class_names)}")


def score(out: Path) -> None:
    """Compares every reading*.csv, a line "number,class" or "number,class,high" for each picture, with key.json.

    Args:
        out: folder of key and readings.

    Raises:
        SystemExit: a file that is missing, a line of another form, a picture that was not read, a class that is none.
    """
    paths = sorted(out.glob("reading*.csv")) or [out / "reading.csv"]
    shares: list[float] = []
    for path in paths:
        key, read = _key_and_reading(out / "key.json", path)
        if len(paths) > 1:
            print(f"{path.name}:")
        every = list(zip(read, key["asked"], key["own"], strict=True))
        made = [each for each in every if each[1] != each[2]] or every
        _say("as asked", [said == asked for (said, _), asked, _ in made])
        shares.append(sum(said == asked for (said, _), asked, _ in made) / len(made))
        if key["asked"] != key["own"]:
            _say("as they were", [said == own for (said, _), _, own in made])
        if 0 < len(made) < len(every):
            _say("real images", [said == own for (said, _), asked, own in every if asked == own])
        for sure in SURE:
            if any(how == sure for _, how in read):
                _say(f"read with {sure} confidence", [said == asked for (said, how), asked, _ in made if how == sure])
        for name in key["classes"]:
            _say(name, [said == name for (said, _), asked, _ in made if asked == name])
    if len(paths) > 1:
        print(f"as asked, mean of {len(paths)} readers: {sum(shares) / len(shares):.3f}")


def _say(what: str, hits: list[bool]) -> None:
    print(f"{what} {sum(hits)} of {len(hits)}")


def _key_and_reading(key_path: Path, path: Path) -> tuple[Any, list[tuple[str, str]]]:
    """The key, and what was read of each picture in order, with how sure the reader was or ""."""
    try:
        key = json.loads(key_path.read_text())
        with path.open(newline="") as file:
            lines = [[word.strip() for word in line] for line in csv.reader(file) if line]
        read = {int(number): (name, *sure) for number, name, *sure in lines}
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}; expected key.json and {path.name} with lines such as 0,cat") from error
    missing = sorted(set(range(len(key["asked"]))) - set(read))
    strange = sorted({said[0] for said in read.values()} - set(key["classes"]))
    unsure = sorted({word for said in read.values() for word in said[1:]} - set(SURE))
    if missing or strange or unsure or any(len(said) > 2 for said in read.values()):
        raise SystemExit(
            f"error: {path.name}: not read: {missing}; no classes: {strange}; no confidence: {unsure}; expected a "
            f"class for each, then nothing or one of {', '.join(SURE)}"
        )
    return key, [(read[i][0], read[i][1] if len(read[i]) > 1 else "") for i in range(len(key["asked"]))]


if __name__ == "__main__":
    auto_cli([draw, score], as_positional=False, parser_class=DashParser)
