import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils import parametrizations, prune

from labelvae import AttributeClassifier, Binary, ConditionalVAE, LabelClassifier
from labelvae.models.export import exported
from labelvae.system.whole_files import write_whole


@pytest.fixture
def folder(vae, tmp_path):
    vae.save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


def test_a_saved_model_comes_back(vae, images, folder):
    again = ConditionalVAE.from_pretrained(folder)
    assert again.config == vae.config
    assert not again.training
    torch.testing.assert_close(again.relabel(images, 1), vae.relabel(images, 1), rtol=0, atol=0)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_saved_classifier_comes_back(guide, images, tmp_path):
    guide.freeze().save_pretrained(tmp_path)
    torch.testing.assert_close(LabelClassifier.from_pretrained(tmp_path)(images), guide(images), rtol=0, atol=0)


def test_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="no such file; expected the folder of a ConditionalVAE"):
        ConditionalVAE.from_pretrained(tmp_path / "nothing")


def test_another_class_is_named_with_its_article(folder, shape, tmp_path):
    with pytest.raises(ValueError, match="expected the folder of an AttributeClassifier"):
        AttributeClassifier.from_pretrained(tmp_path / "nothing")
    with pytest.raises(ValueError, match="holds a ConditionalVAE, expected an AttributeClassifier; use Cond"):
        AttributeClassifier.from_pretrained(folder)
    AttributeClassifier(shape, {"lit": Binary()}, widths=(4,)).save_pretrained(tmp_path / "guide")
    with pytest.raises(ValueError, match="holds an AttributeClassifier, expected a LabelClassifier; use Attr"):
        LabelClassifier.from_pretrained(tmp_path / "guide")


def test_missing_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors: no such file"):
        ConditionalVAE.from_pretrained(folder)


@pytest.mark.parametrize("keep", [0, 4, 100, -10])
def test_truncated_weights(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="truncated, or not a safetensors file"):
        ConditionalVAE.from_pretrained(folder)


def test_foreign_weights(folder):
    torch.save({"weight": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match="not a safetensors file"):
        ConditionalVAE.from_pretrained(folder)


def test_the_weights_know_their_own_configuration(vae, images, folder):
    """So a write that is stopped between the two files leaves a model that loads."""
    (folder / "config.json").write_text("{}")
    again = ConditionalVAE.from_pretrained(folder)
    torch.testing.assert_close(again.relabel(images, 1), vae.relabel(images, 1), rtol=0, atol=0)


def test_weights_without_a_configuration_need_the_file(folder):
    strip(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match="the weights have no configuration"):
        ConditionalVAE.from_pretrained(folder)


def test_weights_that_are_not_finite_are_refused(vae, folder):
    before = (folder / "model.safetensors").read_bytes()
    vae.class_names = ["a", "b", "c"]
    for bits in (None, 6):
        with torch.no_grad():
            vae.encoder.hidden.bias[3] = float("nan")
        with pytest.raises(ValueError, match="model: 'encoder.hidden.bias' has weights that are not finite; go back"):
            vae.save_pretrained(folder, bits=bits)
    assert (folder / "model.safetensors").read_bytes() == before
    assert not (folder / "classes.json").exists()
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"encoder.hidden.bias": vae.encoder.hidden.bias.detach()}, folder / "model.safetensors")
    with pytest.raises(ValueError, match="'encoder.hidden.bias' has weights that are not finite$"):
        ConditionalVAE.from_pretrained(folder)


def test_an_absent_device_is_refused(folder):
    with pytest.raises(ValueError, match="device: 'abacus' is not to be had here"):
        ConditionalVAE.from_pretrained(folder, device="abacus")


def test_weights_that_do_not_fit_are_named(vae, folder):
    weights = vae.state_dict()
    weights["encoder.hidden.bias"] = torch.zeros(3)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"the first is 'encoder.hidden.bias'"):
        ConditionalVAE.from_pretrained(folder)


def strip(folder, **changes):
    """Weights without their configuration, and config.json with some changes."""
    weights = folder / "model.safetensors"
    save_file(load_file(weights), weights)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 99}, "format 99, this labelvae reads format 1"),
        ({"model": "LabelClassifier"}, "use LabelClassifier.from_pretrained"),
        ({"colour": "red"}, "not a configuration of ConditionalVAE"),
        ({"latent_dim": -3}, "latent_dim"),
        ({"latent_dim": "many"}, "latent_dim"),
        ({"encoder_widths": 8}, "encoder_widths"),
        ({"image_shape": 8}, "image_shape"),
        ({"hidden_dim": 10**4}, "the weights are not those of its configuration"),
        ({"hidden_dim": 10**12}, "hidden_dim: expected an integer of at most 65,536, got 1000000000000"),
        ({"encoder_widths": [10**12]}, r"encoder_widths\[0\]: expected an integer of at most 65,536"),
        ({"decoder_widths": [8] * 10**5}, "decoder_widths: expected 0 to 64 widths"),
        ({"image_shape": [10**12, 8, 8]}, "image_shape: expected at most 65,536"),
        ({"blocks": 10**12}, "blocks: expected an integer of at most 64"),
        ({"num_classes": 10**12}, "num_classes"),
        ({"encoder_label": "yes"}, "encoder_label: expected one of none"),
    ],
)
def test_bad_configurations(folder, changes, says):
    strip(folder, **changes)
    with pytest.raises(ValueError, match=says):
        ConditionalVAE.from_pretrained(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"latent_dim": 3}', "\xff\xfe"])
def test_broken_configurations(folder, text):
    strip(folder)
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"config\.json"):
        ConditionalVAE.from_pretrained(folder)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "scores.json"
    write_whole(path, "old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["scores.json"]


def test_files_are_readable_by_others(tmp_path):
    old = os.umask(0o022)
    try:
        write_whole(tmp_path / "deep" / "file", b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "deep" / "file").stat().st_mode & 0o777 == 0o644


def compiled(module: nn.Module) -> nn.Module:
    return torch.compile(module, backend="eager")


@pytest.mark.parametrize("wrap", [compiled, nn.DataParallel, lambda vae: nn.DataParallel(compiled(vae))])
def test_weights_of_compiled_and_wrapped_models_are_taken(wrap, vae, images, tmp_path):
    weights = wrap(vae).state_dict()
    assert not set(weights) & set(vae.state_dict())
    again = ConditionalVAE(**vae.config)
    again.load_state_dict(weights)
    assert torch.equal(again.relabel(images, 1), vae.relabel(images, 1))
    with pytest.raises(RuntimeError, match="Unexpected key"):
        again.load_state_dict(weights | {"module.nothing": torch.zeros(1)})
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, "model": "ConditionalVAE", **vae.config}))
    assert torch.equal(ConditionalVAE.from_pretrained(tmp_path).relabel(images, 1), vae.relabel(images, 1))


def test_a_model_with_a_compiled_part_saves_and_loads_plain_names(vae, images, tmp_path):
    expected, plain = vae.relabel(images, 1), {name: value.clone() for name, value in vae.state_dict().items()}
    vae.encoder = compiled(vae.encoder)
    vae.save_pretrained(tmp_path)
    assert torch.equal(ConditionalVAE.from_pretrained(tmp_path).relabel(images, 1), expected)
    with torch.no_grad():
        for weight in vae.parameters():
            weight.zero_()
    vae.load_state_dict(plain)
    assert torch.equal(vae.relabel(images, 1), expected)


def each_linear(model, change):
    """Change every fully connected layer of a model, of which none is zero."""
    for layer in [part for part in model.modules() if type(part) is nn.Linear]:
        nn.init.normal_(layer.weight, std=0.3)
        change(layer)
    return model.eval()


PARAMETRIZATIONS = {
    "weight norm": parametrizations.weight_norm,
    "older weight norm": nn.utils.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "older spectral norm": nn.utils.spectral_norm,
    "pruning": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("kind", PARAMETRIZATIONS)
def test_a_parametrized_model_is_saved_with_the_weights_that_it_uses(kind, vae, guide, images, tmp_path):
    for name, model in (("vae", vae), ("guide", guide)):
        each_linear(model, PARAMETRIZATIONS[kind])
        expected = model.relabel(images, 1) if name == "vae" else model(images)
        model.train()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        model.save_pretrained(tmp_path / name)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        again = type(model).from_pretrained(tmp_path / name)
        torch.testing.assert_close(again.relabel(images, 1) if name == "vae" else again(images), expected)
    labels = torch.ones(6, dtype=torch.long)
    torch.testing.assert_close(exported(vae).module()(images, labels), vae.relabel(images, labels))


class Normed(LabelClassifier):
    """A classifier whose own constructor parametrizes a layer."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        parametrizations.weight_norm(self.to_logits)


def test_parametrizations_that_a_constructor_makes_keep_their_weights(shape, images, tmp_path):
    classifier = Normed(shape, 3, widths=(8,)).eval()
    classifier.save_pretrained(tmp_path / "guide")
    again = Normed.from_pretrained(tmp_path / "guide")
    assert again.state_dict().keys() == classifier.state_dict().keys()
    torch.testing.assert_close(again(images), classifier(images))


def test_converted_batch_normalizations_are_the_same_model(vae, images, tmp_path):
    nn.SyncBatchNorm.convert_sync_batchnorm(vae.eval()).save_pretrained(tmp_path)
    torch.testing.assert_close(ConditionalVAE.from_pretrained(tmp_path).relabel(images, 1), vae.relabel(images, 1))


@pytest.mark.filterwarnings("ignore")  # torch's own, of quantization
def test_what_could_not_be_loaded_is_not_saved(vae, guide, tmp_path):
    guide.to_logits = nn.Linear(8, 5)
    quantized = torch.ao.quantization.quantize_dynamic(vae, {nn.Linear}, dtype=torch.qint8)
    for model, says in (
        (guide, r"2 of its weights are not those .* a layer was replaced or added"),
        (quantized, "of a quantized one; save it before"),
        (vae.to("meta"), "model: expected weights, got a model on the meta device"),
    ):
        with pytest.raises(ValueError, match=says):
            model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_places_that_cannot_be_written_to_are_named(vae, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file: the model could not be saved there \("):
        vae.save_pretrained(tmp_path / "file")
    with pytest.raises(ValueError, match=r"x.y: the model could not be saved there \(embedded null byte\)"):
        vae.save_pretrained(f"{tmp_path}/x\0y")
    for folder in (None, "", b"bytes"):
        with pytest.raises(ValueError, match="folder: expected the path of a folder, got"):
            vae.save_pretrained(folder)


def test_a_model_without_names_leaves_none_of_the_model_before_it(vae, tmp_path):
    vae.class_names = ["a", "b", "c"]
    vae.save_pretrained(tmp_path)
    vae.class_names = None
    vae.save_pretrained(tmp_path)
    assert ConditionalVAE.from_pretrained(tmp_path).class_names is None


def test_a_model_is_loaded_to_the_processor_whatever_the_default_device_is(vae, images, folder):
    expected = vae.eval().relabel(images, 1)
    with torch.device("meta"):
        again = ConditionalVAE.from_pretrained(folder)
    assert again.device.type == "cpu"
    assert torch.equal(again.relabel(images, 1), expected)


def test_weights_that_another_program_made_small_are_read(vae, images, folder):
    weights = load_file(folder / "model.safetensors")
    small = {name: each.to(torch.float8_e4m3fn) if each.is_floating_point() else each for name, each in weights.items()}
    save_file(small, folder / "model.safetensors")
    again = ConditionalVAE.from_pretrained(folder)
    assert again.dtype == torch.float32
    torch.testing.assert_close(again.relabel(images, 1), vae.eval().relabel(images, 1), rtol=0, atol=0.1)


def test_a_pointer_of_git_lfs_is_told_from_a_damaged_file(folder):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    (folder / "model.safetensors").write_text(pointer)
    with pytest.raises(ValueError, match="not a safetensors file .*; fetch it by git lfs pull"):
        ConditionalVAE.from_pretrained(folder)


def test_paths_and_bits_of_other_types(vae, images, tmp_path):
    (tmp_path / "model").mkdir()
    with os.scandir(tmp_path) as entries:
        folder = next(entries)
    vae.eval().save_pretrained(folder, bits=np.int64(8))
    again = ConditionalVAE.from_pretrained(folder)
    torch.testing.assert_close(again.relabel(images, 1), vae.relabel(images, 1), rtol=0, atol=0.02)


class Sized(ConditionalVAE):
    """A model with arguments of its own."""

    def __init__(self, size):
        super().__init__((1, size, size), 3, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16)


def test_a_subclass_with_arguments_of_its_own_is_told_what_to_do(tmp_path):
    Sized(8).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"if Sized has arguments of its own, make one, and load model.safetensors by"):
        Sized.from_pretrained(tmp_path)
    Sized(8).load_state_dict(load_file(tmp_path / "model.safetensors"))
