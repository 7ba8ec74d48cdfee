import pytest
import torch
from torchmetrics import MeanMetric, Metric
from torchmetrics.image import PeakSignalNoiseRatio

from labelvae import ConditionalVAE, evaluate
from labelvae.evaluation.evaluator import ImageItself
from labelvae.evaluation.image_metrics import Composition
from labelvae.evaluation.metrics import Effectiveness, Realism


class Asked(Metric):
    """The share of images that are asked to be each of two classes."""

    higher_is_better = None
    full_state_update = False

    def __init__(self):
        super().__init__()
        self.add_state("rows", [], dist_reduce_fx="cat")

    def update(self, asked, labels, logits):
        assert logits.shape == (len(asked), 3)
        assert (asked != labels).all()
        self.rows.append(asked)

    def compute(self):
        asked = torch.cat(self.rows)
        return {"zero": (asked == 0).float().mean(), "count": len(asked)}


def test_metrics_of_your_own_are_given_what_they_name(guide, images, labels):
    psnr, asked = PeakSignalNoiseRatio(data_range=1.0), Asked()
    scores = evaluate(
        ConditionalVAE((1, 8, 8), 3, latent_dim=4).eval(),
        [(images, labels)],
        guide,
        rounds=2,
        progress=False,
        metrics={"near": psnr, "asked": asked},
    )
    assert scores.metrics["asked_count"] == 2 * len(images)
    assert 0 <= scores.row()["asked_zero"] <= 1
    assert 0 < scores.row()["near"] < 30
    assert not asked.update_called, "what was passed stays as it is"
    copy = evaluate(ImageItself(), [(images, labels)], guide, progress=False, metrics={"near": psnr})
    assert copy.metrics["near"] == float("inf")
    assert "near" not in evaluate(ImageItself(), [(images, labels)], guide, progress=False).row()


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        ([Asked()], r"metrics: expected \{\"name\": metric\}, got"),
        ({"asked": Asked}, "metrics: expected a torchmetrics Metric as asked, got .*its class was given"),
        ({"psnr": Asked()}, "metrics: 'psnr' is no name for a figure, or another figure has it"),
        ({"mean": MeanMetric()}, "metrics: mean asks for value; its update may take images, labels"),
    ],
)
def test_other_metrics_are_refused_in_words(metrics, says, guide, images, labels):
    with pytest.raises(ValueError, match=says):
        evaluate(ImageItself(), [(images, labels)], guide, progress=False, metrics=metrics)


def test_the_librarys_metrics_say_which_way_is_better_and_what_each_figure_is(images, labels):
    assert (Effectiveness(3).higher_is_better, Realism(3, 2).higher_is_better) == (True, False)
    effectiveness = Effectiveness(3)
    effectiveness.update(torch.eye(3)[labels], labels)
    assert list(effectiveness.by_name()) == ["effectiveness", *(f"effectiveness_class_{k}" for k in range(3))]
    assert effectiveness.by_name()["effectiveness"] == 1.0
    composition = Composition()
    composition.update(images, images)
    assert composition.by_name()["l1"] == 0.0
    assert composition.by_name()["ssim"] == pytest.approx(1.0)
