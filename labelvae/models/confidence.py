"""A dial: the counterfactual that a classifier believes with the probability that is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labelvae.inputs.checks import as_list, check_kind, check_number
from labelvae.inputs.tensors import Images, Labels, as_images, moved
from labelvae.models.frozen import Classifier
from labelvae.models.inference import chunks, evaluation_mode
from labelvae.models.loaded import check_loaded
from labelvae.models.passes import codes_of
from labelvae.models.vae import ConditionalVAE
from labelvae.models.wrapped import check_differentiable, matching
from labelvae.system.compiling import uncompiled

LABEL_STEPS = 16
"""Steps in which the label's weights move from the own label to the asked one."""

CODE_STEPS = 60
"""Most steps that the code moves after that."""

CODE_STEP = 0.25
"""Length of a step of the code; the prior's standard deviation is 1 along each axis."""

HALVINGS = 16
"""Halvings of the step on which the confidence is reached."""


@torch.inference_mode(False)  # gradients are needed in a caller's inference mode, too
def relabel_to_confidence(
    vae: ConditionalVAE,
    guide: nn.Module,
    images: Images,
    labels: Labels,
    confidence: float | Tensor | Sequence[float],
    own_labels: Labels | None = None,
    *,
    tolerance: float = 0.01,
    chunk_size: int = 256,
) -> Tensor:
    """Return the counterfactuals that a guide takes for the asked label with a probability that is asked for.

    The label's weights move from the own label to the asked one, while the code stays. If the guide's probability is
    still too low at the end of this way, the code moves up the gradient of the guide's log-odds. If the probability is
    too high at its start, the code moves down, under the own label. The way does not depend on the confidence, and the
    first place that has the confidence is found by bisection: a lower confidence never lies further along the way.

    Requested confidences: Singla et al., 2020, arXiv 1911.00483; Haselhoff et al., 2024, "GdVAE", arXiv 2409.12952.

    Args:
        vae: the model.
        guide: the classifier whose probability is meant, the softmax of its logits: a `LabelClassifier`, or any network
            from the model's images to logits `(B, K)`.
        images: the images, in any form that `ConditionalVAE.relabel` takes.
        labels: what each image is asked to be, one class for each.
        confidence: the probability, above 0 and below 1: one for all images, or `(B,)`.
        own_labels: what each image is, one class for each; None takes what the guide says of it.
        tolerance: largest distance of a result from its confidence without a warning.
        chunk_size: images at a time.

    Returns:
        `(B, C, H, W)` in [0, 1], on the device of `images`. A warning says how many missed their confidence, because
        the guide gives it nowhere along the way.

    Raises:
        ValueError: images or labels of another shape, type or range; labels that blend classes; a guide of other images
            or classes, or one without a gradient where the code has to move; a decoder that does not see the label.

    >>> vae, guide = ConditionalVAE((1, 8, 8), 3), nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> relabel_to_confidence(vae, guide, torch.rand(5, 1, 8, 8), 2, 0.4, tolerance=0.5).shape
    torch.Size([5, 1, 8, 8])
    """
    vae = uncompiled(vae)
    check_kind("vae", vae, ConditionalVAE)
    check_loaded("vae", vae)
    classifier = matching("guide", guide, vae)
    images = as_images(images, vae.image_shape)
    if not vae.decoder_sees_label:
        raise ValueError(
            f"vae: expected a decoder that sees the label, got decoder_label={vae.decoder_label!r}; train a "
            "model whose decoder does"
        )
    asked = one_class(vae, labels, len(images), "labels")
    goals = _log_odds_of(confidence, len(images))
    tolerance = check_number("tolerance", tolerance, above=0, below=1)
    made = torch.empty(len(images), *vae.image_shape, dtype=vae.dtype, device=images.device)
    missed = 0
    with evaluation_mode(vae) as model, evaluation_mode(classifier) as network:
        own = one_class(vae, own_labels, len(images), "own_labels") if own_labels is not None else None
        for part in chunks(len(images), chunk_size):
            some = moved(images[part], vae.device, "images")
            mine = network(some.to(classifier.device)).argmax(dim=1) if own is None else own[part]
            dial = _Dial(model, network, asked[part].to(vae.device))
            goal = goals[part].to(vae.device)
            found, odds = dial.turn(codes_of(vae, some, mine, "own_labels", chunk_size), mine.to(vae.device), goal)
            made[part] = found.to(made)
            hits = (odds.sigmoid() - goal.sigmoid()).abs() <= tolerance  # NaN hits nothing
            missed += int((~hits).sum())
    if missed:
        warnings.warn(
            f"confidence: {missed} of {len(images)} counterfactuals are further than {tolerance:g} from what was "
            "asked; the guide gives it nowhere along the way",
            stacklevel=3,  # past the decorator
        )
    return made


def one_class(vae: ConditionalVAE, labels: Labels, batch: int, name: str) -> Tensor:
    """Return labels in any accepted form as class indices `(B,)`.

    Raises:
        ValueError: labels of another number, type or range; a blend of classes.
    """
    classes = vae.num_classes
    weights = vae.label_weights(labels, batch, name)
    if bool((weights.amax(dim=1) < 1).any()):
        raise ValueError(f"{name}: expected one of {classes} classes for each image, got a blend of them")
    return weights.argmax(dim=1)


class _Dial:
    """The way of some images to their asked labels `(B,)`, and what the guide says along it."""

    def __init__(self, vae: ConditionalVAE, guide: Classifier, asked: Tensor) -> None:
        self.vae, self.guide, self.asked = vae, guide, asked
        self.identity = torch.eye(vae.num_classes, device=asked.device)

    def look(self, codes: Tensor, weights: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Decode codes `(M, D)` under weights `(M, K)`; return images, and the guide's log-odds of the label `(M,)`."""
        made = self.vae.decode(codes, self.vae.weighed(weights))
        logits = self.guide(made.to(self.guide.device)).to(made.device).float()
        asked = self.identity[self.asked[places]].bool()
        others = logits.masked_fill(asked, -torch.inf).logsumexp(dim=1)
        return made, logits[asked] - others

    def turn(self, codes: Tensor, own: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first images on the way that have the log-odds `goal` `(B,)`, and the log-odds that they have."""
        everything = torch.arange(len(codes), device=codes.device)
        first, last = self.identity[own], self.identity[self.asked]
        odds = self.look(codes, first, everything)[1]
        upwards = odds < goal
        near, far = (codes.clone(), first.clone()), (codes.clone(), first.clone())
        open_ = everything[odds != goal]
        for step in range(1, LABEL_STEPS + CODE_STEPS + 1):
            if not len(open_):
                break
            for ends in (0, 1):
                near[ends][open_] = far[ends][open_]
            by_label = open_[upwards[open_]] if step <= LABEL_STEPS else open_[:0]
            by_code = open_[~upwards[open_]] if step <= LABEL_STEPS else open_
            far[1][by_label] = torch.lerp(first[by_label], last[by_label], step / LABEL_STEPS)
            if len(by_code):
                far[0][by_code] += self._push(far[0][by_code], far[1][by_code], by_code, upwards[by_code])
            odds = self.look(far[0][open_], far[1][open_], open_)[1]
            open_ = open_[torch.where(upwards[open_], odds < goal[open_], odds > goal[open_])]
        low, high = torch.zeros_like(goal), torch.ones_like(goal)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            odds = self.look(*self._between(near, far, middle), everything)[1]
            reached = torch.where(upwards, odds >= goal, odds <= goal)
            low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
        return self.look(*self._between(near, far, high), everything)

    def _push(self, codes: Tensor, weights: Tensor, places: Tensor, upwards: Tensor) -> Tensor:
        """Return a step of each code, up or down the gradient of the guide's log-odds, `(M, D)`."""
        check_differentiable("guide", self.guide)
        with torch.enable_grad():
            moved = codes.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.look(moved, weights, places)[1].sum(), moved)
        length = torch.linalg.vector_norm(gradient, dim=1, keepdim=True).clamp_min(1e-12)
        step: Tensor = CODE_STEP * torch.where(upwards, 1.0, -1.0)[:, None] * gradient / length
        return step

    @staticmethod
    def _between(near: tuple[Tensor, Tensor], far: tuple[Tensor, Tensor], share: Tensor) -> tuple[Tensor, Tensor]:
        codes, weights = (torch.lerp(one, other, share[:, None].to(one)) for one, other in zip(near, far, strict=True))
        return codes, weights


def _log_odds_of(confidence: float | Tensor | Sequence[float], batch: int) -> Tensor:
    """Return probabilities as log-odds `(B,)`."""
    values = as_list(confidence)
    each = list(values) if isinstance(values, list | tuple) else [values] * batch
    if len(each) != batch:
        raise ValueError(f"confidence: expected one probability, or one for each of {batch} images, got {len(each)}")
    chances = [check_number("confidence", value, above=0, below=1) for value in each]
    return torch.tensor(chances, dtype=torch.float64, device="cpu").logit().float()
