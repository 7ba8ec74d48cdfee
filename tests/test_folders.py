"""Folders as data sets come: which splits, classes and files are read, and what is said of the others."""

import os
import shutil
import unicodedata
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from labelvae import ImageData
from labelvae.data.copies import in_two_classes, same_files
from labelvae.data.folders import list_folder
from labelvae.data.image_files import is_image, is_litter

SEEDS = iter(range(10**6))


def picture(path, size=(10, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(next(SEEDS)).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    Image.fromarray(levels).save(path, format="PNG")


def tree(root, *folders):
    """Four images a folder, or as many as stand behind a colon."""
    for folder in folders:
        name, _, count = folder.partition(":")
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(int(count or 4)):
            picture(root / name / f"{index}.png")
    return root


def counts(root, **more):
    return {name: len(split) for name, split in ImageData("folder", root, **more).splits.items()}


@pytest.mark.parametrize("train", ["train", "Training"])
@pytest.mark.parametrize("validation", ["val", "VALID", "validation"])
@pytest.mark.parametrize("test", ["test", "Testing"])
def test_splits_are_what_their_names_say(tmp_path, train, validation, test):
    tree(tmp_path, f"{train}/a", f"{train}/b", f"{validation}/a:2", f"{validation}/b:3", f"{test}/a:1", f"{test}/b:1")
    assert counts(tmp_path) == {"train": 8, "validation": 5, "test": 2}


def test_a_split_that_is_missing_is_taken_from_the_training_images(tmp_path):
    tree(tmp_path, "train/a", "train/b", "val/a", "val/b")
    assert counts(tmp_path) == {"train": 6, "validation": 8, "test": 2}


def test_unlabelled_test_images_are_left_out_and_said(tmp_path):
    tree(tmp_path, "train/a", "train/b", "test")
    with pytest.warns(UserWarning, match=r"test: left out, its 4 images are in no folders of classes"):
        assert counts(tmp_path) == {"train": 4, "validation": 2, "test": 2}


def test_a_test_may_have_fewer_classes_but_no_more(tmp_path):
    tree(tmp_path, "train/a", "train/b", "test/b:3")
    data = ImageData("folder", tmp_path)
    assert data.splits["test"].labels.tolist() == [1, 1, 1]
    tree(tmp_path, "test/c")
    with pytest.raises(ValueError, match=r"test: has classes that .*train does not: c"):
        ImageData("folder", tmp_path)


def test_a_copy_of_the_training_images_is_said(tmp_path):
    tree(tmp_path, "train/a", "train/b")
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    with pytest.warns(UserWarning, match="test: 8 of 8 files that were looked at are in .*train too"):
        ImageData("folder", tmp_path)


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    tree(tmp_path, "a", "b")
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith("b"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match=r"b: this folder cannot be read \(Permission denied\)$"):
        ImageData("folder", tmp_path)


def test_an_image_in_two_classes_is_said_once(tmp_path):
    tree(tmp_path, "a", "b", "c")
    shutil.copy(tmp_path / "a/1.png", tmp_path / "b/one.png")
    shutil.copy(tmp_path / "a/1.png", tmp_path / "a/again.png")
    shutil.copy(tmp_path / "c/2.png", tmp_path / "b/two.png")
    with pytest.warns(
        UserWarning, match=r"a/1.png is the same file as .*b/one.png, in another class; 2 images"
    ) as said:
        ImageData("folder", tmp_path)
    assert len(said) == 1


def test_files_of_one_size_are_no_copies(tmp_path, monkeypatch):
    paths = [str(tmp_path / f"{place}.png") for place in range(60)]
    for place, path in enumerate(paths):
        head = b"" if place < 6 else b"\0" * 20_000 + b"%02d" % (place % 59)
        (tmp_path / os.path.basename(path)).write_bytes(head + b"\0" * (20_000 if place >= 6 else 0))
    labels = [place % 2 for place in range(60)]
    assert same_files([*paths, "missing.png"], [*labels, 0]) == []
    (tmp_path / "59.png").write_bytes((tmp_path / "40.png").read_bytes())
    assert in_two_classes(same_files(paths, labels), labels) == [(40, 59)]
    monkeypatch.setattr("labelvae.data.copies.MOST_OPENED", 20)
    assert len(in_two_classes(same_files(paths, labels), labels)) <= 1


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        (["a", "b:2"], r"class 'b': has 2 images, at least 3 are needed"),
        (["train/a", "train/b:1", "test/a"], r"class 'b': has 1 image, at least 2 are needed"),
        (["a", "b", "empty:0"], "the class 'empty' has no images"),
        (["test/a", "val/b"], "has test, val but no train"),
        (["train/a", "Train/b"], "for one split"),
        (["train", "test"], "expected one folder of images a class"),
    ],
)
def test_what_cannot_be_is_said_with_the_folders_own_counts(tmp_path, folders, says):
    with pytest.raises(ValueError, match=says):
        ImageData("folder", tree(tmp_path, *folders))


def test_one_image_is_enough_where_the_other_splits_are_there(tmp_path):
    tree(tmp_path, "train/a", "train/b:1", "val/a", "test/a")
    assert counts(tmp_path)["train"] == 5


def test_a_class_may_be_called_train(tmp_path):
    assert ImageData("folder", tree(tmp_path, "train", "car")).class_names == ["car", "train"]


@pytest.mark.parametrize("folders", [("test/cat", "test/dog"), ("VAL/Dog",), ("train", "test/cat")])
def test_a_split_beside_folders_of_its_classes_is_no_class(tmp_path, folders):
    with pytest.raises(ValueError, match=r"has cat, dog and also .* in (test|VAL); move the .* to train/CLASS"):
        list_folder(tree(tmp_path, "cat", "dog", *folders))


@pytest.mark.parametrize("above", ["train/", ""])
def test_images_beside_the_folders_of_classes_are_counted(tmp_path, above):
    tree(tmp_path, f"{above}a", f"{above}b")
    for index in range(3):
        picture(tmp_path / above / f"{index}.png")
    (tmp_path / above / "labels.csv").write_text("no image")
    with pytest.warns(UserWarning, match=r"0\.png: 3 such images beside the folders of classes are passed over; put"):
        assert len(list_folder(tmp_path).paths) == 8


def test_a_class_is_found_in_another_form_of_the_same_letters(tmp_path):
    composed, parts = (unicodedata.normalize(form, "caf\xe9") for form in ("NFC", "NFD"))
    tree(tmp_path, f"train/{parts}", "train/bar", f"test/{composed}:3", "test/bar:1")
    listing = list_folder(tmp_path)
    assert listing.class_names == ["bar", composed]
    assert listing.labels.tolist() == [0] * 4 + [1] * 4 + [0] + [1] * 3
    assert list_folder(tmp_path, [parts, "bar"]).class_names == [parts, "bar"]
    tree(tmp_path, f"train/{composed}")
    with pytest.raises(ValueError, match="train: has two folders whose names look the same, 'cafe.*' and 'caf.*'; put"):
        list_folder(tmp_path)


def test_splits_of_other_names_are_doubted(tmp_path):
    root = tree(tmp_path, "known/a", "known/b", "new/a", "new/b")
    with pytest.warns(UserWarning, match="known, new are taken for classes, although all hold a, b"):
        assert list_folder(root).class_names == ["known", "new"]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("training_set/training_set", "test_set/test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/train", "test/test"),
        ("Train Data", "Test Data"),
        ("trn", "tst"),
    ],
)
def test_splits_may_have_longer_names_and_lie_in_folders_of_their_own_name(tmp_path, train, test):
    listing = list_folder(tree(tmp_path, f"{train}/a", f"{train}/b", f"{test}/a:3"))
    assert listing.class_names == ["a", "b"]
    assert {name: len(places) for name, places in listing.splits.items()} == {"train": 8, "test": 3}


def test_folders_beside_splits_of_longer_names_are_said(tmp_path):
    tree(tmp_path, "seg_train/seg_train/a", "seg_train/seg_train/b", "seg_pred/seg_pred")
    with pytest.warns(UserWarning, match="seg_pred beside seg_train: passed over"):
        assert list_folder(tmp_path).class_names == ["a", "b"]


def test_a_plain_name_of_a_split_counts_more_than_a_longer_one(tmp_path):
    tree(tmp_path, "train/a", "train/b", "val/a:2", "val_images:1", "dev/c")
    with pytest.warns(UserWarning, match="dev, val_images beside train, val: passed over"):
        assert {name: len(places) for name, places in list_folder(tmp_path).splits.items()} == {
            "train": 8,
            "validation": 2,
        }


@pytest.mark.parametrize("folders", [("train", "test", "car"), ("known/a", "known/b", "test_set/a", "val_set/b")])
def test_two_names_of_splits_are_no_classes(tmp_path, folders):
    with pytest.raises(ValueError, match=r"beside .*test.*, which are names of splits; move the .* to train/CLASS"):
        list_folder(tree(tmp_path, *folders))


@pytest.mark.parametrize("name", ["test", "train_set"])
def test_one_class_may_have_the_name_of_a_split(tmp_path, name):
    assert list_folder(tree(tmp_path, name, "car", "bus")).class_names == ["bus", "car", name]


def test_an_archive_is_no_folder(tmp_path):
    (tmp_path / "images.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="images.zip: is a file, expected a folder of images; unpack"):
        list_folder(tmp_path / "images.zip")


def test_a_line_break_in_a_name_is_none_in_the_message(tmp_path):
    root = tree(tmp_path, "a", "b")
    (root / "a" / "two\nlines.png").write_text("no image")
    with pytest.raises(ValueError, match=r"two\\nlines") as error:
        ImageData("folder", root)
    assert "\n" not in str(error.value)


def test_images_in_sub_folders_belong_to_the_class(tmp_path):
    tree(tmp_path, "a/x", "a/y:2", "b", "b/more:3")
    assert list_folder(tmp_path).labels.bincount().tolist() == [6, 7]


def test_links_are_followed_but_never_in_a_circle(tmp_path):
    tree(tmp_path / "real", "a", "b")
    (tmp_path / "data").mkdir()
    for name in "ab":
        (tmp_path / "data" / name).symlink_to(tmp_path / "real" / name)
    (tmp_path / "real" / "a" / "loop").symlink_to(tmp_path / "data")
    assert list_folder(tmp_path / "data").labels.bincount().tolist() == [4, 4]
    lost = tmp_path / "lost"
    lost.mkdir()
    (lost / "a").symlink_to("nowhere")
    with pytest.raises(ValueError, match="'a' is a link that leads nowhere"):
        list_folder(lost)


def test_a_class_of_links_that_lead_nowhere_says_so(tmp_path):
    for name in ("real/a", "train"):
        (tmp_path / name).mkdir(parents=True)
    pictures = [tmp_path / "real" / "a" / f"{number}.png" for number in range(4)]
    for number, path in enumerate(pictures):
        Image.new("L", (8, 8), number).save(path)
    (tmp_path / "train" / "a").symlink_to("real/a")
    with pytest.raises(ValueError, match="but links that lead nowhere such as a; let them name whole paths"):
        ImageData("folder", tmp_path)


def test_numbers_are_in_their_order_and_an_old_order_is_kept(tmp_path):
    tree(tmp_path, "1", "2", "10")
    assert ImageData("folder", tmp_path).class_names == ["1", "2", "10"]
    old = ImageData("folder", tmp_path, class_names=["1", "10", "2"])
    assert old.class_names == ["1", "10", "2"]
    for label, name in enumerate(old.class_names):
        paths = [str(path) for path in (tmp_path / name).iterdir()]
        listing = list_folder(tmp_path, ["1", "10", "2"])
        assert [listing.labels[place].item() for place, path in enumerate(listing.paths) if path in paths] == [
            label
        ] * 4
    with pytest.warns(UserWarning, match=r"class_names: passed over, x, y are not the classes of .*, 1, 2, 10; give"):
        assert list_folder(tmp_path, ["x", "y"]).class_names == ["1", "2", "10"]


def test_what_systems_leave_is_passed_over_without_a_word(tmp_path):
    tree(tmp_path, "a", "b", "__MACOSX", ".cache", "a/@eaDir")
    for name in ("._0.png", "Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / "a" / name).write_bytes(b"\0\5\x16\7")
        assert is_litter(name)
    listing = list_folder(tmp_path)
    assert listing.class_names == ["a", "b"]
    assert len(listing.paths) == 8


def test_files_are_images_by_what_they_hold(tmp_path):
    tree(tmp_path, "a", "b")
    (tmp_path / "a" / "0.png").rename(tmp_path / "a" / "no_ending")
    (tmp_path / "a" / "1.png").rename(tmp_path / "a" / "1.dat")
    (tmp_path / "b" / "notes.txt").write_text("BM of words, P5 or not")
    (tmp_path / "b" / "0.json").write_text("{}")
    with pytest.warns(UserWarning, match=r"0\.json: 2 such are passed over, they are no images"):
        listing = list_folder(tmp_path)
    assert listing.labels.bincount().tolist() == [4, 4]
    os.mkfifo(tmp_path / "pipe")
    assert not is_image(str(tmp_path / "pipe"))


def test_unreadable_images_are_named_or_left_out_and_counted(tmp_path):
    tree(tmp_path, "a", "b", "test/a:0")
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "a" / "head.png").write_bytes(b"\x89PNG no more")
    whole = (tmp_path / "b" / "0.png").read_bytes()
    (tmp_path / "b" / "cut.png").write_bytes(whole[:-60])
    with pytest.raises(ValueError, match=r"1 image cannot be read: .*head\.png .*skip_unreadable=True"):
        ImageData("folder", tmp_path)
    with pytest.warns(UserWarning, match=r"2 images cannot be read and are left out, such as .*head\.png"):
        assert sum(counts(tmp_path, skip_unreadable=True).values()) == 8


@pytest.mark.parametrize("size", [12, "12", "12x12", "12,12", "[12, 12]", "12 12", (12, 12), [12, 12]])
def test_a_size_in_any_form(tmp_path, size):
    assert ImageData("folder", tree(tmp_path, "a", "b"), image_size=size).image_shape == (1, 12, 12)


@pytest.mark.parametrize("size", ["x", "12x", 0, (1, 2, 3), "12x12x12", 1.5, True])
def test_a_size_that_is_none(tmp_path, size):
    with pytest.raises(ValueError, match="image_size"):
        ImageData("folder", tree(tmp_path, "a", "b"), image_size=size)


def test_the_home_folder_is_meant(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "data", "a", "b")
    assert ImageData("folder", "~/data").class_names == ["a", "b"]


def test_a_folder_in_any_form(tmp_path):
    tree(tmp_path, "a", "b")
    for form in (os.fsencode(tmp_path), PurePosixPath(tmp_path)):
        assert ImageData("folder", form).class_names == ["a", "b"]
    with pytest.raises(ValueError, match="data_dir: expected a folder, got ''"):
        ImageData("folder", "")
    with pytest.raises(ValueError, match="x: no such folder"):
        ImageData("folder", "x" * 5000)
    with pytest.raises(ValueError, match=r"name: .* is a folder; ImageData\('folder', .*\) reads it"):
        ImageData(str(tmp_path))


@pytest.mark.parametrize("validation", ["Validate", "evaluation", "eval"])
def test_rarer_names_of_splits(tmp_path, validation):
    assert counts(tree(tmp_path, "train/a", "train/b", f"{validation}/a", f"{validation}/b"))["validation"] == 8


def test_splits_and_classes_in_one_name_are_refused(tmp_path):
    tree(tmp_path, "trainA", "trainB", "testA", "testB")
    with pytest.raises(ValueError, match=r"testA, testB, trainA, trainB name a split and a class at once; .* test/A"):
        ImageData("folder", tmp_path)
    assert ImageData("folder", tree(tmp_path / "words", "trainer", "tester", "cat")).num_classes == 3


def test_splits_inside_of_classes_are_said(tmp_path):
    tree(tmp_path, "a/train", "a/test", "b/train", "b/test")
    with pytest.warns(UserWarning, match=r"all hold test, train; their images are split anew: .* move .* test/a"):
        assert ImageData("folder", tmp_path).class_names == ["a", "b"]


def test_a_folder_around_the_data_is_said(tmp_path):
    tree(tmp_path, "data/train/a", "data/train/b")
    tree(tmp_path / "data" / "test", "a", "b")
    with pytest.raises(ValueError, match=r"got \['data'\]; .*, or give .*data if test, train in it are the classes or"):
        ImageData("folder", tmp_path)
    (tmp_path / "data" / "test").rename(tmp_path / "data" / "more")
    (tmp_path / "around").mkdir()
    (tmp_path / "data").rename(tmp_path / "around" / "data")
    with pytest.raises(ValueError, match=r"got \['around'\]; .*, or give .*around/data if more, train in it are the"):
        ImageData("folder", tmp_path)
    shutil.rmtree(tmp_path / "around")
    (tmp_path / "circle").symlink_to(tmp_path)
    with pytest.raises(ValueError, match=r"got \['circle'\]; sort the images into folders named after their class$"):
        ImageData("folder", tmp_path)


def test_a_class_that_is_a_broken_link_is_said(tmp_path):
    tree(tmp_path, "a", "b")
    (tmp_path / "c").symlink_to(tmp_path / "gone")
    with pytest.warns(UserWarning, match="'c' is a link that leads nowhere: passed over"):
        assert ImageData("folder", tmp_path).class_names == ["a", "b"]


@pytest.mark.parametrize(("names", "found"), [(np.array(["b", "0"]), ["b", "0"]), ([0, "b"], ["0", "b"])])
def test_the_order_of_classes_in_any_form(tmp_path, names, found):
    data = ImageData("folder", tree(tmp_path, "0", "b"), class_names=names)
    assert data.class_names == found
    assert {type(name) for name in data.class_names} == {str}


@pytest.mark.parametrize("names", ["ab", ["b", "b"]])
def test_an_order_of_classes_that_is_none(tmp_path, names):
    with pytest.raises(ValueError, match="^class_names: expected"):
        ImageData("folder", tree(tmp_path, "a", "b"), class_names=names)


def test_a_table_beside_images_without_folders_is_said(tmp_path):
    tree(tmp_path, "train", "test")
    (tmp_path / "train.csv").write_text("id,kind\n0,cat\n")
    with pytest.raises(ValueError, match=r"; if .*train\.csv says their labels, read it: `labelvae train table`, or"):
        ImageData("folder", tmp_path)
    tree(tmp_path / "flat", ".")
    (tmp_path / "flat" / "metadata.CSV").write_text("file,kind\n0.png,cat\n")
    with pytest.raises(ValueError, match=r"ImageData\('table', '.*flat.metadata\.CSV'\)$"):
        ImageData("folder", tmp_path / "flat")


def test_an_order_of_no_classes_is_passed_over_in_words(tmp_path):
    with pytest.warns(UserWarning, match="class_names: passed over, none are not the classes of"):
        ImageData("folder", tree(tmp_path, "a", "b"), class_names=[])


def test_classes_that_differ_in_what_nobody_sees(tmp_path):
    tree(tmp_path / "good", "train/cat", "train/dog", "test/cat\u200b:2", "test/dog:1")
    data = ImageData("folder", tmp_path / "good")
    assert data.class_names == ["cat", "dog"]
    assert data.splits["test"].labels.tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match=r"two folders whose names look the same, 'cat' and 'cat\\u200b'"):
        ImageData("folder", tree(tmp_path / "bad", "cat", "cat\u200b", "dog"))


def test_training_images_under_other_names_in_a_test_are_said(tmp_path):
    tree(tmp_path, "train/a", "train/b", "test/a", "test/b")
    shutil.copy(tmp_path / "train/a/0.png", tmp_path / "train/a/again.png")
    assert counts(tmp_path) == {"train": 7, "validation": 2, "test": 8}
    shutil.copy(tmp_path / "train/a/0.png", tmp_path / "test/a/other.png")
    said = r"test/a/other\.png is the same file as .*train/a/0\.png; 1 of 9 files for test are training images too"
    with pytest.warns(UserWarning, match=said):
        ImageData("folder", tmp_path)


def test_one_file_is_not_called_several(tmp_path):
    tree(tmp_path, "train/a", "train/b", "test:1")
    picture(tmp_path / "train" / "loose.png")
    (tmp_path / "train" / "a" / "notes.txt").write_text("x")
    with (
        pytest.warns(UserWarning, match="its 1 image is in no folders"),
        pytest.warns(UserWarning, match="1 such image beside the folders of classes is passed over"),
        pytest.warns(UserWarning, match="1 such is passed over, it is no image"),
    ):
        ImageData("folder", tmp_path)
