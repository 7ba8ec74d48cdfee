"""A reader names counterfactuals without being told what was asked: sheets first, the score after.

    python benchmarks/blind_reading.py draw --model runs/cifar10/vae --data folder --data-dir DIR --out docs/blind
    python benchmarks/blind_reading.py draw --real --data folder --data-dir DIR --out runs/blind_real
    (look at docs/blind/sheet_*.png, and write a line "number,class" for each picture to docs/blind/reading.csv)
    python benchmarks/blind_reading.py score --out docs/blind

What was asked lies in key.json, which is not opened before the reading is written. How well a reader reads at all, real
images tell; with one seed they are those whose counterfactuals are shown, so they are read last or by somebody else.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import torch
from jsonargparse import auto_cli

from labelvae import ConditionalVAE, ImageData
from labelvae.command_line import DashParser
from labelvae.figures import grid
from labelvae.inputs import wrong_labels
from labelvae.picture_files import save_picture
from labelvae.settings import DataName
from labelvae.whole_files import write_whole

A_SHEET = 25


def draw(
    out: Path,
    model: Path | None = None,
    real: bool = False,
    data: DataName = "cifar10",
    data_dir: Path = Path("data"),
    count: int = 100,
    seed: int = 0,
) -> None:
    """Test images, under wrong labels or as they are, on sheets with numbers; what they shall be goes to key.json.

    Args:
        out: Folder of sheets, key and reading.
        model: Folder of the model.
        real: Show the images as they are, without a model.
        data: Which images.
        data_dir: Where their files are.
        count: Pictures, at most as many as there are test images.
        seed: Of the images and of the labels asked.

    Raises:
        SystemExit: a model and real images, or neither.
    """
    if (model is None) != real:
        raise SystemExit(f"error: expected --model FOLDER or --real, one of them; got model {model}, real {real}")
    images = ImageData(data, data_dir)
    generator = torch.Generator().manual_seed(seed)
    test = images.splits["test"]
    some = test.subset(torch.randperm(len(test), generator=generator)[:count]).load()
    count = len(some)
    pictures, asked = some.images.float() / 255.0, some.labels
    if model is not None:
        asked = wrong_labels(some.labels, images.num_classes, generator)
        pictures = ConditionalVAE.from_pretrained(model).relabel(pictures, asked, some.labels)
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
    """Compares reading.csv, a line "number,class" for each picture, with key.json.

    Args:
        out: Folder of key and reading.

    Raises:
        SystemExit: a file that is missing, a line of another form, a picture that was not read, a class that is none.
    """
    try:
        key = json.loads((out / "key.json").read_text())
        with (out / "reading.csv").open(newline="") as file:
            read = {int(number): name.strip() for number, name in csv.reader(file)}
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}; expected key.json and reading.csv with lines such as 0,cat") from error
    missing = sorted(set(range(len(key["asked"]))) - set(read))
    strange = sorted(set(read.values()) - set(key["classes"]))
    if missing or strange:
        raise SystemExit(f"error: reading.csv: not read: {missing}; no classes: {strange}; expected one for each")
    pairs = [(read[i], asked, own) for i, (asked, own) in enumerate(zip(key["asked"], key["own"], strict=True))]
    right = {name: [said == name for said, asked, _ in pairs if asked == name] for name in key["classes"]}
    print(f"as asked {sum(said == asked for said, asked, _ in pairs)} of {len(pairs)}")
    if key["asked"] != key["own"]:
        print(f"as they were {sum(said == own for said, _, own in pairs)} of {len(pairs)}")
    for name, hits in right.items():
        print(f"{name}: {sum(hits)} of {len(hits)}")


if __name__ == "__main__":
    auto_cli([draw, score], as_positional=False, parser_class=DashParser)
