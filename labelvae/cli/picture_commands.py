"""The commands that read and write pictures: `labelvae relabel` and `labelvae sample`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from labelvae.cli.loading import guide_beside, load_model, order_of
from labelvae.cli.surroundings import check_place

SAMPLED_AT_ONCE = 256
"""Most images that `sample` holds in memory. A multiple of 16 draws the same as one large batch."""

LARGEST_SEED = 2**63 - 1
"""Largest seed that torch takes."""

WIDEST_SHEET = 50_000
"""Most pixels across a sheet. JPEG allows 65,500."""


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
    mask: Path | None = None,
) -> None:
    """Relabel photographs or images, in their own style.

    Give pictures, folders of them, or globs. Last, say where the results go: a picture for one result, else a folder.
    One picture with several labels is a sheet with a row for each image or digit. A folder gets a file for each picture
    and label, written as soon as it is made.

    A picture comes back at its own size. A model of pen strokes finds the written digits, dark on bright or bright on
    dark, and writes the new ones in their places. Another model takes the middle of the picture. Images of the model's
    own size are used as they are. Grey pictures with 16 bits give PNG and TIFF files with 16 bits.

    Args:
        paths: pictures, and last the output.
        model: folder of a trained model, or the name of one that comes with the package: mnist, cifar10, scenes.
        to: the label: the name of a class, its index, several separated by commas, or all for each of them; * where a
            class is called all. Of several attributes those that shall change, such as digit=8,thickness=3.5; the
            others stay.
        own: what the images are; only a model whose encoder sees the label needs it, and a model of several attributes
            without its guide.
        invert: ink is dark on bright; found out where it is not said.
        fit: strokes finds written digits, crop cuts off at the sides, pad fills up with the colour of the edge; auto
            takes strokes for a model of strokes, else crop.
        paste: put results back into their pictures; --no-paste gives the model's images.
        enlarge: whole factor that the model's images are enlarged by. They are then not put back.
        resume: continue a folder of results. Whole results that are there are kept.
        skip_unreadable: leave out pictures that cannot be read, and print their number.
        debug: also write what the model sees, next to each result, and list every picture.
        refine: largest change by which the model's guide takes results further towards their label, 2 for 32x32 in
            colour; 0 for none. Without it, the radius saved with the model is used.
        mask: a picture as large as the image, bright where the image may change. The rest stays as it is. For one image
            and one label.
    """
    if "" in paths:  # which a shell makes of a variable that is not set
        raise ValueError("paths: expected images and last the output, got an empty name")
    *words, last = paths
    if not words:
        raise ValueError(f"paths: expected images and last the output, got {last} alone")
    from labelvae.inputs.class_names import printable

    more = f" and {len(words) - 1} more" if len(words) > 1 else ""
    print(f"labelvae: reading {printable(words[0])}{more} ...", flush=True)  # before torch is imported
    from labelvae.cli.parser import quick_start
    from labelvae.inputs.checks import check_count
    from labelvae.photos.picture_files import find_pictures, is_picture_name
    from labelvae.system.whole_files import user_path

    if enlarge is not None:
        check_count("enlarge", enlarge)
    one, out = is_picture_name(last), user_path(last)
    check_place("out", out, folder=not one)
    if any(_same(user_path(word), out) for word in words):
        raise ValueError(f"out: {last} is what the images are read from; give another place for the results")
    pictures = find_pictures(words, leave_out=str(out))
    if any(_same(Path(path), out) for path in pictures.paths):
        raise ValueError(f"out: {last} is one of the images; give another place for the results")
    with quick_start():
        from labelvae.cli.relabelling import Relabelling

        vae, names = load_model(model)
    order = order_of(model, vae, names, to, refine, own)
    if mask is not None and not (one and len(order.labels) == len(pictures.paths) == 1):
        raise ValueError("mask: is for one image as one label, into one picture; give those")
    if mask is not None and _same(user_path(mask), out):
        raise ValueError(f"out: {last} is the mask; give another place for the result")
    guide = guide_beside(model, vae) if fit in ("auto", "strokes") else None
    put_back = paste and enlarge is None
    asked = (order.model, order.names, order.labels, order.own)
    work = Relabelling(*asked, guide, invert, fit, put_back, enlarge, resume, skip_unreadable, debug, mask=mask)
    try:
        if not one:
            work.into_folder(pictures, out)
        elif len(order.labels) > 1:
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
    print(f"{work.written} image{'' if work.written == 1 else 's'} as {printable(to)}: {printable(str(out))}{said}")


def sample(
    out: str,
    *,
    model: str,
    label: str = "all",
    count: int = 10,
    seed: int = 0,
    enlarge: int = 1,
    refine: float | None = None,
) -> None:
    """Draw new images of a label.

    Args:
        out: a picture, for a sheet with one row for each label; or a folder, for one file for each image.
        model: folder of a trained model, or its name.
        label: the name of a class, its index, several separated by commas, or all for each of them; * where a class is
            called all. Of several attributes every one, such as digit=all,thickness=3.5.
        count: images of each label.
        seed: seed of the draw. Every label uses the same random numbers.
        enlarge: whole factor that the files in a folder are enlarged by.
        refine: largest change by which the model's guide takes images further towards their label; 0 for none. Without
            it, the radius saved with the model is used.
    """
    from labelvae.cli.parser import quick_start

    with quick_start():
        import torch
        from tqdm import tqdm

        from labelvae.cli.relabelling import refuse_other
    from labelvae.inputs.checks import check_count
    from labelvae.inputs.class_names import file_names, printable
    from labelvae.photos.picture_files import exact_picture, is_picture_name, refuse_other_picture, save_picture
    from labelvae.system.whole_files import user_path
    from labelvae.visual.grids import samples_grid

    check_count("count", count)
    check_count("enlarge", enlarge)
    check_count("seed", seed, at_least=0, at_most=LARGEST_SEED)
    if not str(out):  # which a shell makes of a variable that is not set
        raise ValueError("out: expected a picture or a folder, got an empty name")
    one, target = is_picture_name(out), user_path(out)
    check_place("out", target, folder=not one)
    vae, names = load_model(model)
    order = order_of(model, vae, names, label, refine, name="label")
    labels, drawing, names = order.labels, order.model, order.names
    if one:
        if count * vae.image_shape[2] > WIDEST_SHEET:
            raise ValueError(f"count: {count} images side by side are too wide for one picture; give a folder as out")
        rows = [drawing.sample([each] * count, torch.Generator().manual_seed(seed)) for each in labels]
        sheet = samples_grid(torch.stack(rows), [names[each] for each in labels])
        refuse_other(target, lambda width, height: (width, height) == sheet.size)
        save_picture(sheet, target)
    else:
        files = file_names(names)
        places = {each: [target / f"{files[each]}_{index:04d}.png" for index in range(count)] for each in labels}
        for path in (path for paths in places.values() for path in paths if path.exists()):
            refuse_other_picture(path, lambda *_: False)
        draws = {each: torch.Generator().manual_seed(seed) for each in labels}
        parts = [(each, first) for each in labels for first in range(0, count, SAMPLED_AT_ONCE)]
        for each, first in tqdm(parts, desc="samples", leave=False, delay=2):
            some = drawing.sample([each] * min(SAMPLED_AT_ONCE, count - first), draws[each])
            for index, image in enumerate(some, first):
                save_picture(exact_picture(image, enlarge), places[each][index])
    print(f"{len(labels) * count} images: {printable(str(target))}")


def _same(one: Path, other: Path) -> bool:
    return one == other or (one.exists() and other.exists() and one.samefile(other))
