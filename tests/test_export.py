import numpy as np
import pytest
import torch

from labelvae import ConditionalVAE
from labelvae.__main__ import main
from labelvae.models.export import export_onnx, export_program


def model(shape=(1, 9, 12)) -> ConditionalVAE:
    """Odd sizes, residual blocks, and conditional normalization that has learned something."""
    vae = ConditionalVAE(shape, 3, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16, blocks=1)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    vae(torch.rand(8, *shape), torch.arange(8) % 3)  # moves the statistics
    return vae


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return model()


def test_an_exported_program_relabels_alike(vae, tmp_path):
    training = vae.training
    export_program(vae, tmp_path / "model.pt2")
    again = torch.export.load(tmp_path / "model.pt2").module()
    for count in (1, 2, 7):
        images, labels = torch.rand(count, *vae.image_shape), torch.arange(count) % 3
        torch.testing.assert_close(again(images, labels), vae.relabel(images, labels))
    assert vae.training == training


def test_onnx_relabels_alike(vae, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    vae.save_pretrained(tmp_path / "vae")
    main(["export", "--model", str(tmp_path / "vae"), str(tmp_path / "model.onnx")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "vae"]
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == ["images", "labels"]
    for count in (1, 2, 7):
        images, labels = torch.rand(count, *vae.image_shape), torch.arange(count) % 3
        found = session.run(["relabelled"], {"images": images.numpy(), "labels": labels.numpy()})[0]
        np.testing.assert_allclose(found, vae.relabel(images, labels).numpy(), rtol=1e-4, atol=1e-5)


def test_refusals(tmp_path, capsys, monkeypatch):
    seeing = ConditionalVAE((1, 8, 8), 3, encoder_label="onehot")
    with pytest.raises(ValueError, match="expected a blind encoder"):
        export_program(seeing, tmp_path / "x.pt2")
    for way in ("none", "embedding"):
        with pytest.raises(ValueError, match=f"decoder_label='{way}'"):
            export_program(ConditionalVAE((1, 8, 8), 3, decoder_label=way), tmp_path / "x.pt2")
    with pytest.raises(ValueError, match=r"\(.*directory.*\); give another path"):
        export_program(model((1, 8, 8)), tmp_path)
    with pytest.raises(ValueError, match="vae: expected ConditionalVAE, got Linear"):
        export_program(torch.nn.Linear(2, 2), tmp_path / "x.pt2")
    with pytest.raises(SystemExit):
        main(["export", "--model=nothing", "x.tflite"])
    assert "expected a file ending in .onnx or .pt2" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"pip install 'labelvae\[export\]'"):
        export_onnx(model((1, 8, 8)), tmp_path / "x.onnx")
