"""The same seed gives the same weights, in one process and in two."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from labelvae.data.image_sets import ImageSet
from labelvae.data.loaders import ImageLoader


def trained(tmp_path, processes):
    path = tmp_path / f"{processes}.ckpt"
    command = [sys.executable, str(Path(__file__).with_name("two_processes.py")), str(path), str(processes)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return torch.load(path, weights_only=True)["state_dict"]


def test_one_process_trains_the_same_weights_from_the_same_seed(tmp_path):
    first, second = ({name: value.clone() for name, value in trained(tmp_path, 1).items()} for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_processes_with_half_the_batch_do_what_one_does(tmp_path):
    one, two = (trained(tmp_path, processes) for processes in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            two[name], value, rtol=1e-4, atol=1e-5, msg=lambda said, name=name: f"{name}: {said}"
        )


def test_every_step_sees_the_same_images_however_many_processes():
    images = ImageSet(torch.zeros(101, 1, 8, 8, dtype=torch.uint8), torch.arange(101))

    def batches(rank, processes):
        loader = ImageLoader(
            images, 12 // processes, shuffle=True, drop_last=True, seed=3, rank=rank, world_size=processes
        )
        return [labels.tolist() for _, labels in loader]

    one = batches(0, 1)
    for processes in (2, 3, 4):
        parts = [batches(rank, processes) for rank in range(processes)]
        joined = [sorted(label for part in step for label in part) for step in zip(*parts, strict=True)]
        assert joined == [sorted(step) for step in one][: len(joined)]
        assert len(joined) >= len(one) - 1
