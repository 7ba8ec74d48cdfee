"""What scores say of a model in words, and which setting to try next."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

from labelvae.evaluation.attribute_scores import AttributeScores
from labelvae.evaluation.diagnosis import beats_chance
from labelvae.evaluation.scores import Scores
from labelvae.inputs.class_names import printable

LEAST_JUDGE_ACCURACY = 0.75
"""Accuracy on real images below which what a judge says is rough; of an attribute, balanced accuracy or correlation."""

LEAST_EFFECTIVENESS = 0.8
"""Effectiveness below which a label is hardly followed; of an attribute, balanced accuracy or correlation."""

LARGEST_LOSS = 0.1
"""How far an attribute's score on relabelled images may fall below that on real images, which the judge limits."""

MOST_NAMES = 8
"""Classes that a warning names."""

LEAST_WORST_CLASS = 0.5
"""Effectiveness of the worst asked label below which that label is named."""

LARGEST_GAP = 0.1
"""Guide agreement minus judge agreement above which the images please the guide and nobody else."""

LARGEST_CARICATURE = 0.05
"""Effectiveness minus the judge's accuracy on real images above which counterfactuals are caricatures."""

LEAST_SHARPNESS = 0.3
"""Sharpness below which counterfactuals are blurred."""

LARGEST_SHARPNESS = 1.6
"""Sharpness above which counterfactuals are noisier than photographs are."""


def advice(scores: Scores | AttributeScores) -> dict[str, str]:
    """Name the weaknesses that scores show.

    Args:
        scores: the scores of a model, see `evaluate` and `evaluate_attributes`.

    Returns:
        Each weakness by name, in words: the figure, what it means, and what to try. Those of an attribute begin with
        its name. Empty if nothing stands out.

    >>> import math
    >>> from dataclasses import fields
    >>> figures = {each.name: math.nan for each in fields(Scores) if each.type == "float"}
    >>> figures |= {"effectiveness": 0.4, "guide_judge_gap": 0.6, "judge_accuracy": 0.99}
    >>> list(advice(Scores(name="model", images=300, effectiveness_by_class=(0.4, 0.4), **figures)))
    ['guide fooled']
    """
    if isinstance(scores, AttributeScores):
        parts = {name: _advice_on(name, scores) for name in scores.judge}
        return {f"{printable(name)}: {each}": words for name, part in parts.items() for each, words in part.items()}
    found = {}
    classes = len(scores.effectiveness_by_class)
    if classes and not beats_chance(scores.judge_accuracy, 1.0 / classes, scores.images):
        return {
            "judge at chance": (
                f"the judge is right on {scores.judge_accuracy:.0%} of the real images, as guessing is, so no other "
                "score says anything; look at the labels, or train the judge longer (judge.optimization)"
            )
        }
    if scores.judge_accuracy < LEAST_JUDGE_ACCURACY:
        found["judge unsure"] = (
            f"the judge is right on {scores.judge_accuracy:.0%} of the real images, so effectiveness is rough; train "
            "it longer or with wider layers (judge.optimization, judge.widths), or use a trained network of your own"
        )
    if scores.guide_judge_gap > LARGEST_GAP:
        agreed = scores.effectiveness + scores.guide_judge_gap
        found["guide fooled"] = (
            f"the guide takes {agreed:.0%} of the counterfactuals for the asked label and the judge "
            f"{scores.effectiveness:.0%}, so the images please the guide alone; show the guide moved and noisy images "
            "(vae.objective.guide_augmentation), train it on attacked ones (guide.adversarial), or add a discriminator "
            "that sees what the guide sees (vae.discriminator_widths, vae.discriminator_sees_guide)"
        )
    elif scores.effectiveness < LEAST_EFFECTIVENESS:
        found["label seldom followed"] = (
            f"the judge takes {scores.effectiveness:.0%} of the counterfactuals for the asked label, and so does the "
            "guide; raise vae.objective.label_weight, train longer, or leave the code less room (a smaller latent_dim, "
            "a larger beta)"
        )
    elif scores.effectiveness_worst_class < LEAST_WORST_CLASS:
        worst = min(range(classes), key=scores.effectiveness_by_class.__getitem__)
        found["class seldom followed"] = (
            f"class {worst} is followed in {scores.effectiveness_worst_class:.0%} of the images that were asked to be "
            "it; look at its training images, and see how many there are"
        )
    if scores.effectiveness - scores.judge_accuracy > LARGEST_CARICATURE:
        found["caricatures"] = (
            f"the judge takes {scores.effectiveness:.0%} of the counterfactuals for their label, but only "
            f"{scores.judge_accuracy:.0%} of the real images; lower vae.objective.label_weight, or give it "
            "label_constraint, at which the guide is content"
        )
    if scores.sharpness < LEAST_SHARPNESS:
        found["blur"] = (
            f"the counterfactuals are {scores.sharpness:.2f} times as sharp as real images; train longer, or add a "
            "discriminator (vae.discriminator_widths, vae.objective.adversarial_weight)"
        )
    if scores.sharpness > LARGEST_SHARPNESS:
        found["noise"] = (
            f"the counterfactuals are {scores.sharpness:.1f} times as sharp as real images: noise, or a pattern; "
            "look at the pictures, train longer, or lower vae.objective.adversarial_weight and label_weight"
        )
    return found


def _advice_on(name: str, scores: AttributeScores) -> dict[str, str]:
    """Name the weaknesses that the scores of one attribute show."""
    measure = "correlation" if "correlation" in scores.judge[name] else "balanced_accuracy"
    real, followed = scores.judge[name][measure], scores.followed.get(name, {})
    asked, kept = followed.get(measure, math.inf), followed.get(f"kept_{measure}", math.inf)
    if _at_chance(name, scores):
        return {
            "judge at chance": (
                f"the judge reads the real images {_figure(measure, real)}, as guessing does, so no other score of the "
                "attribute says anything; look at its values in the table, or train the judge longer "
                "(judge.optimization)"
            )
        }
    if math.isnan(real):  # of values that are all alike
        return {}
    found = {}
    missed = [each for each, (right, _) in scores.recognized.get(name, {}).items() if not right]
    if missed:
        shown = ", ".join(map(printable, missed[:MOST_NAMES])) + (", ..." if len(missed) > MOST_NAMES else "")
        found["class never read"] = (
            f"the judge recognizes no real image of {shown}, so no score says how these are followed or kept; see how "
            "many training images there are of each, or train the judge longer (judge.optimization)"
        )
    elif real < LEAST_JUDGE_ACCURACY:
        found["judge unsure"] = (
            f"the judge reads the real images {_figure(measure, real)}, so the other scores of the attribute are "
            "rough; train it longer or with wider layers (judge.optimization, judge.widths)"
        )
    if not asked >= min(LEAST_EFFECTIVENESS, real - LARGEST_LOSS):
        found["seldom followed"] = (
            f"the judge reads what was asked for {_figure(measure, asked)}, and the real images "
            f"{_figure(measure, real)}; raise vae.objective.label_weight, train longer, or leave the code less room (a "
            "smaller latent_dim, a larger beta)"
        )
    if not kept >= real - LARGEST_LOSS:
        found["not kept"] = (
            f"where another attribute is asked for, the judge reads what was there {_figure(measure, kept)}, and in "
            f"the real images {_figure(measure, real)}; see whether the attributes go together in the table, raise "
            "vae.objective.label_weight, or train longer"
        )
    return found


def _at_chance(name: str, scores: AttributeScores) -> bool:
    """Return whether the judge reads an attribute of the real images no better than guessing."""
    judged, counts = scores.judge[name], [count for _, count in scores.recognized.get(name, {}).values()]
    if "correlation" in judged:  # NaN if all readings are alike
        above = judged["correlation"] > min(3.0 / math.sqrt(scores.images), 0.5)  # three standard errors
        return judged["mean_absolute_error"] > 0 and not above
    several = len(counts) > 1
    return several and not beats_chance(judged["balanced_accuracy"], 1.0 / len(counts), sum(counts))


def _figure(measure: str, value: float) -> str:
    """Return a score of an attribute in words."""
    words = measure.replace("_", " ")
    return f"without any {words}" if math.isnan(value) else f"with a {words} of {value:.2f}"


def say(said: Mapping[str, str]) -> None:
    """Print weaknesses as warnings, one a line, or that nothing stands out."""
    for name, words in said.items():
        print(f"warning: {name}: {words}", file=sys.stderr)
    if not said:
        print("nothing stands out in these scores; look at the pictures too")
