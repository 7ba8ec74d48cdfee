import pickle
import shutil
import struct

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from labelvae import ImageData
from labelvae.data import balanced
from labelvae.photos.scans import read_scan


def test_digits_are_split_by_class_and_by_seed(digits):
    sizes = {name: len(split) for name, split in digits.splits.items()}
    assert sizes == {"train": 1199, "validation": 299, "test": 299}
    for split in digits.splits.values():
        counts = torch.bincount(split.labels, minlength=10)
        assert counts.min() > 0.8 * counts.max()
    again = ImageData("digits", test_share=1 / 6, validation_share=0.2)
    assert torch.equal(again.splits["test"].images, digits.splits["test"].images)
    other = ImageData("digits", test_share=1 / 6, validation_share=0.2, seed=5)
    assert not torch.equal(other.splits["test"].images, digits.splits["test"].images)


def test_the_splits_share_no_image():
    images, labels = torch.zeros(90, 1, 8, 8, dtype=torch.uint8), torch.arange(90) % 3
    images[:, 0, 0, 0] = torch.arange(90)
    data = ImageData.from_tensors(images, labels, ["a", "b", "c"])
    seen = torch.cat([split.images[:, 0, 0, 0] for split in data.splits.values()])
    assert sorted(seen.tolist()) == list(range(90))


@pytest.mark.parametrize(
    ("images", "labels", "names", "says"),
    [
        (torch.rand(9, 1, 8, 8) * 255, torch.arange(9) % 3, "abc", "divide 8-bit values by 255"),
        (torch.rand(9, 1, 8, 8) / 0 * 0, torch.arange(9) % 3, "abc", "expected values in .0, 1., got NaN"),
        (torch.zeros(9, 1, 8, 8, dtype=torch.int64), torch.arange(9) % 3, "abc", "got torch.int64; divide by"),
        (torch.zeros(9, 1, 1, 8, 8, dtype=torch.uint8), torch.arange(9) % 3, "abc", r"\(N, C, H, W\)"),
        (torch.zeros(9, 1, 8, 8, dtype=torch.uint8), torch.full((9, 3), 1 / 3), "abc", "rows of weights"),
        (torch.zeros(9, 1, 8, 8, dtype=torch.uint8), torch.arange(9) % 3, "aab", "'a' twice"),
        (torch.zeros(9, 1, 8, 8, dtype=torch.uint8), torch.arange(9) % 3, ["a", "", "c"], "got '' for class 1"),
        (torch.zeros(9, 1, 8, 8, dtype=torch.uint8), torch.arange(9) % 3, ["a", "b", " "], "got ' ' for class 2"),
        (torch.zeros(0, 8, 8, dtype=torch.uint8), [], "abc", "there are no images"),
        (torch.zeros(9, 64, dtype=torch.uint8), torch.arange(9) % 3, "abc", r"images.reshape\(-1, 1, 8, 8\)"),
        (torch.zeros(9, 8, 9, dtype=torch.uint8)[0], [0], "abc", "one image is no data set"),
        (
            np.zeros((32, 32, 3, 9), np.uint8),
            torch.arange(9) % 3,
            "abc",
            r"\(H, W, C, N\), images.transpose\(3, 2, 0, 1\)",
        ),
        (torch.zeros(9, 3072, dtype=torch.uint8), torch.arange(9) % 3, "abc", r"images.reshape\(-1, 3, 32, 32\)"),
        (torch.zeros(9, 120, dtype=torch.uint8), torch.arange(9) % 3, "abc", "do not say their height and width"),
        (torch.zeros(9, 1, 8, 8, device="meta"), torch.arange(9) % 3, "abc", r"\(9, 1, 8, 8\), which has no values"),
        (
            torch.arange(9) % 3,
            torch.zeros(9, 1, 8, 8),
            "abc",
            "got torch.int64 .*numbers; of a pair, the images come first",
        ),
        (torch.zeros(9, 8, 8, 2, dtype=torch.uint8), torch.arange(9) % 3, "abc", r"\(2, 8, 8\) are 2 channels of 8x8"),
        (["a.png"] * 9, torch.arange(9) % 3, "abc", r"got 'a.png'; PIL.Image.open reads a file"),
        ([], [], "abc", "got an empty list"),
        (torch.zeros(9, 1, 8, 8, dtype=torch.uint8), torch.arange(9), "abc", "from 0 to 2, got 8"),
        (
            torch.zeros(9, 1, 8, 8, dtype=torch.uint8),
            torch.zeros(9, dtype=torch.long),
            "abc",
            "class 'b': has 0 images",
        ),
        (torch.zeros(9, 1, 4, 4, dtype=torch.uint8), torch.arange(9) % 3, "abc", "8x8"),
        (torch.zeros(9, 1, 8, 8, dtype=torch.uint8), torch.zeros(9, dtype=torch.long), "a", "at least 2"),
    ],
)
def test_bad_tensors_are_refused(images, labels, names, says):
    with pytest.raises(ValueError, match=says):
        ImageData.from_tensors(images, labels, list(names))


def idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)
def test_the_mnist_family_from_its_files(tmp_path, name, folder):
    for part, count in (("train", 60), ("t10k", 20)):
        pixels = np.arange(count)[:, None, None] * np.ones((1, 28, 28))
        idx(tmp_path / folder / "raw" / f"{part}-images-idx3-ubyte", pixels)
        idx(tmp_path / folder / "raw" / f"{part}-labels-idx1-ubyte", np.arange(count) % 10)
    data = ImageData(name, tmp_path)
    assert data.image_shape == (1, 28, 28)
    assert {key: len(split) for key, split in data.splits.items()} == {"train": 50, "validation": 10, "test": 20}
    assert len(data.class_names) == 10
    assert torch.equal(data.splits["test"].images[:, 0, 5, 5], torch.arange(20, dtype=torch.uint8))


def cifar(root):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    for batch in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
        (folder / batch).write_bytes(pickle.dumps({"data": pixels, "labels": [i % 10 for i in range(20)]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    return folder


def test_cifar10_from_its_files(tmp_path, monkeypatch):
    from torchvision.datasets import cifar as torchvision_cifar

    folder = cifar(tmp_path)
    monkeypatch.setattr(torchvision_cifar, "check_integrity", lambda path, md5=None: True)
    data = ImageData("cifar10", tmp_path)
    assert data.image_shape == (3, 32, 32)
    assert {key: len(split) for key, split in data.splits.items()} == {"train": 90, "validation": 10, "test": 20}
    assert data.class_names[2] == "bird"
    first = pickle.loads((folder / "test_batch").read_bytes())["data"][0].reshape(3, 32, 32)
    assert np.array_equal(data.splits["test"].images[0], first)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_no_files_and_no_network_is_said_in_words(tmp_path, monkeypatch, name):
    from torchvision.datasets import cifar as torchvision_cifar
    from torchvision.datasets import mnist as torchvision_mnist

    def no_network(*args, **kwargs):
        from urllib.error import URLError

        raise URLError("no network")

    monkeypatch.setattr(torchvision_mnist, "download_and_extract_archive", no_network)
    monkeypatch.setattr(torchvision_cifar, "download_and_extract_archive", no_network)
    with pytest.raises(ValueError, match=r"no usable files were found under .*--data-dir .*'digits' needs no files"):
        ImageData(name, tmp_path)


def test_truncated_mnist_files_are_said_in_words(tmp_path):
    for part in ("train", "t10k"):
        idx(tmp_path / "MNIST" / "raw" / f"{part}-images-idx3-ubyte", np.zeros((60, 28, 28)))
        idx(tmp_path / "MNIST" / "raw" / f"{part}-labels-idx1-ubyte", np.zeros(60))
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"mnist: no usable files"):
        ImageData("mnist", tmp_path)


def picture(path, size=(12, 10), mode="RGB", value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    Image.new(mode, size, value if bands == 1 else (value, 50, 200, 255)[:bands]).save(path)


@pytest.fixture
def folder(tmp_path):
    for split, count in (("train", 6), ("test", 3)):
        for index, name in enumerate(("cat", "dog", "owl")):
            for i in range(count):
                value = 10 + 80 * index + 2 * (split == "test")
                picture(tmp_path / split / name / f"{i}.{'png' if i % 2 else 'jpg'}", value=value)
    return tmp_path


def test_a_folder_with_a_test_split(folder):
    data = ImageData("folder", folder)
    assert data.class_names == ["cat", "dog", "owl"]
    assert data.image_shape == (3, 10, 12)
    assert {key: len(split) for key, split in data.splits.items()} == {"train": 15, "validation": 3, "test": 9}
    for split in data.splits.values():
        expected = 10 + 80 * split.labels
        assert ((split.images[:, 0, 5, 5].long() - expected).abs() <= 4).all()


def test_a_folder_without_a_test_split_is_split_by_seed(folder):
    for root in (folder / "train", folder):
        shutil.rmtree(folder / "test", ignore_errors=True)
        data = ImageData("folder", root)
        assert {key: len(split) for key, split in data.splits.items()} == {"train": 12, "validation": 3, "test": 3}


def test_images_of_many_sizes_become_one(folder):
    picture(folder / "train" / "cat" / "wide.png", size=(300, 90))
    assert ImageData("folder", folder).image_shape == (3, 64, 64)
    assert ImageData("folder", folder, image_size=(16, 20)).image_shape == (3, 16, 20)


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_of_image_is_read(folder, mode):
    path = folder / "train" / "cat" / ("x.png" if mode != "CMYK" else "x.jpg")
    picture(path, mode=mode)
    assert ImageData("folder", folder).image_shape == (3, 10, 12)


def test_grey_images_have_one_channel(tmp_path):
    for name, value in (("a", 0), ("b", 200)):
        for i in range(4):
            picture(tmp_path / name / f"{i}.png", mode="L", value=value)
    data = ImageData("folder", tmp_path)
    assert data.image_shape == (1, 10, 12)
    assert {int(v) for v in data.splits["train"].images.unique()} == {0, 200}


def test_sixteen_bit_images_keep_their_brightness(tmp_path):
    for name, value in (("a", 0), ("b", 65535)):
        for i in range(4):
            picture(tmp_path / name / f"{i}.png", mode="I;16", value=value)
    assert {int(v) for v in ImageData("folder", tmp_path).splits["train"].images.unique()} == {0, 255}


def test_bad_folders_are_said_in_words(folder, tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        ImageData("folder", tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"one folder of images a class, at least 2, got none"):
        ImageData("folder", tmp_path / "empty")
    (tmp_path / "empty").rmdir()
    (folder / "train" / "cat" / "broken.png").write_bytes(b"no image")
    (folder / "test" / "owl" / "cut.jpg").write_bytes((folder / "test" / "owl" / "0.jpg").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"2 images cannot be read: .*broken\.png.*cut\.jpg.*repair them"):
        ImageData("folder", folder)
    (folder / "train" / "cat" / "broken.png").unlink()
    picture(folder / "test" / "owl" / "cut.jpg", size=(200, 200))
    whole = (folder / "test" / "owl" / "cut.jpg").read_bytes()
    (folder / "test" / "owl" / "cut.jpg").write_bytes(whole[: len(whole) // 2])  # the header is whole
    with pytest.raises(ValueError, match=r"1 image cannot be read: .*cut\.jpg"):
        ImageData("folder", folder)
    (folder / "test" / "owl" / "cut.jpg").unlink()
    (folder / "train" / "yak").mkdir()
    with pytest.raises(ValueError, match="the class 'yak' has no images"):
        ImageData("folder", folder)
    (folder / "train" / "yak").rmdir()
    picture(folder / "test" / "zebra" / "0.png")
    with pytest.raises(ValueError, match=r"has classes that .*train does not: zebra"):
        ImageData("folder", folder)


def test_transparent_images_lie_on_white(tmp_path):
    for name, value in (("a", 0), ("b", 200)):
        (tmp_path / name).mkdir()
        for i in range(4):
            image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
            image.paste((value, 0, 0, 255), (2, 2, 8, 8))
            image.save(tmp_path / name / f"{i}.png")
    images = ImageData("folder", tmp_path).splits["train"].images
    assert (images[:, :, 0, 0] == 255).all()
    assert (images[:, 1, 5, 5] == 0).all()


def test_dark_sixteen_bit_images_are_scaled_like_bright_ones(tmp_path):
    for name in "ab":
        for i in range(3):
            size = (12, 10 + (name == "b"))
            picture(tmp_path / name / f"{i}.png", size, mode="I;16", value=(200, 30_000)[i % 2])
    with pytest.warns(UserWarning, match="levels 0 to 32767 of these files become 0 to 255"):
        splits = ImageData("folder", tmp_path).splits.values()
    assert {int(value) for split in splits for value in split.images.unique()} == {2, 233}


def test_photos_are_turned_upright(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(3):
            image = Image.new("L", (12, 10))
            image.paste(255, (0, 0, 12, 2))
            exif = image.getexif()
            exif[ExifTags.Base.Orientation] = 6  # its top is to the right
            exif[ExifTags.Base.ImageDescription] = name
            image.save(tmp_path / name / f"{i}.png", exif=exif)
    data = ImageData("folder", tmp_path)
    assert data.image_shape == (1, 12, 10)
    for image in (data.splits["train"].images[0] / 255, read_scan(tmp_path / "a" / "0.png", (1, 12, 10))):
        assert (image[..., -2:] == 1).all()
        assert not image[..., :-2].any()


def test_hidden_files_and_folders_are_passed_over(folder):
    (folder / "train" / "cat" / "._0.png").write_bytes(b"left by a file manager")
    (folder / "test" / ".ipynb_checkpoints").mkdir()
    assert ImageData("folder", folder).class_names == ["cat", "dog", "owl"]


def test_the_fingerprint_tells_images_and_splits_apart(digits):
    same = ImageData("digits", test_share=1 / 6, validation_share=0.2)
    assert same.fingerprint() == digits.fingerprint()
    assert ImageData("digits", test_share=1 / 6, validation_share=0.2, seed=1).fingerprint() != digits.fingerprint()


@pytest.mark.parametrize(
    "arguments",
    [
        {"validation_share": 1.0},
        {"test_share": -1.0},
        {"test_share": float("nan")},
        {"seed": 1.5},
        {"image_size": (8, 8)},
    ],
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        ImageData("digits", **arguments)


def test_unknown_splits_are_refused(digits):
    with pytest.raises(ValueError, match="split: expected one of train, validation, test, got 'val'"):
        digits.loader("val")
    with pytest.raises(ValueError, match="batch_size"):
        digits.loader("test", batch_size=0)


@pytest.mark.parametrize("device", ["gpu", "CPU", "cuda:99", None, 1.5])
def test_unknown_devices_are_refused(digits, device):
    with pytest.raises(ValueError, match=rf"device: expected a device of this machine, such as cpu.*, got {device!r}"):
        digits.loader("test", device=device)


def test_unknown_data_is_refused():
    with pytest.raises(ValueError, match="name: expected one of digits, mnist"):
        ImageData("imagenet")
    with pytest.raises(ValueError, match="batch_size"):
        ImageData("digits", batch_size=0)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 5))
def test_balanced_repeats_rare_classes_and_loses_no_image(classes, seed):
    labels = torch.tensor(classes)
    chosen = balanced(labels, seed)
    counts = labels[chosen].bincount()
    assert set(counts[counts > 0].tolist()) == {int(labels.bincount().max())}
    times = chosen.bincount(minlength=len(labels))
    for label in labels.unique():
        of_class = times[labels == label]
        assert 1 <= int(of_class.min()) <= int(of_class.max()) <= int(of_class.min()) + 1
    assert torch.equal(chosen, balanced(labels, seed))


def test_balanced_leaves_equal_classes_alone_and_takes_none():
    labels = torch.tensor([2, 0, 2, 0])
    assert torch.equal(balanced(labels), torch.arange(4))
    assert balanced(torch.zeros(0, dtype=torch.long)).shape == (0,)


@pytest.mark.parametrize(
    "labels",
    [[1, 0, 0], np.array([1, 0, 0]), ["b", "a", "a"], pandas.Series(["b", "a", "a"], index=[7, 8, 9])],
    ids=lambda labels: type(labels).__name__,
)
def test_balanced_takes_labels_in_any_form(labels):
    assert balanced(labels).tolist() == [0, 0, 1, 2]


def test_balanced_refuses_what_is_no_class_an_image():
    for labels in (torch.eye(3), [[0], [1, 2]], None, "ab", [None, "a"]):
        with pytest.raises(ValueError, match=r"labels: expected the class of each image, shape \(N,\), got"):
            balanced(labels)
    with pytest.raises(ValueError, match="seed: expected an integer"):
        balanced([0, 1], "x")


def test_sixteen_levels_that_are_taken_for_bytes_are_said():
    levels = torch.arange(17).repeat(30)[: 6 * 64].reshape(6, 1, 8, 8)
    with pytest.warns(UserWarning, match="the brightest level is 16 of 255, so all are dark; if 16 is white, divide"):
        ImageData.from_tensors(levels.byte(), [0, 1] * 3, ["a", "b"])
    with pytest.raises(ValueError, match="got values from 0 to 16; undo any normalization, or divide by the value of"):
        ImageData.from_tensors(levels.float(), [0, 1] * 3, ["a", "b"])


def test_one_is_not_called_several():
    with pytest.raises(ValueError, match="got 1 channel of 4x4; enlarge"):
        ImageData.from_tensors(torch.rand(6, 1, 4, 4), [0, 1] * 3, ["a", "b"])


def test_a_data_set_says_what_it_is(digits):
    assert str(digits) == "images (1, 8, 8) with 10 classes: 1199 for train, 299 for validation, 299 for test"
    rows = ImageData.from_table(torch.rand(6, 1, 8, 8), {"age": [1.5, 2.0, 3.0] * 2, "old": [0, 1] * 3})
    assert str(rows) == "images (1, 8, 8) with age, old: 4 for train, 1 for validation, 1 for test"


def test_splits_can_be_compared(digits):
    train, test = digits.splits["train"], digits.splits["test"]
    assert train != test
    assert [test, train].index(train) == 1
