import copy
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging
from torch import nn
from torch.optim.swa_utils import update_bn

from labelvae import (
    Augmentation,
    ClassifierTraining,
    ConditionalVAE,
    Discriminator,
    GuidedELBO,
    ImageData,
    LabelClassifier,
    Objective,
    VAETraining,
    evaluate,
)
from labelvae.evaluation.diagnosis import diagnose
from labelvae.evaluation.explanations import explain
from labelvae.evaluation.references import ImageItself
from labelvae.models.frozen import Classifier, FrozenNorm

SHAPE = (3, 16, 16)


def network(classes: int = 3) -> nn.Sequential:
    body = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*body, nn.Dropout(0.5), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, classes))


class Answer:
    def __init__(self, logits):
        self.logits = logits


class Answering(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = network()

    def forward(self, images):
        return Answer(self.network(images))


class Colour(nn.Module):
    """Right where the class is the brightest channel; without weights."""

    def forward(self, images):
        return images.mean(dim=(2, 3)) * 100.0


@pytest.fixture
def images():
    return torch.rand(6, *SHAPE)


@pytest.fixture
def vae():
    return ConditionalVAE(SHAPE, 3, latent_dim=4, encoder_widths=(8,), hidden_dim=8)


def test_normalization_and_size_are_inside_and_pass_the_gradient(images):
    net = network().eval()
    wrapped = LabelClassifier.wrap(net, SHAPE, 3, mean=[0.1, 0.2, 0.3], std=0.5, size=24)
    mean = torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    resized = nn.functional.interpolate(images, (24, 24), mode="bilinear", antialias=True)
    torch.testing.assert_close(wrapped(images), net((resized - mean) / 0.5))
    images.requires_grad_()
    wrapped(images).sum().backward()
    assert images.grad.abs().sum() > 0


def test_features_are_what_the_last_linear_layer_gets(images):
    net = network().eval()
    wrapped = LabelClassifier.wrap(net, SHAPE, 3)
    assert wrapped.feature_dim == 8
    logits, features = wrapped.logits_and_features(images)
    torch.testing.assert_close(features, net[:-1](images))
    torch.testing.assert_close(net[-1](features), logits)
    torch.testing.assert_close(wrapped.features(images), features)
    assert not any(part._forward_pre_hooks for part in net.modules())
    own = LabelClassifier.wrap(net, SHAPE, 3, features=lambda x: x.mean(dim=(2, 3)))
    torch.testing.assert_close(own.features(images), images.mean(dim=(2, 3)))
    assert own.feature_dim == 3
    assert LabelClassifier.wrap(Colour(), SHAPE, 3).feature_dim == 3


def test_threads_see_their_own_features(images):
    wrapped = LabelClassifier.wrap(network().eval(), SHAPE, 3)
    batches = [torch.rand(4, *SHAPE) for _ in range(8)]
    wanted = [wrapped.features(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda turn: wrapped.features(batches[turn % 8]), range(80)))
    assert all(torch.equal(each, wanted[turn % 8]) for turn, each in enumerate(found))


@pytest.mark.parametrize(
    "make",
    [network, Answering, Colour, lambda: nn.DataParallel(network()), lambda: torch.compile(network(), backend="eager")],
)
def test_any_network_is_a_guide_a_judge_and_is_diagnosed(make, vae, images):
    labels, guide = torch.tensor([0, 1, 2] * 2), make()
    loss = GuidedELBO(guide, more_guides=[LabelClassifier(SHAPE, 3, widths=(4,))])
    terms = loss(vae.train(), images, labels)
    terms.total.backward()
    assert terms.counterfactual_label.shape == (6,)
    assert all(weight.grad is not None for weight in vae.decoder.parameters())
    assert not any(weight.requires_grad for weight in loss.guide.parameters())
    assert not any(part.training for part in loss.guide.train().modules())
    scores = evaluate(vae, [(images, labels)], make(), guide=guide, label_free=make(), progress=False)
    assert 0 <= scores.effectiveness <= 1
    assert scores.realism >= 0
    assert diagnose(vae, images, labels, loss.guide).guide_accuracy >= 0


def test_a_judge_is_what_its_forward_says(vae):
    colours = torch.tensor([0, 1, 2] * 4)
    images = torch.eye(3)[colours][:, :, None, None].expand(-1, -1, 16, 16) * 0.9
    assert evaluate(vae, [(images, colours)], Colour(), progress=False).judge_accuracy == 1.0

    class Mine(LabelClassifier):
        def forward(self, images):
            return Colour()(images)

    mine = Mine(SHAPE, 3, widths=(4,))
    assert evaluate(vae, [(images, colours)], mine, progress=False).judge_accuracy == 1.0
    mine = LabelClassifier(SHAPE, 3, widths=(4,))
    mine.forward = Colour().forward
    assert evaluate(vae, [(images, colours)], mine, progress=False).judge_accuracy == 1.0
    mine = LabelClassifier(SHAPE, 3, widths=(4,))
    mine.register_forward_hook(lambda _, given, __: Colour()(given[0]))
    assert evaluate(vae, [(images, colours)], mine, progress=False).judge_accuracy == 1.0


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda logits: (logits, None), r"logits of shape \(B, 3\), got tuple for two images; return the logits"),
        (lambda logits: {"logits": logits}, "got dict for two images; return the logits alone"),
        (lambda logits: logits[:, :2], r"got \(2, 2\) for two images"),
    ],
)
def test_a_subclass_that_answers_badly_is_refused_by_name(vae, images, answer, says):
    class Mine(LabelClassifier):
        def forward(self, images):
            return answer(super().forward(images))

    mine = Mine(SHAPE, 3, widths=(4,))
    with pytest.raises(ValueError, match=f"judge: .*{says}"):
        evaluate(vae, [(images, torch.tensor([0, 1, 2] * 2))], mine, progress=False)
    with pytest.raises(ValueError, match=f"guide: .*{says}"):
        GuidedELBO(mine)
    with pytest.raises(ValueError, match=f"classifier: .*{says}"):
        explain(vae, images, mine)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"module": "resnet"}, "module: expected a torch.nn.Module"),
        ({"module": network(4)}, r"module: expected logits of shape \(B, 3\), got \(2, 4\)"),
        ({"module": nn.Identity()}, r"got \(2, 3, 16, 16\)"),
        ({"module": nn.Conv2d(1, 3, 3)}, "module: fails on images of shape"),
        ({"module": nn.Sequential(network(), nn.Softmax(dim=1))}, "got probabilities; leave out the softmax"),
        ({"mean": [0.5, 0.5]}, "mean: expected one number a channel, 3 for images .*, got 2"),
        (
            {"mean": [123.7, 116.3, 103.5]},
            "mean: expected levels of images in .*, got 123.7; divide mean and std by 255",
        ),
        ({"std": 0.0}, "std: expected a finite number above 0"),
        ({"size": (8, 8, 8)}, "size"),
        ({"size": 0}, "size"),
        ({"features": 5}, "features: expected a function"),
        ({"image_shape": (3, 4, 4)}, "image_shape"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        LabelClassifier.wrap(**({"module": network(), "image_shape": SHAPE, "num_classes": 3} | arguments))


def test_networks_that_do_not_fit_are_named(vae, images):
    with pytest.raises(ValueError, match=r"guide: expected logits of shape \(B, 3\), got \(2, 4\)"):
        GuidedELBO(network(4)).check_networks(vae)
    with pytest.raises(ValueError, match="guide: knows 4 classes"):
        GuidedELBO(LabelClassifier.wrap(network(4), SHAPE, 4)).check_networks(vae)
    with pytest.raises(ValueError, match="perceptual_weight"):
        GuidedELBO(Colour(), objective=Objective(perceptual_weight=1.0)).check_networks(vae)
    discriminator = Discriminator(SHAPE, 3, (4, 8), beside=(5,))
    with pytest.raises(ValueError, match="discriminator: sees maps"):
        GuidedELBO(network(), discriminator, Objective(adversarial_weight=1.0)).check_networks(vae)
    for judge in (None, "judge", torch.relu):
        with pytest.raises(ValueError, match="judge: expected LabelClassifier"):
            evaluate(vae, [(images, torch.zeros(6, dtype=torch.long))], judge)


def test_a_wrapped_classifier_is_not_saved_but_its_training_is(vae, tmp_path):
    wrapped = LabelClassifier.wrap(network(), SHAPE, 3)
    with pytest.raises(ValueError, match="a wrapped classifier is not saved"):
        wrapped.save_pretrained(tmp_path)
    task, again = (VAETraining(copy.deepcopy(vae), GuidedELBO(network())) for _ in range(2))
    again.load_state_dict(task.state_dict())
    images = torch.rand(2, *SHAPE)
    assert torch.equal(task.loss.guide(images), again.loss.guide(images))


class OwnNorm(nn.BatchNorm1d):
    """A normalization with an activation, as some libraries have them."""

    def forward(self, rows):
        return torch.relu(super().forward(rows)) + 1.0


@pytest.mark.parametrize("kind", ["convolutional", "pooled", "mlp", "own"])
def test_freezing_changes_no_value_and_no_name(kind, images, tmp_path):
    if kind == "own":
        net = nn.Sequential(nn.Flatten(), nn.Linear(768, 8), OwnNorm(8), nn.Linear(8, 3))
        guide = LabelClassifier.wrap(net, SHAPE, 3)
    else:
        guide = LabelClassifier(SHAPE, 3, kind=kind, widths=(8,))
    for _ in range(3):
        guide.train()(images)
    loose = copy.deepcopy(guide).eval()
    frozen = guide.freeze()
    assert torch.equal(frozen(images), loose(images))
    assert list(frozen.state_dict()) == list(loose.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(frozen.state_dict().values(), loose.state_dict().values(), strict=True)
    )
    assert any(isinstance(part, FrozenNorm) for part in frozen.modules())
    copied = copy.deepcopy(frozen).double()
    assert torch.equal(copied.float()(images), loose(images))
    copied.load_state_dict({name: torch.zeros_like(value) for name, value in copied.state_dict().items()})
    assert copied(images).abs().max() < 1.1  # what was loaded is what is used
    compiled = torch.compile(frozen, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), loose(images))
    if kind != "own":
        frozen.save_pretrained(tmp_path)
        assert torch.equal(LabelClassifier.from_pretrained(tmp_path)(images), loose(images))


def test_nothing_that_walks_over_the_modules_changes_a_guide(digits: ImageData):
    guide = LabelClassifier(digits.image_shape, 10, widths=(8,))
    guide.train()(torch.rand(16, *digits.image_shape))
    task = VAETraining(ConditionalVAE(digits.image_shape, 10, 4, (8,), hidden_dim=8), GuidedELBO(guide))
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    how = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    average = StochasticWeightAveraging(1e-3, swa_epoch_start=1)
    with pytest.warns() as _:
        Trainer(max_epochs=3, limit_train_batches=3, limit_val_batches=0, callbacks=average, **how).fit(task, digits)
    update_bn([torch.rand(8, *digits.image_shape)], guide)
    task.apply(lambda part: part.reset_parameters() if hasattr(part, "reset_parameters") else None)
    nn.SyncBatchNorm.convert_sync_batchnorm(task)
    assert all(torch.equal(value, before[name]) for name, value in task.loss.guide.state_dict().items())


class Ending(nn.Module):
    """A classifier whose answer is changed at the end."""

    def __init__(self, change):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
        self.change = change

    def forward(self, images):
        return self.change(self.body(images))


def broken(logits):
    raise AssertionError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits: logits * math.nan, "got NaN or infinity"),
        (lambda logits: {}[0], r"fails on images of shape \(2, 1, 8, 8\) \(0\)"),
        (broken, r"fails on images of shape .* \(AssertionError\)"),
        (lambda logits: logits[: len(logits) // 2 * 2], "for three images"),
        (lambda logits: {"scores": logits}, "got dict for two images"),
    ],
)
def test_networks_that_answer_badly_are_refused(change, message):
    with pytest.raises(ValueError, match=f"module: .*{message}"):
        LabelClassifier.wrap(Ending(change), (1, 8, 8), 3)


def test_logits_in_a_dict():
    network = Ending(lambda logits: {"logits": logits, "loss": None})
    images = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(LabelClassifier.wrap(network, (1, 8, 8), 3)(images), network.body(images))


@pytest.mark.parametrize("features", [lambda images: None, lambda images: images.sum(0), lambda images: 1 / 0])
def test_features_that_are_none_are_refused(features):
    with pytest.raises(ValueError, match="features: (expected|fails)"):
        LabelClassifier.wrap(Ending(lambda logits: logits), (1, 8, 8), 3, features=features)


def test_a_network_without_a_gradient_may_judge_but_not_guide():
    detached = Ending(lambda logits: logits.detach())
    wrapped = LabelClassifier.wrap(detached, (1, 8, 8), 3)
    with pytest.raises(ValueError, match="guide: expected a network whose logits have a gradient, got Ending"):
        GuidedELBO(wrapped)
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8,))
    with pytest.raises(ValueError, match=r"more_guides\[0\]: expected a network whose logits have a gradient"):
        GuidedELBO(LabelClassifier((1, 8, 8), 3), more_guides=[detached])(
            vae, torch.rand(4, 1, 8, 8), torch.zeros(4).long()
        )


def test_a_network_without_values_is_refused():
    with pytest.raises(ValueError, match="module: expected weights, got a network on the meta device"):
        LabelClassifier.wrap(nn.Sequential(nn.Flatten(), nn.Linear(64, 3, device="meta")), (1, 8, 8), 3)
    vae, judge = ConditionalVAE((1, 8, 8), 3), LabelClassifier((1, 8, 8), 3, widths=(4,))
    batches = [(torch.rand(3, 1, 8, 8), torch.arange(3))]
    with pytest.raises(ValueError, match="judge: expected weights, got a network on the meta device"):
        evaluate(vae, batches, LabelClassifier((1, 8, 8), 3).to("meta"), progress=False)
    with pytest.raises(ValueError, match="model: expected values, got a tensor of the meta device"):
        evaluate(vae.to("meta"), batches, judge, progress=False)


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_frozen_program_of_torchscript_is_a_judge_and_a_guide():
    program = torch.jit.freeze(torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()))
    vae, images, labels = ConditionalVAE((1, 8, 8), 3), torch.rand(6, 1, 8, 8), torch.arange(6) % 3
    scores = evaluate(vae, [(images, labels)], program, progress=False)
    assert scores.judge_accuracy == pytest.approx(float((program(images).argmax(1) == labels).float().mean()))
    GuidedELBO(program)(vae, images, labels).total.backward()


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_copied_program_of_torchscript_can_guide():
    program = copy.deepcopy(torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(64, 3))))
    guide = LabelClassifier.wrap(program, (1, 8, 8), 3).freeze()
    assert not any(each.requires_grad for each in guide.parameters())


def torchvision_guide():
    from torchvision.models import resnet18

    imagenet = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    return LabelClassifier.wrap(resnet18(num_classes=3), SHAPE, 3, size=64, **imagenet)


def test_a_torchvision_network_gives_maps_to_the_discriminator_and_the_perceptual_term(vae, images):
    guide, labels = torchvision_guide(), torch.tensor([0, 1, 2] * 2)
    net = guide.network.eval()
    assert guide.map_widths == [64, 64, 128]
    prepared = guide._prepared(images)
    fine = net.relu(net.bn1(net.conv1(prepared)))
    quarter = net.layer1(net.maxpool(fine))
    wanted = [fine, quarter, net.layer2(quarter)]
    for found, maps, size in zip(guide.eval().coarse_maps(images), wanted, (8, 4, 2), strict=True):
        torch.testing.assert_close(found, nn.functional.adaptive_avg_pool2d(maps, size))
    assert not any(part._forward_hooks for part in net.modules())
    discriminator = Discriminator(SHAPE, 3, widths=(4, 4, 4), beside=guide.map_widths)
    loss = GuidedELBO(guide, discriminator, Objective(perceptual_weight=0.1, adversarial_weight=1.0))
    terms = loss(vae.train(), images, labels)
    terms.total.backward()
    assert terms.perceptual.shape == terms.adversarial.shape == (6,)
    assert all(weight.grad is not None for weight in discriminator.parameters())


def test_a_network_as_it_is_gives_maps_too_and_two_layers_give_none(vae, images):
    labels = torch.tensor([0, 1, 2] * 2)
    terms = GuidedELBO(network(), objective=Objective(perceptual_weight=0.1))(vae, images, labels)
    assert terms.perceptual.shape == (6,)
    two_layers = nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    assert evaluate(vae, [(images, labels)], two_layers, guide=two_layers, progress=False).images == 6
    loss = GuidedELBO(two_layers, objective=Objective(perceptual_weight=0.1))
    with pytest.raises(ValueError, match="perceptual_weight: the guide's maps are compared, this one has none"):
        loss.check_networks(vae)
    loss = GuidedELBO(two_layers, Discriminator(SHAPE, 3, beside=(4,)), Objective(adversarial_weight=1.0))
    with pytest.raises(ValueError, match=r"discriminator: sees maps of .* channels, the guide has none"):
        loss.check_networks(vae)


@pytest.mark.parametrize("size", [None, 24])
def test_a_classifier_is_exported_for_any_number_of_images(size):
    wrapped = LabelClassifier.wrap(network(), SHAPE, 3, mean=[0.4] * 3, std=[0.2] * 3, size=size)
    for classifier in (wrapped.eval(), LabelClassifier(SHAPE, 3).eval()):
        batch = torch.export.Dim("batch", min=1)
        program = torch.export.export(classifier, (torch.rand(4, *SHAPE),), dynamic_shapes=({0: batch},))
        images = torch.rand(7, *SHAPE)
        torch.testing.assert_close(program.module()(images), classifier(images))


def test_a_reference_is_judged_by_a_plain_network(images):
    labels = torch.arange(len(images)) % 3
    assert evaluate(ImageItself(), [(images, labels)], network().eval(), progress=False).images == len(images)


def test_an_exported_program_is_a_judge_and_a_guide(vae, images, tmp_path):
    net, labels = network().eval(), torch.tensor([0, 1, 2] * 2)
    example, batch = (torch.rand(4, *SHAPE),), torch.export.Dim("batch", min=1)
    torch.export.save(torch.export.export(net, example, dynamic_shapes=({0: batch},)), tmp_path / "judge.pt2")
    program = torch.export.load(tmp_path / "judge.pt2").module()
    scores = [evaluate(vae, [(images, labels)], judge, progress=False) for judge in (net, program)]
    assert scores[0].effectiveness == scores[1].effectiveness
    terms = GuidedELBO(program)(vae, images, labels)
    terms.total.backward()
    assert terms.counterfactual_label.shape == (6,)


def test_an_onnx_file_is_a_judge_and_no_guide(vae, images, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net, path, labels = network().eval(), str(tmp_path / "judge.onnx"), torch.tensor([0, 1, 2] * 2)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(net, (torch.rand(4, *SHAPE),), dynamic_shapes=({0: batch},))
    torch.onnx.export(program, f=path, input_names=["images"], dynamo=True, verbose=False)

    class Onnx(nn.Module):
        def __init__(self):
            super().__init__()
            self.session = runtime.InferenceSession(path)

        def forward(self, images):
            return torch.from_numpy(self.session.run(None, {"images": images.detach().cpu().numpy()})[0])

    scores = [evaluate(vae, [(images, labels)], judge, progress=False) for judge in (net, Onnx())]
    assert scores[0].effectiveness == scores[1].effectiveness
    with pytest.raises(
        ValueError, match="guide: expected a network whose logits have a gradient, got Onnx without one"
    ):
        GuidedELBO(Onnx()).check_networks(vae)


@pytest.mark.parametrize(
    ("make", "widths"),
    [
        (
            lambda: nn.Sequential(
                nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
            ),
            [5],
        ),
        (lambda: nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(80, 3)), [5, 5]),
        (lambda: nn.Sequential(nn.Conv2d(3, 5, 3, 2), nn.Conv2d(5, 6, 3, 2), nn.Flatten(), nn.Linear(54, 3)), [5, 6]),
    ],
)
def test_maps_come_in_the_sizes_of_the_images_halvings(make, widths, images):
    guide = LabelClassifier.wrap(make(), SHAPE, 3)
    assert guide.map_widths == widths
    assert [maps.shape for maps in guide.coarse_maps(images)] == [(6, w, 8 >> k, 8 >> k) for k, w in enumerate(widths)]


@pytest.mark.parametrize("how", [{}, {"adversarial": 0.02}])
def test_a_network_of_ones_own_is_trained_as_a_guide(how):
    torch.manual_seed(0)
    colours = torch.tensor([0, 1, 2] * 40)
    images = (torch.eye(3)[colours][:, :, None, None] * torch.rand(120, 1, 16, 16)).clamp(0, 1)
    data = ImageData.from_tensors(images, colours, ["red", "green", "blue"], batch_size=12)
    guide = LabelClassifier.wrap(network(), SHAPE, 3, mean=0.5, std=0.5, size=20)
    task = ClassifierTraining(guide, Augmentation(noise=0.05), learning_rate=1e-2, **how)
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=8, enable_checkpointing=False, **options)
    trainer.fit(task, datamodule=data)
    assert trainer.validate(task, datamodule=data, verbose=False)[0]["val/accuracy"] > 0.9
    assert guide.frozen is False
    assert GuidedELBO(guide).guide.frozen is True


def test_a_network_that_was_not_wrapped_is_not_trained():
    with pytest.raises(ValueError, match=r"got Sequential; LabelClassifier\.wrap\(network, image_shape, num_classes\)"):
        ClassifierTraining(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)))


def test_a_network_for_colour_is_told_what_grey_images_need():
    with pytest.raises(ValueError, match=r"module: fails on images .*; give a network for .*InColour in examples/own_"):
        LabelClassifier.wrap(network(), (1, 16, 16), 3)


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_network_that_waits_for_its_first_images(images):
    waiting = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))
    judge = LabelClassifier.wrap(waiting, SHAPE, 3).eval()
    assert judge(images).shape == (6, 3)
    assert (judge.feature_dim, int(waiting[2].num_batches_tracked)) == (8, 0)
    judge.train()(images)
    assert int(waiting[2].num_batches_tracked) == 1
    with pytest.raises(ValueError, match="a wrapped classifier is not saved"):
        judge.save_pretrained("folder", bits=4)


class Mine(Classifier):
    """A classifier of one's own, which may change its images in place."""

    def __init__(self, times=1.0, **said):
        super().__init__()
        self.layer, self.times = nn.Linear(64, 3), times
        for name, value in ({"image_shape": (1, 8, 8), "num_classes": 3, "feature_dim": 3} | said).items():
            setattr(self, name, value)

    def features(self, images):
        return self.layer(images.flatten(1) * self.times)

    def forward(self, images):
        return self.layer(images.mul_(self.times).flatten(1))

    def logits_and_features(self, images):
        logits = self(images)
        return logits, logits


def test_a_judge_that_changes_its_images_changes_no_figure():
    batches = [(torch.rand(6, 1, 8, 8), torch.arange(6) % 3)]
    before, judge = batches[0][0].clone(), Mine(0.5)
    model = ConditionalVAE((1, 8, 8), 3)
    found = evaluate(model, batches, judge, guide=Mine(0.1), progress=False)
    assert torch.equal(batches[0][0], before)
    plain = evaluate(model, batches, Mine(1.0), progress=False)
    assert (found.psnr, found.reversed_psnr, found.sharpness) == (plain.psnr, plain.reversed_psnr, plain.sharpness)


@pytest.mark.parametrize("missing", ["image_shape", "num_classes", "feature_dim"])
def test_a_classifier_that_does_not_say_what_it_knows_is_named(missing):
    batches = [(torch.rand(6, 1, 8, 8), torch.arange(6) % 3)]
    with pytest.raises(ValueError, match=f"judge: expected a Classifier that says its {missing}, got Mine"):
        evaluate(ConditionalVAE((1, 8, 8), 3), batches, Mine(**{missing: None}), progress=False)
