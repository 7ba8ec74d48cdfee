"""Networks and losses as plain values, and what a checkpoint says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import nn

from labelvae.data.settings import Augmentation
from labelvae.inputs.checks import check_kind
from labelvae.inputs.conversions import described
from labelvae.losses.attribute_elbo import AttributeELBO
from labelvae.losses.guided_elbo import GuidedELBO
from labelvae.losses.likelihoods import settings_of
from labelvae.losses.objective import Objective
from labelvae.models.articles import with_article
from labelvae.models.attribute_classifier import AttributeClassifier
from labelvae.models.classifier import LabelClassifier
from labelvae.models.discriminator import Discriminator
from labelvae.models.saving import Pretrained
from labelvae.models.vae import ConditionalVAE
from labelvae.models.wrapped import WrappedClassifier

NETWORKS: dict[str, type[nn.Module]] = {
    each.__name__: each for each in (ConditionalVAE, LabelClassifier, AttributeClassifier, Discriminator)
}
"""Networks that can be rebuilt from their arguments."""

LOSSES: dict[str, type[GuidedELBO]] = {each.__name__: each for each in (GuidedELBO, AttributeELBO)}
"""Losses that can be rebuilt from their objective and their networks."""


def plain_network(network: nn.Module) -> dict[str, Any]:
    """Return a network's class name and, for a class of this package, its arguments."""
    kind = type(network)
    own = network.own_parts() if isinstance(network, Pretrained) else {}
    if own:
        return {"class": f"{kind.__name__} with {' and '.join(f'{part} {name}' for part, name in own.items())}"}
    if isinstance(network, Pretrained) and NETWORKS.get(kind.__name__) is kind:
        said = {"class": kind.__name__, "arguments": json.loads(json.dumps(dict(network.config)))}
        names = getattr(network, "class_names", None)
        return said | ({} if names is None else {"names": list(names)})
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


@dataclass(frozen=True)
class SavedLoss:
    """What a checkpoint says of a loss: the plain values of `plain_loss`, read.

    Attributes:
        kind: the name of the loss's class.
        objective: its settings by name. None for a class that is not in `LOSSES`, of which nothing else is known.
        guides: the guides, each as `plain_network` describes it, or the network itself.
        discriminator: the discriminator as `plain_network` describes it, or None.
        weights: the weight of each term of your own, by name.
        functions: the function of each of these terms, by name. A checkpoint has none; `with_functions` adds them.
        likelihood: the name of the class of a likelihood of your own, or None.
    """

    kind: str = "class"
    objective: Mapping[str, Any] | None = None
    guides: Sequence[Any] = ()
    discriminator: Any = None
    weights: Mapping[str, float] = field(default_factory=dict)
    functions: Mapping[str, Any] = field(default_factory=dict)
    likelihood: str | None = None

    @classmethod
    def read(cls, plain: Any) -> SavedLoss:
        """Read what `plain_loss` returned. Anything else is a loss of which nothing is known."""
        said = plain if isinstance(plain, Mapping) else {}
        kind, arguments = str(said.get("class") or "class"), said.get("arguments") or {}
        if "objective" not in arguments:
            return cls(kind)
        guides = arguments["guides"] if "guides" in arguments else [arguments["guide"]]  # an AttributeELBO has one
        return cls(
            kind,
            arguments["objective"],
            [each for each in guides if each is not None],
            arguments.get("discriminator"),
            arguments.get("terms", {}),
            likelihood=arguments.get("likelihood"),
        )

    @property
    def own_parts(self) -> list[str]:
        """The parts of your own, which are not in the file: terms by name, and the likelihood."""
        terms = [f"the term {name!r}" for name in self.weights]
        return terms + ([f"the likelihood {self.likelihood}"] if self.likelihood else [])

    def with_guide(self, guide: nn.Module) -> SavedLoss:
        """Return the loss with a network in the place of its guide.

        Raises:
            ValueError: a loss without a guide, or with several; a guide that is no network.
        """
        if len(self.guides) != 1:
            raise ValueError("guide: the checkpoint's loss has not one guide; pass loss=GuidedELBO(...) as it was")
        check_kind("guide", guide, nn.Module)
        return replace(self, guides=[guide])

    def with_functions(self, functions: Any) -> SavedLoss:
        """Return the loss with the functions of its terms, by name.

        Raises:
            ValueError: other names than those of the terms.
        """
        if not isinstance(functions, Mapping) or set(functions) != set(self.weights):
            got = sorted(map(str, functions)) if isinstance(functions, Mapping) else described(functions)
            raise ValueError(
                f"terms: expected the functions of the terms {sorted(self.weights)}, by name, got {got}; their weights "
                "are in the checkpoint"
            )
        return replace(self, functions=dict(functions))

    def changes(self, now: SavedLoss) -> list[str]:
        """Return what another loss has otherwise: "label_weight 20.0, now 3.0"."""
        pairs = [(self.objective or {}, now.objective or {}), (self.weights, now.weights)]
        pairs += [(_wrapping(old), _wrapping(new)) for old, new in zip(self.guides, now.guides, strict=False)]
        return [
            f"{name} {old[name]}, now {new[name]}"
            for old, new in pairs
            for name in old
            if name in new and old[name] != new[name]
        ]

    def built(self) -> GuidedELBO:
        """Build the loss.

        Raises:
            ValueError: a part that is not in the file and was not passed.
        """
        if self.objective is None or self.kind not in LOSSES:
            raise ValueError(_of_your_own("loss", with_article(self.kind), "loss=..."))
        if self.likelihood:
            whole = "loss=GuidedELBO(guide, objective=..., likelihood=..., terms=...) as it was"
            raise ValueError(_of_your_own("loss", " and ".join(self.own_parts), whole))
        if self.weights and not self.functions:
            functions = ", ".join(f"{name!r}: function" for name in self.weights)
            raise ValueError(_of_your_own("loss", " and ".join(self.own_parts), f"terms={{{functions}}}"))
        how: dict[str, Any] = {
            name: Augmentation(**part) if isinstance(part, Mapping) else part for name, part in self.objective.items()
        }
        objective = Objective(**how)
        guide, *more = [built("guide", each) for each in self.guides] or [None]
        if self.kind == AttributeELBO.__name__:
            return AttributeELBO(guide, objective)
        discriminator = None if self.discriminator is None else built("discriminator", self.discriminator)
        terms = {name: (weight, self.functions[name]) for name, weight in self.weights.items()}
        return GuidedELBO(guide, discriminator, objective, more, terms=terms or None)


def built(name: str, value: Any) -> Any:
    """Build a part of a task.

    Args:
        name: the argument of the task that it is.
        value: what a checkpoint says of it; a `SavedLoss`; or a network, which is returned as it is.

    Returns:
        The part.

    Raises:
        ValueError: a part of a class that is not known here, or that this version cannot build.
    """
    if isinstance(value, nn.Module):
        return value
    if name == "augmentation":
        return Augmentation(**value)
    try:
        if isinstance(value, SavedLoss):
            return value.built()
        kind, arguments = value.get("class"), value.get("arguments")
        if kind in LOSSES:
            return SavedLoss.read(value).built()
        if arguments is None:
            passed = "loss" if name == "discriminator" else name
            raise ValueError(_of_your_own(name, with_article(kind or "class"), f"{passed}=..."))
        network: Any = NETWORKS[str(kind)](**arguments)
        if "names" in value:
            network.class_names = value["names"]
        return network
    except (TypeError, KeyError) as error:
        raise ValueError(f"{name}: this version cannot build what the checkpoint describes ({error})") from error


def _of_your_own(name: str, what: str, passing: str) -> str:
    """Say that a part cannot be built, and what to pass."""
    return f"{name}: the checkpoint was made with {what} of your own, which cannot be rebuilt from it; pass {passing}"


def _wrapping(network: Any) -> dict[str, Any]:
    """Return how a wrapped network was made, as "the guide's size" and the like; empty for any other network."""
    made = network.get("made") if isinstance(network, Mapping) else None
    return {f"the guide's {name}": value for name, value in (made or {}).items()}
