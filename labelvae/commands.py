"""What `labelvae COMMAND` does: a function a command, whose signature is the command line and docstring its help.

Nothing here imports torch before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from labelvae.settings import DataName, DataSettings

SAMPLED_AT_ONCE = 256
"""Images that `sample` holds in memory; a multiple of 16, so that the draws are those of one large batch."""

WIDEST_SHEET = 50_000
"""Pixels; JPEG allows 65,500."""


def run_evaluate(
    *,
    model: str,
    judge: str,
    guide: str | None = None,
    data: DataName | None = None,
    data_dir: Path | None = None,
    rounds: int = 1,
    out: Path | None = None,
    skip_unreadable: bool = False,
    refine: float | None = None,
) -> None:
    """Judge a model on the held-out test images of its data.

    Without --data the images are those of the run that the model is from, by the settings.yaml beside its folder.
    Images of that name are split as the run split them, so that none is scored that was trained on.

    Args:
        model: Folder of a trained model, or its name.
        judge: Folder of an independent classifier.
        guide: Folder of the classifier that was in the loss, for the guide-judge gap.
        data: Which images; those of a folder are brought to the model's size.
        data_dir: Where the files of the data set are.
        rounds: Wrong labels drawn for each test image.
        out: A .json file that the scores are written to as well.
        skip_unreadable: Go on without images of a folder that cannot be read.
        refine: Judge counterfactuals refined by this radius as well; 0 for none. Without it, what is saved beside the
            model.
    """
    from dataclasses import asdict, replace

    from labelvae.classifier import LabelClassifier
    from labelvae.data import ImageData
    from labelvae.evaluation import evaluate
    from labelvae.hub import locate
    from labelvae.refinement import refining
    from labelvae.scores import save_scores, scores_table
    from labelvae.whole_files import user_path

    (vae, names), opinion = _model(model), LabelClassifier.from_pretrained(judge)
    adviser = LabelClassifier.from_pretrained(guide) if guide else None
    how, where = _data_of(locate(model, vae.kind).parent / "settings.yaml", data)
    if how.name == "folder":
        how = replace(how, image_size=vae.image_shape[1:], skip_unreadable=how.skip_unreadable or skip_unreadable)
    named = (locate(model, vae.kind) / "classes.json").is_file()
    images = ImageData(data_dir=data_dir or where, class_names=names if named else None, **asdict(how))
    if named and names != images.class_names:
        raise ValueError(f"data: the model knows the classes {', '.join(names)}; got {', '.join(images.class_names)}")
    real, test = images.loader("train"), images.loader("test")
    name, better = Path(model).name, refining(vae, model, refine)
    models = {name: vae} | ({} if better is vae else {f"{name}, refined": better})
    scores = [
        evaluate(each, test, opinion, real=real, guide=adviser, name=row, rounds=rounds) for row, each in models.items()
    ]
    print(scores_table(scores))
    if out is not None:
        save_scores(scores, user_path(out))


def relabel(
    paths: list[str],
    *,
    model: str,
    to: str,
    own: str | None = None,
    invert: bool = False,
    fit: Literal["auto", "pad", "crop", "strokes"] = "auto",
    paste: bool = True,
    enlarge: int | None = None,
    resume: bool = False,
    skip_unreadable: bool = False,
    debug: bool = False,
    refine: float | None = None,
) -> None:
    """Photographs or images as another label, in their own style.

    Give pictures, folders of them, or globs, and last where the results go: a picture for one, else a folder. A picture
    with `--to all` is a sheet, a row an image or a digit; a folder gets a file for each picture and label, each written
    when it is made.

    A picture comes back at its own size. A model of pen strokes finds the written digits, dark on bright or bright on
    dark, and the new ones are written in their places; another model gets the middle of the picture. Images of the
    model's own size are taken as they are. Grey pictures with 16 bits give PNG and TIFF files with 16 bits.

    Args:
        paths: Pictures, and last the output.
        model: Folder of a trained model, or its name; mnist comes with the package.
        to: The label: the name of a class, its index, or all for each of them; * where a class is called all.
        own: What the images are; only a model whose encoder sees the label needs it.
        invert: Ink is dark on bright; found out where it is not said.
        fit: strokes finds written digits, crop cuts off at the sides, pad fills up with the colour of the edge; auto
            takes strokes for a model of strokes, else crop.
        paste: Put results back into their pictures; --no-paste gives the model's images.
        enlarge: Whole factor that the model's images are enlarged by; they are then not put back.
        resume: Go on with a folder of results: those that are there and whole are kept.
        skip_unreadable: Go on without pictures that cannot be read, and say how many there are.
        debug: Write what the model sees beside each result, and list every picture.
        refine: Largest change by which the model's guide takes results further towards their label, 2 for 32x32 in
            colour; 0 for none. Without it, what is saved beside the model.
    """
    if "" in paths:  # which a shell makes of a variable that is not set
        raise ValueError("paths: expected images and last the output, got an empty name")
    *words, last = paths
    if not words:
        raise ValueError(f"paths: expected images and last the output, got {last} alone")
    from labelvae.classes import label_of, labels_of, printable

    more = f" and {len(words) - 1} more" if len(words) > 1 else ""
    print(f"labelvae: reading {printable(words[0])}{more} ...", flush=True)  # before torch is imported
    from labelvae.checks import check_count
    from labelvae.command_line import quick_start
    from labelvae.picture_files import find_pictures, is_picture_name
    from labelvae.whole_files import sweep, user_path

    if enlarge is not None:
        check_count("enlarge", enlarge)
    one, out = is_picture_name(last), user_path(last)
    if any(_same(user_path(word), out) for word in words):
        raise ValueError(f"out: {last} is what the images are read from; give another place for the results")
    pictures = find_pictures(words, leave_out=str(out))
    if any(_same(Path(path), out) for path in pictures.paths):
        raise ValueError(f"out: {last} is one of the images; give another place for the results")
    with quick_start():
        from labelvae.refinement import refining
        from labelvae.relabelling import Relabelling

        vae, names = _model(model)
    labels = labels_of(to, names)
    mine = label_of(own, names) if own is not None else None
    guide = _guide_beside(model, vae) if fit in ("auto", "strokes") else None
    put_back = paste and enlarge is None
    better = refining(vae, model, refine)
    work = Relabelling(
        better, names, labels, mine, guide, invert, fit, put_back, enlarge, resume, skip_unreadable, debug
    )
    try:
        if not one:
            sweep(out)
            work.into_folder(pictures, out)
        elif len(labels) > 1:
            work.into_sheet(pictures, out)
        elif len(pictures.paths) == 1:
            work.into_picture(pictures, out)
        else:
            raise ValueError(f"out: {out} is one picture, but there are {len(pictures.paths)} images; give a folder")
    except KeyboardInterrupt:
        print(f"\nstopped; {work.written} results are under {out}, --resume goes on from there", file=sys.stderr)
        raise
    said = f", {work.kept} were there" if work.kept else ""
    said += f", {len(work.broken)} could not be read" if work.broken else ""
    said += f", {pictures.others} files are no images" if pictures.others else ""
    print(f"{work.written} images as {printable(to)}: {printable(str(out))}{said}")


def sample(
    out: Path,
    *,
    model: str,
    label: str = "all",
    count: int = 10,
    seed: int = 0,
    enlarge: int = 1,
    refine: float | None = None,
) -> None:
    """New images of a label.

    Args:
        out: A picture, for a sheet with a row a label; or a folder, for a file an image.
        model: Folder of a trained model, or its name.
        label: The name of a class, its index, or all for each of them; * where a class is called all.
        count: Images of each label.
        seed: Of the draw; the same numbers are used for every label.
        enlarge: Whole factor that the files in a folder are enlarged by.
        refine: Largest change by which the model's guide takes images further towards their label; 0 for none. Without
            it, what is saved beside the model.
    """
    import torch
    from tqdm import tqdm

    from labelvae.checks import check_count
    from labelvae.classes import file_names, labels_of, printable
    from labelvae.figures import samples_grid
    from labelvae.picture_files import exact_picture, is_picture_name, save_picture
    from labelvae.refinement import refining
    from labelvae.whole_files import user_path

    check_count("count", count)
    check_count("enlarge", enlarge)
    check_count("seed", seed, at_least=0)
    one, out = is_picture_name(out), user_path(out)
    vae, names = _model(model)
    labels = labels_of(label, names)
    drawing = refining(vae, model, refine)
    if one:
        if count * vae.image_shape[2] > WIDEST_SHEET:
            raise ValueError(f"count: {count} images side by side are too wide for one picture; give a folder as out")
        rows = [drawing.sample([each] * count, torch.Generator().manual_seed(seed)) for each in labels]
        save_picture(samples_grid(torch.stack(rows), [names[each] for each in labels]), out)
    else:
        files = file_names(names)
        draws = {each: torch.Generator().manual_seed(seed) for each in labels}
        parts = [(each, first) for each in labels for first in range(0, count, SAMPLED_AT_ONCE)]
        for each, first in tqdm(parts, desc="samples", leave=False, delay=2):
            some = drawing.sample([each] * min(SAMPLED_AT_ONCE, count - first), draws[each])
            for index, image in enumerate(some, first):
                save_picture(exact_picture(image, enlarge), out / f"{files[each]}_{index:04d}.png")
    print(f"{len(labels) * count} images: {printable(str(out))}")


def compare(runs: list[Path], *, html: Path | None = None) -> None:
    """What runs scored, side by side.

    Args:
        runs: Folders of finished runs.
        html: A file for scores and pictures as one page that loads nothing from elsewhere.
    """
    from labelvae.comparison import comparison_page, comparison_table, read_run
    from labelvae.whole_files import user_path, write_whole

    found = [read_run(user_path(folder)) for folder in runs]
    print(comparison_table(found))
    if html is not None:
        write_whole(user_path(html), comparison_page(found))
        print(f"with pictures: {html}")


def export(out: Path, *, model: str) -> None:
    """A model's relabelling as a file for other programs: images and labels in, images out, any batch size.

    Args:
        out: A file ending in .onnx, or in .pt2 for torch.export.
        model: Folder of a trained model, or its name.
    """
    from labelvae.export import export_onnx, export_program
    from labelvae.vae import ConditionalVAE
    from labelvae.whole_files import user_path

    out = user_path(out)
    if out.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"out: expected a file ending in .onnx or .pt2, got {out}")
    vae = ConditionalVAE.from_pretrained(model)
    (export_onnx if out.suffix == ".onnx" else export_program)(vae, out)
    print(f"relabelling of {model}: {out}")


def demo(
    *,
    model: str = "mnist",
    judge: str | None = None,
    images: Path | None = None,
    port: int = 7860,
    host: str = "127.0.0.1",
) -> None:
    """A page in the browser: draw or upload an image, pick a label, see it relabelled. Nothing leaves the machine.

    Args:
        model: Folder of a trained model, or its name; mnist comes with the package.
        judge: Folder of an independent classifier, whose opinion is shown; else the guide's, if it is at hand.
        images: A folder of images to pick from.
        port: Where the page is served; 0 takes a free one.
        host: The address that is listened on: this machine only, or 0.0.0.0 in a container. Elsewhere than on this
            machine the page asks for the token that stands in the printed address.
    """
    from labelvae.demo import serve

    serve(model, judge, images, port, host)


def _same(one: Path, other: Path) -> bool:
    return one == other or (one.exists() and other.exists() and one.samefile(other))


def _guide_beside(model: str, vae: Any) -> Any:
    """The guide that a model of grey images was trained with, if it lies beside the model."""
    from labelvae.classifier import LabelClassifier
    from labelvae.hub import locate

    folder = locate(model, vae.kind).parent / "guide"
    if vae.image_shape[0] != 1 or not (folder / "model.safetensors").is_file():
        return None
    guide = LabelClassifier.from_pretrained(folder)
    return guide if (guide.image_shape, guide.num_classes) == (vae.image_shape, vae.num_classes) else None


def _model(name: str) -> tuple[Any, list[str]]:
    from labelvae.classes import read_classes
    from labelvae.hub import locate
    from labelvae.vae import ConditionalVAE

    vae = ConditionalVAE.from_pretrained(name)
    return vae, read_classes(locate(name, vae.kind), vae.num_classes)


def _data_of(path: Path, asked: DataName | None) -> tuple[DataSettings, Path]:
    """The data that a run's settings.yaml names, and where they are; or others that are asked for."""
    import yaml

    if path.is_file():
        try:
            settings = yaml.safe_load(path.read_text(encoding="utf-8"))
            known = DataSettings(**settings["data"]), Path(settings["data_dir"])
        except (ValueError, yaml.YAMLError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{path}: is not the settings of a run ({error}); repair it, or take it away to have the data "
                "of --data split by default"
            ) from error
        if asked in (None, known[0].name):
            return known
    if asked is None:
        raise ValueError(f"data: there is no {path} to say which; name a data set with --data and --data-dir")
    return DataSettings(asked), Path("data")
