"""Batches from memory and from files: the same images in the same order, and no more memory than was asked for."""

import hashlib
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from PIL import Image
from torch.utils.data import DataLoader, Subset

from labelvae import ClassifierTraining, ConditionalVAE, ImageData, LabelClassifier, evaluate
from labelvae.data import image_sets
from labelvae.data.image_sets import FileImages, ImageSet, Names
from labelvae.data.loaders import ImageLoader
from labelvae.system import memory
from labelvae.system.memory import fits, free_memory


def numbered(count: int) -> ImageSet:
    """Images that carry their number, so that batches can be traced."""
    images = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(count, dtype=torch.uint8)
    return ImageSet(images, torch.arange(count))


def numbers(loader) -> list[int]:
    seen = []
    for images, labels in loader:
        torch.testing.assert_close((images[:, 0, 0, 0] * 255).round().long(), labels)
        seen += labels.tolist()
    return seen


def test_batches_are_floats_in_range_beside_their_labels():
    images, labels = next(iter(ImageLoader(numbered(10), 4)))
    assert images.dtype == torch.float32
    torch.testing.assert_close(images[:, 0, 0, 0] * 255, torch.arange(4.0))
    assert labels.tolist() == [0, 1, 2, 3]


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 4), st.booleans())
def test_every_image_once_an_epoch_over_all_processes(count, batch_size, world_size, shuffle):
    world_size = min(world_size, count)
    loaders = [
        ImageLoader(numbered(count), batch_size, shuffle=shuffle, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    seen = [n for loader in loaders for n in numbers(loader)]
    assert sorted(seen) == list(range(count))
    assert all(len(list(loader)) == len(loader) for loader in loaders)


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 3))
def test_dropping_the_last_batch_leaves_full_ones_on_every_process(count, batch_size, world_size):
    loaders = [
        ImageLoader(numbered(count), batch_size, drop_last=True, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert len({len(loader) for loader in loaders}) == 1
    if count // world_size >= batch_size:
        assert {len(labels) for loader in loaders for _, labels in loader} == {batch_size}


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_loader_goes_on_after_the_batches_that_were_given(shuffle):
    first, second, third = (numbers(each) for each in [ImageLoader(numbered(50), 7, shuffle=shuffle)] * 3)
    loader = ImageLoader(numbered(50), 7, shuffle=shuffle)
    assert numbers(loader) == first
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    state, again = loader.state_dict(), ImageLoader(numbered(50), 7, shuffle=shuffle)
    again.load_state_dict(state)
    assert len(again) == 8
    assert numbers(again) == second[21:]
    assert numbers(again) == third
    assert numbers(loader) == second  # one that was left within an epoch begins anew
    again.load_state_dict(state)
    again.set_epoch(0)
    assert numbers(again) == first
    assert loader.state_dict() == {"epoch": 2, "batches": 0}


def test_the_order_is_of_the_seed_and_the_epoch():
    loader = ImageLoader(numbered(50), 7, shuffle=True, seed=3)
    first, second = numbers(loader), numbers(loader)
    assert first != second
    loader.set_epoch(1)
    assert numbers(loader) == second
    assert numbers(ImageLoader(numbered(50), 7, shuffle=True, seed=4)) != first
    assert numbers(ImageLoader(numbered(50), 7)) == list(range(50))


@pytest.fixture
def pictures(tmp_path) -> FileImages:
    """Forty pictures in files, each with its number in its pixels."""
    paths = []
    for number in range(40):
        paths.append(str(tmp_path / f"{number:02}.png"))
        Image.fromarray(np.full((8, 9), number, dtype=np.uint8)).save(paths[-1])
    return FileImages(paths, decode, (1, 8, 9), torch.arange(40), torch.arange(40) % 3)


def decode(path: str) -> torch.Tensor:
    try:
        with Image.open(path) as picture:
            return torch.from_numpy(np.array(picture))[None]
    except OSError as error:
        raise ValueError(str(error)) from error


def test_a_split_is_a_data_set_of_torch(pictures):
    resident = pictures.load()
    for images in (pictures, resident):
        found, labels = next(iter(DataLoader(Subset(images, range(4, 9)), batch_size=3)))
        assert torch.equal(found, resident.images[4:7].float() / 255)
        assert torch.equal(labels, resident.labels[4:7])
        with pytest.raises(IndexError):
            images[40]
    Path(pictures.paths[5]).write_bytes(b"no picture")
    with pytest.raises(ValueError, match="can no longer be read as an image"):
        replace(pictures, skip_unreadable=True)[5]


@pytest.mark.parametrize("how", [{}, {"shuffle": True, "seed": 5}, {"shuffle": True, "drop_last": True}])
def test_files_give_the_batches_that_memory_gives(pictures, how):
    streamed, resident = ImageLoader(pictures, 7, **how), ImageLoader(pictures.load(), 7, **how)
    for _ in range(2):
        both = list(zip(streamed, resident, strict=True))
        assert len(both) == len(streamed)
        assert all(torch.equal(one, other) for pair in both for one, other in zip(*pair, strict=True))


def test_a_subset_of_files_is_a_subset_of_images(pictures):
    some = pictures.subset(torch.tensor([30, 2, 11])).subset(torch.tensor([2, 0]))
    assert some.load().images[:, 0, 0, 0].tolist() == [11, 30]
    assert some.labels.tolist() == [11 % 3, 0]
    assert (len(some), some.nbytes) == (2, 2 * 72)


def test_training_from_files_makes_the_same_weights(pictures):
    weights = []
    for images in (pictures, pictures.load()):
        torch.manual_seed(0)
        classifier = LabelClassifier((1, 8, 9), 3, widths=(8,))
        trainer = Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
        )
        trainer.fit(
            ClassifierTraining(classifier), ImageLoader(images, 8, shuffle=True, drop_last=True), ImageLoader(images, 8)
        )
        weights.append(classifier.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_only_some_batches_are_decoded_ahead(pictures, monkeypatch):
    monkeypatch.setattr(image_sets, "available_cores", lambda: 2)
    decoded, before = [], set(threading.enumerate())
    counting = replace(pictures, decode=lambda path: decoded.append(path) or decode(path))
    batches = iter(ImageLoader(counting, 2))
    next(batches)
    batches.close()
    assert 2 <= len(decoded) <= 2 * (1 + image_sets.READ_AHEAD * 2)
    assert set(threading.enumerate()) <= before


def test_a_file_that_broke_is_named_or_left_out(pictures):
    broken = pictures.paths[3]
    with open(broken, "wb") as file:
        file.write(b"no picture")
    with pytest.raises(ValueError, match="03.png: can no longer be read .* --skip-unreadable"):
        list(ImageLoader(pictures, 8))
    with pytest.warns(UserWarning, match="03.png: passed over"):
        found = [label for _, labels in ImageLoader(replace(pictures, skip_unreadable=True), 8) for label in labels]
    assert len(found) == 39
    with pytest.warns(UserWarning, match="03.png"):
        alone = list(ImageLoader(replace(pictures, skip_unreadable=True).subset(torch.tensor([3, 3])), 2))
    assert alone == []


@pytest.fixture
def folder(tmp_path):
    """Thirty pictures of noise in the folders of three classes."""
    generator = np.random.default_rng(0)
    for number in range(30):
        path = tmp_path / "pictures" / f"class {number % 3}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(path)
    return tmp_path / "pictures"


def test_a_folder_that_memory_does_not_hold_is_the_same_data(folder):
    streamed, resident = ImageData("folder", folder, memory_share=0.0), ImageData("folder", folder)
    assert isinstance(streamed.splits["train"], FileImages)
    assert isinstance(resident.splits["train"], ImageSet)
    assert streamed.fingerprint() == resident.fingerprint()
    for split in ("train", "validation", "test"):
        pairs = zip(*(data.loader(split, shuffle=True, seed=3) for data in (streamed, resident)), strict=True)
        assert all(torch.equal(one, other) for pair in pairs for one, other in zip(*pair, strict=True))
    judge, scores = LabelClassifier(resident.image_shape, 3).eval(), []
    vae = ConditionalVAE(resident.image_shape, 3)
    for data in (streamed, resident):
        scores.append(evaluate(vae, data.loader("test"), judge, real=data.loader("train"), progress=False).row())
    assert scores[0] == scores[1]


def test_the_fingerprint_of_a_folder_is_of_its_files_wherever_they_are(folder, tmp_path):
    data = ImageData("folder", folder)
    assert ImageData("folder", folder, seed=1).fingerprint() != data.fingerprint()
    moved = folder.rename(tmp_path / "moved")
    assert ImageData("folder", moved, memory_share=0.0).fingerprint() == data.fingerprint()
    (moved / "class 0" / "00.png").rename(moved / "class 0" / "another.png")
    assert ImageData("folder", moved).fingerprint() != data.fingerprint()


def test_a_run_of_an_older_version_knows_its_folder_by_the_pixels(folder):
    data = ImageData("folder", folder)
    digest = hashlib.sha256()
    for split in data.splits.values():
        digest.update(split.images.numpy().tobytes())
        digest.update(split.labels.numpy().tobytes())
    assert data.is_of(digest.hexdigest()[:16])
    assert data.is_of(data.fingerprint())
    assert not data.is_of("0" * 16)
    assert not ImageData("folder", folder, memory_share=0.0).is_of(digest.hexdigest()[:16])


@given(st.lists(st.binary(max_size=12).map(os.fsdecode), max_size=20))
def test_names_come_back_as_they_were(names):
    kept = Names(names)
    assert list(kept) == names
    assert len(kept) == len(names)


@pytest.mark.parametrize("by", ["data", "loader"])
def test_a_trainer_that_overfits_sees_the_same_batches(by):
    data, seen = ImageData("digits", batch_size=64), []
    loader = data.loader("train", 64, shuffle=True)

    class Watching(ClassifierTraining):
        def training_step(self, batch, batch_idx):
            seen.append(batch[1].tolist())
            return super().training_step(batch, batch_idx)

    trainer = Trainer(
        overfit_batches=2, max_epochs=3, limit_val_batches=0, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False,
    )  # fmt: skip
    task = Watching(LabelClassifier(data.image_shape, 10, widths=(8,)))
    trainer.fit(task, datamodule=data) if by == "data" else trainer.fit(task, loader, data.loader("validation"))
    assert seen[0:2] == seen[2:4] == seen[4:6]
    assert loader.shuffle
    assert len(loader.dataset) == len(data.splits["train"])


def test_images_fit_into_a_share_of_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 0))
    assert fits(500, torch.device("cuda"), 0.5)
    assert not fits(501, torch.device("cuda"), 0.5)


def test_the_memory_is_known_without_psutil(monkeypatch):
    total = psutil.virtual_memory().total
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert 0 < free_memory(torch.device("cpu")) <= total


def test_a_container_has_the_memory_that_it_was_given(monkeypatch, tmp_path):
    machine = psutil.virtual_memory().available
    limit, used = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(memory, "_CONTAINER", ((str(limit), str(used)),))
    assert free_memory(torch.device("cpu")) == pytest.approx(machine, rel=0.5), "there are no such files"
    limit.write_text("max\n")
    used.write_text("1000\n")
    assert free_memory(torch.device("cpu")) == pytest.approx(machine, rel=0.5)
    limit.write_text("5000\n")
    assert free_memory(torch.device("cpu")) == 4000
    used.write_text("6000\n")
    assert free_memory(torch.device("cpu")) == 0


@pytest.mark.parametrize(
    ("argument", "value"),
    [("seed", "x"), ("seed", None), ("seed", 1.5), ("seed", 2**70), ("shuffle", "no"), ("drop_last", "no")],
)
def test_arguments_of_a_loader_that_are_none(digits, argument, value):
    with pytest.raises(ValueError, match=f"{argument}: expected "):
        digits.loader("train", **{argument: value})


def test_numbers_of_numpy_and_torch_are_arguments_of_a_loader():
    loader = ImageLoader(numbered(50), torch.tensor(7), shuffle=True, seed=np.int64(3))
    assert numbers(loader) == numbers(ImageLoader(numbered(50), 7, shuffle=True, seed=3))
    assert (len(loader), type(loader.batch_size), type(loader.seed)) == (8, int, int)
