import json
import math
from copy import deepcopy

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchvision.transforms.v2.functional import to_pil_image

from labelvae import ConditionalVAE, LabelClassifier, evaluate
from labelvae.evaluation.evaluator import ClassMean, ImageItself
from labelvae.evaluation.scores import save_scores, scores_table


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
    assert mean.diversity < 1e-6
    assert copy.images == 200
    assert math.isnan(copy.leakage)


class AlwaysZero(ClassMean):
    """Answers with the mean of class 0 whatever is asked."""

    def relabel(self, images, labels, own_labels=None):
        """The mean of class 0."""
        return super().relabel(images, torch.zeros_like(labels), own_labels)


def test_guide_and_judge_real_and_test_images_worst_and_mean_are_told_apart(batches, judge):
    guide = LabelClassifier((1, 8, 8), 2)
    with torch.no_grad():  # believes in class 0
        guide.to_logits.weight.zero_()
        guide.to_logits.bias.copy_(torch.tensor([9.0, 0.0]))
    dim = [(images / 2, labels) for images, labels in batches]
    mean = evaluate(ClassMean(batches, 2), batches, judge, real=dim, guide=guide, progress=False)
    assert mean.guide_judge_gap == -0.5
    assert mean.realism_floor > 1e-3
    assert evaluate(ImageItself(), batches, judge, real=dim, progress=False).sharpness == pytest.approx(4.0)
    zero = evaluate(AlwaysZero(batches, 2), batches, judge, progress=False)
    assert (zero.effectiveness, zero.effectiveness_worst_class) == (0.5, 0.0)


def test_realism_in_features_that_saw_no_labels(batches, judge):
    turned = LabelClassifier((1, 8, 8), 4, kind="mlp", widths=(8,), feature_dim=6)
    copy = evaluate(ImageItself(), batches, judge, real=batches, label_free=turned, progress=False)
    assert copy.realism_label_free_floor < 1e-6 < copy.realism_label_free  # images of the other class
    assert copy.realism_label_free != copy.realism_by_class
    plain = evaluate(ImageItself(), batches, judge, real=batches, progress=False)
    assert math.isnan(plain.realism_label_free)
    assert "realism_label_free" not in scores_table([plain])
    assert "realism_label_free" in scores_table([copy, plain])
    with pytest.raises(ValueError, match=r"label_free: knows images \(1, 9, 9\), the judge \(1, 8, 8\)"):
        evaluate(ImageItself(), batches, judge, label_free=LabelClassifier((1, 9, 9), 4))


def test_the_judge_is_left_as_it_was(batches, judge):
    judge.train()
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    evaluate(ImageItself(), batches, judge, progress=False)
    assert judge.training
    for name, value in judge.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_figures_do_not_depend_on_the_batches(batches, judge):
    vae = ConditionalVAE((1, 8, 8), 2, latent_dim=4)
    whole = [(torch.cat([b[0] for b in batches]), torch.cat([b[1] for b in batches]))]
    one = evaluate(vae, whole, judge, guide=judge, progress=False).row()
    assert one["guide_judge_gap"] == 0.0
    assert 0.0 <= one["leakage"] <= 1.0
    two = evaluate(vae, batches, judge, guide=judge, progress=False).row()
    same = [name for name in one if name.startswith(("psnr", "ssim", "l1", "reversed", "style", "realism", "eff"))]
    same = [name for name in same if one[name] is not None]
    assert len(same) > 12
    for name in same:
        assert one[name] == pytest.approx(two[name], rel=1e-4, abs=1e-6), name


def test_the_seed_decides_which_labels_are_asked():
    images, labels = torch.rand(60, 1, 8, 8), torch.arange(60) % 4
    judge = LabelClassifier((1, 8, 8), 4, widths=(8,), feature_dim=4)
    model = ClassMean([(images, labels)], 4)
    rows = [evaluate(model, [(images, labels)], judge, seed=seed, progress=False).row() for seed in (3, 3, 4)]
    assert rows[0] == rows[1] != rows[2]


def test_rounds_multiply_the_counterfactuals_but_leave_realism_comparable_with_its_floor(batches, judge):
    one, three = (evaluate(ImageItself(), batches, judge, rounds=n, progress=False) for n in (1, 3))
    assert (one.images, three.images) == (200, 600)
    assert one.realism_by_class == three.realism_by_class
    assert one.realism_floor == three.realism_floor


def test_a_style_of_ones_own(batches, judge):
    def brightness(images):
        return {"brightness": images.double().mean(dim=(1, 2, 3))[:, None]}

    ours = evaluate(ImageItself(), batches, judge, progress=False)
    mine = evaluate(ImageItself(), batches, judge, style=brightness, progress=False)
    assert mine.style == {"brightness": pytest.approx(ours.style["ink"], abs=1e-12)}
    for bad in (lambda images: images.mean(), lambda images: {"ink": images.mean(dim=(1, 2, 3))}):
        with pytest.raises(ValueError, match="style: expected a function from images"):
            evaluate(ImageItself(), batches, judge, style=bad, progress=False)


def test_scores_as_json_and_as_a_table(batches, judge, tmp_path):
    scores = [evaluate(ImageItself(), batches, judge, name=name, progress=False) for name in ("one", "two")]
    save_scores(scores, tmp_path / "scores.json")
    rows = json.loads((tmp_path / "scores.json").read_text())
    assert [row["name"] for row in rows] == ["one", "two"]
    assert rows[0]["leakage"] is None
    assert rows[0]["effectiveness_class_1"] == 0.0
    assert {"effectiveness", "psnr", "reversed_psnr", "style_ink", "style_slant", "realism_by_class"} <= set(rows[0])
    lines = scores_table(scores).splitlines()
    assert lines[0].split() == ["name", "one", "two"]
    assert [line.split()[0] for line in lines] == [
        n for n, value in rows[0].items() if value is not None and not n.startswith("effectiveness_class")
    ]
    assert len({len(line) for line in lines}) == 1


def test_nothing_to_evaluate_is_refused(batches, judge):
    with pytest.raises(ValueError, match="at least one batch"):
        evaluate(ImageItself(), [], judge, progress=False)
    with pytest.raises(ValueError, match="real: expected at least one batch"):
        evaluate(ImageItself(), batches, judge, real=[], progress=False)
    with pytest.raises(ValueError, match="at least one batch"):
        ClassMean([], 2)


def test_bad_batches_are_refused(batches, judge):
    images, labels = batches[0]
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        evaluate(ImageItself(), [(images, labels + 1)], judge, progress=False)
    with pytest.raises(ValueError, match=r"expected shape \(B, 1, 8, 8\)"):
        evaluate(ImageItself(), [(images[..., :7], labels)], judge, progress=False)
    with pytest.raises(ValueError, match="gone through only once"):
        evaluate(ImageItself(), (batch for batch in batches), judge, progress=False)
    with pytest.raises(ValueError, match="expected images and labels"):
        evaluate(ImageItself(), (images, labels), judge, progress=False)
    with pytest.raises(ValueError, match="rounds: expected an integer of at least 1, got 0"):
        evaluate(ImageItself(), batches, judge, rounds=0, progress=False)
    with pytest.raises(ValueError, match="guide: knows 3 classes"):
        evaluate(ImageItself(), batches, judge, guide=LabelClassifier((1, 8, 8), 3), progress=False)
    with pytest.raises(ValueError, match="model: knows 3 classes"):
        evaluate(ConditionalVAE((1, 8, 8), 3), batches, judge, progress=False)
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        ClassMean([(images, labels + 1)], 2)


class Examples(Dataset):
    """The images and labels of batches, one by one, as pictures or as tensors."""

    def __init__(self, batches, pictures):
        self.rows = [row for images, labels in batches for row in zip(images, labels.tolist(), strict=True)]
        self.pictures = pictures

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        image, label = self.rows[index]
        return (to_pil_image(image) if self.pictures else image), label


@pytest.mark.parametrize("pictures", [False, True])
def test_a_dataset_is_scored_like_its_batches(batches, judge, pictures):
    eight_bits = [((images * 255).round() / 255, labels) for images, labels in batches]
    whole = evaluate(ImageItself(), eight_bits, judge, progress=False)
    one_by_one = evaluate(ImageItself(), Examples(eight_bits, pictures), judge, progress=False)
    assert (one_by_one.images, one_by_one.judge_accuracy) == (whole.images, whole.judge_accuracy)
    assert one_by_one.style == pytest.approx(whole.style)


def test_labels_of_any_integer_type(batches, judge):
    narrow = [(images, labels.to(torch.uint8)) for images, labels in batches]
    whole = evaluate(ImageItself(), batches, judge, progress=False)
    assert evaluate(ImageItself(), narrow, judge, progress=False).row() == whole.row()


def test_batches_of_arrays_and_names(vae, images, labels):
    judge = LabelClassifier((1, 8, 8), 3, kind="mlp", widths=(4,))
    vae.class_names = ["cat", "dog", "bird"]
    names = [vae.class_names[label] for label in labels]
    expected = evaluate(vae, [(images, labels)], judge, progress=False)
    for batch in ((images.numpy(), labels.numpy()), (images[:, 0], names), [list(images), names]):
        assert repr(evaluate(vae, [batch], judge, progress=False)) == repr(expected)  # NaN differs from itself
    one_hot = torch.nn.functional.one_hot(labels, 3)
    assert repr(evaluate(vae, [(images, one_hot)], judge, progress=False)) == repr(expected)
    with pytest.raises(ValueError, match="rows of weights that are blends"):
        evaluate(vae, [(images, one_hot * 0.8 + 0.2 / 3)], judge, progress=False)


class Copying:
    """Relabels by leaving everything as it is."""

    def relabel(self, images, labels, own_labels):
        return images

    def reconstruct(self, images, labels):
        return images


def test_models_that_do_not_relabel_are_named(batches, judge):
    wrong = type("Wrong", (Copying,), {"reconstruct": None})()
    short = type("Short", (Copying,), {"relabel": lambda self, images, labels: images})()
    cases = [
        (ConditionalVAE, "got ConditionalVAE"),
        (torch.nn.Linear(2, 2), r"its relabel\(images, labels, own_labels\), got Linear$"),
        (torch.nn.DataParallel(ConditionalVAE((1, 8, 8), 3)), "got DataParallel; pass what it wraps"),
        (wrong, r"its reconstruct\(images, labels\), got Wrong"),
        (short, r"its relabel\(images, labels, own_labels\), got Short"),
    ]
    for model, message in cases:
        with pytest.raises(ValueError, match=f"model: expected .*{message}"):
            evaluate(model, batches, judge, progress=False)
    for answer in (lambda *_: None, lambda _, images, *__: images.numpy(), lambda _, images, *__: images * 255):
        model = type("Answering", (Copying,), {"relabel": answer})()
        with pytest.raises(ValueError, match=r"model\.relabel: expected"):
            evaluate(model, batches, judge, progress=False)
    with pytest.raises(ValueError, match="batches: expected a torch Dataset"):
        evaluate(Copying(), None, judge, progress=False)
    with pytest.raises(ValueError, match="seed: expected an integer of at most"):
        evaluate(Copying(), batches, judge, progress=False, seed=2**70)


def test_the_default_device_does_not_matter(batches, judge):
    expected = evaluate(Copying(), batches, judge, progress=False)
    with torch.device("meta"):
        assert repr(evaluate(Copying(), batches, judge, progress=False)) == repr(expected)


def test_specks_are_of_grey_images_alone():
    grey, pair = (torch.rand(6, channels, 8, 8) for channels in (1, 2))
    for images, known in ((grey, True), (pair, False)):
        judge = LabelClassifier(images.shape[1:], 3, kind="mlp", widths=(8,)).eval()
        scores = evaluate(Copying(), [(images, torch.arange(6) % 3)], judge, progress=False)
        assert math.isnan(scores.specks) is not known


def test_a_model_in_bfloat16(batches, judge):
    vae = ConditionalVAE((1, 8, 8), 2, latent_dim=4, encoder_widths=(8,), hidden_dim=8)
    whole, half = (evaluate(each, batches, judge, progress=False) for each in (vae, deepcopy(vae).bfloat16()))
    assert half.psnr == pytest.approx(whole.psnr, abs=0.3)


class Stream(IterableDataset):
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        for images, labels in self.batches:
            yield from zip(images, labels, strict=True)


def test_a_loader_that_does_not_know_its_length(batches, judge):
    loader = DataLoader(Stream(batches), batch_size=40)
    found = evaluate(ImageItself(), loader, judge, real=DataLoader(Stream(batches), batch_size=50))
    known = evaluate(ImageItself(), batches, judge, real=batches, progress=False)
    assert found.images == known.images == 200
    assert found.realism_by_class == pytest.approx(known.realism_by_class, rel=1e-3)


@pytest.mark.parametrize("name", ["judge", "guide"])
def test_a_classifier_that_answers_nan_is_named(batches, judge, name):
    broken = deepcopy(judge)
    next(broken.parameters()).data[0] = math.nan
    networks = {"judge": judge, "guide": judge} | {name: broken}
    with pytest.raises(ValueError, match=f"{name}: expected logits, got NaN for 120 of 120 images"):
        evaluate(ImageItself(), batches, progress=False, **networks)


def test_a_style_that_is_undefined_for_an_image_is_nan(batches, judge):
    def ratio(images):
        return {
            "ratio": images[:, :, :4].flatten(1).sum(dim=1, keepdim=True) / images[:, :, 4:].sum(dim=(1, 2, 3))[:, None]
        }

    assert evaluate(ImageItself(), batches, judge, style=ratio, progress=False).style["ratio"] > 0.99
    blank = (torch.cat([batches[0][0], torch.zeros(1, 1, 8, 8)]), torch.cat([batches[0][1], torch.tensor([0])]))
    assert math.isnan(evaluate(ImageItself(), [blank], judge, style=ratio, progress=False).style["ratio"])


class Darkening(Copying):
    """Changes the images that it is given, and the labels."""

    def relabel(self, images, labels, own_labels):
        labels.zero_(), own_labels.zero_()
        return images.mul_(0.5)

    def reconstruct(self, images, labels):
        labels.zero_()
        return images.mul_(0.5)


class Darkened(Copying):
    """The same, on copies."""

    def relabel(self, images, labels, own_labels):
        return images * 0.5

    def reconstruct(self, images, labels):
        return images * 0.5


def test_a_model_that_changes_its_images_is_compared_with_what_they_were(batches, judge):
    before = [images.clone() for images, _ in batches]
    found = evaluate(Darkening(), batches, judge, progress=False)
    assert repr(found) == repr(evaluate(Darkened(), batches, judge, progress=False))
    assert found.psnr < 20
    assert all(torch.equal(images, then) for (images, _), then in zip(batches, before, strict=True))


@pytest.mark.parametrize("name", ["relabel", "reconstruct"])
def test_a_model_that_returns_fewer_images_is_named(batches, judge, name):
    model = type("Fewer", (Copying,), {name: lambda self, images, *labels: images[:1]})()
    with pytest.raises(ValueError, match=rf"model\.{name}: expected an image for each of \d+, got 1"):
        evaluate(model, batches, judge, progress=False)


def test_a_style_that_is_none_is_refused(batches, judge):
    with pytest.raises(ValueError, match="style: expected a function from images to statistics by name, got None"):
        evaluate(Copying(), batches, judge, progress=False, style=None)
