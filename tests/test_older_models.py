"""Models saved by each format's first release load for good, and answer as they did."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from labelvae import ConditionalVAE, LabelClassifier
from labelvae.models.saving import FORMAT_VERSION

FORMATS = sorted((Path(__file__).parent / "fixtures").glob("format-*"))


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_a_model_of_an_older_release_answers_as_it_did(folder):
    answers = load_file(folder / "answers.safetensors")
    vae = ConditionalVAE.from_pretrained(folder / "vae")
    classifier = LabelClassifier.from_pretrained(folder / "classifier")
    torch.testing.assert_close(vae.relabel(answers["images"], 2), answers["relabelled"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(classifier(answers["images"]), answers["logits"], rtol=1e-4, atol=1e-5)


def test_every_format_has_its_models():
    assert [folder.name for folder in FORMATS] == [f"format-{number + 1}" for number in range(FORMAT_VERSION)]
