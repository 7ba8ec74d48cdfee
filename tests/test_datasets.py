from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from labelvae import ConditionalVAE, ImageData, evaluate
from labelvae.cli.loading import images_of_run
from labelvae.data import datasets
from labelvae.data.given_data import batches_of, checked_pair, classes_of
from labelvae.data.image_sets import FileImages, ImageSet
from labelvae.data.loaders import ImageLoader
from labelvae.evaluation.references import ClassMean
from labelvae.flows.codes import Codes
from labelvae.runs.experiment import Experiment, run_experiment
from labelvae.runs.presets import DIGITS
from labelvae.visual.contact_sheets import failures

PIXELS = torch.randint(256, (60, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(60) % 3


class Dicts(Dataset):
    classes = ("cat", "dog", "bird")

    def __len__(self):
        return 60

    def __getitem__(self, index):
        if index >= 60:
            raise IndexError
        return {"image": PIXELS[index], "label": self.classes[int(LABELS[index])]}


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(PIXELS[k].float() / 255.0, int(LABELS[k])) for k in range(60)])


class Pictures(Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, index):
        from PIL import Image

        return Image.fromarray(PIXELS[index, 0].numpy()), LABELS[index]


def wanted():
    return ImageData.from_tensors(PIXELS, LABELS, ["0", "1", "2"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: TensorDataset(PIXELS, LABELS),
        lambda: TensorDataset(PIXELS.float() / 255.0, nn.functional.one_hot(LABELS)),
        lambda: DataLoader(TensorDataset(PIXELS, LABELS), batch_size=7),
        lambda: Subset(Dicts(), range(60)),
        lambda: DataLoader(Dicts(), batch_size=8),
        Stream,
        lambda: DataLoader(Stream(), batch_size=8),
        Pictures,
        lambda: [(PIXELS[:30], LABELS[:30]), (PIXELS[30:], LABELS[30:])],
    ],
)
def test_any_data_set_or_loader_gives_the_same_splits(make):
    data, expected = ImageData.from_datasets(make()), wanted()
    for name, split in expected.splits.items():
        assert torch.equal(data.splits[name].images, split.images)
    assert all(torch.equal(data.splits[name].labels, split.labels) for name, split in expected.splits.items()) or (
        data.class_names == ["cat", "dog", "bird"]
    )


def test_more_than_memory_holds_stays_in_the_data_set(monkeypatch):
    monkeypatch.setattr(datasets, "fits", lambda *_: False)
    data, expected = ImageData.from_datasets(TensorDataset(PIXELS, LABELS)), wanted()
    assert isinstance(data.splits["train"], FileImages)
    for (images, labels), (want, own) in zip(
        data.loader("train", 9, shuffle=True), expected.loader("train", 9, shuffle=True), strict=True
    ):
        assert torch.equal(images, want)
        assert torch.equal(labels, own)
    assert data.fingerprint() != ImageData.from_datasets(TensorDataset(PIXELS.flip(0), LABELS)).fingerprint()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (TensorDataset(PIXELS), "train: expected images and labels"),
        (TensorDataset(PIXELS.float() - 128.0, LABELS), "train: .*without Normalize"),
        ([(PIXELS, LABELS), (PIXELS[..., :7, :], LABELS)], "train: .*expected images of one size"),
        ([(PIXELS, LABELS), (PIXELS.repeat(1, 3, 1, 1), LABELS)], r"image 60\); make all of them grey or RGB in the"),
        (TensorDataset(LABELS, PIXELS), "got torch.int64 .*numbers; of a pair, the images come first$"),
        ([(LABELS, PIXELS)], "got torch.int64 .*numbers; of a pair, the images come first$"),
        ([(PIXELS[:, None], LABELS)], r"\(60, 1, 1, 8, 8\); each image has an axis too many$"),
        ([], "train: expected images and labels, got none"),
        (None, "train: expected images and labels, got None"),
        (5, "train: expected a torch Dataset or DataLoader"),
        (iter([(PIXELS, LABELS)]), "train: expected a torch Dataset or DataLoader"),
        (TensorDataset(PIXELS, LABELS + 0.5), "labels: expected"),
    ],
)
def test_other_forms_are_refused_in_words(given, says):
    with pytest.raises(ValueError, match=says):
        ImageData.from_datasets(given)


def test_an_experiment_takes_a_data_set_and_a_loader(tmp_path):
    settings = replace(DIGITS, out=tmp_path, log="none", fast_dev_run=True, accelerator="cpu")
    scores = run_experiment(settings, TensorDataset(PIXELS, LABELS))
    assert 0 <= scores[0].effectiveness <= 1
    run = tmp_path / "fast-dev-run"
    with pytest.raises(ValueError, match="names digits, but the run had other images"):
        images_of_run(str(run / "vae"), ConditionalVAE.from_pretrained(run / "vae"), [], None, None, False)
    own = {"train": DataLoader(Dicts(), batch_size=8), "test": Dicts()}
    with pytest.warns(UserWarning, match="test: 60 of 60 different images are training images too; scores"):
        experiment = Experiment(replace(settings, out=tmp_path / "b"), own)
    assert {name: len(split) for name, split in experiment.data.splits.items()} == {
        "train": 48,
        "validation": 12,
        "test": 60,
    }
    with pytest.raises(ValueError, match="data: expected the keys train, test and validation, got training"):
        run_experiment(settings, {"training": Dicts()})


class Counted(Stream):
    def __len__(self):
        return 60


class Batched(IterableDataset):
    def __iter__(self):
        return iter([(PIXELS[:30], LABELS[:30]), (PIXELS[30:], LABELS[30:])])


class Uncounted(Dataset):
    def __getitem__(self, index):
        return PIXELS[index], LABELS[index]


FORMS = {
    "tensors": lambda: TensorDataset(PIXELS, LABELS),
    "floats and rows": lambda: TensorDataset(PIXELS.float() / 255.0, nn.functional.one_hot(LABELS)),
    "three parts": lambda: TensorDataset(PIXELS, LABELS, torch.arange(60)),
    "a loader": lambda: DataLoader(TensorDataset(PIXELS, LABELS), batch_size=7),
    "a loader of dicts": lambda: DataLoader(Dicts(), batch_size=8),
    "dicts": Dicts,
    "a stream": Stream,
    "a stream with a length": Counted,
    "a stream of batches": Batched,
    "no length": Uncounted,
    "pictures": Pictures,
    "a list": lambda: [(PIXELS[:30], LABELS[:30]), (PIXELS[30:], LABELS[30:])],
    "a split": lambda: ImageSet(PIXELS, LABELS),
    "a split in files": lambda: FileImages([*map(str, range(60))], lambda k: PIXELS[int(k)], (1, 8, 8), PLACES, LABELS),
    "a loader of a split": lambda: ImageLoader(ImageSet(PIXELS, LABELS), 9),
}
PLACES = torch.arange(60)


@pytest.mark.parametrize("form", FORMS)
def test_every_call_takes_every_form(form):
    """What each call makes of a data set is what it makes of one list of one batch."""
    names = ["cat", "dog", "bird"]
    vae, judge = ConditionalVAE((1, 8, 8), 3, latent_dim=2, hidden_dim=8), nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    vae.class_names = names
    batch = [(PIXELS.float() / 255.0, LABELS)]
    given = FORMS[form]()
    for images, labels in (checked_pair(each, (1, 8, 8), 3, names) for each in batches_of("given", given)):
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64
    want, got = (evaluate(vae, each, judge, progress=False) for each in (batch, given))
    assert (got.images, got.judge_accuracy) == (want.images, want.judge_accuracy)
    assert got.psnr == pytest.approx(want.psnr, rel=1e-5)
    if form not in ("dicts", "a loader of dicts"):  # names, which this reference does not know
        torch.testing.assert_close(ClassMean(given, 3).means, ClassMean(batch, 3).means)
    torch.testing.assert_close(Codes(vae, given).means, Codes(vae, batch).means, rtol=1e-4, atol=1e-5)
    assert ImageData.from_datasets(given, class_names=names).fingerprint() == from_tensors().fingerprint()


def from_tensors():
    return ImageData.from_tensors(PIXELS, LABELS, ["cat", "dog", "bird"])


def test_reading_draws_no_random_number():
    before = torch.get_rng_state()
    ImageData.from_datasets(TensorDataset(PIXELS, LABELS))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_no_data_is_refused_by_every_call():
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=2)
    calls = [
        lambda given: evaluate(vae, given, nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), progress=False),
        lambda given: ClassMean(given, 3),
        lambda given: Codes(vae, given),
        lambda given: failures(vae, nn.Flatten(), given, ["a", "b", "c"]),
        ImageData.from_datasets,
    ]
    for call in calls:
        for given in (5, "digits", {"train": TensorDataset(PIXELS, LABELS)}, PIXELS):
            with pytest.raises(ValueError, match="expected a torch Dataset or DataLoader, or a list of batches"):
                call(given)
        with pytest.raises(ValueError, match=r"data.loader\('test'\) are batches of an ImageData"):
            call(wanted())
        with pytest.raises(ValueError, match="got images alone"):
            call(TensorDataset(PIXELS))
        with pytest.raises(ValueError, match="got a dict of image, x, label; rename"):
            call([{"image": PIXELS, "x": PIXELS, "label": LABELS}])


class Pairs(Dataset):
    def __init__(self, labels, classes=None):
        self.labels, self.classes = labels, classes

    def __len__(self):
        return len(PIXELS)

    def __getitem__(self, index):
        return PIXELS[index], self.labels[index]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([b"cat", b"dog"], ["cat", "dog"]),
        (np.array(["cat", "dog"]), ["cat", "dog"]),
        (np.array([0, 1], dtype=np.uint64), ["0", "1"]),
        ([[0], [1]], ["0", "1"]),
        (torch.eye(2), ["0", "1"]),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_labels_one_by_one(labels, names):
    data = ImageData.from_datasets(Pairs([labels[k % 2] for k in range(60)]))
    assert data.class_names == names
    assert {type(name) for name in data.class_names} == {str}
    assert sum(int(split.labels.sum()) for split in data.splits.values()) == 30


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0.0, float("nan")], "train: expected class indices, names or one-hot rows, got nan as the label of image 1"),
        ([2019, 10**9], "train: expected class indices from 0, got 1000000000 as a label of 60 images"),
        (["", "dog"], "train: labels: expected a name for each class, got ''"),
        (["dog ", "dog"], "the labels 'dog' and 'dog ' differ in spaces, accents or upper and lower case only"),
        (["Dog", "dog"], "the labels 'Dog' and 'dog' differ in spaces, accents or upper and lower case only"),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_labels_one_by_one_that_are_no_classes(labels, says):
    with pytest.raises(ValueError, match=says):
        ImageData.from_datasets(Pairs([labels[k % 2] for k in range(60)]))


def test_a_label_that_is_wrong_is_said_with_its_split():
    with pytest.raises(ValueError, match="^test: labels: expected class indices from 0 to 2, got 3"):
        ImageData.from_datasets(TensorDataset(PIXELS, LABELS), TensorDataset(PIXELS, LABELS + 1))


@pytest.mark.parametrize("classes", [["a", "a", "b"], ["a", "", "b"]])
def test_classes_of_a_data_set_are_names(classes):
    with pytest.raises(ValueError, match="^train: classes: expected"):
        ImageData.from_datasets(Pairs(LABELS.tolist(), classes))
    assert ImageData.from_datasets(Pairs(LABELS.tolist(), np.array(["a", "b", "c"]))).class_names == ["a", "b", "c"]


def test_parts_of_a_data_set_have_the_same_classes():
    named, turned = Pairs(LABELS.tolist(), ["a", "b", "c"]), Pairs(LABELS.tolist(), ["c", "b", "a"])
    with pytest.raises(
        ValueError, match="a part of the data has a, b, c, another has c, b, a; give each part the same"
    ):
        classes_of(ConcatDataset([named, turned]))
    added = ConcatDataset([named, TensorDataset(255 - PIXELS, LABELS)])  # such as samples
    assert ImageData.from_datasets(Subset(added, range(120))).class_names == ["a", "b", "c"]


class HuggingFace:
    """No `Dataset` of torch, but one with features that hold the names of the classes."""

    features = {"image": None, "label": type("ClassLabel", (), {"names": ["cat", "dog", "bird"]})()}  # noqa: RUF012

    def __len__(self):
        return 60

    def __iter__(self):
        return map(self.__getitem__, range(60))

    def __getitem__(self, index):
        return {"image": PIXELS[int(index)], "label": int(LABELS[int(index)])}


def test_a_data_set_of_hugging_face():
    data = ImageData.from_datasets(HuggingFace())
    assert data.class_names == ["cat", "dog", "bird"]
    assert data.fingerprint() == wanted().fingerprint()
    assert [len(images) for images, _ in batches_of("data", HuggingFace(), batch_size=32)] == [32, 28]
    streamed = ImageData.from_datasets(HuggingFace(), memory_share=0.0)
    assert isinstance(streamed.splits["train"], FileImages)
    with pytest.raises(ValueError, match="got a dict of train, test"):
        ImageData.from_datasets({"train": HuggingFace(), "test": HuggingFace()})
    with pytest.raises(ValueError, match="one of the keys labels, label, targets, target, y, got a dict of img, fine"):
        ImageData.from_datasets([{"img": PIXELS[0], "fine": 1}])


def test_arrays_side_by_side_are_no_data_set():
    with pytest.raises(ValueError, match=r"got images alone \(a numpy.ndarray\); \[\(images, labels\)\] is a list"):
        ImageData.from_datasets((PIXELS.numpy(), LABELS.numpy()))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (pandas.DataFrame({"image": [0], "label": [0]}), "got DataFrame$"),
        ({"train": Dicts(), "test": Dicts()}, "got a dict of train, test; give one of them, such as that of 'train'$"),
        ([(PIXELS, torch.ones(60, 3, dtype=torch.long))], "an image of several classes or of none goes into ImageData"),
        ([(PIXELS.long(), LABELS)], r"got torch.int64; divide by the value of white \(255, or 65535 for 16 bits\)$"),
    ],
    ids=["data frame", "dict of data sets", "several classes", "wide integers"],
)
def test_data_that_are_none_are_said(given, says):
    with pytest.raises(ValueError, match=says):
        ImageData.from_datasets(given)


class EagerTensor:
    """A tensor of TensorFlow, as far as it is read: its numbers are those of `numpy()`."""

    def __init__(self, values):
        self.values = np.asarray(values)
        self.ndim, self.shape, self.dtype = self.values.ndim, self.values.shape, self.values.dtype

    def numpy(self):
        return self.values

    def __array__(self, dtype=None, copy=None):
        return self.values

    def __iter__(self):
        return iter(self.values)


@pytest.mark.parametrize("batched", [True, False])
def test_data_sets_of_tensorflow(batched):
    class Pairs(list):
        class_names = ("cat", "dog", "bird")

    images, labels = PIXELS.permute(0, 2, 3, 1).numpy(), LABELS.numpy()
    pairs = [(images, labels)] if batched else list(zip(images, labels, strict=True))
    data = ImageData.from_datasets(Pairs((EagerTensor(image), EagerTensor(label)) for image, label in pairs))
    assert data.class_names == ["cat", "dog", "bird"]
    assert sum(map(len, data.splits.values())) == 60
