"""Models that show each failure, and one that shows none."""

import math
import re
import warnings
from dataclasses import fields

import pytest
import torch
from lightning.pytorch import Trainer

from labelvae import ConditionalVAE, DiagonalGaussian, GuidedELBO, LabelClassifier, Objective, VAETraining
from labelvae.data.image_sets import ImageSet
from labelvae.data.loaders import ImageLoader
from labelvae.evaluation.attribute_scores import AttributeScores
from labelvae.evaluation.diagnosis import beats_chance, diagnose, label_change
from labelvae.evaluation.scores import Scores
from labelvae.evaluation.weaknesses import advice
from labelvae.training.callbacks import Diagnosed

CLASSES = 3


def bars(count=120):
    """Images whose label is the place of a bright bar and whose style is its brightness; and the labels."""
    labels = torch.arange(count) % CLASSES
    images = torch.zeros(count, 1, 8, 8)
    brightness = 0.4 + 0.6 * torch.rand(count, generator=torch.Generator().manual_seed(1))
    for index, label in enumerate(labels.tolist()):
        images[index, 0, :, 2 * label + 1] = brightness[index]
    return images, labels


class Knowing(LabelClassifier):
    """A guide that is right about bars."""

    def __init__(self):
        super().__init__((1, 8, 8), CLASSES, widths=(8,))

    def forward(self, images):
        return images.mean(dim=(1, 2))[:, 1 : 2 * CLASSES : 2]


class Guessing(Knowing):
    """A guide that always gives the same answer."""

    def forward(self, images):
        return torch.tensor([0.0, 1.0, 0.0]).expand(len(images), -1)


class Told(ConditionalVAE):
    """A model without training: the code is the pixels, and `answer(z, labels)` the image."""

    def __init__(self, answer, log_variance=-6.0, strength=1.0):
        super().__init__((1, 8, 8), CLASSES, latent_dim=64, encoder_widths=(8,))
        self.answer, self.spread, self.strength = answer, log_variance, strength

    def encode(self, images, labels=None):
        codes = images.flatten(1) * self.strength
        return DiagonalGaussian(codes, torch.full_like(codes, self.spread))

    def decode(self, z, labels):
        return self.answer(z.unflatten(1, (1, 8, 8)), labels.argmax(dim=1))


def copy(images, labels):
    return images


def draw(images, labels):
    out = torch.zeros_like(images)
    for index, label in enumerate(labels.tolist()):
        out[index, 0, :, 2 * label + 1] = images[index].amax()
    return out


def brighten(images, labels):
    """Something moves with the label, but not to where it was asked."""
    return (images + 0.1 * labels.view(-1, 1, 1, 1)).clamp(0, 1)


def class_mean(images, labels):
    return draw(torch.full_like(images, 0.7), labels)


def test_a_model_that_follows_its_label_is_left_in_peace():
    diagnosis = diagnose(Told(draw), *bars(), Knowing())
    assert diagnosis.warnings() == {}
    assert diagnosis.guide_accuracy == diagnosis.asked_agreement == 1.0
    assert diagnosis.label_change > 0.5


def test_a_model_that_copies_is_told():
    diagnosis = diagnose(Told(copy), *bars(), Knowing())
    assert diagnosis.label_change == 0.0
    assert diagnosis.asked_agreement == 0.0
    assert set(diagnosis.warnings()) == {"label ignored"}
    words = diagnosis.warnings()["label ignored"]
    assert "moves an image by 0.000 of what two images differ by, below 0.05" in words
    assert "raise vae.objective.label_weight" in words


def test_a_change_that_is_not_the_one_asked_for_is_told():
    diagnosis = diagnose(Told(brighten), *bars(), Knowing())
    assert diagnosis.label_change > 0.05
    assert (
        "takes 0% of 120 counterfactuals for the asked label, no more than chance (33%)"
        in (diagnosis.warnings()["label ignored"])
    )


def test_a_collapsed_code_is_told():
    diagnosis = diagnose(Told(class_mean, log_variance=0.0, strength=0.0), *bars(), Knowing())
    assert diagnosis.kl == 0.0
    assert set(diagnosis.warnings()) == {"code collapsed"}
    assert "holds 0.00 nats per image, below 1" in diagnosis.warnings()["code collapsed"]


def test_a_guide_that_guesses_is_told():
    diagnosis = diagnose(Told(draw), *bars(), Guessing())
    assert set(diagnosis.warnings()) == {"guide at chance"}
    assert "right on 33% of 120 held-out images" in diagnosis.warnings()["guide at chance"]


def test_without_a_guide_its_part_is_left_out():
    diagnosis = diagnose(Told(draw), *bars())
    assert math.isnan(diagnosis.guide_accuracy)
    assert diagnosis.warnings() == {}
    assert set(diagnose(Told(copy), *bars()).warnings()) == {"label ignored"}


def test_one_class_says_nothing_of_the_guide():
    images, labels = bars()
    diagnosis = diagnose(Told(draw), images[labels == 1], labels[labels == 1], Guessing())
    assert "guide at chance" not in diagnosis.warnings()


def test_label_change_has_a_scale():
    reconstructions = torch.rand(50, 1, 8, 8)
    assert label_change(reconstructions, reconstructions.roll(1, 0)) == pytest.approx(1.0)
    assert label_change(torch.zeros(4, 1, 8, 8), torch.zeros(4, 1, 8, 8)) == 0.0
    assert label_change(torch.zeros(4, 1, 8, 8), torch.ones(4, 1, 8, 8)) == math.inf


@pytest.mark.parametrize("chance", [0.001, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("count", [2, 30, 500])
def test_guessing_does_not_beat_chance_and_knowing_does(chance, count):
    assert not beats_chance(chance, chance, count)
    assert beats_chance(1.0, chance, count)


def test_bad_input_is_refused(vae, images, labels):
    with pytest.raises(ValueError, match="at least 2 to compare, got 1"):
        diagnose(vae, images[:1], labels[:1])
    with pytest.raises(ValueError, match="from 0 to 2, got 5"):
        diagnose(vae, images, labels + 3)
    with pytest.raises(ValueError, match="guide: expected weights, got a network on the meta device"):
        diagnose(vae, images, labels, LabelClassifier((1, 8, 8), 3).to("meta"))


def test_a_plain_network_is_a_guide(vae, images, labels):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    wrapped = LabelClassifier.wrap(network, (1, 8, 8), 3)
    assert diagnose(vae, images, labels, network) == diagnose(vae, images, labels, wrapped)


def fit(label_weight, guide, epochs=4):
    images, labels = bars()
    data = ImageSet((images * 255).byte(), labels)
    vae = ConditionalVAE((1, 8, 8), CLASSES, latent_dim=8, encoder_widths=(8,), hidden_dim=16)
    loss = GuidedELBO(guide, objective=Objective(label_weight=label_weight, beta=0.0))
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        callbacks=[Diagnosed(images, labels)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(VAETraining(vae, loss), ImageLoader(data, 60, shuffle=True), ImageLoader(data, 60))
    return [str(warning.message) for warning in caught], trainer


def test_a_training_says_once_what_is_wrong():
    said, trainer = fit(0.0, Guessing())
    assert [words.partition(":")[0] for words in said].count("guide at chance") == 1
    assert trainer.callback_metrics["diagnosis/guide_accuracy"] == pytest.approx(1 / 3)
    assert trainer.callback_metrics["diagnosis/kl"] >= 0
    said, _ = fit(0.0, Knowing())
    assert [words for words in said if words.startswith("label ignored")]
    assert not [words for words in said if words.startswith("guide")]


def scored(**figures):
    """Good scores of a model on 300 images of three classes, apart from some figures."""
    good = {each.name: math.nan for each in fields(Scores) if each.type == "float"}
    good |= {
        "effectiveness": 0.97,
        "effectiveness_worst_class": 0.95,
        "guide_judge_gap": 0.01,
        "judge_accuracy": 0.96,
        "sharpness": 0.8,
        "effectiveness_by_class": (0.97, 0.95, 0.99),
    }
    return Scores(name="model", images=300, **(good | figures))


@pytest.mark.parametrize(
    ("figures", "names", "says"),
    [
        ({}, [], ""),
        ({"judge_accuracy": 0.36, "effectiveness": 0.1}, ["judge at chance"], "right on 36% of the real images"),
        ({"judge_accuracy": 0.7, "effectiveness": 0.72}, ["judge unsure", "label seldom followed"], "wider layers"),
        ({"effectiveness": 0.35, "guide_judge_gap": 0.61}, ["guide fooled"], "guide takes 96% .* the judge 35%"),
        ({"effectiveness": 0.4}, ["label seldom followed"], "raise vae.objective.label_weight"),
        (
            {"effectiveness_worst_class": 0.1, "effectiveness_by_class": (0.9, 0.1, 0.9), "effectiveness": 0.85},
            ["class seldom followed"],
            "class 1 is followed in 10%",
        ),
        ({"judge_accuracy": 0.88}, ["caricatures"], "97% .* only 88%"),
        ({"sharpness": 2.2}, ["noise"], "2.2 times as sharp"),
        ({"sharpness": 0.2}, ["blur"], "0.20 times as sharp"),
        ({"guide_judge_gap": math.nan, "sharpness": math.nan, "effectiveness_worst_class": math.nan}, [], ""),
    ],
)
def test_scores_are_put_into_words(figures, names, says):
    found = advice(scored(**figures))
    assert list(found) == names
    assert re.search(says, " ".join(found.values()))


def scored_attribute(real, asked=0.95, kept=0.95, measure="balanced_accuracy", recognized=None):
    """Scores of a model of one attribute on 200 images."""
    judge = {measure: real, "mean_absolute_error": 0.1} if measure == "correlation" else {measure: real}
    followed = {measure: asked, f"kept_{measure}": kept}
    counts = {} if recognized is None else {"part": recognized}
    return AttributeScores("model", 200, 25.0, 0.9, 0.02, {"part": followed}, {"part": judge}, counts)


HALVES, BOTH = {"nut": (45, 100), "bolt": (46, 100)}, {"nut": (98, 100), "bolt": (98, 100)}


@pytest.mark.parametrize(
    ("scores", "names", "says"),
    [
        (scored_attribute(0.98, recognized=BOTH), [], ""),
        (
            scored_attribute(0.455, recognized=HALVES),
            ["judge at chance"],
            "balanced accuracy of 0.46, as guessing does",
        ),
        (scored_attribute(0.55, recognized={"no": (55, 100), "yes": (55, 100)}), ["judge at chance"], "in the table"),
        (
            scored_attribute(2 / 3, recognized={"nut": (97, 97), "bolt": (97, 97), "gear": (0, 6)}),
            ["class never read"],
            "recognizes no real image of gear, so no score says",
        ),
        (scored_attribute(0.7, 0.65, 0.7, recognized=BOTH), ["judge unsure"], "balanced accuracy of 0.70"),
        (scored_attribute(0.98, 0.52, recognized=BOTH), ["seldom followed"], "accuracy of 0.52, .* accuracy of 0.98"),
        (scored_attribute(0.98, 0.95, 0.6, recognized=BOTH), ["not kept"], "accuracy of 0.60, and in .* of 0.98"),
        (scored_attribute(0.98, measure="correlation"), [], ""),
        (scored_attribute(0.2, measure="correlation"), ["judge at chance"], "correlation of 0.20"),
        (scored_attribute(math.nan, measure="correlation"), ["judge at chance"], "without any correlation"),
        (scored_attribute(0.6, 0.6, 0.6, measure="correlation"), ["judge unsure"], "correlation of 0.60"),
        (
            scored_attribute(0.98, math.nan, 0.3, measure="correlation"),
            ["seldom followed", "not kept"],
            "asked for without any correlation, and the real images with a correlation of 0.98",
        ),
    ],
)
def test_scores_of_attributes_are_put_into_words(scores, names, says):
    found = advice(scores)
    assert list(found) == [f"part: {name}" for name in names]
    assert re.search(says, " ".join(found.values()))


def test_an_attribute_alone_and_one_of_equal_values_have_no_warning():
    alone, alike = {"size": {"correlation": 0.9, "mean_absolute_error": 0.1}}, {"size": {"correlation": math.nan}}
    assert advice(AttributeScores("model", 9, 25.0, 0.9, 0.02, alone, alone)) == {}
    alike["size"]["mean_absolute_error"] = 0.0
    assert advice(AttributeScores("model", 9, 25.0, 0.9, 0.02, {}, alike)) == {}
