"""Models and data that a command line names."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelvae.data.settings import DataName, DataSettings

if TYPE_CHECKING:  # --help must not pay for torch
    from labelvae.data.image_data import ImageData


def load_model(name: str) -> tuple[Any, list[str]]:
    """Return a saved model and the names of its classes."""
    from labelvae.inputs.class_names import read_classes
    from labelvae.models.hub import locate
    from labelvae.models.vae import ConditionalVAE

    vae = ConditionalVAE.from_pretrained(name)
    return vae, read_classes(locate(name, vae.kind), vae.num_classes)


def guide_beside(model: str, vae: Any) -> Any:
    """Return the guide that a model of grey images was trained with, if it is in the model's run; else None."""
    from labelvae.models.classifier import LabelClassifier
    from labelvae.models.hub import guide_folder

    folder = guide_folder(model)
    if vae.image_shape[0] != 1 or folder is None:
        return None
    guide = LabelClassifier.from_pretrained(folder)
    return guide if (guide.image_shape, guide.num_classes) == (vae.image_shape, vae.num_classes) else None


def load_classifier(name: str, word: str, vae: Any) -> Any:
    """Return a classifier of a model's images and classes.

    Args:
        name: The option.
        word: A folder, the name of a packaged model, or a file ending in .pt2 that `torch.export.save` wrote.
        vae: The model.

    Raises:
        ValueError: No such classifier; one of other images or classes.
    """
    import torch

    from labelvae.models.classifier import LabelClassifier
    from labelvae.models.wrapped import matching
    from labelvae.system.whole_files import user_path

    if not word.endswith(".pt2"):
        return matching(name, LabelClassifier.from_pretrained(word), vae)
    path = user_path(word)
    if not path.is_file():
        raise ValueError(f"{name}: {word}: no such file; expected one that torch.export.save wrote")
    log = logging.getLogger("torch.export")
    level = log.level
    log.setLevel(logging.CRITICAL)  # it writes a traceback for a broken file
    try:
        network = torch.export.load(path).module()
    except Exception as error:  # whatever a broken file makes the reader raise
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{name}: {word}: not a file that torch.export.save wrote ({why:.200})") from error
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
        ValueError: Nothing says which data; data of other classes.
    """
    from dataclasses import asdict, replace

    from labelvae.data.image_data import ImageData
    from labelvae.models.hub import locate

    how, where = _data_of(locate(model, vae.kind).parent / "settings.yaml", data)
    if how.name == "folder":
        how = replace(how, image_size=vae.image_shape[1:], skip_unreadable=how.skip_unreadable or skip_unreadable)
    named = (locate(model, vae.kind) / "classes.json").is_file()
    images = ImageData(data_dir=data_dir or where, class_names=names if named else None, **asdict(how))
    if named and names != images.class_names:
        raise ValueError(f"data: the model knows the classes {', '.join(names)}; got {', '.join(images.class_names)}")
    return images


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
