"""Explain a classifier by counterfactuals: which change to an image makes it say something else?

`explain` walks from the reconstruction of each image to its counterfactual and measures the result as the literature
does. The measures are read together: a counterfactual may flip the classifier by a change that only the classifier
sees, which a second network (`oracle_score`) finds out.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from labelvae.evaluation.transition import counterfactual_transition, logits_of
from labelvae.inputs.checks import check_count, check_kind, check_number
from labelvae.inputs.tensors import Images, Labels, as_images
from labelvae.models.confidence import one_class
from labelvae.models.frozen import Classifier
from labelvae.models.inference import chunks
from labelvae.models.vae import ConditionalVAE
from labelvae.models.wrapped import matching
from labelvae.system.compiling import uncompiled
from labelvae.visual.grids import grid

MOST_VALUES = 2**24
"""Values of the images on the ways that are in memory at a time: 64 MiB."""

LEAST_KEPT = 0.8
"""Mean of `kept` below which the measures tell more about the model than about the classifier."""


@dataclass(frozen=True)
class Explanations:
    """Counterfactuals of images, and what a classifier says of them.

    The measures, each `(B,)`:

    - `flip_rate`: 1 where the classifier says another label of the counterfactual than of the image (Jeanneret et al.,
      2022, "DiME", arXiv 2203.15636).
    - `validity`: 1 where it says the asked label (Mothilal et al., 2020, "DiCE", arXiv 1905.07697).
    - `oracle_score`: 1 where the judge says the asked label too; only with a judge (Hvilshøj et al., 2021, arXiv
      2111.00177).
    - `l1`: proximity, the mean absolute change of a pixel's value, in [0, 1] (Khorram & Fuxin, 2022, "C3LT", arXiv
      2203.15064).
    - `l2`: proximity, the root of the sum of the squared changes.
    - `sparsity`: 1 minus the share of pixels that change by more than a threshold (Mothilal et al., 2020).
    - `cout`: counterfactual transition, see `counterfactual_transition`.
    - `first_flip`: share of the way from the reconstruction to the counterfactual at which the classifier first says
      something else than of the image; NaN where it never does.
    - `kept`: 1 where the classifier says the same of the reconstruction as of the image. Where it does not, the model
      and not the change of label flipped the classifier.

    Attributes:
        images: what is explained, `(B, C, H, W)` in [0, 1].
        reconstructions: the images as the model draws them under what the classifier says of them.
        flipped: the first images on the way of which the classifier says something else; the counterfactuals where
            there are none.
        counterfactuals: the images as the asked labels.
        said: what the classifier says of the images, `(B,)`.
        asked: the labels of the counterfactuals, `(B,)`.
        flipped_to: what the classifier says of `flipped`, `(B,)`.
        verdicts: what the classifier says of the counterfactuals, `(B,)`.
        measures: the measures by name.
    """

    images: Tensor
    reconstructions: Tensor
    flipped: Tensor
    counterfactuals: Tensor
    said: Tensor
    asked: Tensor
    flipped_to: Tensor
    verdicts: Tensor
    measures: dict[str, Tensor]

    def means(self) -> dict[str, float]:
        """Return the mean of each measure over the images; that of `first_flip` over those that flip."""
        return {name: float(values.nanmean()) for name, values in self.measures.items()}

    def row(self, index: int) -> dict[str, float | None]:
        """Return the measures of one image; None for what does not apply."""
        row = {name: float(values[index]) for name, values in self.measures.items()}
        return {name: None if math.isnan(value) else value for name, value in row.items()}

    def telling(self, count: int) -> list[int]:
        """Return the images that tell most: highest `cout` first, and what the classifier says of them in turn."""
        order = self.measures["cout"].argsort(descending=True, stable=True).tolist()
        turns, seen = list[tuple[int, int]](), dict[int, int]()
        for index in order:
            said = int(self.said[index])
            seen[said] = seen.get(said, -1) + 1
            turns.append((seen[said], index))
        return [index for _, index in sorted(turns, key=lambda turn: turn[0])][:count]


def explain(
    vae: ConditionalVAE,
    images: Images,
    classifier: nn.Module,
    labels: Labels | None = None,
    *,
    judge: nn.Module | None = None,
    steps: int = 101,
    threshold: float = 0.1,
    progress: bool = False,
) -> Explanations:
    """Explain what a classifier says of images by their counterfactuals.

    A warning is given if the mean of `kept` is below `LEAST_KEPT`.

    Args:
        vae: the model that makes the counterfactuals.
        images: what is explained, in any form that `ConditionalVAE.relabel` takes.
        classifier: a `LabelClassifier`, or any network from the model's images to logits `(B, K)`. It may be one that
            has no gradient.
        labels: what each image is asked to be, one class for each; None asks for the classifier's second choice.
        judge: another classifier of the same labels, for `oracle_score`.
        steps: images on the way from a reconstruction to its counterfactual, both ends among them, at least 2.
        threshold: change of a pixel, in any of its channels, above which it counts as changed, in [0, 1).
        progress: show a progress bar.

    Returns:
        The counterfactuals and their measures, on the CPU.

    Raises:
        ValueError: images or labels of another shape, type or range; a label that the classifier says already; a
            classifier or a judge of other images or classes.

    >>> _ = torch.manual_seed(0)
    >>> vae, classifier = ConditionalVAE((1, 8, 8), 3), nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> sorted(explain(vae, torch.rand(5, 1, 8, 8), classifier).means())
    ['cout', 'first_flip', 'flip_rate', 'kept', 'l1', 'l2', 'sparsity', 'validity']
    """
    vae = uncompiled(vae)
    check_kind("vae", vae, ConditionalVAE)
    network = matching("classifier", classifier, vae)
    second = None if judge is None else matching("judge", judge, vae)
    images = as_images(images, vae.image_shape).cpu().float()
    steps, threshold = (
        check_count("steps", steps, at_least=2),
        check_number("threshold", threshold, at_least=0, below=1),
    )
    best = logits_of(network, images).topk(2, dim=1).indices
    said, asked = best[:, 0], best[:, 1] if labels is None else one_class(vae, labels, len(images), "labels").cpu()
    same = int((said == asked).sum())
    if same:
        raise ValueError(
            f"labels: the classifier says what is asked of {same} of {len(images)} images already; leave them out, or "
            "ask for another label"
        )
    parts = chunks(len(images), max(1, MOST_VALUES // (steps * math.prod(vae.image_shape))))
    bar = tqdm(parts, desc="explaining", unit="batch", leave=False, delay=2, disable=not progress)
    found = [_explained(vae, images[each], network, said[each], asked[each], steps) for each in bar]
    first, flipped, last, at, flipped_to, verdicts, kept = (torch.cat(each) for each in zip(*found, strict=True))
    change = (last - images).abs()
    measures = {"flip_rate": verdicts != said, "validity": verdicts == asked}
    if second is not None:
        measures["oracle_score"] = logits_of(second, last, "judge").argmax(dim=1) == asked
    measures |= {
        "l1": change.mean(dim=(1, 2, 3)),
        "l2": change.square().sum(dim=(1, 2, 3)).sqrt(),
        "sparsity": 1.0 - (change.amax(dim=1) > threshold).float().mean(dim=(1, 2)),
        "cout": counterfactual_transition(network, images, last, said, asked),
        "first_flip": at,
        "kept": kept,
    }
    floats = {name: values.float() for name, values in measures.items()}
    _say_kept(floats["kept"])
    return Explanations(images, first, flipped, last, said, asked, flipped_to, verdicts, floats)


def explanation_sheet(found: Explanations, indices: Sequence[int], class_names: Sequence[str]) -> Image.Image:
    """Draw images in rows: itself, its reconstruction, the first that flips, its counterfactual, and what flipped it.

    The last picture is the difference of the flipped image to the reconstruction, grey where there is none. COUT stands
    before each row.

    Args:
        found: what `explain` returned.
        indices: the images.
        class_names: the name of each label.

    Returns:
        The sheet.
    """
    rows, captions = [], []
    for index in indices:
        said, asked, verdict, other = (
            class_names[int(each[index])] for each in (found.said, found.asked, found.verdicts, found.flipped_to)
        )
        at = float(found.measures["first_flip"][index])
        first, flipped, last = found.reconstructions[index], found.flipped[index], found.counterfactuals[index]
        rows.append([found.images[index], first, flipped, last, 0.5 + 0.5 * (flipped - first)])
        flip = "no flip" if math.isnan(at) else f"{at:.0%}: {other}"
        captions.append([said, "", flip, f"as {asked}: {verdict}", ""])
    titles = [f"COUT {float(found.measures['cout'][index]):+.2f}" for index in indices]
    return grid(rows, captions, titles, ["image", "model", "first flip", "asked", "change"])


def _say_kept(kept: Tensor) -> None:
    """Warn if the model itself flips the classifier too often."""
    share, count = float(kept.mean()), len(kept)
    if share < LEAST_KEPT:
        warnings.warn(
            f"kept: the classifier says the same of {share:.0%} of {count} reconstructions as of their images, so the "
            "flips of the others may come from what the model cannot draw, not from the label; use a model that draws "
            "the images better, or look only at images whose kept is 1",
            stacklevel=3,
        )


def _explained(
    vae: ConditionalVAE, images: Tensor, classifier: Classifier, said: Tensor, asked: Tensor, steps: int
) -> tuple[Any, ...]:
    """Walk to some images' counterfactuals.

    Returns:
        The ways' first images, the first that flip and the last; the share of the way; what the classifier says of the
        flipped and of the last; and whether it says the same of the first as of the image.
    """
    way = vae.interpolate(images, said, asked, steps).float()
    verdicts = logits_of(classifier, way.flatten(0, 1)).argmax(dim=1).view(len(images), steps)
    differs = verdicts != said[:, None]
    never = ~differs.any(dim=1)
    at = torch.where(never, steps - 1, differs.int().argmax(dim=1))
    rows = torch.arange(len(images), device="cpu")
    share = (at / (steps - 1)).masked_fill(never, math.nan)
    return way[:, 0], way[rows, at], way[:, -1], share, verdicts[rows, at], verdicts[:, -1], ~differs[:, 0]
