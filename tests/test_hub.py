import inspect
import shutil
import sys
import types

import pytest
import torch
from PIL import Image

from labelvae import ConditionalVAE, LabelClassifier, Scores
from labelvae.evaluation.scores import save_scores
from labelvae.inputs.class_names import read_classes, write_classes
from labelvae.models import hub
from labelvae.models.card import model_card
from labelvae.models.latent_flow import LatentFlow


@pytest.fixture
def shelf(monkeypatch, tmp_path):
    """A hub in a folder."""
    module = types.ModuleType("huggingface_hub")
    place = tmp_path / "hub"

    class HfApi:
        def create_repo(self, name, private, exist_ok):
            assert exist_ok
            (place / name).mkdir(parents=True, exist_ok=True)
            (place / name / "private").write_text(str(private))

        def upload_folder(self, folder_path, repo_id, commit_message):
            shutil.copytree(folder_path, place / repo_id, dirs_exist_ok=True)

    def snapshot_download(name, allow_patterns):
        assert set(allow_patterns) == {"config.json", "model.safetensors", "classes.json"}
        if not (place / name).is_dir():
            raise OSError("404 Not Found\nmore")
        return str(place / name)

    module.HfApi, module.snapshot_download = HfApi, snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.chdir(tmp_path)
    return place


@pytest.fixture
def run(vae, tmp_path):
    folder = tmp_path / "runs" / "shapes"
    vae.save_pretrained(folder / "vae")
    write_classes(folder / "vae", ["circle", "square", "star"])
    values = dict.fromkeys(("guide_judge_gap", "ssim", "l1", "reversed_ssim", "reversed_l1", "realism"), 0.5)
    twos = ("psnr", "reversed_psnr", "realism_by_class", "realism_floor", "diversity", "sharpness")
    values |= dict.fromkeys(("realism_label_free", "realism_label_free_floor"), float("nan"))
    values |= dict.fromkeys(twos, 2.0)
    scores = Scores(
        "labelvae",
        1234,
        0.987,
        0.9,
        judge_accuracy=0.99,
        specks=0.0,
        leakage=float("nan"),
        style={"ink": 0.8},
        **values,
    )
    save_scores([scores], folder / "scores.json")
    (folder / "settings.yaml").write_text("# made by: labelvae train folder\n# images: 9 train\nrounds: 1\n")
    Image.new("RGB", (4, 4)).save(folder / "wrong_labels.png")
    return folder


def test_a_model_goes_to_the_hub_and_comes_back(vae, images, shelf, run):
    vae.push_to_hub("me/shapes", run=run, private=True)
    names = {path.name for path in (shelf / "me" / "shapes").iterdir()}
    expected = {"README.md", "config.json", "model.safetensors", "classes.json", "wrong_labels.png", "private"}
    assert names == expected
    assert (shelf / "me" / "shapes" / "private").read_text() == "True"
    again = ConditionalVAE.from_pretrained("me/shapes")
    torch.testing.assert_close(again.relabel(images, 1), vae.relabel(images, 1), rtol=0, atol=0)
    assert read_classes(hub.locate("me/shapes", "ConditionalVAE"), 3)[2] == "star"


def test_a_prior_goes_along(vae, shelf, run):
    vae.prior = LatentFlow(4, 3)
    vae.save_pretrained(run / "vae")
    vae.push_to_hub("me/shapes", run=run)
    assert "of a prior that was fitted" in (shelf / "me" / "shapes" / "README.md").read_text()
    drawn = [each.sample(1, torch.Generator()) for each in (vae, ConditionalVAE.from_pretrained("me/shapes"))]
    torch.testing.assert_close(*drawn, rtol=0, atol=0)


def test_the_card_says_what_the_files_say(run):
    card = model_card(run)
    assert "| effectiveness | 0.987 |" in card
    assert "leakage" not in card  # it was not measured
    assert "| style_ink | 0.800 |" in card
    assert "- made by: labelvae train folder" in card
    assert "Classes: circle, square, star." in card
    assert "1,234 counterfactuals" in card
    assert card.count("![") == 1
    assert "prior" not in card
    with pytest.raises(ValueError, match=r"scores\.json: no such file"):
        model_card(run / "vae")
    (run / "scores.json").write_text("[]")
    with pytest.raises(ValueError, match="expected a list of scores"):
        model_card(run)
    (run / "vae" / "config.json").unlink()
    (run / "scores.json").write_text('[{"name": "labelvae"}]')
    with pytest.raises(ValueError, match=r"config\.json: no such file"):
        model_card(run)


def test_a_folder_comes_before_the_hub(vae, shelf, run, monkeypatch):
    monkeypatch.chdir(run.parent.parent)
    ConditionalVAE.from_pretrained("runs/shapes/vae")
    with pytest.raises(ValueError, match=r"runs/nothing/model\.safetensors: no such file"):
        ConditionalVAE.from_pretrained("runs/nothing")
    with pytest.raises(ValueError, match=r"you/nothing: no such folder, and not to be had .* \(404 Not Found\)"):
        ConditionalVAE.from_pretrained("you/nothing")


def test_the_real_hub_takes_what_it_is_given():
    real = pytest.importorskip("huggingface_hub")
    calls = [
        (real.HfApi().create_repo, ("me/model",), {"private": True, "exist_ok": True}),
        (real.HfApi().upload_folder, (), {"folder_path": ".", "repo_id": "me/model", "commit_message": "model"}),
        (real.snapshot_download, ("me/model",), {"allow_patterns": hub.FILES}),
    ]
    for call, words, named in calls:
        inspect.signature(call).bind(*words, **named)


def test_models_that_come_with_the_package(vae, guide, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "PACKAGED", tmp_path / "pretrained")
    monkeypatch.chdir(tmp_path)
    vae.half().save_pretrained(tmp_path / "pretrained" / "shapes" / "vae")
    guide.save_pretrained(tmp_path / "pretrained" / "shapes" / "guide")
    LabelClassifier((1, 8, 8), 3, widths=(4,)).save_pretrained(tmp_path / "pretrained" / "shapes" / "judge")
    (tmp_path / "shapes").mkdir()  # a folder of data, say: no model
    again = ConditionalVAE.from_pretrained("shapes")
    assert again.config == vae.config
    assert again.dtype == torch.float32
    assert LabelClassifier.from_pretrained("shapes").config == guide.config
    assert LabelClassifier.from_pretrained("shapes/judge").config["widths"] == [4]
    LabelClassifier((1, 8, 8), 3, widths=(6,)).save_pretrained(tmp_path / "shapes")
    assert LabelClassifier.from_pretrained("shapes").config["widths"] == [6], "a folder with a model comes first"


def test_without_huggingface_hub(vae, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"you/model: no such folder; to look for it .* pip install 'labelvae\[hub\]'"):
        ConditionalVAE.from_pretrained("you/model")
    with pytest.raises(ValueError, match=r"pip install 'labelvae\[hub\]'"):
        vae.push_to_hub("me/model")
    with pytest.raises(ValueError, match="repository: expected 'user/name', got 'model'"):
        vae.push_to_hub("model")
