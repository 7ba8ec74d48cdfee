import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from scipy.ndimage import gaussian_filter

from labelvae import ConditionalVAE, LabelClassifier, evaluate
from labelvae.__main__ import main
from labelvae.losses.attack import projected_gradient
from labelvae.losses.refinement import RADIUS, Refined, refined, refining
from labelvae.losses.refinement_files import FILE, save_radius, saved_radius
from labelvae.losses.terms import label_loss
from labelvae.runs import presets
from labelvae.runs.settings import Settings


@pytest.fixture
def guide():
    torch.manual_seed(0)
    return LabelClassifier((1, 8, 8), 3, kind="mlp", widths=(16,), feature_dim=8).train()


IMAGES = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0])


def test_the_guide_is_more_convinced_and_the_images_stay_near(guide):
    after = refined(guide, IMAGES, LABELS, radius=0.5, steps=5)
    assert guide.training  # as it was
    guide.eval()
    assert (label_loss(guide(after), LABELS) < label_loss(guide(IMAGES), LABELS)).all()
    lengths = (after - IMAGES).flatten(1).norm(dim=1)
    assert lengths.max() <= 0.5 + 1e-5
    assert lengths.min() > 0.3
    assert after.min() >= 0
    assert after.max() <= 1
    assert not after.requires_grad
    assert all(weight.grad is None for weight in guide.parameters())


class Corners(LabelClassifier):
    """A guide whose gradient is known: its logits are three pixels."""

    def forward(self, images):
        return torch.stack([images[:, 0, 0, 0], images[:, 0, 1, 1], images[:, 0, 2, 2]], dim=1)


def test_a_gradient_is_followed_to_the_radius():
    guide = Corners((1, 8, 8), 3)
    after = refined(guide, torch.full((1, 1, 8, 8), 0.5), torch.tensor([0]), radius=0.2, steps=8)
    assert after[0, 0, 0, 0] > 0.5 + 0.2 / 2**0.5  # up where it is asked
    assert after[0, 0, 1, 1] < 0.5  # down where it is not
    assert (after - 0.5).norm() == pytest.approx(0.2, rel=1e-4)
    assert (after != 0.5).sum() == 3


def test_chunks_change_nothing_and_a_radius_of_nothing_neither(guide):
    torch.testing.assert_close(refined(guide, IMAGES, LABELS, chunk_size=3), refined(guide, IMAGES, LABELS))
    torch.testing.assert_close(refined(guide, IMAGES, LABELS, radius=0), IMAGES)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"radius": -1.0}, "radius: expected"),
        ({"radius": 8.1}, "radius: expected a finite number of at least 0 and of at most 8.0"),
        ({"steps": 0}, "steps: expected"),
        ({"chunk_size": 0}, "chunk_size: expected"),
        ({"labels": LABELS[:3]}, "labels: expected"),
        ({"images": 2 * IMAGES}, "images: expected"),
    ],
)
def test_what_cannot_be_is_refused(guide, changed, message):
    with pytest.raises(ValueError, match=message):
        refined(**({"guide": guide, "images": IMAGES, "labels": LABELS} | changed))


@pytest.fixture
def run(tmp_path):
    """A run's folder, with a model and its guide."""
    torch.manual_seed(0)
    ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8,), hidden_dim=8).save_pretrained(tmp_path / "vae")
    LabelClassifier((1, 8, 8), 3, kind="mlp", widths=(16,), feature_dim=8).save_pretrained(tmp_path / "guide")
    return tmp_path


def test_a_model_with_its_guide_relabels_in_the_place_of_the_model(run):
    model = Refined.from_pretrained(run, radius=4.0)
    alone, guide = ConditionalVAE.from_pretrained(run), LabelClassifier.from_pretrained(run)
    made = model.relabel(IMAGES, LABELS)
    torch.testing.assert_close(made, refined(guide, alone.relabel(IMAGES, LABELS), LABELS, 4.0))
    assert not torch.equal(made, alone.relabel(IMAGES, LABELS))
    torch.testing.assert_close(model.reconstruct(IMAGES, LABELS), alone.reconstruct(IMAGES, LABELS))
    one_hot = torch.nn.functional.one_hot(LABELS, 3).float()
    torch.testing.assert_close(model.relabel(IMAGES, one_hot), made)
    torch.testing.assert_close(
        model.relabel((255 * IMAGES[:1]).byte(), 1), model.relabel(IMAGES[:1], 1), rtol=0, atol=0.1
    )
    judge = LabelClassifier((1, 8, 8), 3, widths=(8, 8), feature_dim=8)
    scores = [
        evaluate(each, [(IMAGES, LABELS)], judge, guide=guide, progress=False, name="one") for each in (alone, model)
    ]
    assert scores[1].psnr == scores[0].psnr  # of reconstructions
    agreement = [each.effectiveness + each.guide_judge_gap for each in scores]
    assert agreement[1] > agreement[0]  # by the guide


def test_the_large_shapes_of_an_image_are_carried_over(run):
    vae, guide = ConditionalVAE.from_pretrained(run), LabelClassifier.from_pretrained(run)
    own = torch.tensor([1, 0, 2, 2, 1, 0, 0])
    blur = torch.as_tensor(
        gaussian_filter((IMAGES - vae.reconstruct(IMAGES, own)).numpy(), (0, 0, 1.0, 1.0), mode="nearest")
    )
    expected = (vae.relabel(IMAGES, LABELS) + blur).clamp(0.0, 1.0)
    model = Refined(vae, guide, radius=0.0, residual_blur=1.0)
    torch.testing.assert_close(
        model.relabel(IMAGES, LABELS, own), expected, rtol=0, atol=1e-2
    )  # another cut of the tail
    with torch.no_grad():
        read = guide(IMAGES).argmax(dim=1)
    assert not torch.equal(read, own)
    torch.testing.assert_close(model.relabel(IMAGES, LABELS), model.relabel(IMAGES, LABELS, read, chunk_size=3))
    plain = Refined(vae, guide, radius=0.0)
    assert torch.equal(plain.relabel(IMAGES, LABELS, own), vae.relabel(IMAGES, LABELS))
    either = [each.relabel(IMAGES, LABELS, own, residual=True) for each in (model, plain)]
    assert torch.equal(*either)  # the whole residual holds these shapes already


def test_a_refined_model_draws_the_large_shapes_first_and_then_refines(run):
    vae, guide = ConditionalVAE.from_pretrained(run), LabelClassifier.from_pretrained(run)
    before = Refined(vae, guide, radius=0.0, residual_blur=2.0).relabel(IMAGES, LABELS, LABELS)
    after = Refined(vae, guide, radius=0.5, residual_blur=2.0).relabel(IMAGES, LABELS, LABELS)
    torch.testing.assert_close(after, refined(guide, before, LABELS, 0.5))


def test_names_are_labels_and_blends_are_refused(run):
    model = Refined.from_pretrained(run)
    assert model.radius == RADIUS
    model.vae.class_names = ["a", "b", "c"]
    assert model.class_names == ["a", "b", "c"]
    torch.testing.assert_close(model.relabel(IMAGES, "b"), model.relabel(IMAGES, 1))
    with pytest.raises(ValueError, match="labels: expected one class for each image, got a blend"):
        model.relabel(IMAGES[:1], [[0.5, 0.5, 0.0]])


def test_a_radius_is_kept_beside_the_model(run):
    vae = ConditionalVAE.from_pretrained(run)
    assert saved_radius(run) == 0
    assert refining(vae, run) is vae
    save_radius(run / "vae", 0.25)
    assert saved_radius(run) == saved_radius(run / "vae") == 0.25
    assert refining(vae, run / "vae").radius == 0.25
    assert Refined.from_pretrained(run).radius == 0.25
    assert refining(vae, run, 0.5).radius == 0.5
    assert refining(vae, run, 0) is vae
    assert refining(vae, run).residual_blur == 0
    save_radius(run / "vae", 0.25, residual_blur=1.5)
    assert refining(vae, run, 0.5).residual_blur == Refined.from_pretrained(run, 0.5).residual_blur == 1.5
    save_radius(run / "vae", 0)
    assert not (run / "vae" / FILE).exists()


@pytest.mark.parametrize(
    "said",
    [
        *("", "2", "[]", "{}", '{"radius": "2"}', '{"radius": -1}', '{"radius": NaN}', '{"radius": true}'),
        *('{"radius": 2, "residual_blur": "1"}', '{"radius": 2, "residual_blur": -1}'),
    ],
)
def test_a_broken_radius_is_named(run, said):
    (run / "vae" / FILE).write_text(said)
    with pytest.raises(ValueError, match=r"refinement.json: expected \{\"radius\": a number\} .*; delete it"):
        saved_radius(run)
    vae = ConditionalVAE.from_pretrained(run)
    assert refining(vae, run, 0) is vae


def test_a_guide_that_is_missing_or_another_is_refused(run):
    vae = ConditionalVAE.from_pretrained(run)
    with pytest.raises(ValueError, match="guide: knows 3 classes of images .*the model 4"):
        Refined(ConditionalVAE((1, 8, 8), 4), LabelClassifier.from_pretrained(run))
    guide = LabelClassifier.from_pretrained(run)
    vae.class_names, guide.class_names = ["a", "b", "c"], ["b", "a", "c"]
    with pytest.raises(ValueError, match="guide: its classes are b, a, c, those of the model a, b, c"):
        Refined(vae, guide)
    with pytest.raises(ValueError, match="refine: expected a finite number of at least 0 and of at most 8.0, got -1"):
        refining(vae, run, -1)
    (run / "guide" / "model.safetensors").unlink()
    with pytest.raises(
        ValueError, match=r"expected the guide of the model's run beside .*vae, in .*, got nothing there"
    ):
        refining(vae, run, 1.0)
    assert refining(vae, run) is vae


def test_a_guide_that_was_not_attacked_is_warned_of(run):
    vae = ConditionalVAE.from_pretrained(run)
    for adversarial, warns in ((0.0, True), (0.01, False)):
        (run / "settings.yaml").write_text(yaml.safe_dump({"guide": {"adversarial": adversarial}}))
        with pytest.warns(UserWarning, match="was not trained on attacked images") if warns else nullcontext():
            refining(vae, run, 0.5)


def test_presets_that_refine_train_their_guide_on_attacked_images():
    every = [value for value in vars(presets).values() if isinstance(value, Settings)]
    refining_ones = [each for each in every if each.vae.refine > 0]
    assert presets.CIFAR10 in refining_ones
    assert presets.CIFAR10_SMALL in refining_ones
    assert all(each.guide.adversarial > 0 for each in refining_ones)


def test_a_network_as_it_is_judges_a_model_with_its_guide(run):
    judge = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    scores = evaluate(Refined.from_pretrained(run), [(IMAGES, LABELS)], judge, progress=False)
    assert scores.images == len(IMAGES)


def test_pictures_are_refined_on_the_command_line(run, capsys):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(run / "in.png")

    def relabelled(*words):
        main(["relabel", "--model", str(run), "--to", "1", *words, str(run / "in.png"), str(run / "out.png")])
        with Image.open(run / "out.png") as picture:
            return np.asarray(picture).astype(float) / 255

    plain = relabelled()
    length = np.linalg.norm(relabelled("--refine", "0.5") - plain)
    assert 0.25 < length < 0.6
    save_radius(run / "vae", 1.0)
    assert np.linalg.norm(relabelled() - plain) > length + 0.1
    np.testing.assert_array_equal(relabelled("--refine", "0"), plain)
    capsys.readouterr()
    for word in ("-1", "nan", "much"):
        with pytest.raises(SystemExit) as stop:
            relabelled("--refine", word)
        assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_evaluating_a_model_that_refines_prints_both_rows(run, capsys):
    torch.manual_seed(0)
    ConditionalVAE((1, 8, 8), 10, latent_dim=4, encoder_widths=(8,), hidden_dim=8).save_pretrained(run / "vae")
    LabelClassifier((1, 8, 8), 10, kind="mlp", widths=(16,), feature_dim=8).save_pretrained(run / "guide")
    LabelClassifier((1, 8, 8), 10, widths=(8,), feature_dim=8).save_pretrained(run / "judge")
    save_radius(run / "vae", 0.5)
    words = ["--judge", str(run / "judge"), "--data", "digits", "--out", str(run / "scores.json")]
    main(["evaluate", "--model", str(run / "vae"), *words])
    assert "vae, refined" in capsys.readouterr().out
    rows = json.loads((run / "scores.json").read_text())
    assert [row["name"] for row in rows] == ["vae", "vae, refined"]
    assert rows[0]["psnr"] == rows[1]["psnr"]
    assert rows[0]["effectiveness"] != rows[1]["effectiveness"] or rows[0]["realism"] != rows[1]["realism"]


def test_inference_mode_changes_nothing(run):
    model, guide = Refined.from_pretrained(run, radius=2.0), LabelClassifier.from_pretrained(run)
    expected = model.relabel(IMAGES, LABELS)
    with torch.inference_mode():
        made = IMAGES + 0.0
        torch.testing.assert_close(model.relabel(made, LABELS + 0), expected)
        attacked = projected_gradient(guide, made, LABELS + 0, 0.05)
    assert 0 < float((attacked - IMAGES).abs().max()) <= 0.05 + 1e-6


def test_a_processor_computes_few_large_images_at_once():
    class Counting(LabelClassifier):
        seen = 0

        def forward(self, images):
            Counting.seen = max(Counting.seen, len(images))
            return super().forward(images)

    guide, images = Counting((3, 64, 64), 3, kind="mlp", widths=(4,)), torch.rand(40, 3, 64, 64)
    few, all_at_once = (
        refined(guide, images, torch.arange(40) % 3, steps=2),
        refined(guide, images, torch.arange(40) % 3, steps=2, chunk_size=4),
    )
    assert Counting.seen == 16
    torch.testing.assert_close(few, all_at_once, atol=1e-5, rtol=0)
