"""Two processes of Lightning's own strategy: who sees what, what is averaged, what is reported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ddp_run import data
from torch import nn

from labelvae import ConditionalVAE, LabelClassifier
from labelvae.losses.terms import label_loss


@pytest.fixture(scope="module")
def processes(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("ddp")
    root = Path(__file__).parent
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(root.parent), *sys.path])}
    subprocess.run(
        [sys.executable, root / "ddp_run.py", folder], check=True, env=environment, capture_output=True, timeout=300
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_every_image_is_seen_once_an_epoch_by_one_process(processes):
    train = data().splits["train"]
    everything = sorted(train.images[:, 0, 0, 0].tolist())
    epochs = [[process["seen"][epoch] for process in processes] for epoch in range(2)]
    for first, second in epochs:
        assert len(first) == len(second) == 30
        assert len({*first, *second}) == 60
        assert {*first, *second} <= {*everything}
    assert epochs[0] != epochs[1]
    assert processes[0]["noise"] != processes[1]["noise"], "each draws its own"


def test_gradients_are_the_mean_over_the_processes(processes):
    mean = torch.stack([process["own"] for process in processes]).mean(dim=0)
    assert not torch.allclose(processes[0]["own"], processes[1]["own"])
    for process in processes:
        torch.testing.assert_close(process["averaged"], mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(processes[0]["weights"], processes[1]["weights"], rtol=0, atol=0)


def test_metrics_are_those_of_all_images(processes):
    classifier = LabelClassifier((1, 8, 8), 3, kind="mlp", widths=(16,))
    classifier.load_state_dict(processes[0]["classifier"])
    validation = data().splits["validation"]
    with torch.no_grad():
        logits = classifier.eval()(validation.images.float() / 255)
    expected = label_loss(logits, validation.labels).mean().item()
    for process in processes:
        assert process["metrics"]["val/total"] == pytest.approx(expected, rel=1e-4)
    assert processes[0]["shown"] == processes[1]["shown"]


def test_conditional_batch_norm_can_be_synchronized(vae, images, labels):
    """torch synchronizes on GPUs alone; here: what it synchronizes is in place, under the same names."""
    expected = vae.eval().relabel(images, labels)
    names = list(vae.state_dict())
    converted: ConditionalVAE = nn.SyncBatchNorm.convert_sync_batchnorm(vae)
    assert all(isinstance(norm.norm, nn.SyncBatchNorm) for norm in converted.decoder.norms)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in converted.modules())
    assert list(converted.state_dict()) == names
    torch.testing.assert_close(converted.relabel(images, labels), expected)
