import json
import math
from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch
from lightning.pytorch import Trainer
from scipy.stats import norm, vonmises

from labelvae import (
    AttributeClassifier,
    AttributeELBO,
    Attributes,
    Binary,
    Category,
    ClassifierTraining,
    ConditionalVAE,
    Continuous,
    GuidedELBO,
    LabelClassifier,
    Objective,
    VAETraining,
)
from labelvae.attributes.likelihoods import normal_nll, von_mises_nll
from labelvae.attributes.rows import asked_rows
from labelvae.losses.attribute_elbo import label_covariance
from labelvae.training.batches import unpack

SHAPE = (1, 8, 8)
ANGLE = Continuous(0, 360, "degrees", periodic=True)
ALL = {"object": Category(["cup", "duck", "car"]), "lit": Binary(), "width": Continuous(1, 5, "pixels"), "angle": ANGLE}


@pytest.fixture
def attributes():
    return Attributes(ALL)


def some_rows(count=6):
    generator = torch.Generator().manual_seed(0)
    columns = [
        torch.randint(3, (count,), generator=generator).float(),
        torch.randint(2, (count,), generator=generator).float(),
        1 + 4 * torch.rand(count, generator=generator),
        360 * torch.rand(count, generator=generator),
    ]
    return torch.stack(columns, dim=1)


def test_rows_come_back_from_their_weights(attributes):
    rows = some_rows(50)
    weights = attributes.weights(rows)
    assert weights.shape == (50, attributes.entries) == (50, 3 + 1 + 1 + 2)
    torch.testing.assert_close(attributes.decoded(weights), rows, rtol=0, atol=1e-3)


def test_359_and_1_degrees_are_neighbours(attributes):
    near = ANGLE.weights(torch.tensor([359.0, 1.0, 179.0]))
    assert float((near[0] - near[1]).norm()) == pytest.approx(2 * math.sin(math.radians(1)), abs=1e-5)
    assert float((near[0] - near[2]).norm()) > 1.9
    assert ANGLE.distance(torch.tensor([359.0, 10.0]), torch.tensor([1.0, 730.0])).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("concentration", [0.0, 0.3, 5.0, 400.0])
def test_von_mises_is_scipys(concentration):
    mean, angles = 1.1, torch.linspace(-7, 7, 29, dtype=torch.float64)
    parameters = torch.tensor([[math.cos(mean), math.sin(mean)]]) * concentration
    found = von_mises_nll(parameters.expand(29, -1), angles)
    # scipy's density is defined on one turn around the mean
    wrapped = np.remainder(angles.numpy() - mean + np.pi, 2 * np.pi) - np.pi
    expected = -vonmises(max(concentration, 1e-6)).logpdf(wrapped)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_normal_is_scipys():
    parameters = torch.tensor([[0.3, math.log(0.2)], [-0.5, 0.0]])
    found = normal_nll(parameters, torch.tensor([0.1, 0.9]))
    np.testing.assert_allclose(found, -norm([0.3, -0.5], [0.2, 1.0]).logpdf([0.1, 0.9]), rtol=1e-5)


def test_each_head_reads_the_value_that_it_finds_likeliest(attributes):
    outputs = torch.randn(5, attributes.outputs, generator=torch.Generator().manual_seed(1))
    read = attributes.readings(outputs)
    best = attributes.nll(outputs, read)
    for place, (name, kind) in enumerate(attributes.items()):
        for other in some_rows(40)[:, place]:
            moved = read.clone()
            moved[:, place] = other
            assert bool((attributes.nll(outputs, moved)[name] >= best[name] - 1e-4).all()), (name, kind)


def test_an_unknown_value_costs_nothing_and_gets_no_gradient(attributes):
    rows, outputs = some_rows(2), torch.randn(2, attributes.outputs, requires_grad=True)
    rows[0] = math.nan
    found = attributes.nll(outputs, rows)
    torch.stack(list(found.values())).sum().backward()
    assert all(float(loss[0].detach()) == 0 for loss in found.values())
    assert bool((outputs.grad[0] == 0).all())
    assert bool(torch.isfinite(outputs.grad).all() and (outputs.grad[1] != 0).any())
    middle = attributes.weights(rows)[0]
    torch.testing.assert_close(middle, torch.tensor([1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0]))


def test_the_forms_that_people_have_are_one(attributes):
    rows = torch.tensor([[1, 1, 2.5, 90], [0, 0, 3, 350.0]])
    table = {"object": ["duck", "cup"], "lit": [True, False], "width": [2.5, 3], "angle": np.array([90, 350])}
    for given in (table, pandas.DataFrame(table), rows, rows.numpy(), rows.tolist()):
        assert torch.equal(attributes.rows(given), rows)
    assert torch.equal(attributes.rows({**table, "lit": ["yes", "no"]}), rows)
    for one in (rows[:1], rows[0], rows[0].tolist(), {name: column[0] for name, column in table.items()}):
        assert torch.equal(attributes.rows(one, 3), rows[:1].expand(3, -1))  # for all images
    assert attributes.rows({"angle": [1, None]}, 2).isnan().sum() == 7
    assert attributes.text(rows[0]) == "object=duck, lit=yes, width=2.5 pixels, angle=90 degrees"


def test_attributes_are_json(attributes):
    assert Attributes(json.loads(json.dumps(attributes.plain()))) == attributes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (8, "expected a dict such as"),
        ("cup", "expected a dict such as"),
        (None, "expected a dict such as"),
        ({}, "got none"),
        ({"colour": 1}, "expected attributes among object, lit, width, angle, got 'colour'"),
        ({"object": "dog"}, "object: expected one of cup, duck, car"),
        ({"object": 3}, "object: expected one of cup, duck, car .*got 3 in row 0"),
        ({"object": 0.5}, "object: expected one of"),
        ({"object": True}, "object: expected one of"),
        ({"lit": 2}, "lit: expected True or False"),
        ({"width": [1, 9]}, "width: expected numbers from 1 to 5 pixels, got 9 in row 1"),
        ({"width": "wide"}, "width: expected numbers from 1 to 5 pixels, got 'wide'"),
        ({"angle": math.inf}, "angle: expected finite numbers"),
        ({"angle": [1, 2, 3], "width": [1, 2]}, "width: expected one value, or 3, one an image, got 2"),
        (torch.zeros(2, 3), r"shape \(B, 4\), got \(2, 3\)"),
        (torch.full((2, 4), 9.0), "object: expected one of .* got 9 in row 0"),
        (torch.ones(2, 4, dtype=torch.bool), "expected a dict"),
        ([["a", 1, 2, 3]], "expected a dict"),
    ],
)
def test_what_is_no_label_is_refused_in_words(attributes, given, message):
    with pytest.raises(ValueError, match=message):
        attributes.rows(given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Attributes({}), "got none"),
        (lambda: Attributes([Binary()]), "expected a dict"),
        (lambda: Attributes({"a": 3}), "a: expected Category"),
        (
            lambda: Attributes({"a": {"kind": "continous"}}),
            "whose kind is category, binary, continuous, got 'continous'",
        ),
        (lambda: Attributes({"a": {"low": 0}}), "whose kind is category, binary, continuous, got None"),
        (lambda: Attributes({"a": {"kind": "continuous", "min": 0}}), "a: expected low, high, .*, got kind, min"),
        (lambda: Attributes({"a=b": Binary()}), "plain text"),
        (lambda: Attributes({1: Binary()}), "plain text"),
        (lambda: Attributes({"a": {"kind": "category", "name": 3}}), "a: "),
        (lambda: Category(1), "2 to"),
        (lambda: Category(["a", "a"]), "twice"),
        (lambda: Continuous(3, 3), "above low=3"),
        (lambda: Continuous(0, math.nan), "high: expected a finite number"),
        (lambda: Continuous(0, 1, unit=3), "unit: expected text"),
    ],
)
def test_what_is_no_attribute_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_asked_rows_are_values_of_the_batch_and_change_at_least_one():
    rows = torch.arange(40.0).reshape(10, 4)
    rows[3, 2] = math.nan
    torch.manual_seed(0)
    for _ in range(20):
        asked, changed = asked_rows(rows)
        assert torch.equal(asked[~changed].nan_to_num(-1), rows[~changed].nan_to_num(-1))
        assert not bool(asked[changed].isnan().any())
        for place in range(4):
            known = asked[:, place][~asked[:, place].isnan()]
            assert set(known.tolist()) <= set(rows[:, place].tolist())
    assert bool((asked_rows(torch.rand(500, 3))[1].sum(dim=1) >= 1).all())
    assert 0.55 < float(asked_rows(torch.rand(4000, 3))[1].float().mean()) < 0.75


# Models


def model(**arguments):
    torch.manual_seed(0)
    return ConditionalVAE(SHAPE, latent_dim=4, attributes=ALL, **arguments).eval()


def reader():
    torch.manual_seed(1)
    return AttributeClassifier(SHAPE, ALL, widths=(8,), feature_dim=16).eval()


def images(count=6):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(2))


def test_one_class_is_the_special_case_bit_for_bit():
    torch.manual_seed(0)
    plain = ConditionalVAE(SHAPE, 3).eval()
    torch.manual_seed(0)
    one = ConditionalVAE(SHAPE, attributes={"digit": Category(3)}).eval()
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), one.state_dict().values(), strict=True))
    x = images()
    assert torch.equal(plain.relabel(x, 2), one.relabel(x, 2))
    assert torch.equal(plain.relabel(x, 2), one.relabel(x, {"digit": "2"}))
    assert torch.equal(plain.reconstruct(x, [0, 1, 2] * 2), one.reconstruct(x, {"digit": [0, 1, 2] * 2}))
    assert torch.equal(plain.interpolate(x, 0, 2), one.interpolate(x, {"digit": 0}, {"digit": 2}))
    seeded = [torch.Generator().manual_seed(3) for _ in range(2)]
    assert torch.equal(plain.sample([0, 1], seeded[0]), one.sample({"digit": [0, 1]}, seeded[1]))
    assert one.num_classes == 3
    guide = LabelClassifier(SHAPE, 3)
    labels = torch.tensor([0, 1, 2] * 2)
    totals = []
    for vae in (plain, one):
        torch.manual_seed(4)
        totals.append(GuidedELBO(guide)(vae, x, labels).total)
    assert torch.equal(*totals)


def test_a_model_of_one_class_writes_the_configuration_that_it_did():
    assert list(ConditionalVAE(SHAPE, 3).config) == [
        "image_shape",
        "num_classes",
        "latent_dim",
        "encoder_widths",
        "decoder_widths",
        "hidden_dim",
        "blocks",
        "encoder_label",
        "decoder_label",
        "embedding_dim",
        "spatial_latent",
        "upsampling",
    ]


@pytest.mark.parametrize("encoder", ["none", "onehot", "embedding", "shift"])
@pytest.mark.parametrize("decoder", ["batchnorm", "batchnorm-planes", "onehot", "embedding"])
def test_what_is_not_asked_for_stays(encoder, decoder):
    vae, x, own = model(encoder_label=encoder, decoder_label=decoder), images(), some_rows()
    whole = own.clone()
    whole[:, 3] = 90.0
    assert torch.equal(vae.relabel(x, {"angle": 90}, own_labels=own), vae.relabel(x, whole, own_labels=own))
    torch.testing.assert_close(vae.relabel(x, {"angle": 450}, own_labels=own), vae.relabel(x, whole, own_labels=own))
    assert not torch.equal(vae.relabel(x, {"angle": 91}, own_labels=own), vae.relabel(x, whole, own_labels=own))


def test_a_classifier_reads_what_stays():
    vae, x, guide = model(), images(), reader()
    read = guide.read(x)
    assert {name: column.dtype for name, column in read.items()} == {
        "object": torch.int64,
        "lit": torch.int64,
        "width": torch.float32,
        "angle": torch.float32,
    }
    assert torch.equal(vae.relabel(x, {"lit": True}, own_labels=guide), vae.relabel(x, {"lit": True}, own_labels=read))
    other = AttributeClassifier(SHAPE, {"lit": Binary()})
    with pytest.raises(ValueError, match="own_labels: expected a classifier of the model's attributes"):
        vae.relabel(x, {"lit": True}, own_labels=other)


def test_a_label_that_is_not_known_is_asked_for_in_words():
    vae, x, own = model(), images(), some_rows()
    own[1, 2] = math.nan
    with pytest.raises(ValueError, match="own_labels: expected what each image is, to keep its object, lit, width"):
        vae.relabel(x, {"angle": 90})
    with pytest.raises(ValueError, match="own_labels: width: expected numbers .* got none in row 1"):
        vae.relabel(x, {"angle": 90}, own_labels=own)
    with pytest.raises(ValueError, match="labels: angle: .* got none in row 0"):
        vae.relabel(x, {"angle": math.nan}, own_labels=some_rows())
    with pytest.raises(ValueError, match="labels: object: .* got none"):
        vae.sample({"angle": 90})
    with pytest.raises(ValueError, match="num_classes: expected a ConditionalVAE of one class"):
        _ = vae.num_classes
    with pytest.raises(ValueError, match="of one class"):
        GuidedELBO()(vae, x, torch.zeros(6, dtype=torch.long))


def test_interpolation_goes_the_shorter_way_round_or_once_around():
    vae, x, own = model(), images(2), some_rows(2)
    rest = {"object": own[:, 0], "lit": own[:, 1], "width": own[:, 2]}
    at = {degrees: vae.relabel(x, {**rest, "angle": degrees}) for degrees in (0, 90, 180, 270, 355)}
    short = vae.interpolate(x, {"angle": 350}, {"angle": 0}, steps=3, own_labels=own)
    torch.testing.assert_close(short[:, 1], at[355])
    around = vae.interpolate(x, {**rest, "angle": 0}, {"angle": 360}, steps=5)
    for step, degrees in enumerate((0, 90, 180, 270, 0)):
        torch.testing.assert_close(around[:, step], at[degrees])
    blend = vae.interpolate(x, {**rest, "angle": 0, "object": 0}, {"object": 1}, steps=2)
    torch.testing.assert_close(blend[:, 1], vae.relabel(x, {**rest, "angle": 0, "object": 1}))


def test_samples_are_of_their_labels():
    vae = model()
    made = vae.sample({"object": "cup", "lit": 1, "width": 2, "angle": [0, 360, 180]}, torch.Generator().manual_seed(0))
    assert made.shape == (3, *SHAPE)


@pytest.mark.parametrize("make", [model, reader])
def test_saved_networks_answer_the_same(make, tmp_path):
    network, x = make(), images()
    network.save_pretrained(tmp_path)
    again = type(network).from_pretrained(tmp_path)
    assert again.attributes == network.attributes
    if isinstance(network, ConditionalVAE):
        assert torch.equal(again.relabel(x, some_rows()), network.relabel(x, some_rows()))
    else:
        assert torch.equal(again.rows(x), network.rows(x))


@pytest.mark.parametrize("arguments", [{}, {"num_classes": 3, "attributes": ALL}])
def test_a_model_has_classes_or_attributes(arguments):
    with pytest.raises(ValueError, match="num_classes: expected num_classes=K for one class, or attributes"):
        ConditionalVAE(SHAPE, **arguments)


# Training


def test_the_loss_is_the_sum_of_its_weighted_terms():
    vae, guide, x, rows = model(), reader(), images(), some_rows()
    how = Objective(label_weight=3.0, own_label_weight=2.0, cycle_weight=0.5, image_cycle_weight=0.1, warm_up_share=0.0)
    terms = AttributeELBO(guide, replace(how, class_mean_weight=4.0))(vae, x, rows)
    weights = {"counterfactual_label": 3, "own_label": 2, "cycle": 0.5, "image_cycle": 0.1, "class_mean": 4}
    expected = sum(weights.get(name, 1.0) * float(term.detach().mean()) for name, term in terms.terms.items())
    assert float(terms.total.detach()) == pytest.approx(expected, rel=1e-4)
    parts = torch.stack(list(terms.by_attribute.values())).sum(dim=0)
    torch.testing.assert_close(parts, terms.terms["counterfactual_label"])
    assert set(terms.means()) >= {"total", "kl", "counterfactual_label/angle"}


def test_what_is_asked_and_kept_is_the_guides_likelihood():
    vae, guide, x, rows = model(), reader(), images(), some_rows()
    asked = rows.roll(1, dims=0)
    loss = AttributeELBO(guide, Objective(likelihood="gaussian"))
    torch.manual_seed(5)
    found = loss(vae, x, rows, wrong=asked).by_attribute
    torch.manual_seed(5)
    z = vae.encode(x, rows).rsample()
    expected = guide.nll(vae.decode(z, asked), asked)
    for name in ALL:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)


def test_lambda_grows_for_the_attribute_that_is_not_followed():
    vae, guide, x, rows = model().train(), reader(), images(), some_rows()
    loss = AttributeELBO(guide, Objective(label_constraint=True, warm_up_share=0.0)).train()
    nll = guide.nll(x[:2], rows[:2])
    real = torch.stack(list(nll.values()), dim=1).mean(dim=0)
    high = (real + torch.tensor([5.0, -5.0, 0.0, 5.0])).detach().expand(6, -1)
    loss.guidance.move_label_weight(x, rows, rows, high, 1.0)
    weight = loss.guidance.label_weight
    assert weight[0] > 5 > weight[1]
    assert weight[3] > 5
    assert float(weight[2]) == pytest.approx(5.0, rel=1e-3)
    loss(vae, x, rows).total.backward()


@pytest.mark.parametrize("name", ["perceptual_weight", "style_weight", "equivariance_weight", "adversarial_weight"])
def test_terms_of_one_class_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}: expected 0 with several attributes"):
        AttributeELBO(None, Objective(**{name: 1.0}))


def test_a_loss_of_classes_is_refused():
    with pytest.raises(ValueError, match="label_loss: each attribute has the loss of its own kind"):
        AttributeELBO(objective=Objective(label_loss="binary"))


def test_networks_of_other_labels_are_refused():
    with pytest.raises(ValueError, match="guide: expected AttributeClassifier"):
        AttributeELBO(LabelClassifier(SHAPE, 3))
    loss = AttributeELBO(AttributeClassifier(SHAPE, {"lit": Binary()}))
    with pytest.raises(ValueError, match="guide: reads lit"):
        VAETraining(model(), loss)
    with pytest.raises(ValueError, match="vae: expected a model of attributes"):
        VAETraining(ConditionalVAE(SHAPE, 3), loss)
    with pytest.raises(ValueError, match="label_smoothing: expected 0"):
        ClassifierTraining(reader(), label_smoothing=0.1)


def test_the_covariance_of_codes_with_labels_is_estimated_without_bias():
    generator = torch.Generator().manual_seed(0)
    z, weights = torch.randn(4000, 3, generator=generator), torch.randn(4000, 1, generator=generator)
    assert abs(float(label_covariance(z, weights).mean())) < 5e-3
    told = torch.cat([z[:, :2], weights], dim=1)
    assert float(label_covariance(told, weights).mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("batch", [5, 16])
def test_a_mean_that_all_codes_share_is_no_covariance(batch):
    """The term would reward such a mean, without bound, if it were taken for one."""
    generator = torch.Generator().manual_seed(1)
    found = {"told": [], "apart": []}
    for _ in range(2000):
        label = torch.nn.functional.one_hot(torch.randint(2, (batch,), generator=generator), 2).float()
        if len(label.unique(dim=0)) == 2:
            z = torch.randn(batch, 2, generator=generator)
            found["apart"].append(label_covariance(z + 7.0, label).mean())
            found["told"].append(label_covariance(z + 7.0 + 2 * label, label).mean())
    means = {name: float(torch.stack(values).mean()) for name, values in found.items()}
    assert means["apart"] == pytest.approx(0.0, abs=0.04)
    assert means["told"] > 0.4
    z = torch.randn(4, 2, requires_grad=True)
    assert label_covariance(z[:3], torch.eye(3)).tolist() == [0.0, 0.0, 0.0]
    torch.testing.assert_close(
        label_covariance(z, torch.eye(4)), label_covariance(z + 100.0, torch.eye(4)), atol=1e-3, rtol=0
    )


def test_values_that_are_unknown_leave_lambda_where_it_is():
    kinds = {"a": Binary(), "b": Binary()}
    guide = AttributeClassifier(SHAPE, kinds)
    for weight in guide.parameters():
        weight.data.zero_()  # every known value costs ln 2, of real images and of counterfactuals
    loss = AttributeELBO(guide, Objective(label_constraint=True, warm_up_share=0.0)).train()
    x, asked = images(8), torch.ones(8, 2)
    own = asked.clone()
    own[1:, 0] = math.nan
    for _ in range(20):
        loss.guidance.move_label_weight(x, own, asked, loss.guidance.nll(x, asked), 1.0)
    own[:, 0] = math.nan  # none is known
    loss.guidance.move_label_weight(x, own, asked, loss.guidance.nll(x, asked), 1.0)
    torch.testing.assert_close(loss.guidance.log_change, torch.zeros(2), atol=1e-5, rtol=0)


def test_labels_of_a_batch_may_be_a_dict_of_columns(attributes):
    rows, pixels = some_rows(), (images() * 255).byte()
    columns = dict(zip(ALL, rows.unbind(dim=1), strict=True))
    for batch in ((pixels, rows), (pixels, columns), {"image": pixels, "label": columns}):
        found, labels = unpack(batch, attributes)
        assert found.dtype == torch.float32
        assert torch.equal(labels, rows)
    named = {name: column.tolist() for name, column in columns.items()}
    named["object"] = [("cup", "duck", "car")[int(place)] for place in rows[:, 0]]  # as torch's loaders give them
    assert torch.equal(unpack((pixels, named), attributes)[1], rows)
    with pytest.raises(ValueError, match="labels: object: expected .*cup, duck, car.* got 'cap'"):
        unpack((pixels, named | {"object": ["cap"] * len(rows)}), attributes)
    with pytest.raises(ValueError, match="labels: expected columns object, lit, width, angle, got lit"):
        unpack((pixels, {"lit": rows[:, 1]}), attributes)


def make_trainer(epochs):
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=4,
    )


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_a_classifier_and_a_model_learn(tmp_path):
    # a bar whose column is the number and whose brightness is the switch
    generator = torch.Generator().manual_seed(0)
    place, lit = torch.randint(1, 7, (256,), generator=generator), torch.randint(2, (256,), generator=generator)
    x = torch.zeros(256, *SHAPE)
    x[torch.arange(256), 0, :, place] = (0.4 + 0.6 * lit)[:, None].float()
    rows = torch.stack([lit.float(), place.float()], dim=1)
    kinds = {"lit": Binary(), "place": Continuous(1, 6, "pixels")}
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, rows), 64, shuffle=True)
    torch.manual_seed(0)
    guide = AttributeClassifier(SHAPE, kinds, widths=(16,), feature_dim=32)
    task = ClassifierTraining(guide, learning_rate=1e-2)
    make_trainer(15).fit(task, loader)
    read = guide.rows(x)
    assert float((read[:, 0] == rows[:, 0]).float().mean()) > 0.98
    assert float((read[:, 1] - rows[:, 1]).abs().mean()) < 0.3
    vae = ConditionalVAE(SHAPE, attributes=kinds, latent_dim=4)
    loss = AttributeELBO(guide, Objective(likelihood="gaussian", scale=0.1, label_constraint=True))
    task, trainer = VAETraining(vae, loss, learning_rate=5e-3), make_trainer(40)
    trainer.fit(task, loader)
    asked = vae.relabel(x[:64], {"place": 4}, own_labels=rows[:64])
    after = guide.rows(asked)
    assert float((after[:, 1] - 4).abs().mean()) < 0.6
    assert float((after[:, 0] == rows[:64, 0]).float().mean()) > 0.9
    assert "train/counterfactual_label/place" in trainer.callback_metrics
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    again = VAETraining.load_from_checkpoint(tmp_path / "task.ckpt")
    torch.testing.assert_close(again.vae.eval().relabel(x[:4], rows[:4]), vae.eval().relabel(x[:4], rows[:4]))
    assert isinstance(again.loss, AttributeELBO)
    torch.testing.assert_close(again.loss.guidance.label_weight, loss.guidance.label_weight)


class Mine(AttributeClassifier):
    pass


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_a_checkpoint_asks_for_a_guide_of_your_own_and_takes_it(tmp_path):
    kinds = {"lit": Binary()}
    vae, guide = ConditionalVAE(SHAPE, attributes=kinds, latent_dim=4), Mine(SHAPE, kinds, widths=(4,))
    task = VAETraining(vae, AttributeELBO(guide, Objective(label_weight=3.0)))
    x, rows = torch.rand(8, *SHAPE), torch.randint(2, (8, 1)).float()
    trainer, path = make_trainer(1), tmp_path / "task.ckpt"
    trainer.fit(task, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, rows), 4))
    trainer.save_checkpoint(path)
    with pytest.raises(ValueError, match="guide: the checkpoint was made with a Mine of your own.*pass guide="):
        VAETraining.load_from_checkpoint(path)
    again = VAETraining.load_from_checkpoint(path, guide=Mine(SHAPE, kinds, widths=(4,)))
    assert type(again.loss) is AttributeELBO
    assert again.loss.objective == task.loss.objective
    torch.testing.assert_close(again.loss.guide.state_dict(), guide.state_dict(), rtol=0, atol=0)


def test_one_label_for_all_images_reconstructs_them():
    vae = ConditionalVAE((1, 8, 8), attributes={"object": Category(3), "on": Binary()}, latent_dim=4).eval()
    images = torch.rand(3, 1, 8, 8)
    expected = vae.reconstruct(images, {"object": [1, 1, 1], "on": [True, True, True]})
    assert torch.equal(vae.reconstruct(images, {"object": 1, "on": True}), expected)


def test_a_reader_without_weights_is_refused():
    reader = AttributeClassifier((1, 8, 8), {"on": Binary()}, widths=(4,)).to("meta")
    with pytest.raises(ValueError, match="classifier: expected values, got a tensor of the meta device"):
        reader.read(torch.rand(2, 1, 8, 8))


def test_values_in_more_forms():
    kinds = Attributes({"pet": Category(["cat", "dog"]), "age": Continuous(0, 9)})
    wanted = torch.tensor([[1.0, 2.0], [0.0, math.nan]])
    column = type("ChunkedArray", (), {"to_pylist": lambda _: [2, None]})()
    for given in (
        [{"pet": "dog", "age": 2}, {"pet": "cat"}],
        {"pet": ["dog", "cat"], "age": [2, pandas.NA]},
        {"pet": ["dog", "cat"], "age": column},
    ):
        torch.testing.assert_close(kinds.rows(given), wanted, equal_nan=True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"pet": {"cat", "dog"}}, "labels: pet: expected one of cat, dog .*, got set in row 0"),
        ({"age": 10**400}, "labels: age: expected numbers from 0 to 9, got 1000"),
        ({"age": torch.zeros(2, device="meta")}, "labels: age: expected values, got a tensor of the meta device"),
    ],
)
def test_values_that_are_none(given, says):
    with pytest.raises(ValueError, match=says):
        Attributes({"pet": Category(["cat", "dog"]), "age": Continuous(0, 9)}).rows(given)
    with pytest.raises(ValueError, match="high: expected a finite number, got 1000"):
        Continuous(0, 10**400)
