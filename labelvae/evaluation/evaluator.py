"""`evaluate`: everything that a relabelling model is judged by, in one pass over held-out images.

The judge is never in a loss, never picks a checkpoint, and differs from the guide in architecture and seed. References
keep the numbers honest: the image itself, and the mean of the class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import fields
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from tqdm import tqdm

from labelvae.data.given_data import Batches, batches_of, checked_pair, length_of
from labelvae.evaluation.arguments import as_classifier, check_classes, check_model, image_shape_of
from labelvae.evaluation.image_metrics import Composition, Reversibility, Sharpness, Specks
from labelvae.evaluation.metrics import Effectiveness, GuideJudgeGap, Leakage, Style
from labelvae.evaluation.own_metrics import OwnMetrics
from labelvae.evaluation.realism import Realism
from labelvae.evaluation.references import ClassMean, ImageItself, Relabeller
from labelvae.evaluation.scores import Scores
from labelvae.evaluation.style import style_statistics
from labelvae.evaluation.transition import check_known
from labelvae.inputs.checks import check_count, check_same_data
from labelvae.inputs.conversions import described
from labelvae.inputs.tensors import check_images, wrong_labels
from labelvae.models.frozen import Classifier
from labelvae.models.inference import evaluation_mode
from labelvae.models.passes import at_once
from labelvae.models.vae import ConditionalVAE
from labelvae.system.compiling import uncompiled

__all__ = ["Batches", "ClassMean", "ImageItself", "Relabeller", "evaluate"]

StyleOf: TypeAlias = Callable[[Tensor], Mapping[str, Tensor]]
"""A function from images `(B, C, H, W)` to style statistics by name, each `(B, S)`."""


def evaluate(
    model: Relabeller,
    batches: Batches,
    judge: nn.Module,
    *,
    real: Batches | None = None,
    guide: nn.Module | None = None,
    label_free: nn.Module | None = None,
    style: StyleOf = style_statistics,
    name: str = "model",
    rounds: int = 1,
    seed: int = 0,
    progress: bool = True,
    metrics: Mapping[str, Metric] | None = None,
) -> Scores:
    """Relabel held-out images to wrong labels, and score the result. No images are kept.

    Args:
        model: the model to score: a `ConditionalVAE`, or an object with its methods `relabel` and `reconstruct`.
        batches: held-out images `(B, C, H, W)` in [0, 1] and labels `(B,)`, in a form of `data.given_data` that can be
            gone through more than once: a torch `Dataset` or `DataLoader`, a list of batches, or a split.
        judge: an independent classifier. It is used in evaluation mode. A `LabelClassifier`, the result of its `wrap`,
            or, if the model has an `image_shape`, any network from images to logits.
        real: real images and labels for realism to compare with, at best training images. None takes `batches`; the
            floor of realism is then 0.
        guide: the classifier in the loss, for the guide-judge gap.
        label_free: a network on the same images that never saw labels, such as one that recognizes how far an image is
            turned. A guided model cannot flatter the realism in its features.
        style: a function from images `(B, C, H, W)` to the statistics that should survive a change of label, by name,
            each `(B, S)`.
        name: the name of the row.
        rounds: the number of wrong labels drawn for each image. More rounds give steadier figures for a small set.
        seed: the seed of the wrong labels.
        progress: show a progress bar.
        metrics: torchmetrics metrics of your own, by name. Their `update` may name these arguments: images, labels,
            asked, counterfactuals, logits; or preds and target for the counterfactuals and the images. Their results
            are in `Scores.metrics`.

    Returns:
        The scores.

    Raises:
        ValueError: no batches, or batches for one pass only; images or labels of another shape, type or range than the
            judge's; a guide or a model of other images or classes; a style or a metric of another form.

    >>> from labelvae import LabelClassifier
    >>> vae, judge = ConditionalVAE((1, 8, 8), 3), LabelClassifier((1, 8, 8), 3)
    >>> evaluate(vae, [(torch.rand(12, 1, 8, 8), torch.arange(12) % 3)], judge, progress=False).images
    12
    """
    rounds = check_count("rounds", rounds)
    seed = check_count("seed", seed, at_least=0, at_most=2**63 - 1)
    model = uncompiled(model)
    check_model(model)
    if not callable(style):
        raise ValueError(f"style: expected a function from images to statistics by name, got {described(style)}")
    batches = batches_of("batches", batches, repeated=True)
    real = None if real is None else batches_of("real", real, repeated=True)
    classes = getattr(model, "num_classes", None)
    shape = getattr(model, "image_shape", None) or image_shape_of(batches)
    networks = (
        as_classifier("judge", judge, shape, classes),
        None if guide is None else as_classifier("guide", guide, shape, classes),
        None if label_free is None else as_classifier("label_free", label_free, shape, None),
    )
    check_classes(model, {"judge": networks[0], "guide": networks[1]}, {"batches": batches, "real": real})
    with torch.device("cpu"):  # whatever the caller's default device is
        own = OwnMetrics(metrics, {each.name for each in fields(Scores)})
        evaluation = _Evaluation(model, *networks, style, own)
    generator = torch.Generator("cpu").manual_seed(seed)
    of, real = ("batches", batches) if real is None else ("real", real)
    sizes = [length_of(source) for source in (real, batches)]
    total = None if math.isnan(sum(sizes)) else sizes[0] + rounds * sizes[1]
    with evaluation.networks(), tqdm(desc=name, total=total, disable=not progress, leave=False, unit="batch") as bar:
        for batch in real:
            evaluation.see_real(*evaluation.checked(batch))
            bar.update()
        if evaluation.sharpness.update_count == 0:
            raise ValueError(f"{of}: expected at least one batch of images, got none")
        for turn in range(rounds):
            for batch in batches:
                evaluation.see(*evaluation.checked(batch), generator, first=turn == 0)
                bar.update()
    return evaluation.scores(name)


class _Evaluation:
    """The metrics of one evaluation, updated batch by batch on the CPU, because some devices have no float64."""

    def __init__(
        self,
        model: Relabeller,
        judge: Classifier,
        guide: Classifier | None,
        label_free: Classifier | None,
        style: StyleOf,
        own: OwnMetrics,
    ) -> None:
        self.own = own
        self.model, self.judge, self.guide, self.style_of = model, judge, guide, style
        self.classes = judge.num_classes
        for name, other in (("guide", guide), ("model", model if isinstance(model, ConditionalVAE) else None)):
            if other is not None:
                check_same_data(name, other, judge, "the judge")
        if label_free is not None and label_free.image_shape != judge.image_shape:
            raise ValueError(
                f"label_free: knows images {label_free.image_shape}, the judge {judge.image_shape}; "
                "they must be for the same data"
            )
        self.seeing = {"judge": judge} | ({} if label_free is None else {"label free": label_free})
        self.effectiveness = Effectiveness(self.classes)
        self.accuracy = Effectiveness(self.classes)
        self.gap = GuideJudgeGap()
        self.composition = Composition()
        self.reversibility = Reversibility()
        self.realism = {name: Realism(self.classes, network.feature_dim) for name, network in self.seeing.items()}
        self.floor = {name: Realism(self.classes, network.feature_dim) for name, network in self.seeing.items()}
        self.sharpness = Sharpness()
        self.specks = Specks()
        self.leakage = Leakage()
        self.styles: dict[str, Style] = {}
        self.known: dict[int, Mapping[str, Tensor]] = {}
        self.style_sizes: dict[str, int] = {}

    def networks(self) -> ExitStack:
        """Return a context in which all networks are in evaluation mode, without gradients."""
        stack = ExitStack()
        self.seeing = {name: stack.enter_context(evaluation_mode(each)) for name, each in self.seeing.items()}
        self.judge = self.seeing["judge"]
        return stack

    def see_real(self, images: Tensor, labels: Tensor) -> None:
        for name, features in self._seen(images)[1].items():
            self.realism[name].update(features, labels, real=True)
            self.floor[name].update(features, labels, real=True)
        if images.shape[1] == 1:
            self.specks.update(images, real=True)
        self.sharpness.update(images, real=True)

    def see(self, images: Tensor, labels: Tensor, generator: torch.Generator, first: bool) -> None:
        asked = wrong_labels(labels, self.classes, generator)
        counterfactuals = self._made("relabel", images, asked, labels)
        logits, seen = self._seen(counterfactuals)
        self.effectiveness.update(logits, asked)
        self.own.update(images=images, labels=labels, asked=asked, counterfactuals=counterfactuals, logits=logits)
        if self.guide is not None:
            with evaluation_mode(self.guide) as guide:
                parts = counterfactuals.split(at_once(guide, counterfactuals))
                guided = torch.cat([guide(some.to(self.guide.device, copy=True)).cpu() for some in parts])
            self.gap.update(check_known("guide", guided), logits, asked)
        self.reversibility.update(images, self._made("relabel", counterfactuals, labels, asked))
        self.sharpness.update(counterfactuals, real=False)
        if images.shape[1] == 1:
            self.specks.update(counterfactuals, real=False)
        before = self.known[hash(images.numpy().tobytes())] = self._style(images)
        after = self._style(counterfactuals)
        for name, values in before.items():
            self.styles.setdefault(name, Style(self.classes)).update(values, after[name], labels, asked)
        if not first:
            return
        for name, features in seen.items():
            self.realism[name].update(features, asked, real=False)  # as many as the floor has: distances depend on it
        self.composition.update(images, self._made("reconstruct", images, labels))
        logits, seen = self._seen(images)
        self.accuracy.update(logits, labels)
        for name, features in seen.items():
            self.floor[name].update(features, labels, real=False)
        if isinstance(self.model, ConditionalVAE):
            with evaluation_mode(self.model) as model:
                posterior = model.encode(images.to(self.model.device), labels)
            self.leakage.update(posterior.mean.cpu(), labels)

    def _made(self, method: str, images: Tensor, *labels: Tensor) -> Tensor:
        """Return what the model makes of copies of images, which a model of your own may change in place, as floats."""
        made: Tensor = getattr(self.model, method)(images.clone(), *(each.clone() for each in labels))
        check_images(made, self.judge.image_shape, f"model.{method}")
        if len(made) != len(images):
            raise ValueError(f"model.{method}: expected an image for each of {len(images)}, got {len(made)}")
        return made.detach().cpu().float()  # numpy has no bfloat16

    def _style(self, images: Tensor) -> Mapping[str, Tensor]:
        """Return the style of images. In several rounds, that of the same images is measured once."""
        known = self.known.get(hash(images.numpy().tobytes()))
        return self._measured(images) if known is None else known

    def _measured(self, images: Tensor) -> Mapping[str, Tensor]:
        measured = self.style_of(images.clone())
        for name, values in measured.items() if isinstance(measured, Mapping) else [("", measured)]:
            if not name or not isinstance(values, Tensor) or values.ndim != 2 or len(values) != len(images):
                raise ValueError(
                    f"style: expected a function from images (B, C, H, W) to statistics by name, each (B, S), got "
                    f"{described(values)} for {len(images)} images"
                )
        sizes = {name: values.shape[1] for name, values in measured.items()}
        self.style_sizes = self.style_sizes or sizes
        if sizes != self.style_sizes:
            raise ValueError(f"style: expected {self.style_sizes} statistics as of the first images, got {sizes}")
        return measured

    def _seen(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the judge's logits of images, and the features of all networks that see them, by name."""
        found = {}
        for name, each in self.seeing.items():
            some = (part.to(each.device, copy=True) for part in images.split(at_once(each, images)))
            parts = [each.logits_and_features(part) for part in some]
            found[name] = [torch.cat(values).cpu() for values in zip(*parts, strict=True)]
        return check_known("judge", found["judge"][0]), {name: features for name, (_, features) in found.items()}

    def checked(self, batch: object) -> tuple[Tensor, Tensor]:
        """Return the images and labels of a batch, checked against the judge."""
        names = getattr(self.model, "class_names", None)
        return checked_pair(batch, self.judge.image_shape, self.classes, names)

    def scores(self, name: str) -> Scores:
        if self.effectiveness.update_count == 0:
            raise ValueError("batches: expected at least one batch of images, got none")
        effectiveness, *by_class = self.effectiveness.compute().tolist()
        psnr, ssim, l1 = self.composition.compute().tolist()
        reversed_psnr, reversed_ssim, reversed_l1 = self.reversibility.compute().tolist()
        realism, realism_by_class, diversity = self.realism["judge"].compute().tolist()
        free = "label free" in self.seeing
        return Scores(
            name=name,
            images=int(self.effectiveness.asked.sum()),
            effectiveness=effectiveness,
            effectiveness_worst_class=min(value for value in by_class if not math.isnan(value)),
            guide_judge_gap=float(self.gap.compute()) if self.guide is not None else math.nan,
            judge_accuracy=float(self.accuracy.compute()[0]),
            psnr=psnr,
            ssim=ssim,
            l1=l1,
            reversed_psnr=reversed_psnr,
            reversed_ssim=reversed_ssim,
            reversed_l1=reversed_l1,
            realism=realism,
            realism_by_class=realism_by_class,
            realism_floor=float(self.floor["judge"].compute()[1]),
            realism_label_free=float(self.realism["label free"].compute()[1]) if free else math.nan,
            realism_label_free_floor=float(self.floor["label free"].compute()[1]) if free else math.nan,
            diversity=diversity,
            sharpness=float(self.sharpness.compute()),
            specks=float(self.specks.compute()) if self.specks.update_count else math.nan,
            leakage=float(self.leakage.compute()) if self.leakage.update_count else math.nan,
            style={style: float(metric.compute()) for style, metric in self.styles.items()},
            effectiveness_by_class=tuple(by_class),
            metrics=self.own.results(),
        )
