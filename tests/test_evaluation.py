import json
import math

import pytest
import torch

from labelvae import LabelClassifier, evaluate
from labelvae.evaluation import ClassMean, ImageItself, save_scores, scores_table


@pytest.fixture
def batches():
    """Two classes that differ in brightness, so that a judge is easily made."""
    labels = torch.arange(200) % 2
    images = (0.2 + 0.5 * labels[:, None, None, None] + 0.1 * torch.rand(200, 1, 8, 8)).clamp(0, 1)
    return [(images[:120], labels[:120]), (images[120:], labels[120:])]


@pytest.fixture
def judge(batches):
    classifier = LabelClassifier((1, 8, 8), 2, kind="mlp", widths=(8,), feature_dim=4)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-2)
    for _ in range(30):
        for images, labels in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(classifier(images), labels).backward()
            optimizer.step()
    return classifier


def test_the_references_bound_the_figures(batches, judge):
    copy = evaluate(ImageItself(), batches, judge, real=batches, name="image itself", progress=False)
    mean = evaluate(ClassMean(batches, 2), batches, judge, real=batches, name="class mean", progress=False)
    assert copy.judge_accuracy == mean.judge_accuracy == 1.0
    assert copy.effectiveness == 0.0
    assert copy.psnr == copy.reversed_psnr == 100.0
    assert copy.sharpness == pytest.approx(1.0)
    assert copy.realism < 1e-6 < copy.realism_by_class
    assert mean.effectiveness == 1.0
    assert mean.style["ink"] == pytest.approx(0.0, abs=1e-6)
    assert mean.realism_floor < 1e-6
    assert copy.images == 200
    assert math.isnan(copy.leakage)


def test_the_judge_is_left_as_it_was(batches, judge):
    judge.train()
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    evaluate(ImageItself(), batches, judge, progress=False)
    assert judge.training
    for name, value in judge.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_figures_do_not_depend_on_the_batches(batches, judge):
    from labelvae import ConditionalVAE

    vae = ConditionalVAE((1, 8, 8), 2, latent_dim=4)
    whole = [(torch.cat([b[0] for b in batches]), torch.cat([b[1] for b in batches]))]
    one = evaluate(vae, whole, judge, guide=judge, progress=False).row()
    assert one["guide_judge_gap"] == 0.0
    assert 0.0 <= one["leakage"] <= 1.0
    for name in ("psnr", "ssim", "l1", "realism_floor"):
        assert one[name] == pytest.approx(
            evaluate(vae, batches, judge, guide=judge, progress=False).row()[name], rel=1e-4
        )


def test_the_same_seed_asks_the_same_labels(batches, judge):
    model = ClassMean(batches, 2)
    first, second = (evaluate(model, batches, judge, seed=3, progress=False) for _ in range(2))
    assert first.row() == second.row()


def test_rounds_multiply_the_counterfactuals(batches, judge):
    assert evaluate(ImageItself(), batches, judge, rounds=3, progress=False).images == 600


def test_scores_as_json_and_as_a_table(batches, judge, tmp_path):
    scores = [evaluate(ImageItself(), batches, judge, name=name, progress=False) for name in ("one", "two")]
    save_scores(scores, tmp_path / "scores.json")
    rows = json.loads((tmp_path / "scores.json").read_text())
    assert [row["name"] for row in rows] == ["one", "two"]
    assert rows[0]["leakage"] is None
    assert rows[0]["effectiveness_class_1"] == 0.0
    assert {"effectiveness", "psnr", "reversed_psnr", "style_ink", "style_slant", "realism_by_class"} <= set(rows[0])
    lines = scores_table(scores).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("one")
    assert len({len(line) for line in lines[1:]}) == 1


def test_nothing_to_evaluate_is_refused(judge):
    with pytest.raises(ValueError, match="at least one batch"):
        evaluate(ImageItself(), [], judge, progress=False)
    with pytest.raises(ValueError, match="at least one batch"):
        ClassMean([], 2)


def test_bad_batches_are_refused(batches, judge):
    images, labels = batches[0]
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        evaluate(ImageItself(), [(images, labels + 1)], judge, progress=False)
    with pytest.raises(ValueError, match=r"expected shape \(B, 1, 8, 8\)"):
        evaluate(ImageItself(), [(images[..., :7], labels)], judge, progress=False)
