"""Data sets, networks and metrics of other programs: names of classes, forms of labels, ends of networks."""

import copy
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn, vmap
from torch.func import functional_call, stack_module_state
from torch.nn.utils import prune
from torch.utils.data import ConcatDataset, DataLoader, Dataset, TensorDataset, WeightedRandomSampler
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from labelvae import (
    Binary,
    ClassifierTraining,
    ConditionalVAE,
    GuidedELBO,
    ImageData,
    LabelClassifier,
    VAETraining,
    evaluate,
)
from labelvae.evaluation import attribute_scores
from labelvae.photos.reading import _moved

SHAPE = (1, 8, 8)
NAMES = ["cat", "cow", "dog"]
QUICK = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


class Named(Dataset):
    """Images whose pixels tell their class, with `classes` as torchvision's folders have them."""

    def __init__(self, classes, count=30, label=lambda index: index):
        self.classes, self.count, self.label = classes, count, label

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        name = self.classes[index % len(self.classes)]
        image = torch.full(SHAPE, 0.25 * (1 + NAMES.index(name)))
        image[0, 0] = index / self.count  # no image twice
        return image, self.label(index % len(self.classes))


def shades(split):
    """The class that the pixels of each image tell."""
    some = split.load()
    return (some.images[:, 0, 4, 4].float() / 255.0 * 4).round().long() - 1, some.labels


@pytest.fixture
def pair():
    torch.manual_seed(0)
    vae, judge = ConditionalVAE(SHAPE, 3, encoder_widths=(4,), latent_dim=2), LabelClassifier(SHAPE, 3, widths=(4,))
    vae.class_names, judge.class_names = NAMES, NAMES
    return vae, judge


def test_indices_of_a_split_that_lacks_a_class_mean_its_own_names():
    data = ImageData.from_datasets(Named(NAMES), Named(["cat", "dog"]))
    found, labels = shades(data.splits["test"])
    assert labels.tolist() == found.tolist()
    assert set(labels.tolist()) == {0, 2}
    data = ImageData.from_datasets(Named(NAMES), Named(["dog", "cow", "cat"]), class_names=["Katze", "Kuh", "Hund"])
    found, labels = shades(data.splits["test"])
    assert labels.tolist() == found.tolist()
    with pytest.raises(
        ValueError, match="test: has the classes cat, cow, dog, the training images cat, dog, without c"
    ):
        ImageData.from_datasets(Named(["cat", "dog"]), Named(NAMES))


def test_images_of_classes_in_another_order_are_not_scored(pair):
    vae, judge = pair
    assert evaluate(vae, Named(NAMES), judge, progress=False).images == 30
    with pytest.raises(ValueError, match="batches: 'dog' is class 1 of cat, dog, but class 2 of the model, cat, cow"):
        evaluate(vae, Named(["cat", "dog"]), judge, progress=False)
    with pytest.raises(ValueError, match="real: 'dog' is class 0"):
        evaluate(vae, Named(NAMES), judge, real=DataLoader(Named(NAMES[::-1])), progress=False)
    judge.class_names = ["a cat", "a cow", "a dog"]  # other words are no other order
    assert evaluate(vae, Named(NAMES), judge, progress=False).images == 30
    judge.class_names = NAMES[::-1]
    with pytest.raises(ValueError, match="judge: 'dog' is class 0 of dog, cow, cat, but class 2 of the model"):
        evaluate(vae, Named(NAMES), judge, progress=False)


def test_classes_in_another_order_are_not_trained_on(pair):
    vae, guide = pair
    guide.class_names, vae.class_names = NAMES[::-1], None
    data = ImageData.from_datasets(Named(NAMES))
    task = VAETraining(vae, GuidedELBO(guide))
    with pytest.raises(ValueError, match="guide: 'dog' is class 0 of dog, cow, cat, but class 2 of the model"):
        Trainer(max_epochs=1, enable_checkpointing=False, **QUICK).fit(task, datamodule=data)
    again = LabelClassifier(SHAPE, 3, widths=(4,))
    again.class_names = NAMES[::-1]
    with pytest.raises(ValueError, match="class_names: 'dog' is class 0 of dog, cow, cat, but class 2 of the data"):
        Trainer(max_epochs=1, enable_checkpointing=False, **QUICK).fit(ClassifierTraining(again), datamodule=data)


def test_a_checkpoint_keeps_the_names_of_classes(pair, tmp_path):
    vae, guide = pair
    trainer = Trainer(max_epochs=1, default_root_dir=tmp_path, limit_train_batches=1, limit_val_batches=0, **QUICK)
    trainer.fit(VAETraining(vae, GuidedELBO(guide)), datamodule=ImageData.from_datasets(Named(NAMES)))
    trainer.save_checkpoint(tmp_path / "it.ckpt")
    task = VAETraining.load_from_checkpoint(tmp_path / "it.ckpt")
    assert (task.vae.class_names, task.loss.guide.class_names) == (NAMES, NAMES)
    assert task.vae.relabel(torch.rand(1, *SHAPE), "dog").shape == (1, *SHAPE)


def test_metrics_of_classes_get_the_judges_logits(pair):
    vae, judge = pair
    metrics = {"accuracy": MulticlassAccuracy(3, average="micro"), "confusion": MulticlassConfusionMatrix(3)}
    scores = evaluate(vae, Named(NAMES), judge, progress=False, metrics=metrics)
    assert scores.metrics["accuracy"] == pytest.approx(scores.effectiveness)
    assert sum(value for name, value in scores.metrics.items() if name.startswith("confusion")) == 30


class Decoding(nn.Module):
    def __init__(self, *last):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 64), *last)

    def forward(self, z, label):
        return self.layers(torch.cat([z, label], 1)).unflatten(1, SHAPE)


def test_a_decoder_that_ends_in_a_sigmoid_is_refused():
    zero = nn.Linear(64, 64)
    nn.init.zeros_(zero.weight)
    nn.init.constant_(zero.bias, 0.5)  # an answer that is the same everywhere is no sigmoid
    for last in ([], [nn.Tanh()], [zero]):
        ConditionalVAE(SHAPE, 3, latent_dim=2, decoder=Decoding(*last))
    with pytest.raises(ValueError, match="decoder: expected pixel logits, got values in .*; leave out the sigmoid"):
        ConditionalVAE(SHAPE, 3, latent_dim=2, decoder=Decoding(nn.Sigmoid()))


def test_a_classifier_that_ends_in_a_sigmoid_is_named():
    layers = [nn.Flatten(), nn.Linear(64, 5)]
    LabelClassifier.wrap(nn.Sequential(*layers), SHAPE, 5)
    with pytest.warns(UserWarning, match="module: expected logits .*, got values in .* if the network ends in a sigm"):
        LabelClassifier.wrap(nn.Sequential(*layers, nn.Sigmoid()), SHAPE, 5)


def test_integers_of_0_and_1_are_not_black_images():
    images = (torch.rand(30, *SHAPE, generator=torch.Generator().manual_seed(0)) > 0.5).to(torch.uint8)
    for given in (images, images.numpy()):
        with pytest.raises(ValueError, match="images: expected integers from 0 to 255, got only 0 and 1"):
            ImageData.from_tensors(given, torch.arange(30) % 3, NAMES)
    data = ImageData.from_tensors(images.bool(), torch.arange(30) % 3, NAMES)
    assert float(next(iter(data.loader("train")))[0].max()) == 1
    assert len(ImageData.from_tensors(torch.zeros(30, *SHAPE), torch.arange(30) % 3, NAMES).splits) == 3  # all black


def test_repeated_images_are_said_where_some_are_held_out():
    once, labels = Named(NAMES), torch.arange(30) % 3
    sampler = WeightedRandomSampler(torch.ones(30), 60, generator=torch.Generator().manual_seed(0))
    for given in (ConcatDataset([once] * 3), DataLoader(once, 4, sampler=sampler)):
        with pytest.warns(UserWarning, match=r"train: \d+ of \d+ images are equal to earlier ones, so images that are"):
            ImageData.from_datasets(given)
    several = ConcatDataset([once] * 3)
    with pytest.warns(UserWarning, match="(test|validation): 30 of 30 different images are training images too"):
        assert ImageData.from_datasets(several, once, once).class_names == NAMES  # nothing is held out
    assert len(ImageData.from_datasets(TensorDataset(torch.rand(30, *SHAPE), labels)).splits) == 3


def test_forms_of_labels_of_data_sets():
    one = Named(NAMES, label=lambda index: torch.tensor([index]))
    assert shades(ImageData.from_datasets(one).splits["test"])[1].unique().tolist() == [0, 1, 2]
    alone = DataLoader(Named(NAMES), batch_size=None)
    assert ImageData.from_datasets(alone).num_classes == 3
    named = Named(NAMES)
    examples = [named[place] for place in range(30)]
    assert ImageData.from_datasets(examples).num_classes == 3
    coloured = [(image.expand(3, 8, 8), label) for image, label in examples]
    assert ImageData.from_datasets(coloured).image_shape == (3, 8, 8)
    for label, word in ((None, "None"), (SimpleNamespace(), "SimpleNamespace")):
        with pytest.raises(ValueError, match=f"expected class indices, .*, got {word} as the label of image 30"):
            ImageData.from_datasets([*examples, (torch.rand(SHAPE), label)])


def test_a_tensor_of_rows_is_a_table():
    attributes = {"hat": Binary(), "smile": Binary()}
    rows = torch.randint(0, 2, (30, 2), generator=torch.Generator().manual_seed(0)).float()
    images = torch.arange(30)[:, None, None, None].expand(30, *SHAPE).to(torch.uint8)
    for given in (rows, rows.long(), rows.numpy()):
        data = ImageData.from_table(images, given, attributes)
        some = data.splits["train"].load()
        torch.testing.assert_close(some.labels, rows[some.images[:, 0, 0, 0].long()])
    with pytest.raises(ValueError, match="attributes: expected what each column of the table is"):
        ImageData.from_table(images, rows)


def test_what_measures_attributes_has_rows():
    attributes = {"hat": Binary(), "smile": Binary()}
    vae = ConditionalVAE(SHAPE, attributes=attributes, encoder_widths=(4,), latent_dim=2)
    images, rows = torch.rand(6, *SHAPE), torch.tensor([[0.0, 1.0], [1.0, 0.0]] * 3)
    measure = SimpleNamespace(attributes=attributes, rows=lambda images: torch.ones(len(images), 2))
    assert set(attribute_scores(vae, measure, images, rows)) == {"hat", "smile"}
    with pytest.raises(ValueError, match=r"judge: expected an AttributeClassifier, .* rows\(images\), .* got function"):
        attribute_scores(vae, lambda images: images, images, rows)


def test_a_network_without_a_weight_to_learn_is_refused():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).requires_grad_(False)
    with pytest.raises(ValueError, match="classifier: is frozen and cannot be trained"):
        ClassifierTraining(LabelClassifier.wrap(network, SHAPE, 3))
    network[1].bias.requires_grad_()
    ClassifierTraining(LabelClassifier.wrap(copy.deepcopy(network), SHAPE, 3))


def test_networks_of_other_number_types():
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 3)).bfloat16()
    wrapped = LabelClassifier.wrap(network, SHAPE, 3, size=(16, 16))
    assert wrapped(torch.rand(2, *SHAPE)).dtype == torch.bfloat16
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).double()
    with pytest.raises(ValueError, match="encoder: its weights are of torch.float64, the decoder's of torch.float32"):
        ConditionalVAE(SHAPE, 3, latent_dim=2, encoder=encoder, encoder_label="none")


def small_vae(seed=0):
    torch.manual_seed(seed)
    return ConditionalVAE(SHAPE, 3, encoder_widths=(4,), latent_dim=2, hidden_dim=8)


def test_a_pruned_model_is_saved_and_loaded(tmp_path):
    vae = small_vae()
    for module in vae.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            prune.l1_unstructured(module, "weight", 0.3)
            prune.remove(module, "weight")
    vae.save_pretrained(tmp_path)
    images = torch.rand(4, *SHAPE)
    torch.testing.assert_close(ConditionalVAE.from_pretrained(tmp_path).relabel(images, 1), vae.relabel(images, 1))


def test_several_models_at_once_by_vmap():
    models = [small_vae(seed).eval() for seed in range(3)]
    weights, buffers = stack_module_state(models)
    images, labels = torch.rand(4, *SHAPE), torch.tensor([0, 1, 2, 0])

    def reconstructed(weights, buffers):
        return functional_call(models[0], (weights, buffers), (images, labels))

    torch.manual_seed(1)
    found = vmap(reconstructed, randomness="same")(weights, buffers)
    for model, images_of_it in zip(models, found, strict=True):
        torch.manual_seed(1)
        torch.testing.assert_close(images_of_it, model(images, labels), atol=1e-5, rtol=1e-4)


def test_labels_in_python_are_compiled_as_one_graph():
    vae, images = small_vae().eval(), torch.rand(3, *SHAPE)
    for labels in (1, [0, 2, 1]):
        compiled = torch.compile(vae.relabel, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(images, labels), vae.relabel(images, labels))


def test_a_buffer_is_an_array(pair):
    vae, _ = pair
    images = torch.rand(3, *SHAPE)
    torch.testing.assert_close(vae.relabel(memoryview(images.numpy()), 1), vae.relabel(images, 1))


def test_photographs_are_read_whatever_the_default_number_type():
    image = torch.rand(1, 28, 28)
    expected = _moved(image)
    torch.set_default_dtype(torch.float64)
    try:
        torch.testing.assert_close(_moved(image), expected)
    finally:
        torch.set_default_dtype(torch.float32)
