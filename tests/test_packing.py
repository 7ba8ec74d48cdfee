"""Weights in few bits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from labelvae import ConditionalVAE
from labelvae.models.packing import pack, unpack


@pytest.mark.parametrize("bits", [2, 3, 5, 6, 8])
def test_weights_come_back_to_within_half_a_level(bits):
    generator = torch.Generator().manual_seed(bits)
    weights = {
        "a": torch.randn(70, 30, 3, 3, generator=generator),
        "b": torch.randn(40, 900, generator=generator),
        "none": torch.zeros(300, 200),
        "small": torch.randn(4, 9, generator=generator),
        "bias": torch.randn(7, generator=generator),
        "count": torch.tensor(12),
    }
    again = unpack(*pack(weights, bits))
    assert again.keys() == weights.keys()
    assert torch.equal(again["none"], weights["none"])
    assert torch.equal(again["count"], weights["count"])
    for name in ("bias", "small"):
        torch.testing.assert_close(again[name].float(), weights[name], rtol=1e-3, atol=1e-4)
    for name in ("a", "b"):
        rows, found = weights[name].flatten(1), again[name].flatten(1)
        levels = torch.stack([torch.tensor(len(row.unique())) for row in found])
        assert int(levels.max()) <= 2**bits - 1
        step = rows.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
        naive = (rows / step).round() * step
        assert (found - rows).square().sum() <= 1.01 * (naive - rows).square().sum()


def test_eight_bits_are_nearly_exact_and_take_a_quarter():
    weight = torch.randn(32, 64, 3, 3, generator=torch.Generator().manual_seed(0))
    made, said = pack({"weight": weight}, 8)
    assert sum(each.nbytes for each in made.values()) < 0.26 * weight.nbytes
    torch.testing.assert_close(unpack(made, said)["weight"], weight, rtol=0, atol=0.02)


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return ConditionalVAE((1, 8, 8), 3, latent_dim=4).eval()


def test_a_packed_model_loads_and_answers_nearly_the_same(vae, tmp_path):
    vae.class_names = ["x", "y", "z"]
    vae.save_pretrained(tmp_path / "packed", bits=8)
    vae.save_pretrained(tmp_path / "plain")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("packed", "plain")]
    assert sizes[0] < 0.4 * sizes[1]
    again = ConditionalVAE.from_pretrained(tmp_path / "packed")
    assert again.class_names == vae.class_names
    assert again.dtype == torch.float32
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(again.relabel(images, 2), vae.relabel(images, 2), rtol=0, atol=0.05)


def test_a_level_is_the_sum_of_its_bits():
    """Three weights of three bits in nine bits, the lowest of each weight first."""
    stored = torch.from_numpy(np.packbits([1, 0, 0, 0, 1, 1, 1, 1, 1]))
    packed = {"w.levels": stored, "w.scale": torch.tensor([0.5]).half()}
    assert unpack(packed, {"bits": 3, "shapes": {"w": [1, 3]}})["w"].tolist() == [[-1.5, 1.0, 1.5]]


@pytest.mark.parametrize("bits", [0, 1, 9, 2.5, "six", True])
def test_bits_that_cannot_be_are_refused_and_nothing_is_written(vae, tmp_path, bits):
    with pytest.raises(ValueError, match="bits: "):
        vae.save_pretrained(tmp_path / "model", bits=bits)
    assert not (tmp_path / "model").exists()


def damaged(path, change):
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    weights, said = load_file(path), json.loads(metadata["packed"])
    change(weights, said)
    save_file(weights, path, metadata=metadata | {"packed": json.dumps(said)})


@pytest.mark.parametrize(
    "change",
    [
        lambda weights, said: weights.pop(next(name for name in weights if name.endswith(".scale"))),
        lambda weights, said: said["shapes"].update({next(iter(said["shapes"])): [2**40, 2**20]}),
        lambda weights, said: said.update(bits=5),
        lambda weights, said: said.pop("shapes"),
    ],
    ids=["a part missing", "a huge shape", "other bits", "no shapes"],
)
def test_a_damaged_file_is_named(vae, tmp_path, change):
    vae.save_pretrained(tmp_path / "model", bits=6)
    damaged(tmp_path / "model" / "model.safetensors", change)
    with pytest.raises(ValueError, match=r"model\.safetensors: its weights cannot be unpacked"):
        ConditionalVAE.from_pretrained(tmp_path / "model")


def test_weights_too_large_for_half_precision_stay_as_they_are(tmp_path):
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4).eval()
    with torch.no_grad():
        vae.decoder.norms[0].norm.running_var[0] = 1e6
        vae.decoder.spread.weight[0, 0] = 1e6
    vae.save_pretrained(tmp_path, bits=6)
    again = ConditionalVAE.from_pretrained(tmp_path)
    assert float(again.decoder.norms[0].norm.running_var[0]) == 1e6
    assert torch.equal(again.decoder.spread.weight, vae.decoder.spread.weight)


def test_a_damaged_packing_is_refused(tmp_path):
    ConditionalVAE((1, 8, 8), 3, latent_dim=4).save_pretrained(tmp_path, bits=4)
    path = tmp_path / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        said = file.metadata()
    save_file(load_file(path), path, metadata=said | {"packed": json.dumps({"bits": 4, "shapes": []})})
    with pytest.raises(ValueError, match="its weights cannot be unpacked"):
        ConditionalVAE.from_pretrained(tmp_path)
