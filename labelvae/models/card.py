"""A model's card: what the model is, how it was made, and how well it does, from the files of its run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from labelvae.attributes.choices import Category
from labelvae.attributes.rows import Attributes
from labelvae.models.finished_run import read_run
from labelvae.system.whole_files import write_whole

PICTURES = {
    "wrong_labels": "Held-out images, each beside itself under a wrong label",
    "every_class": "Held-out images, each as every class",
    "samples": "New images of each class",
    "failures": "Held-out images whose counterfactual the judge takes least for what was asked",
    "attributes": "Held-out images, and each of them with one attribute changed at a time",
}

FIGURES = {
    "effectiveness": "counterfactuals that the judge takes for the asked label",
    "effectiveness_worst_class": "the same, worst class",
    "judge_accuracy": "the judge's accuracy on real images",
    "guide_judge_gap": "guide agreement minus judge agreement",
    "psnr": "own-label reconstructions, dB",
    "reversed_psnr": "relabelled and back, dB",
    "realism_by_class": "Fréchet distance by class, judge's features",
    "realism_floor": "the same for real images",
    "diversity": "variance within the asked class over that of real images, judge's features",
    "leakage": "accuracy of a linear probe reading the label from the code",
}

CARD = """---
library_name: labelvae
pipeline_tag: image-to-image
tags:
- conditional-vae
- counterfactual
---

# {name}

A label-conditional variational autoencoder: give it an image and a label, and get the image back as that label, in
its own style.

```python
from labelvae import ConditionalVAE

vae = ConditionalVAE.from_pretrained("{name}")
{own}relabelled = vae.relabel(images, {label})  # images: (B, {channels}, {height}, {width}) in [0, 1]
```
{prior}{refined}
{classes}.

## Made

{made}

## Scores

On held-out images, {images} counterfactuals, by a judge that was never in the loss.

{table}

{pictures}
"""

OWN = "own = ...  # what the images are, a dict by attribute; or an AttributeClassifier, which reads it\n"

PRIOR = (
    "\nNew images, `vae.sample({label})`, are made from codes of a prior that was fitted to the codes of the training "
    "images.\n"
)

REFINED = (
    "\nIts guide was trained on attacked images and takes counterfactuals further towards their label, as "
    "`labelvae relabel`\ndoes by itself:\n\n```python\nfrom labelvae.losses.refinement import Refined\n\n"
    'model = Refined.from_pretrained("{name}")\nrelabelled = model.relabel(images, {label})\n```\n'
)


def model_card(run: str | Path, name: str | None = None, refined: bool = False) -> str:
    """Write the card of a finished run's model as a text in Markdown.

    Args:
        run: the folder of the run.
        name: the name by which `from_pretrained` finds the model. None takes the model's folder in the run.
        refined: whether the model's guide comes with it and refines its counterfactuals.

    Returns:
        The text.

    Raises:
        ValueError: a folder without scores, or one that is not a run's.
    """
    run = Path(run)
    rows, config, header = read_run(run).rows, _config(run / "vae" / "config.json"), _header(run / "settings.yaml")
    channels, height, width = config["image_shape"]
    classes, label = _label(config, run / "vae" / "classes.json")
    lines = [f"| figure | {' | '.join(str(row['name']) for row in rows)} | |", f"| --- |{' ---: |' * len(rows)} --- |"]
    styles = {name: "style kept, class-centred correlation" for name in rows[0] if name.startswith("style_")}
    for figure, meaning in {**FIGURES, **styles, **_attribute_figures(config, rows[0])}.items():
        if any(row.get(figure) is not None for row in rows):
            lines += [f"| {figure} | {' | '.join(_cell(row.get(figure)) for row in rows)} | {meaning} |"]
    pictures = [f"## {text}\n\n![{text}]({name}.png)" for name, text in PICTURES.items() if _there(run, name)]
    return CARD.format(
        name=name or run / "vae",
        refined=REFINED.format(name=name or run / "vae", label=label) if refined else "",
        prior=PRIOR.format(label=label) if "prior" in config else "",
        label=label,
        own=OWN if "attributes" in config else "",
        channels=channels,
        height=height,
        width=width,
        classes=classes,
        made="\n".join(f"- {line}" for line in header) or "- by hand",
        images=f"{rows[0].get('images', 0):,}",
        table="\n".join(lines),
        pictures="\n\n".join(pictures),
    )


def write_model_card(folder: str | Path, run: str | Path, name: str | None = None, refined: bool = False) -> None:
    """Write the card of a finished run's model to `README.md`, and copy the pictures and the class names next to it.

    Args:
        folder: the folder to write to.
        run: the folder of the run.
        name: the name by which `from_pretrained` finds the model. None takes the model's folder in the run.
        refined: whether the model's guide comes with it and refines its counterfactuals.

    Raises:
        ValueError: a run without scores.
    """
    folder, run = Path(folder), Path(run)
    write_whole(folder / "README.md", model_card(run, name, refined))
    for picture in PICTURES:
        if _there(run, picture):
            shutil.copyfile(run / f"{picture}.png", folder / f"{picture}.png")
    names = run / "vae" / "classes.json"
    if names.is_file() and names.parent.resolve() != folder.resolve():
        shutil.copyfile(names, folder / "classes.json")


def _label(config: dict[str, Any], names: Path) -> tuple[str, str]:
    """Return what a label of the model is, in words, and one of them as Python writes it."""
    if "attributes" not in config:
        classes = json.loads(names.read_text()) if names.is_file() else [str(k) for k in range(config["num_classes"])]
        return f"Classes: {', '.join(str(name) for name in classes)}", str(config["num_classes"] - 1)
    attributes = Attributes(config["attributes"])
    said = "; ".join(f"{name}: {kind.expected}" for name, kind in attributes.items())
    name, kind = next(iter(attributes.items()))
    value = float(kind.examples(2)[-1])
    word = repr(kind.text(value)) if isinstance(kind, Category) else f"{value:g}"
    return f"Attributes: {said}", f"{{{name!r}: {word}}}, own_labels=own"


def _attribute_figures(config: dict[str, Any], row: dict[str, Any]) -> dict[str, str]:
    """Return the figures of a row that are of attributes, and what they mean."""
    meanings = {"real": "the judge on real images", "kept": "left alone, where another attribute was asked for"}
    found = {}
    for name in config.get("attributes", {}):
        for figure in (figure for figure in row if figure.startswith(f"{name}_")):
            first = figure.removeprefix(f"{name}_").split("_")[0]
            found[figure] = meanings.get(first, "followed, where it was asked for")
    return found


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected the folder of a finished run")
    try:
        config: dict[str, Any] = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON ({error})") from error
    return config


def _header(path: Path) -> list[str]:
    """Return the lines of settings.yaml that say how a run was made."""
    text = path.read_text().splitlines() if path.is_file() else []
    return [line.removeprefix("# ") for line in text if line.startswith(("# made by", "# images", "# with"))]


def _there(run: Path, name: str) -> bool:
    return (run / f"{name}.png").is_file()


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
