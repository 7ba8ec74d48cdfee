"""Checkpoints that describe a task in plain values, so that it can be rebuilt from the file alone."""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

import fsspec
import torch
from lightning.pytorch import LightningModule
from torch import nn

from labelvae.data.settings import Augmentation
from labelvae.inputs.checks import check_kind
from labelvae.inputs.conversions import described
from labelvae.losses.attribute_elbo import AttributeELBO
from labelvae.losses.guided_elbo import GuidedELBO
from labelvae.losses.likelihoods import settings_of
from labelvae.losses.objective import Objective
from labelvae.models.attribute_classifier import AttributeClassifier
from labelvae.models.classifier import LabelClassifier
from labelvae.models.discriminator import Discriminator
from labelvae.models.saving import Pretrained
from labelvae.models.vae import ConditionalVAE
from labelvae.models.wrapped import WrappedClassifier

NETWORKS: dict[str, type[Pretrained]] = {
    each.__name__: each for each in (ConditionalVAE, LabelClassifier, AttributeClassifier)
}
"""Networks that can be rebuilt from their configuration."""


class Rebuildable(LightningModule):
    """A Lightning task whose checkpoint holds the task's arguments, with networks as their configurations."""

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values; see `plain_network` and `plain_loss`."""
        raise NotImplementedError

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add `hyperparameters`. Values that a subclass saved by `save_hyperparameters` replace them."""
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY] = self.hyperparameters() | dict(self.hparams)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Compare the task with the saved one, see `compare`."""
        self.compare(checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {}))

    def compare(self, hyperparameters: Mapping[str, Any]) -> None:
        """Warn of the parts that a checkpoint was made with and this task lacks."""

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        **arguments: Any,
    ) -> Self:
        """Rebuild the task, its networks and its loss from a checkpoint.

        Args:
            checkpoint_path: the file.
            map_location: the device of the weights, see `torch.load`.
            hparams_file: a file with other arguments, see Lightning.
            strict: whether all weights must be there.
            weights_only: refuse a file that holds more than weights and plain values.
            **arguments: arguments of the constructor, in place of those in the checkpoint. Networks and losses of your
                own classes must be passed. If the loss had a guide or terms of your own, pass `guide`, the network, and
                `terms`, their functions by name: the rest of the loss is in the file, also the weights of the terms.

        Returns:
            The task.

        Raises:
            ValueError: a file that is no checkpoint of this task; a network that cannot be rebuilt and was not passed.
        """
        checkpoint = _read(checkpoint_path, weights_only)
        known = dict(checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_KEY, {}))
        said = dict(known)
        own = {name: arguments.pop(name) for name in ("guide", "terms") if name in arguments}
        if own and "loss" in arguments:
            raise ValueError(f"{' and '.join(own)}: give them to the loss that is passed, GuidedELBO(...)")
        if "guide" in own:
            known["loss"] = with_guide(known.get("loss"), own["guide"])
        if "terms" in own:
            known["loss"] = with_functions(known.get("loss"), own["terms"])
        if hparams_file is None and "_instantiator" not in known:  # that of LightningCLI makes everything itself
            known |= arguments
            parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
            needed = [each.name for each in parameters if each.default is each.empty and each.kind != each.VAR_KEYWORD]
            missing = [name for name in needed if name not in known]
            if missing:
                raise ValueError(
                    f"{checkpoint_path}: does not say what its {' and '.join(missing)} was, as checkpoints of older "
                    f"versions and of other tasks do not; pass {', '.join(f'{name}=...' for name in missing)}"
                )
            arguments |= {name: _built(name, value) for name, value in known.items() if isinstance(value, Mapping)}
        try:
            task: Self = super().load_from_checkpoint(
                checkpoint_path, map_location, hparams_file, strict, weights_only, **arguments
            )
        except RuntimeError as error:
            first = str(error).strip().splitlines()[-1].strip()
            raise ValueError(
                f"{checkpoint_path}: its weights are not those of this {cls.__name__} ({first}); "
                "pass the networks that it was saved with"
            ) from error
        task.compare(said)  # Lightning has put the arguments in the place of what the file says
        return task


def plain_network(network: nn.Module) -> dict[str, Any]:
    """Return a network's class name and, for a class of this package, its arguments."""
    kind = type(network)
    own = network.own_parts() if isinstance(network, Pretrained) else {}
    if own:
        return {"class": f"{kind.__name__} with {' and '.join(f'{part} {name}' for part, name in own.items())}"}
    if NETWORKS.get(kind.__name__) is kind and isinstance(network, Pretrained):
        return {"class": kind.__name__, "arguments": json.loads(json.dumps(dict(network.config)))}
    if isinstance(network, WrappedClassifier):
        return {"class": type(network.network).__name__, "made": network.made()}
    if kind is Discriminator and isinstance(network, Discriminator):
        names = ("image_shape", "num_classes", "widths", "beside")
        return {"class": "Discriminator", "arguments": json.loads(json.dumps({n: getattr(network, n) for n in names}))}
    return {"class": kind.__name__}


def plain_loss(loss: GuidedELBO) -> dict[str, Any]:
    """Return a loss's class name and, for a class of this package, its objective and networks."""
    if type(loss) is AttributeELBO:
        guide = None if loss.guide is None else plain_network(loss.guide)
        return {"class": "AttributeELBO", "arguments": {"objective": asdict(loss.objective), "guide": guide}}
    if type(loss) is not GuidedELBO:
        return {"class": type(loss).__name__}
    guides: Sequence[nn.Module] = loss.guidance.guides if loss.guidance is not None else []
    own: dict[str, Any] = {} if loss.own_terms is None else {"terms": dict(loss.own_terms.weights)}
    if not settings_of(loss.likelihood):
        own["likelihood"] = type(loss.likelihood).__name__
    return {
        "class": "GuidedELBO",
        "arguments": {
            "objective": asdict(loss.objective),
            "guides": [plain_network(guide) for guide in guides],
            "discriminator": None if loss.discriminator is None else plain_network(loss.discriminator),
            **own,
        },
    }


def own_parts(loss: Any) -> list[str]:
    """Return the parts of your own in a loss that `plain_loss` describes: its terms by name, and its likelihood."""
    arguments = loss.get("arguments") if isinstance(loss, Mapping) else None
    known: Mapping[str, Any] = arguments if isinstance(arguments, Mapping) else {}
    terms = [f"the term {name!r}" for name in known.get("terms", {})]
    return terms + ([f"the likelihood {known['likelihood']}"] if "likelihood" in known else [])


def with_guide(loss: Any, guide: nn.Module) -> dict[str, Any]:
    """Return a loss that `plain_loss` describes, with a network in the place of its guide.

    Args:
        loss: the description.
        guide: the network.

    Raises:
        ValueError: a loss without a guide, or with several; a guide that is no network.
    """
    arguments = loss.get("arguments") if isinstance(loss, Mapping) else None
    if not isinstance(arguments, Mapping) or len(arguments.get("guides", ())) != 1:
        raise ValueError("guide: the checkpoint's loss has not one guide; pass loss=GuidedELBO(...) as it was")
    check_kind("guide", guide, nn.Module)
    return {**loss, "arguments": {**arguments, "guides": [guide]}}


def with_functions(loss: Any, functions: Any) -> dict[str, Any]:
    """Return a loss that `plain_loss` describes, with the function of each term of your own beside its weight.

    Args:
        loss: the description.
        functions: the function of each term, by name.

    Raises:
        ValueError: other names than those of the terms.
    """
    weights = _own(loss, "terms")
    if not isinstance(functions, Mapping) or set(functions) != set(weights):
        got = sorted(map(str, functions)) if isinstance(functions, Mapping) else described(functions)
        raise ValueError(
            f"terms: expected the functions of the terms {sorted(weights)}, by name, got {got}; their weights are in "
            "the checkpoint"
        )
    arguments = {**loss["arguments"], "terms": {name: (weights[name], functions[name]) for name in weights}}
    return {**loss, "arguments": arguments}


def changes(before: Any, now: Any) -> list[str]:
    """Return what differs between two losses that `plain_loss` describes: "label_weight 20.0, now 3.0"."""
    pairs = [(_own(before, part), _own(now, part)) for part in ("objective", "terms")]
    pairs += [(_made(old), _made(new)) for old, new in zip(_guides(before), _guides(now), strict=False)]
    return [
        f"{name} {old[name]}, now {new[name]}"
        for old, new in pairs
        for name in old
        if name in new and old[name] != new[name]
    ]


def _guides(loss: Any) -> list[Any]:
    """Return the guides of a loss that `plain_loss` describes."""
    arguments = loss.get("arguments") if isinstance(loss, Mapping) else None
    return list(arguments.get("guides", ())) if isinstance(arguments, Mapping) else []


def _made(network: Any) -> dict[str, Any]:
    """Return how a wrapped network that `plain_network` describes was made, as "the guide's size" and the like."""
    made = network.get("made") if isinstance(network, Mapping) else None
    return {f"the guide's {name}": value for name, value in made.items()} if isinstance(made, Mapping) else {}


def _own(loss: Any, part: str) -> dict[str, Any]:
    """Return a part of the arguments of a loss that `plain_loss` describes; empty if it says nothing."""
    arguments = loss.get("arguments") if isinstance(loss, Mapping) else None
    found = arguments.get(part) if isinstance(arguments, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def _passing(loss: Any) -> str:
    """Say what to pass for the parts of your own in a loss that `plain_loss` describes."""
    terms = _own(loss, "terms")
    if "likelihood" in loss["arguments"]:
        return "loss=GuidedELBO(guide, objective=..., likelihood=..., terms=...) as it was"
    return f"terms={{{', '.join(f'{name!r}: function' for name in terms)}}}"


def _built(name: str, value: Any) -> Any:
    """Return the part of a task that `value` describes; a network as it is."""
    if isinstance(value, nn.Module):
        return value
    if name == "augmentation":
        return Augmentation(**value)
    kind, arguments = value.get("class"), value.get("arguments")
    if arguments is None:
        raise ValueError(
            f"{name}: the checkpoint was made with a {kind or 'class'} of your own, which cannot be rebuilt from it; "
            f"pass {'loss' if name == 'discriminator' else name}=..."
        )
    try:
        if kind in ("GuidedELBO", "AttributeELBO"):
            terms = _own(value, "terms")
            given = bool(terms) and all(isinstance(each, tuple) for each in terms.values())
            if own_parts(value) and not (given and "likelihood" not in arguments):
                raise ValueError(
                    f"loss: the checkpoint was made with {' and '.join(own_parts(value))} of your own, which cannot be "
                    f"rebuilt from it; pass {_passing(value)}"
                )
            how: dict[str, Any] = {
                key: Augmentation(**part) if isinstance(part, Mapping) else part
                for key, part in arguments["objective"].items()
            }
            if kind == "AttributeELBO":
                return AttributeELBO(arguments["guide"] and _built("guide", arguments["guide"]), Objective(**how))
            guide, *more = [_built("guide", each) for each in arguments["guides"]] or [None]
            other = arguments["discriminator"]
            return GuidedELBO(
                guide, other and _built("discriminator", other), Objective(**how), more, terms=terms or None
            )
        return {**NETWORKS, "Discriminator": Discriminator}[str(kind)](**arguments)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{name}: this version cannot build what the checkpoint describes ({error})") from error


def _read(path: str | Path | IO[bytes], weights_only: bool | None) -> dict[str, Any]:
    """Return a checkpoint without the values of its weights."""
    try:
        if isinstance(path, str | Path):
            with fsspec.open(str(path), "rb") as file:
                checkpoint = torch.load(file, map_location="meta", weights_only=weights_only)
        else:
            checkpoint = torch.load(path, map_location="meta", weights_only=weights_only)
            path.seek(0)
        if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
            raise ValueError("it has no weights of a task")
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such checkpoint") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path}: is no checkpoint that can be read ({first}); of a file you trust, "
            "weights_only=False reads anything"
        ) from error
    return checkpoint
