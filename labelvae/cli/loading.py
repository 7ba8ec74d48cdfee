"""Models that a command line names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
    """The guide that a model of grey images was trained with, if it lies beside the model."""
    from labelvae.models.classifier import LabelClassifier
    from labelvae.models.hub import locate, saved_kind

    folder = locate(model, vae.kind).parent / "guide"
    if vae.image_shape[0] != 1 or saved_kind(folder) != LabelClassifier.kind:
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
        names: of its classes.
        words: what is asked for.
        refine: radius of the refinement; None takes what is saved beside the model.
        own: what the images are. Attributes that neither are asked for nor said here are read by the guide beside the
            model.
        name: of the option, "to" where images are relabelled, for the error.

    Raises:
        ValueError: words that are no label; a refinement of a model of attributes; an attribute that nobody says.
    """
    from labelvae.inputs.class_names import label_of, labels_of
    from labelvae.losses.refinement import refining

    if vae.attributes is None or (vae.attributes.one_class is not None and "=" not in words):
        mine = label_of(own, names) if own is not None else None
        return Order(refining(vae, model, refine), labels_of(words, names), names, mine)
    if refine:
        raise ValueError(f"refine: expected 0 for a model of attributes, got {refine:g}")
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
