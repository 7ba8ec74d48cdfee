"""Models as folders: `config.json` (readable) and `model.safetensors` (weights only, no pickle).

The weights file also holds the configuration, and can be loaded on its own. `config.json` is there for people to read,
and for weights that come without a configuration.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from labelvae.inputs.checks import check_count
from labelvae.inputs.class_names import check_names, read_classes, write_classes
from labelvae.models.articles import with_article
from labelvae.models.hub import LARGEST_CONFIGURATION, is_pointer, locate, upload
from labelvae.models.own_networks import check_given, check_weights
from labelvae.models.packing import pack, unpack
from labelvae.models.savable import check_finite, plain_name, savable_weights
from labelvae.system.whole_files import user_path, write_whole

FORMAT_VERSION = 1
"""Version of the files. It rises if models of an older format can no longer be read."""


Model = TypeVar("Model", bound="Pretrained")


class Pretrained(nn.Module):
    """A module that can be saved to a folder and loaded from it.

    Args:
        config: the arguments of the subclass's constructor, all of them JSON values.
    """

    config: Mapping[str, Any]
    kind: ClassVar[str] = "Pretrained"
    saved_with: ClassVar[Mapping[str, type[Pretrained]]] = {}
    """Attributes that hold another model, or None, and the class of that model. It is saved in the same files."""

    num_classes: int
    _class_names: list[str] | None = None

    def __init_subclass__(cls) -> None:
        cls.kind = cls.__name__

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = json.loads(json.dumps(dict(config)))

    @property
    def class_names(self) -> list[str] | None:
        """The name of each class, or None. With names, labels may be given by name. They are saved and loaded."""
        return self._class_names

    @class_names.setter
    def class_names(self, names: Sequence[str] | None) -> None:
        self._class_names = None if names is None else check_names("class_names", names, self.num_classes)

    @property
    def device(self) -> torch.device:
        """The device of the weights; the CPU if there are none, as with two networks of your own without any."""
        return next((each.device for each in self.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the weights; torch's default if there are none."""
        return next((each.dtype for each in self.parameters()), torch.get_default_dtype())

    def own_parts(self, parametrized: bool = True) -> dict[str, str]:
        """Return the parts that the arguments alone do not build: the names of their classes, by part.

        Args:
            parametrized: whether a parametrized part is such a part, too.
        """
        return {}

    def save_pretrained(self, folder: str | Path, bits: int | None = None) -> None:
        """Write `config.json`, `model.safetensors` and, with class names, `classes.json` to a folder.

        Weights have the names of a model that was not compiled. Parametrized weights (weight norm, spectral norm,
        pruning) are saved as the weights that they make. Of an encoder or a decoder of your own, only the
        weights are saved: pass a new one to `from_pretrained`, which loads the weights into it.

        Args:
            folder: the folder. It is made if it is missing.
            bits: the bits of a weight, 2 to 8, for a small file, see `packing`. None keeps the weights as they are.

        Raises:
            ValueError: `bits` out of range; a folder that cannot be written to; a model whose layers were replaced,
                that is quantized, or that has NaN or infinite weights, so that `from_pretrained` could not load it.
                Nothing is written then, and what was saved there before stays.
        """
        bits = None if bits is None else check_count("bits", bits, at_least=2, at_most=8)
        if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
            raise ValueError(f"folder: expected the path of a folder, got {folder!r}")
        folder = user_path(folder)
        own = self.own_parts(parametrized=False)
        header = {"format": FORMAT_VERSION, "model": self.kind, **self.config, **({"own_parts": own} if own else {})}
        weights = savable_weights(self, own)
        for part, model in {part: getattr(self, part) for part in self.saved_with}.items():
            if model is not None:
                header[part] = model.config
                weights |= {f"{part}.{name}": value for name, value in savable_weights(model).items()}
        hint = "; go back to a checkpoint from before (torch.save(model.state_dict(), path) keeps them all the same)"
        check_finite(weights, own, "model", hint)
        weights = _apart(weights)
        metadata = {"config": json.dumps(header)}
        if bits is not None:
            weights, said = pack(weights, bits)
            metadata["packed"] = json.dumps(said)
        try:
            write_whole(folder / "config.json", json.dumps(header, indent=2) + "\n")
            write_whole(folder / "model.safetensors", save(weights, metadata=metadata))
            if self.class_names is not None:
                write_classes(folder, self.class_names)
            else:
                (folder / "classes.json").unlink(missing_ok=True)  # the names of a model that was saved here before
        except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
            raise ValueError(f"{folder}: the model could not be saved there ({error}); give another folder") from error

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Accept weights whose names come from a compiled or wrapped model, or part, and the other way round."""
        own = {plain_name(prefix + name): prefix + name for name in self.state_dict()}
        for name in [name for name in state_dict if name.startswith(prefix) and name not in own.values()]:
            meant = own.get(plain_name(name))
            if meant is not None and meant not in state_dict:
                state_dict[meant] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def push_to_hub(self, repository: str, run: str | Path | None = None, private: bool = False) -> None:
        """Send the model to the Hugging Face Hub (the `hub` extra). `from_pretrained` reads it from there by name.

        Args:
            repository: the name, "user/name". The repository is made if it is missing.
            run: the folder of the model's run. Its scores and pictures make the model's card.
            private: whether a new repository is private.

        Raises:
            ValueError: a name of another form; a run without scores; no huggingface_hub, network or permission.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            if run is not None:
                from labelvae.models.card import write_model_card

                write_model_card(folder, run, repository)
                if self.class_names is not None:  # they count more than the run's
                    write_classes(folder, self.class_names)
            upload(Path(folder), repository, private)

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: torch.device | str = "cpu", **parts: nn.Module | None) -> Self:
        """Load a model, in evaluation mode.

        Args:
            folder: a folder; the name of a model that comes with the package, such as "mnist"; or "user/name" on the
                Hugging Face Hub (the `hub` extra).
            device: the device of the weights.
            **parts: `encoder` and `decoder` of a `ConditionalVAE` that was saved with its own. The saved weights are
                loaded into them.

        Returns:
            The model, on `device`.

        Raises:
            ValueError: no such folder or file; a part that is missing or has other weights; a file that is truncated,
                or of another kind, version or model; no such device. The message says which, and what to do.
        """
        folder = locate(folder, cls.kind)
        weights, header = _read(folder, cls.kind)
        weights = {plain_name(name): value for name, value in weights.items()}
        arguments = {name: value for name, value in header.items() if name not in ("format", "model", "own_parts")}
        said = header.get("own_parts")
        given: dict[str, Any] = dict(parts)
        check_given(said if isinstance(said, dict) else {}, parts, folder)
        others = {name: arguments.pop(name) for name in cls.saved_with if name in arguments}
        own = {name: value for name, value in weights.items() if name.partition(".")[0] not in others}
        model = _restored(cls, arguments | given, own, folder)
        if (folder / "classes.json").is_file():
            model.class_names = read_classes(folder, model.num_classes)
        for part, settings in others.items():
            start = f"{part}."
            own = {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}
            other = _restored(cls.saved_with[part], settings, own, folder, start)
            other.class_names = model.class_names
            setattr(model, part, _on(device, other))
        return _on(device, model)


def _apart(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of which none shares its memory with another; safetensors takes no others."""
    seen: set[int] = set()
    found = {}
    for name, value in weights.items():
        place = value.untyped_storage().data_ptr()
        found[name] = value.clone() if place in seen else value
        seen.add(place)
    return found


def _restored(kind: type[Model], arguments: Any, weights: dict[str, Tensor], folder: Path, prefix: str = "") -> Model:
    """Return a model of these arguments with these weights, after both were checked against each other."""
    if not isinstance(arguments, dict):
        raise ValueError(f"{folder}: not a configuration of {kind.kind}: {type(arguments).__name__}, no arguments")
    try:
        with torch.device("meta"):  # shapes without memory, however large a configuration asks
            expected = {plain_name(name): value for name, value in kind(**arguments).state_dict().items()}
    except (TypeError, RuntimeError, OverflowError) as error:
        hint = "a newer labelvae may have written it"
        if kind.__module__.partition(".")[0] != __name__.partition(".")[0]:
            hint = f"if {kind.kind} has arguments of its own, make one, and load model.safetensors by load_state_dict"
        raise ValueError(f"{folder}: not a configuration of {kind.kind}: {error}; {hint}") from error
    wrong = sorted(set(expected) ^ set(weights)) or sorted(
        name
        for name, value in expected.items()
        if value.shape != weights[name].shape or value.is_floating_point() != weights[name].is_floating_point()
    )
    if wrong:
        check_weights(wrong, expected, weights, arguments, folder)
        raise ValueError(
            f"{folder / 'model.safetensors'}: the weights are not those of its configuration "
            f"({len(wrong)} tensors differ, the first is {prefix + wrong[0]!r}); save the model again, "
            "or load it with the version that wrote it"
        )
    given = [name for name, value in arguments.items() if isinstance(value, nn.Module)]
    named = {prefix + name: value for name, value in weights.items()}
    check_finite(named, given, str(folder / "model.safetensors"))
    with torch.device("cpu"):  # also where the default device is another one, or the meta device
        model = kind(**arguments)
    model.load_state_dict(weights)
    return model


def _on(device: torch.device | str, model: Model) -> Model:
    """Return a model on a device, in evaluation mode."""
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: {device!r} is not to be had here ({error})") from error


def _read(folder: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the weights in a folder, and their configuration: that in the weights file, or else config.json."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; expected the folder of {with_article(kind)} written by save_pretrained"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        inside, weights = metadata.get("config"), load_file(path)
    except (SafetensorError, OSError) as error:
        hint = "fetch it by git lfs pull" if is_pointer(path) else "copy or save it again"
        raise ValueError(f"{path}: truncated, or not a safetensors file ({error}); {hint}") from error
    if "packed" in metadata:
        try:
            weights = unpack(weights, json.loads(metadata["packed"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: its weights cannot be unpacked ({error}); copy or save it again") from error
    if inside is not None:
        return weights, _checked_header(inside, path, kind)
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file, and the weights have no configuration; copy it from where they are from"
        )
    with path.open("rb") as config:
        return weights, _checked_header(config.read(LARGEST_CONFIGURATION + 1), path, kind)


def _checked_header(text: str | bytes, path: Path, kind: str) -> dict[str, Any]:
    if len(text) > LARGEST_CONFIGURATION:
        raise ValueError(
            f"{path}: the configuration is larger than {LARGEST_CONFIGURATION:,} bytes; save the model again"
        )
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the configuration is not JSON ({error}); save the model again") from error
    if not isinstance(header, dict) or "format" not in header or "model" not in header:
        raise ValueError(f"{path}: not written by save_pretrained: 'format' and 'model' are missing")
    if header["format"] != FORMAT_VERSION:
        raise ValueError(
            f"{path}: format {header['format']!r}, this labelvae reads format {FORMAT_VERSION}; "
            "use the version of labelvae that wrote it, or train again"
        )
    if header["model"] != kind:
        held = header["model"]
        raise ValueError(
            f"{path}: holds {with_article(str(held))}, expected {with_article(kind)}; use {held}.from_pretrained"
        )
    return header
