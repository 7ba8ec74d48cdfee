"""The command that explains a classifier: `labelvae explain`.

Tensors are `Any` here, because the command line reads the types, and `--help` must not pay for torch.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

from labelvae.cli.loading import guide_beside, images_of_run, load_classifier, load_model
from labelvae.cli.surroundings import check_place
from labelvae.data.settings import DataName

SHEET, SCORES = "explanations.png", "scores.json"
"""What is written."""

TELLING, LEAST = 8, 2
"""Rows of the sheet: images that tell most, and those with the least COUT."""

MOST_LINES = 20
"""Images of which a line says what became of them."""


def explain(
    paths: list[str],
    *,
    model: str,
    classifier: str,
    to: str | None = None,
    judge: str | None = None,
    data: DataName | None = None,
    data_dir: Path | None = None,
    count: int = 500,
    threshold: float = 0.1,
    invert: bool = False,
    fit: Literal["auto", "pad", "crop", "strokes"] = "auto",
    skip_unreadable: bool = False,
) -> None:
    """Explain a classifier: which change to an image makes it say something else?

    Give pictures, folders of them, or globs, and last the folder where the results go. With the folder alone, the
    test images of a data set are explained: those of --data, or of the run that the model is from.

    The model draws each image again, and turns it into its counterfactual in a hundred steps. Printed are the measures
    of the literature, in the mean: flip rate, validity, the judge's opinion (oracle score), proximity (l1, l2),
    sparsity, and how soon the changed pixels convince the classifier (cout, from -1 to 1). The folder gets scores.json
    with the measures of each image, and explanations.png with the images whose cout is highest, and the two of least.

    Args:
        paths: pictures, and last the folder for the results; or the folder alone.
        model: folder of a trained model, or its name.
        classifier: what is explained: the folder of a classifier, its name, or a file ending in .pt2 that
            torch.export.save wrote, from images in [0, 1] to logits, for any number of images.
        to: the label of the counterfactuals, its name or index; without it, the classifier's second choice.
        judge: a second classifier, in the forms of the first.
        data: a data set whose test images are explained.
        data_dir: where the files of the data set are.
        count: most images; of more, as many are taken at even distances.
        threshold: change of a pixel, of 0 to 1, above which it counts as changed.
        invert: ink is dark on bright; found out where it is not said.
        fit: how pictures come into the model's frame; see labelvae relabel.
        skip_unreadable: go on without pictures that cannot be read.
    """
    if "" in paths:  # which a shell makes of a variable that is not set
        raise ValueError("paths: expected pictures and last the folder for the results, got an empty name")
    *words, last = paths
    from labelvae.inputs.checks import check_count, check_number
    from labelvae.photos.picture_files import find_pictures, is_picture_name
    from labelvae.system.whole_files import user_path

    check_count("count", count)
    check_number("threshold", threshold, at_least=0, below=1)
    out = user_path(last)
    if is_picture_name(last):
        raise ValueError(f"out: expected a folder for {SCORES} and {SHEET}, got {last}")
    if words and (data is not None or data_dir is not None):
        raise ValueError("data: expected pictures or a data set, got both; leave one out")
    if any(user_path(word).resolve() == out.resolve() for word in words):
        raise ValueError(f"out: {last} is what the pictures are read from; give another folder for the results")
    check_place("out", out, folder=True)
    _refuse_others(out)
    pictures = find_pictures(words, leave_out=str(out)) if words else None
    from labelvae.cli.parser import quick_start

    with quick_start():
        from labelvae.evaluation.explanations import explain as explained
        from labelvae.evaluation.transition import logits_of
        from labelvae.inputs.class_names import label_of, printable

        vae, names = load_model(model)
    asked = None if to is None else label_of(to, names)
    network = load_classifier("classifier", classifier, vae)
    second = None if judge is None else load_classifier("judge", judge, vae)
    if pictures is not None:
        files = [pictures.paths[place] for place in _spread(len(pictures.paths), count)]
        images, titles = _read(files, vae, guide_beside(model, vae), invert, fit, skip_unreadable)
        print(f"pictures: {len(files)} of {len(pictures.paths)}")
    else:
        images, titles, total = _test_images(images_of_run(model, vae, names, data, data_dir, skip_unreadable), count)
        print(f"test images: {len(images)} of {total}")
    if asked is not None:
        others = logits_of(network, images).argmax(dim=1) != asked
        left_out = int((~others).sum())
        if left_out == len(images):
            raise ValueError(
                f"to: the classifier says {printable(names[asked])} of every image already; ask for another label"
            )
        if left_out:
            print(f"left out: {left_out}, of which the classifier says {printable(names[asked])} already")
        titles = [title for title, kept in zip(titles, others.tolist(), strict=True) if kept]
        images = images[others]
    found = explained(vae, images, network, asked, judge=second, threshold=threshold, progress=True)
    said = {"model": model, "classifier": classifier, "judge": judge, "threshold": threshold}
    _write(found, titles, names, said, out)


def _write(found: Any, titles: list[str | int], names: list[str], how: dict[str, Any], out: Path) -> None:
    """Print the measures, and write them and the sheet into a folder."""
    from labelvae.evaluation.explanations import explanation_sheet
    from labelvae.evaluation.scores import rows_table
    from labelvae.inputs.class_names import printable
    from labelvae.photos.picture_files import save_picture
    from labelvae.system.whole_files import write_whole

    rows = []
    for place, title in enumerate(titles):
        labels = {"said": found.said, "asked": found.asked, "verdict": found.verdicts}
        row = {"image": title} | {name: names[int(each[place])] for name, each in labels.items()}
        rows.append(row | found.row(place))
        if len(titles) <= MOST_LINES:
            print(printable(_line(rows[-1], names[int(found.flipped_to[place])])))
    means = {"images": len(titles)} | {
        name: None if math.isnan(value) else value for name, value in found.means().items()
    }
    print(rows_table([means]))
    write_whole(out / SCORES, json.dumps(how | {"mean": means, "images": rows}, indent=2) + "\n")
    telling = found.telling(len(titles))
    shown = (
        telling
        if len(telling) <= TELLING + LEAST
        else [
            *telling[:TELLING],
            *sorted(telling[TELLING:], key=lambda place: float(found.measures["cout"][place]))[:LEAST],
        ]
    )
    save_picture(explanation_sheet(found, shown, names), out / SHEET)
    print(f"{SCORES} and {SHEET} are under {printable(str(out))}")


def _line(row: dict[str, Any], flipped_to: str) -> str:
    """Return what became of an image, in one line."""
    at = row["first_flip"]
    way = "all the way" if at is None else f"then {flipped_to} after {at:.0%} of the way"
    return f"{row['image']}: {row['said']}, {way} to {row['asked']}; cout {row['cout']:.2f}, l1 {row['l1']:.4f}"


def _read(
    paths: list[str], vae: Any, guide: Any, invert: bool, fit: str, skip_unreadable: bool
) -> tuple[Any, list[str | int]]:
    """Return the images in pictures, `(N, C, H, W)`, and what each is called.

    Of a photograph with several digits, each is an image.

    Raises:
        ValueError: A picture that cannot be read, unless it is skipped; none that can.
    """
    import torch

    from labelvae.data.forms import common_form, refuse, say_skipped
    from labelvae.data.pixels import UNREADABLE
    from labelvae.photos.picture_inputs import PictureReader

    form, unreadable = common_form(paths)
    broken = {paths[place]: reason for place, reason in unreadable.items()}
    reader = PictureReader(vae, guide, invert, fit, paste=False)
    images: list[Any] = []
    titles: list[str | int] = []
    for path in paths:
        if path in broken:
            continue
        try:
            seen = reader.read(path, form).images
        except UNREADABLE as error:
            broken[path] = str(error).removeprefix(f"{path}: ")
            continue
        images.append(seen)
        titles += [path] if len(seen) == 1 else [f"{path} ({place + 1} of {len(seen)})" for place in range(len(seen))]
    if not skip_unreadable or not images:
        refuse(broken)
    say_skipped(broken)
    return torch.cat(images), titles


def _test_images(data: Any, count: int) -> tuple[Any, list[str | int], int]:
    """Return test images in [0, 1], their places in the split, and how many there are."""
    import torch

    split = data.splits["test"]
    chosen = _spread(len(split), count)
    parts = [images for images, _ in split.batches(list(torch.tensor(chosen).split(500)))]
    return torch.cat(parts).float() / 255.0, list(chosen), len(split)


def _spread(total: int, count: int) -> list[int]:
    """Return at most `count` places out of `total`, at even distances.

    >>> _spread(10, 4), _spread(2, 4)
    ([0, 2, 5, 7], [0, 1])
    """
    return [place * total // count for place in range(count)] if total > count else list(range(total))


def _refuse_others(out: Path) -> None:
    """Refuse to write over scores and pictures that this command did not make.

    Raises:
        ValueError: There are such files.
    """
    from labelvae.photos.picture_files import refuse_other_picture

    path = out / SCORES
    if path.exists():
        try:
            ours = "classifier" in json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, RecursionError):
            ours = False
        if not ours:
            raise ValueError(f"out: {path} is a file that is no earlier explanation; give another folder")
    if (out / SHEET).exists():
        refuse_other_picture(out / SHEET, lambda *_: False)
