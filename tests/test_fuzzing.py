"""Whatever comes in: a right answer, or a ValueError. What is right is said here once more, in other words."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelvae import (
    Augmentation,
    ClassifierTraining,
    ConditionalBatchNorm2d,
    ConditionalVAE,
    Decoder,
    DiagonalGaussian,
    Discriminator,
    Encoder,
    GuidedELBO,
    ImageData,
    LabelClassifier,
    LabelPlanes,
    LatentShift,
    Objective,
    VAETraining,
    augment,
    evaluate,
    wrong_labels,
)
from labelvae.data.settings import DataSettings
from labelvae.evaluation.diagnosis import diagnose
from labelvae.losses.objective import LEAST_SCALE
from labelvae.runs.settings import Settings, VAESettings
from labelvae.training.options import Optimization

settings.register_profile("fuzzing", deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
FUZZ = settings.get_profile("fuzzing")
SHAPE, CLASSES = (1, 8, 8), 3

torch.manual_seed(0)
VAE = ConditionalVAE(SHAPE, CLASSES, latent_dim=2, encoder_widths=(4,), hidden_dim=4).eval()
SEEING = ConditionalVAE(SHAPE, CLASSES, 2, (4,), hidden_dim=4, encoder_label="onehot").eval()
GUIDE = LabelClassifier(SHAPE, CLASSES, widths=(4,), feature_dim=4).eval()
LOSS = GuidedELBO(GUIDE, objective=Objective(cycle_weight=1.0, equivariance_weight=1.0))

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
OTHERS = [torch.uint8, torch.int64, torch.bool, torch.complex64]
sizes = st.one_of(st.just(SHAPE), st.tuples(st.integers(0, 3), st.integers(0, 17), st.integers(0, 17)))
anything = st.one_of(st.none(), st.text(max_size=3), st.integers(), st.floats(), st.lists(st.integers(), max_size=3))
FAULTS = ["none"] * 6 + ["kind", "size", "rank", "empty", "dtype", "level"]


@st.composite
def tensors(draw):
    """Anything like a batch of images, whether it is one, and whether it can plainly be made one."""
    fault = draw(st.sampled_from(FAULTS))
    if fault == "kind":
        array = draw(st.booleans())
        return np.zeros((1, *SHAPE), dtype=np.float32) if array else draw(anything), False, array
    size = draw(sizes) if fault == "size" else SHAPE
    count = 0 if fault == "empty" else draw(st.integers(1, 4))
    dtype = draw(st.sampled_from(OTHERS if fault == "dtype" else FLOATS))
    images = torch.rand(size if fault == "rank" else (count, *size)).to(dtype)
    if fault == "level":
        images.view(-1)[-1] = draw(st.sampled_from([1.01, -0.01, 255.0, math.nan, math.inf, -math.inf]))
    elif dtype in FLOATS and images.numel():
        images.view(-1)[-1] = draw(st.sampled_from([0.0, 0.5, 1.0, 1.0005, -0.0005]))
    good = fault == "none" or (fault == "size" and size == SHAPE)
    return images, good, good or fault == "rank" or dtype in (torch.uint8, torch.bool)


@st.composite
def labels(draw, count):
    """Anything like labels for `count` images, and whether they are that."""
    kind = draw(st.sampled_from(["scalar", "indices", "indices", "indices", "weights", "other"]))
    if kind == "other":
        mapping = st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
        return draw(
            st.one_of(
                st.none(),
                st.text(max_size=3).filter(lambda word: not word.isdecimal()),
                st.floats().filter(lambda number: number not in range(CLASSES)),
                mapping,
                st.just(10**30),
                st.booleans(),
            )
        ), False
    if kind == "scalar":
        value = draw(st.sampled_from([0, 1, 2, 2, 1, -1, CLASSES, 10**6]))
        form = draw(st.sampled_from([int, np.int64, torch.tensor]))
        return form(value), 0 <= value < CLASSES
    number = draw(st.sampled_from([count] * 8 + [count + 1, max(0, count - 1)]))
    if kind == "indices":
        values = draw(st.lists(st.integers(0, CLASSES - 1), min_size=number, max_size=number))
        broken = bool(values) and draw(st.integers(0, 5)) == 0
        if broken:
            values[-1] = draw(st.sampled_from([-1, CLASSES, 1000, -(2**40)]))
        form = draw(st.sampled_from([list, tuple, np.array, torch.tensor, "int32", "uint8", "float32", "bool", "big"]))
        right = number == count and not broken
        if isinstance(form, str):
            if form == "big":
                return torch.tensor(values, dtype=torch.int64)[:, None], right and number > 0
            if form == "uint8" and broken:
                values[-1] = 200
            dtype = getattr(torch, form)
            kept = torch.tensor(values, dtype=torch.int64).clamp(min=-(2**31))
            either = form == "float32" and number == CLASSES and sum(values) == 1  # indices, or weights for all
            return kept.to(dtype), right and form != "bool" and not either
        return form(values), right and number > 0
    rows = draw(
        st.lists(st.lists(st.floats(0.01, 1.0), min_size=CLASSES, max_size=CLASSES), min_size=number, max_size=number)
    )
    weights = torch.tensor(rows).reshape(number, CLASSES)
    weights = weights / weights.sum(dim=1, keepdim=True)
    broken = number > 0 and draw(st.integers(0, 3)) == 0
    if broken:
        weights[-1, 0] += draw(st.sampled_from([0.5, -2.0, math.nan, math.inf]))
    form = draw(st.sampled_from(["tensor", "list", "numpy", "half"]))
    forms = {"tensor": weights, "list": weights.tolist(), "numpy": weights.numpy(), "half": weights.half()}
    return forms[form], number in (1, count) and count > 0 and not broken  # one row is meant for all


def answer(right, call):
    """The result where the input is right; None where it is not, and a ValueError says so."""
    if right:
        return call()
    with pytest.raises(ValueError, match=r"\w+.* "):
        call()
    return None


def assert_images(images, count, shape=SHAPE):
    assert tuple(images.shape) == (count, *shape)
    assert images.is_floating_point()
    assert torch.isfinite(images).all()
    assert images.min() >= 0
    assert images.max() <= 1
    assert not images.requires_grad


@FUZZ
@given(st.data())
@pytest.mark.parametrize("vae", [VAE, SEEING], ids=["blind", "seeing"])
def test_relabelling(vae, data):
    images, _, good = data.draw(tensors())
    count = len(images) if isinstance(images, torch.Tensor) and images.ndim else 1
    asked, fitting = data.draw(labels(count))
    chunk = data.draw(st.sampled_from([1024, 2, 1, 0, -1, 1.5]))
    right = good and fitting and chunk in (1024, 2, 1)
    out = answer(right, lambda: vae.relabel(images, asked, 0, chunk_size=chunk))
    if out is not None:
        assert_images(out, count)
    out = answer(right, lambda: vae.reconstruct(images, asked, chunk_size=chunk))
    if out is not None:
        assert_images(out, count)


@FUZZ
@given(st.data())
def test_encoding_and_classifying(data):
    images, good, _ = data.draw(tensors())
    posterior = answer(good, lambda: VAE.encode(images))
    logits = answer(good, lambda: GUIDE(images))
    if posterior is not None:
        assert posterior.mean.shape == (len(images), 2)
        assert torch.isfinite(posterior.kl()).all()
        assert (posterior.kl() >= -1e-5).all()
        assert logits.shape == (len(images), CLASSES)
        assert torch.isfinite(logits).all()


@FUZZ
@given(st.data())
def test_decoding_and_sampling(data):
    count = data.draw(st.integers(1, 4))
    given_labels, fitting = data.draw(labels(count))
    shape = data.draw(st.sampled_from([(count, 2), (count, 2), (count, 3), (2,), (0, 2)]))
    z = torch.randn(shape)
    out = answer(fitting and shape == (count, 2), lambda: VAE.decode(z, given_labels))
    if out is not None:
        assert_images(out.detach(), count)
    size = len(given_labels) if hasattr(given_labels, "__len__") and np.ndim(given_labels) else 1
    if fitting:
        assert_images(VAE.sample(given_labels), size)


@FUZZ
@given(st.data())
def test_interpolating(data):
    images, _, good = data.draw(tensors())
    count = len(images) if isinstance(images, torch.Tensor) and images.ndim else 1
    (start, first), (end, last) = data.draw(labels(count)), data.draw(labels(count))
    steps = data.draw(st.sampled_from([2, 5, 1, 0, -3, 2.5]))
    right = good and first and last and steps in (2, 5)
    out = answer(right, lambda: SEEING.interpolate(images, start, end, steps))
    if out is not None:
        assert_images(out.flatten(0, 1), count * steps)


@FUZZ
@given(st.data())
def test_the_loss_the_evaluation_and_the_diagnosis(data):
    """Class indices `(B,)` as an integer tensor are what training takes, and nothing else."""
    images, good, usable = data.draw(tensors())
    count = len(images) if isinstance(images, torch.Tensor) and images.ndim else 1
    own, plain = data.draw(labels(count))
    fitting = plain and isinstance(own, torch.Tensor) and own.ndim == 1 and not own.is_floating_point()
    terms = answer(good and fitting, lambda: LOSS(VAE, images, own))
    if terms is not None:
        assert all(torch.isfinite(value) for value in terms.means().values())
    scores = None
    if (good and fitting) or not (usable and plain):  # what is plain but of another form is taken here, too
        scores = answer(good and fitting, lambda: evaluate(VAE, [(images, own)], GUIDE, progress=False))
    if scores is not None:
        assert 0 <= scores.effectiveness <= 1
        assert scores.images == count
    diagnosis = answer(good and fitting and count > 1, lambda: diagnose(VAE, images, own, GUIDE))
    if diagnosis is not None:
        assert diagnosis.kl >= 0
        assert diagnosis.label_change >= 0


@FUZZ
@given(st.data(), st.integers(-1, 5))
def test_wrong_labels(data, classes):
    own, _ = data.draw(labels(4))
    whole = (torch.int64, torch.int32, torch.uint8)
    fitting = isinstance(own, torch.Tensor) and own.ndim == 1 and len(own) > 0 and own.dtype in whole
    right = fitting and classes >= 2 and int(own.min()) >= 0 and int(own.max()) < classes
    out = answer(right, lambda: wrong_labels(own, classes))
    if out is not None:
        assert (out != own.long()).all()
        assert out.min() >= 0
        assert out.max() < classes


@FUZZ
@given(sizes, st.integers(-1, 4), st.integers(-1, 3), st.lists(st.integers(-1, 8), max_size=4), st.integers(-1, 2))
def test_models_are_built_or_refused(shape, classes, latent_dim, widths, blocks):
    channels, height, width = shape
    shaped = channels >= 1 and min(height, width) >= 8
    sized = shaped and classes >= 2 and blocks >= 0 and min(widths, default=1) >= 1
    right = sized and len(widths) > 0
    arguments = {"blocks": blocks, "hidden_dim": 4}
    vae = answer(sized and latent_dim >= 1, lambda: ConditionalVAE(shape, classes, latent_dim, widths, **arguments))
    if vae is not None:
        assert_images(vae.relabel(torch.rand(2, *shape), 0), 2, shape)
    guide = answer(right, lambda: LabelClassifier(shape, classes, widths=widths, blocks=blocks, feature_dim=4))
    if guide is not None:
        assert guide.eval()(torch.rand(2, *shape)).shape == (2, classes)
    critic = answer(
        shaped and classes >= 2 and len(widths) > 0 and min(widths) >= 1, lambda: Discriminator(shape, classes, widths)
    )
    if critic is not None:
        assert critic(torch.rand(2, *shape), torch.eye(classes)[:2]).shape == (2,)


numbers = st.one_of(st.floats(), st.integers(-3, 3), st.none(), st.booleans(), st.text(max_size=2))


def is_number(value, low=0.0, high=math.inf, open_low=False):
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return (value > low if open_low else value >= low) and value < high


AT_MOST = {"rotation": 360, "shear": 100, "shift": 100, "blur": 100, "noise": 100}
BELOW = {"scale": 1.0, "thickness": 1.0}


@FUZZ
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys([*AT_MOST, *BELOW], numbers)),
    st.sampled_from(["bilinear", "nearest", "cubic", None]),
)
def test_augmenting(how_far, interpolation):
    highest = AT_MOST | {name: math.nextafter(most, 0) for name, most in BELOW.items()}
    right = all(is_number(value) and value <= highest[name] for name, value in how_far.items())
    right = right and interpolation in ("bilinear", "nearest")
    how = answer(right, lambda: Augmentation(**how_far, interpolation=interpolation))
    if how is not None:
        assert_images(augment(torch.rand(2, *SHAPE), how).clamp(0, 1), 2)


@FUZZ
@given(numbers, numbers, numbers, numbers, numbers)
def test_settings_are_numbers_in_range(scale, beta, share, weight, count):
    right = is_number(scale, LEAST_SCALE) and is_number(beta) and is_number(share, high=1.0) and is_number(weight)
    answer(right, lambda: Objective(scale=scale, beta=beta, warm_up_share=share, label_weight=weight))
    whole = isinstance(count, int) and not isinstance(count, bool)
    answer(whole and count >= 1, lambda: Optimization(epochs=count))
    answer(whole and count >= 1, lambda: Settings(rounds=count))
    answer(whole and count >= 1, lambda: VAESettings(latent_dim=count))
    answer(whole and count >= 0, lambda: DataSettings(seed=count))
    answer(is_number(share, high=0.5, open_low=True), lambda: DataSettings(test_share=share))


@FUZZ
@given(
    st.integers(0, 30),
    st.sampled_from([torch.uint8] * 4 + [torch.float32, torch.int64, None]),
    st.sampled_from([(1, 8, 8)] * 3 + [(3, 9, 12), (1, 7, 8), (0, 8, 8), (8, 8)]),
    st.sampled_from([0] * 4 + [-1, 1]),
    st.integers(1, 4),
)
def test_own_images(count, dtype, shape, shift, classes):
    """Every class needs three images: one each to train, to validate and to test."""
    images = torch.zeros(count, *shape, dtype=dtype) if dtype else [[0.0]]
    own = torch.arange(count) % classes + shift
    right = dtype in (torch.uint8, torch.float32) and shape[0] > 0 and min(shape[-2:]) >= 8
    right = right and shift == 0 and classes >= 2 and count // classes >= 3
    data = answer(right, lambda: ImageData.from_tensors(images, own, list("abcd"[:classes])))
    if data is not None:
        assert sum(len(split) for split in data.splits.values()) == count
        assert all(len(split.labels.unique()) == classes for split in data.splits.values())


@FUZZ
@given(st.floats(width=32), st.floats(width=32), st.floats(width=32))
def test_a_gaussian_tells_its_divergence(mean, log_variance, z):
    """Against torch's own, wherever that is finite."""
    posterior = DiagonalGaussian(torch.tensor([[mean]]), torch.tensor([[log_variance]]))
    if not (abs(mean) < 1e4 and abs(log_variance) < 80):
        return
    other = torch.distributions.Normal(posterior.mean, posterior.standard_deviation)
    expected = torch.distributions.kl_divergence(other, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(posterior.kl(), expected, rtol=1e-4, atol=1e-4)
    if abs(z) < 1e3 and abs(log_variance) < 10:
        torch.testing.assert_close(
            posterior.log_prob(torch.tensor([[z]])),
            other.log_prob(torch.tensor([[z]])).sum(dim=1),
            rtol=1e-3,
            atol=1e-2,
        )


BATCH = [(torch.rand(2, *SHAPE), torch.tensor([0, 1]))]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: augment(torch.zeros(2, *SHAPE, dtype=torch.uint8), Augmentation()), "images"),
        (lambda: augment("images", Augmentation(noise=0.1)), "images"),
        (lambda: Discriminator(SHAPE, CLASSES)(torch.rand(2, *SHAPE), torch.tensor([0, 1])), "label"),
        (lambda: Discriminator((1, 9, 9), CLASSES)(torch.rand(2, 1, 9, 7), torch.eye(CLASSES)[:2]), "images"),
        (lambda: LabelPlanes()(torch.rand(2, 3, 4, 4), torch.rand(3, 2)), "label"),
        (lambda: LabelPlanes()(torch.rand(2, 3), torch.rand(2, 2)), "maps"),
        (lambda: LatentShift(3, 4)(torch.rand(2, 8), torch.tensor([0, 1])), "label"),
        (lambda: LatentShift(3, 4)(torch.rand(2, 4), torch.rand(2, 3)), "parameters"),
        (lambda: ConditionalBatchNorm2d(3, 4)(torch.rand(2, 3, 5, 5), torch.rand(2, 3)), "label"),
        (lambda: ConditionalBatchNorm2d(3, None)(torch.rand(2, 4, 5, 5), torch.rand(2, 3)), "maps"),
        (lambda: Encoder(SHAPE, 4)(torch.rand(2, 3, 8, 8)), "images"),
        (lambda: Decoder(SHAPE, 4, 3, 3)(torch.rand(2, 5), torch.rand(2, 3)), "z"),
        (lambda: Decoder(SHAPE, 4, 3, 3)(torch.rand(2, 4), torch.tensor([0, 1])), "label"),
        (lambda: GUIDE.logits(torch.rand(2, 5)), "features"),
        (lambda: ClassifierTraining(None), "classifier"),
        (lambda: VAETraining(None, GuidedELBO()), "vae"),
        (lambda: VAETraining(VAE, None), "loss"),
        (lambda: GuidedELBO(objective="x"), "objective"),
        (lambda: GuidedELBO(discriminator="x"), "discriminator"),
        (lambda: evaluate(VAE, BATCH, None), "judge"),
        (lambda: evaluate(None, BATCH, GUIDE), "model"),
        (lambda: evaluate(VAE, 3, GUIDE), "batches"),
        (lambda: evaluate(VAE, BATCH, GUIDE, seed="x"), "seed"),
        (lambda: wrong_labels(torch.tensor([0]), 2.5), "num_classes"),
        (lambda: ConditionalVAE.from_pretrained(None), "folder"),
        (lambda: ImageData("folder", None), "data_dir"),
    ],
)
def test_arguments_of_another_kind_are_named(call, says):
    with pytest.raises(ValueError, match=f"^{says}: expected"):
        call()
