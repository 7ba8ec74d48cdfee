"""The models that come with the package: MNIST's on a scan, as the README has it, CIFAR10's, and that of scenes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_sample_images

from labelvae import Augmentation, ConditionalVAE, LabelClassifier
from labelvae.__main__ import main
from labelvae.data.augmentation import Change, change
from labelvae.evaluation.image_metrics import peak_signal_to_noise
from labelvae.inputs.class_names import read_classes
from labelvae.losses.refinement import Refined, refining
from labelvae.losses.refinement_files import saved_radius
from labelvae.models import hub
from labelvae.models.hub import PACKAGED
from labelvae.page.server import Player
from labelvae.photos.scans import read_scan
from labelvae.runs.presets import CIFAR10_SMALL

SCAN = Path(__file__).parent.parent / "docs" / "images" / "scan.jpg"


@pytest.fixture(scope="module")
def packaged():
    return ConditionalVAE.from_pretrained("mnist"), LabelClassifier.from_pretrained("mnist")


def test_it_is_small_and_says_what_it_is():
    weights = list((PACKAGED / "mnist").rglob("*.safetensors"))
    assert {path.parent.name for path in weights} == {"vae", "guide"}
    assert sum(path.stat().st_size for path in weights) <= 2_400_000
    card = (PACKAGED / "mnist" / "vae" / "README.md").read_text()
    assert 'ConditionalVAE.from_pretrained("mnist")' in card
    assert float(re.search(r"\| effectiveness \| ([\d.]+) \|", card)[1]) > 0.98
    assert "packaged_training.py" in card
    assert read_classes(PACKAGED / "mnist" / "vae", 10) == list("0123456789")


def test_a_scan_becomes_every_digit(packaged):
    vae, guide = packaged
    image = read_scan(SCAN, vae.image_shape, invert=True, fit="strokes")[None]
    assert guide(image).argmax().item() == 4
    every = vae.relabel(image.expand(10, -1, -1, -1), torch.arange(10))
    assert (guide(every).argmax(dim=1) == torch.arange(10)).all()
    assert (every[4] - image[0]).square().mean() < every[1:4].sub(image).square().mean()


def test_the_readme_relabels_a_scan(packaged, tmp_path):
    vae, guide = packaged
    words = ["relabel", "--model", "mnist", "--to", "8", "--invert", "--fit", "strokes", "--no-paste", str(SCAN)]
    main([*words, str(tmp_path / "eight.png")])
    assert guide(read_scan(tmp_path / "eight.png", vae.image_shape)[None]).argmax().item() == 8


def test_new_digits_are_what_is_asked(packaged):
    vae, guide = packaged
    asked = torch.arange(200) % 10
    made = vae.sample(asked, torch.Generator().manual_seed(0))
    assert (guide(made).argmax(dim=1) == asked).float().mean() >= 0.99


def test_new_digits_are_of_codes_that_digits_have(packaged):
    vae, _ = packaged
    ones, eights = (vae.prior.sample([digit] * 1000, torch.Generator().manual_seed(0)) for digit in (1, 8))
    assert (ones.mean(0) - eights.mean(0)).abs().max() > 0.1, "0 under N(0, I)"
    assert ones.std(0).min() < 0.6, "1 under N(0, I)"


def test_a_part_that_is_not_packaged_is_not_looked_for_elsewhere(monkeypatch):
    monkeypatch.setattr(hub, "_download", lambda name: pytest.fail(f"{name}: asked the Hub"))
    with pytest.raises(ValueError, match=r"mnist/judge/.*: no such file"):
        LabelClassifier.from_pretrained("mnist/judge")


@pytest.mark.parametrize(
    ("size", "strokes", "across", "down"),
    [(0.6, 1, 0, 0), (1.3, 1, 0, 0), (1, 0.5, 0, 0), (1, 2, 0, 0), (1, 1, 4, 0), (1, 1, -4, 2), (0.8, 1.5, 0, -4)],
)
def test_a_digit_of_another_size_thickness_or_place_comes_back_and_is_relabelled(packaged, size, strokes, across, down):
    vae, guide = packaged
    image = read_scan(SCAN, vae.image_shape, invert=True, fit="strokes")[None]
    maps = torch.tensor([[[1 / size, 0, -across / 14], [0, 1 / size, -down / 14]]])
    changed = change(image, Change(maps, None, torch.full((1, 1, 1, 1), float(strokes))), Augmentation())
    assert peak_signal_to_noise(changed, vae.reconstruct(changed, 4)).item() > 18
    every = vae.relabel(changed.expand(10, -1, -1, -1), torch.arange(10))
    assert (guide(every).argmax(dim=1) == torch.arange(10)).all()
    centre = (every * torch.arange(28.0)).sum(dim=(1, 2, 3)) / every.sum(dim=(1, 2, 3))
    was = (changed * torch.arange(28.0)).sum() / changed.sum()
    assert (centre - was).abs().max() < 2.5, "in its place"


@pytest.fixture(scope="module")
def colour():
    return Refined.from_pretrained("cifar10")


CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def test_the_model_of_cifar10_is_small_on_disk_and_whole_in_memory(colour):
    folder = PACKAGED / "cifar10"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 10_000_000
    for part, model in (("vae", colour.vae), ("guide", colour.guide)):
        stored = load_file(folder / part / "model.safetensors")
        assert {value.dtype for value in stored.values()} == {torch.uint8, torch.float16, torch.int64}
        assert model.dtype == torch.float32
        assert model.class_names == CLASSES
    card = (folder / "vae" / "README.md").read_text()
    assert 'Refined.from_pretrained("cifar10")' in card
    assert float(re.search(r"\| effectiveness \| ([\d.]+) \|", card)[1]) > 0.7
    assert "labelvae train cifar10_small" in card
    for picture in re.findall(r"\]\((\w+\.png)\)", card):
        assert (folder / "vae" / picture).is_file()


def test_the_model_of_cifar10_refines_by_itself(colour):
    assert saved_radius("cifar10") == colour.radius == CIFAR10_SMALL.vae.refine
    assert colour.residual_blur == 2.0
    assert isinstance(refining(colour.vae, "cifar10"), Refined)


def test_images_in_colour_become_what_is_asked(colour):
    own = torch.arange(40) % 10
    images = colour.vae.sample(own, torch.Generator().manual_seed(0))
    asked = (own + 1 + torch.arange(40) // 10) % 10
    shares = [
        float((colour.guide(model.relabel(images, asked)).argmax(dim=1) == asked).float().mean())
        for model in (colour.vae, colour)
    ]
    assert shares[1] > max(0.85, shares[0])
    before = Refined(colour.vae, colour.guide, 0.0, residual_blur=colour.residual_blur).relabel(images, asked)
    change = (colour.relabel(images, asked) - before).flatten(1).norm(dim=1)
    assert 1.0 < change.max() <= colour.radius + 1e-4


def test_a_photograph_becomes_a_cat_on_the_command_line(colour, tmp_path):
    image = (255 * colour.vae.sample("ship", torch.Generator().manual_seed(1))[0]).byte()
    photo = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((320, 240))
    photo.save(tmp_path / "photo.jpg")
    words = ["relabel", "--model", "cifar10", "--to", "cat", "--enlarge", "1"]
    main([*words, str(tmp_path / "photo.jpg"), str(tmp_path / "out.png")])
    with Image.open(tmp_path / "out.png") as picture:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
    assert CLASSES[int(colour.guide(pixels).argmax())] == "cat"


def test_the_page_shows_the_model_of_cifar10(colour):
    player = Player(colour.vae, colour.vae.class_names, colour.guide, who="guide")
    assert player.pictures.shape == (60, 3, 32, 32)
    assert player.every_class(player.pictures[0], 0).shape == (10, 3, 32, 32)


@pytest.fixture(scope="module")
def scenes():
    return Refined.from_pretrained("scenes")


def test_the_model_of_scenes_is_small_and_comes_with_its_guide_and_card(scenes):
    folder = PACKAGED / "scenes"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 3_000_000
    assert scenes.vae.image_shape == (3, 64, 64)
    assert scenes.vae.class_names == scenes.guide.class_names == SCENES
    assert scenes.radius == saved_radius("scenes") == 4.0
    card = (folder / "vae" / "README.md").read_text()
    assert 'Refined.from_pretrained("scenes")' in card
    assert "CC0" in card
    for picture in re.findall(r"\]\((\w+\.png)\)", card):
        assert (folder / "vae" / picture).is_file()


SCENES = ["building", "forest", "glacier", "mountain", "sea", "street"]


def test_a_photograph_becomes_a_forest_on_the_command_line(scenes, tmp_path):
    china = Image.fromarray(load_sample_images().images[0])
    china.save(tmp_path / "photo.jpg")
    words = ["relabel", "--model", "scenes", "--to", "forest", "--enlarge", "1"]
    main([*words, str(tmp_path / "photo.jpg"), str(tmp_path / "out.png")])
    with Image.open(tmp_path / "out.png") as picture:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
    assert SCENES[int(scenes.guide(pixels).argmax())] == "forest"
