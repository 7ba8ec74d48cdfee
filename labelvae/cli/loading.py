"""Models and data that a command line names."""

from __future__ import annotations

import logging
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelvae.data.settings import DataName, DataSettings
from labelvae.system.errors import first_line

if TYPE_CHECKING:  # --help must not pay for torch
    from labelvae.data.image_data import ImageData


def load_model(name: str) -> tuple[Any, list[str]]:
    """Return a saved model and the names of its classes; none where its label is several attributes."""
    from labelvae.inputs.class_names import read_classes
    from labelvae.models.hub import locate
    from labelvae.models.vae import ConditionalVAE

    vae = ConditionalVAE.from_pretrained(name)
    if vae.attributes is not None and vae.attributes.one_class is None:
        return vae, []
    return vae, read_classes(locate(name, vae.kind), vae.num_classes)


def guide_beside(model: str, vae: Any) -> Any:
    """Return the guide that a model of grey images was trained with, if it is in the model's run; else None."""
    from labelvae.models.classifier import LabelClassifier
    from labelvae.models.hub import guide_folder, saved_kind

    folder = guide_folder(model)
    if vae.image_shape[0] != 1 or folder is None or saved_kind(folder) != LabelClassifier.kind:
        return None
    guide = LabelClassifier.from_pretrained(folder)
    return guide if (guide.image_shape, guide.num_classes) == (vae.image_shape, vae.num_classes) else None


@dataclass(frozen=True)
class Order:
    """What a command line asks of a model.

    Attributes:
        model: what answers: the model; or with its guide, `Refined`; or with attributes, `Asked`.
        labels: indices of what is asked for.
        names: the name of each index.
        own: index of what the images are, if it is said and the model knows classes.
    """

    model: Any
    labels: list[int]
    names: list[str]
    own: int | None = None


def order_of(
    model: str, vae: Any, names: list[str], words: str, refine: float | None, own: str | None = None, name: str = "to"
) -> Order:
    """Return what words on a command line ask of a model.

    Args:
        model: the model's name.
        vae: the model.
        names: the names of its classes.
        words: what is asked for.
        refine: radius of the refinement; None takes what is saved beside the model.
        own: what the images are. Attributes that neither are asked for nor said here are read by the guide beside the
            model.
        name: the name of the option, for the error; "to" where images are relabelled.

    Raises:
        ValueError: words that are no label; a refinement of a model of attributes; an attribute that nobody says.
    """
    from labelvae.inputs.class_names import label_of
    from labelvae.losses.refinement import refining

    if vae.attributes is None or (vae.attributes.one_class is not None and "=" not in words):
        mine = label_of(own, names) if own is not None else None
        return Order(refining(vae, model, refine), _labels(name, words, names), names, mine)
    if refine:
        raise ValueError(
            f"refine: expected 0 for a model of attributes, got {refine:g}; only models of one class are refined"
        )
    from labelvae.attributes.words import expected_words, labels_of_words, words_of_label
    from labelvae.models.asked import Asked
    from labelvae.models.attribute_classifier import AttributeClassifier
    from labelvae.models.hub import locate

    labels = labels_of_words(words, vae.attributes, name)
    said = labels_of_words(own, vae.attributes, "own")[0] if own is not None else {}
    missing = [each for each in vae.attributes if each not in labels[0] and each not in said]
    guide, reader = locate(model, vae.kind).parent / "guide", None
    if missing and name != "to":
        raise ValueError(f"{name}: {expected_words(vae.attributes)}, got none for {', '.join(missing)}")
    if missing:
        if not (guide / "model.safetensors").is_file():
            raise ValueError(
                f"own: expected what the images are, to keep their {', '.join(missing)}: no guide that reads it lies "
                f"under {guide}; say --own {missing[0]}=..."
            )
        reader = AttributeClassifier.from_pretrained(guide)
    asked = [words_of_label(label, vae.attributes) for label in labels]
    return Order(Asked(vae, labels, said, reader), list(range(len(labels))), asked)


def _labels(name: str, words: str, names: list[str]) -> list[int]:
    """Return the labels that words on a command line mean: those of one class, of several with commas, or of all."""
    from labelvae.inputs.class_names import EVERY, folded, label_of, labels_of

    try:
        with suppress(ValueError):
            return labels_of(words, names)  # a class's own name comes first, also one with a comma
        if folded(words) in EVERY:
            return list(range(len(names)))
        return list(dict.fromkeys(label_of(word, names) for word in words.split(",")))
    except ValueError as error:
        said = str(error).removeprefix("label: ")
        raise ValueError(f"{name}: {said}; several are separated by commas, and all means each of them") from error


def load_classifier(name: str, word: str, vae: Any) -> Any:
    """Return a classifier of a model's images and classes.

    Args:
        name: the option. Of a run's folder, the part of this name is taken, if there is one.
        word: a folder, the name of a packaged model, or a file ending in .pt2 that `torch.export.save` wrote.
        vae: the model.

    Raises:
        ValueError: No such classifier; one of other images or classes.
    """
    import torch

    from labelvae.models.classifier import LabelClassifier
    from labelvae.models.hub import part_of_run
    from labelvae.models.wrapped import matching
    from labelvae.system.whole_files import user_path

    path = user_path(word)
    if not word.endswith(".pt2"):
        return matching(name, LabelClassifier.from_pretrained(part_of_run(word, name)), vae)
    if not path.is_file():
        raise ValueError(f"{name}: {word}: no such file; expected one that torch.export.save wrote")
    log = logging.getLogger("torch.export")
    level = log.level
    log.setLevel(logging.CRITICAL)  # it writes a traceback for a broken file
    try:
        network = torch.export.load(path).module()
    except Exception as error:  # whatever a broken file makes the reader raise
        raise ValueError(
            f"{name}: {word}: not a file that torch.export.save wrote ({first_line(error):.200})"
        ) from error
    finally:
        log.setLevel(level)
    try:
        return matching(name, network, vae)
    except ValueError as error:
        shape = ", ".join(map(str, vae.image_shape))
        raise ValueError(
            f"{name}: {word}: expected a program from images (B, {shape}) in [0, 1], for any B from 1, to logits "
            f"(B, {vae.num_classes}); {str(error).removeprefix(f'{name}: ').partition('; give')[0]}"
        ) from error


def images_of_run(
    model: str, vae: Any, names: list[str], data: DataName | None, data_dir: Path | None, skip_unreadable: bool
) -> ImageData:
    """Return the data of the run that a model is from, or others that are asked for, with the model's classes.

    Raises:
        ValueError: Nothing says which data; data of other classes; a run of images that cannot be read again.
    """
    from dataclasses import asdict, replace

    from labelvae.data.image_data import ImageData
    from labelvae.data.settings import WITH_ATTRIBUTES
    from labelvae.models.hub import locate

    path = locate(model, vae.kind).parent / "settings.yaml"
    how, where = data_of(path, data)
    if how.name in WITH_ATTRIBUTES:
        raise ValueError(f"data: {how.name} is for models of attributes, this one knows the classes {', '.join(names)}")
    if how.name == "folder":
        how = replace(how, image_size=vae.image_shape[1:], skip_unreadable=how.skip_unreadable or skip_unreadable)
    named = (locate(model, vae.kind) / "classes.json").is_file()
    images = ImageData(data_dir=data_dir or where, class_names=names if named else None, **asdict(how))
    if data is None and data_dir is None:
        check_images_of_run(images, path, how.name, where)
    if named and names != images.class_names:
        raise ValueError(f"data: the model knows the classes {', '.join(names)}; got {', '.join(images.class_names)}")
    return images


def check_images_of_run(images: ImageData, path: Path, name: str, where: Path) -> None:
    """Warn of a folder that has changed since a run.

    Args:
        images: the images that are there now.
        path: the settings.yaml of the run, with the fingerprint of its images.
        name: the name of their data set.
        where: their folder.

    Raises:
        ValueError: a data set that cannot change, and other images.
    """
    from labelvae.data.settings import WITH_ATTRIBUTES

    found = re.search("fingerprint ([0-9a-f]{16})", path.read_text(encoding="utf-8", errors="replace"))
    if found is None or images.is_of(found[1]):
        return
    if name not in ("folder", *WITH_ATTRIBUTES):
        raise ValueError(
            f"data: {path} names {name}, but the run had other images, such as a data set from Python; name "
            "images with --data and --data-dir, or call labelvae.evaluate"
        )
    warnings.warn(
        f"data: {where} has other files or labels than when the model was trained, so they are split in another way; "
        "the test images may include training images",
        stacklevel=2,
    )


def data_of(path: Path, asked: DataName | None) -> tuple[DataSettings, Path]:
    """Return the data that a run's settings.yaml names, and where they are; or others that are asked for."""
    import yaml

    if path.is_file():
        try:
            settings = yaml.safe_load(path.read_text(encoding="utf-8"))
            known = DataSettings(**settings["data"]), Path(settings["data_dir"])
        except (ValueError, yaml.YAMLError, KeyError, TypeError, RecursionError) as error:
            said = " ".join(str(error).split())
            raise ValueError(
                f"{path}: is not the settings of a run ({said}); repair it, or take it away to have the data "
                "of --data split by default"
            ) from error
        if asked in (None, known[0].name):
            return known
    if asked is None:
        raise ValueError(f"data: there is no {path} to say which; name a data set with --data and --data-dir")
    return DataSettings(asked), Path("data")
