"""The model that comes with the package, on a scan, as the README has it."""

import re
from pathlib import Path

import pytest
import torch

from labelvae import ConditionalVAE, LabelClassifier, hub
from labelvae.__main__ import main
from labelvae.classes import read_classes
from labelvae.hub import PACKAGED
from labelvae.scans import read_scan

SCAN = Path(__file__).parent.parent / "docs" / "images" / "scan.png"


@pytest.fixture(scope="module")
def packaged():
    return ConditionalVAE.from_pretrained("mnist"), LabelClassifier.from_pretrained("mnist")


def test_it_is_small_and_says_what_it_is():
    weights = list(PACKAGED.rglob("*.safetensors"))
    assert {path.parent.name for path in weights} == {"vae", "guide"}
    assert sum(path.stat().st_size for path in weights) <= 2_000_000
    card = (PACKAGED / "mnist" / "vae" / "README.md").read_text()
    assert 'ConditionalVAE.from_pretrained("mnist")' in card
    assert float(re.search(r"\| effectiveness \| ([\d.]+) \|", card)[1]) > 0.98
    assert "labelvae train mnist" in card
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
    words = ["relabel", "--model", "mnist", "--to", "8", "--invert", "--fit", "strokes", str(SCAN)]
    main([*words, str(tmp_path / "eight.png")])
    assert guide(read_scan(tmp_path / "eight.png", vae.image_shape)[None]).argmax().item() == 8


def test_new_digits_are_what_is_asked(packaged):
    vae, guide = packaged
    asked = torch.arange(200) % 10
    made = vae.sample(asked, torch.Generator().manual_seed(0))
    assert (guide(made).argmax(dim=1) == asked).float().mean() > 0.9


def test_a_part_that_is_not_packaged_is_not_looked_for_elsewhere(monkeypatch):
    monkeypatch.setattr(hub, "_download", lambda name: pytest.fail(f"{name}: asked the Hub"))
    with pytest.raises(ValueError, match=r"mnist/judge/.*: no such file"):
        LabelClassifier.from_pretrained("mnist/judge")
