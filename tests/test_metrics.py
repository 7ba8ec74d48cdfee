import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from skimage.metrics import peak_signal_noise_ratio
from skimage.metrics import structural_similarity as skimage_ssim

from labelvae.evaluation.image_metrics import (
    Composition,
    Sharpness,
    Specks,
    peak_signal_to_noise,
    structural_similarity,
)
from labelvae.evaluation.metrics import (
    Effectiveness,
    GuideJudgeGap,
    Leakage,
    Realism,
    Style,
    class_centred,
    correlation,
    frechet_distance,
)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 33, 47)])
def test_image_distances_are_those_of_scikit_image(shape):
    images, others = torch.rand(3, *shape, dtype=torch.float64), torch.rand(3, *shape, dtype=torch.float64)
    psnr, ssim = peak_signal_to_noise(images, others), structural_similarity(images, others)
    for i in range(3):
        a, b = images[i].numpy(), others[i].numpy()
        assert psnr[i].item() == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1), rel=1e-6)
        expected = skimage_ssim(a, b, channel_axis=0, data_range=1, win_size=7, use_sample_covariance=False)
        assert ssim[i].item() == pytest.approx(expected, abs=1e-4)


def test_an_image_is_like_itself(images):
    assert Composition()(images, images).tolist() == pytest.approx([100.0, 1.0, 0.0])


def test_composition_is_a_mean_over_images_not_over_batches(images):
    others = torch.rand_like(images)
    whole, parts = Composition(), Composition()
    whole.update(images, others)
    parts.update(images[:1], others[:1])
    parts.update(images[1:], others[1:])
    torch.testing.assert_close(whole.compute(), parts.compute())


def test_frechet_distance_against_the_matrix_square_root():
    rng = np.random.default_rng(0)
    means = [rng.normal(size=5) for _ in range(2)]
    factors = [rng.normal(size=(5, 5)) for _ in range(2)]
    covariances = [f @ f.T for f in factors]
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    arguments = [torch.tensor(x) for pair in zip(means, covariances, strict=True) for x in pair]
    assert frechet_distance(*arguments).item() == pytest.approx(expected)
    assert frechet_distance(arguments[0], arguments[1], arguments[0], arguments[1]).item() == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_singular_covariances_is_finite():
    singular = torch.zeros(3, 3, dtype=torch.float64)
    singular[0, 0] = 4.0
    mean = torch.zeros(3, dtype=torch.float64)
    assert frechet_distance(mean, singular, mean + 1, torch.zeros_like(singular)).item() == pytest.approx(7.0)


def test_effectiveness_by_class():
    metric = Effectiveness(3)
    metric.update(torch.eye(3)[[0, 1, 1]], torch.tensor([0, 1, 0]))
    metric.update(torch.eye(3)[[1]], torch.tensor([1]))
    overall, *by_class = metric.compute().tolist()
    assert overall == 0.75
    assert by_class[:2] == [0.5, 1.0]
    assert by_class[2] != by_class[2]


def test_the_gap_is_what_only_the_guide_believes():
    asked = torch.tensor([0, 1, 2, 0])
    guide, judge = torch.eye(3)[asked], torch.eye(3)[[0, 1, 1, 2]]
    assert GuideJudgeGap()(guide, judge, asked).item() == 0.5


def test_logits_that_are_none_are_refused():
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"logits: expected shape \(B, 3\), got \(2, 4\)"):
        Effectiveness(3).update(torch.rand(2, 4), labels)
    with pytest.raises(ValueError, match="logits: expected logits, got NaN for 2 of 2 images"):
        Effectiveness(3).update(torch.full((2, 3), torch.nan), labels)
    with pytest.raises(ValueError, match="judge_logits: expected logits, got NaN for 2 of 2 images"):
        GuideJudgeGap().update(torch.rand(2, 3), torch.full((2, 3), torch.nan), labels)


@pytest.mark.parametrize(
    ("features", "says"),
    [
        (torch.rand(4, 3), r"features: expected shape \(B, 2\), got \(4, 3\)"),
        (torch.tensor([[0.0, torch.nan]] * 3 + [[0.0, 0.0]]), "got NaN or infinity for 3 of 4 images"),
        (torch.full((4, 2), torch.inf), "got NaN or infinity for 4 of 4 images"),
    ],
)
def test_features_that_are_no_numbers_are_refused_before_all_is_computed(features, says):
    with pytest.raises(ValueError, match=says):
        Realism(3, 2).update(features, torch.tensor([0, 1, 2, 0]), real=True)


def test_class_centring_takes_away_what_the_class_explains():
    labels = torch.tensor([0, 0, 1, 1])
    values = torch.tensor([[1.0], [3.0], [10.0], [14.0]])
    torch.testing.assert_close(class_centred(values, labels, 3), torch.tensor([[-1.0], [1.0], [-2.0], [2.0]]))


def style(before, after, own, asked):
    metric = Style(2)
    metric.update(before[:, None], after[:, None], own, asked)
    return metric.compute().item()


def test_style_of_a_faithful_model_and_of_the_class_mean():
    own = torch.arange(400) % 2
    asked = 1 - own
    hand = torch.randn(400)
    before = hand + 5.0 * own
    assert style(before, hand + 5.0 * asked, own, asked) == pytest.approx(1.0, abs=1e-6)
    assert style(before, 5.0 * asked, own, asked) == 0.0
    assert style(before, torch.randn(400), own, asked) == pytest.approx(0.0, abs=0.15)
    assert style(before, -hand, own, asked) == pytest.approx(-1.0, abs=1e-6)


def test_a_label_that_explains_all_is_no_style():
    own = torch.arange(400) % 2
    assert abs(style(5.0 * own.double(), 5.0 * own.double(), own, 1 - own)) < 1e-6


def test_correlation_is_that_of_numpy():
    a, b = torch.randn(50, 1, dtype=torch.float64), torch.randn(50, 1, dtype=torch.float64)
    expected = np.corrcoef(a[:, 0], b[:, 0])[0, 1]
    assert correlation(a - a.mean(), b - b.mean()).item() == pytest.approx(expected)


def test_realism_by_class_sees_copies_that_pooled_realism_does_not():
    labels = torch.arange(2000) % 2
    features = torch.randn(2000, 4) + 6.0 * labels[:, None]
    metric = Realism(2, feature_dim=4)
    metric.update(features, labels, real=True)
    metric.update(features[:900], 1 - labels[:900], real=False)  # copies under the wrong label, in two updates
    metric.update(features[900:], 1 - labels[900:], real=False)
    pooled, by_class, diversity = metric.compute().tolist()
    assert pooled == pytest.approx(0.0, abs=1e-6)
    assert diversity == pytest.approx(1.0, rel=0.2)
    assert by_class == pytest.approx(4 * 36.0, rel=0.05)


def test_realism_is_computed_from_the_moments():
    real, fake = torch.randn(300, 3), 1.0 + 2.0 * torch.randn(200, 3)
    metric = Realism(2, feature_dim=3)
    metric.update(real, torch.zeros(300, dtype=torch.long), real=True)
    metric.update(fake, torch.zeros(200, dtype=torch.long), real=False)
    expected = frechet_distance(
        real.double().mean(0), torch.cov(real.double().T), fake.double().mean(0), torch.cov(fake.double().T)
    )
    torch.testing.assert_close(metric.compute()[:2], expected.repeat(2))
    ratio = fake.double().var(dim=0).sum() / real.double().var(dim=0).sum()
    torch.testing.assert_close(metric.compute()[2], ratio)


def test_leakage_of_codes_with_and_without_the_label():
    labels = torch.arange(600) % 3
    codes = torch.randn(600, 5)
    metric = Leakage()
    metric.update(codes, labels)
    assert metric.compute().item() < 0.45
    codes[:, 0] += 10.0 * labels
    metric.reset()
    metric.update(codes[:100], labels[:100])
    metric.update(codes[100:], labels[100:])
    assert metric.compute().item() > 0.98


def test_leakage_does_not_depend_on_the_order_of_the_images():
    labels = torch.arange(600) % 3
    codes = torch.randn(600, 5) + 4.0 * labels[:, None]
    order = labels.argsort()
    metric = Leakage()
    metric.update(codes[order], labels[order])  # class by class, as a folder is read
    assert metric.compute().item() > 0.95


def test_leakage_needs_two_classes():
    metric = Leakage()
    metric.update(torch.randn(10, 2), torch.zeros(10, dtype=torch.long))
    assert metric.compute().isnan()


def test_blurred_images_are_less_sharp(images):
    blurred = torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1)
    metric = Sharpness()
    metric.update(images, real=True)
    metric.update(images, real=False)
    assert metric.compute().item() == pytest.approx(1.0)
    metric.reset()
    metric.update(images, real=True)
    metric.update(blurred, real=False)
    assert metric.compute().item() < 0.3


def test_specks_are_the_regions_that_real_images_do_not_have():
    strokes, specked = torch.zeros(2, 1, 28, 28), torch.zeros(2, 1, 28, 28)
    for images in (strokes, specked):
        images[:, :, 5:20, 10:13] = 1.0
    specked[0, :, 2, 2] = 0.5
    specked[0, :, 25, 25] = 0.5
    metric = Specks()
    metric.update(strokes, real=True)
    metric.update(specked, real=False)
    assert metric.compute().item() == pytest.approx(1.0)


def test_realism_without_both_kinds_of_images_is_nan():
    metric = Realism(num_classes=2, feature_dim=3)
    metric.update(torch.rand(4, 3), torch.tensor([0, 0, 1, 1]), real=True)
    assert metric.compute().isnan().all()


def test_thousands_of_features_are_averaged_into_few():
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.rand(40, 3000, generator=generator), torch.arange(40) % 2
    metric = Realism(2, feature_dim=3000)
    assert metric.products.shape == (2, 2, 512, 512)
    metric.update(features, labels, real=True)
    metric.update(features, labels, real=False)
    assert metric.compute()[0] == pytest.approx(0.0, abs=1e-6)
    metric.update(features + 1.0, labels, real=False)
    assert metric.compute()[0] > 1.0
