"""Real processes of a run, stopped at random moments: what they leave, and where they go on."""

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from labelvae import LabelClassifier
from labelvae.__main__ import main
from labelvae.runs.run_folder import checked_checkpoint
from labelvae.system.whole_files import sweep, write_whole
from labelvae.training.callbacks import LastCheckpoint, WholeCheckpointIO
from labelvae.training.tasks import ClassifierTraining

MODELS = ("guide", "judge", "vae", "unguided")
TINY = ["--accelerator=cpu", "--rounds=1", "--vae.objective.equivariance-weight=0"]
TINY += ["--data.test-share=0.03", "--data.validation-share=0.03"]
TINY += ["--guide.widths=[8,8]", "--judge.widths=[16]", "--vae.encoder-widths=[8]", "--vae.decoder-widths=[8]"]
EPOCHS = ["--guide.optimization.epochs=2", "--judge.optimization.epochs=2", "--vae.optimization.epochs=3"]

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["labelvae.runs.experiment", "sklearn.datasets", "lightning.pytorch.loggers"])


def train_digits(folder, words, file_size) -> None:
    """What a process does: `labelvae train digits`, as from a shell in `folder`; files larger than `file_size` fail."""
    os.chdir(folder)
    torch.set_num_threads(1)
    sys.argv = ["labelvae", "train", "digits", *words]
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if file_size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    main()


def killed_in_a_write(path) -> None:
    """What a process does: it is killed when its file is written, before it has its name."""
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    write_whole(path, b"half")


def start(folder, *words, file_size=0):
    process = context.Process(
        target=train_digits, args=(str(folder), [*TINY, f"--out={folder / 'out'}", *words], file_size)
    )
    process.start()
    return process


def run(folder, *words, file_size=0):
    process = start(folder, *words, file_size=file_size)
    process.join()
    return process.exitcode, (folder / "said").read_text()


def weights(folder):
    return {
        f"{name}.{key}": value
        for name in MODELS
        for key, value in load_file(folder / "out" / name / "model.safetensors").items()
    }


def assert_same(some, others):
    assert some.keys() == others.keys()
    for name, value in some.items():
        torch.testing.assert_close(others[name], value, rtol=0, atol=0, msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, "--help")  # the first process waits for the imports
    began = time.monotonic()
    code, said = run(folder, *EPOCHS, "--wandb=offline")
    assert code == 0, said
    (folder / "seconds").write_text(str(time.monotonic() - began))
    return folder


def test_killed_at_random_moments_and_resumed_it_ends_with_the_same_weights(whole, tmp_path):
    chance, longest = random.Random(0), 0.7 * float((whole / "seconds").read_text())
    codes = []
    for number in [signal.SIGKILL, signal.SIGINT, signal.SIGTERM] * 2:
        spoken = tmp_path / "said"
        spoken.unlink(missing_ok=True)
        process = start(tmp_path, *EPOCHS, "--wandb=disabled", "--resume")
        while process.is_alive() and not (spoken.exists() and spoken.stat().st_size):
            time.sleep(0.01)  # before its first word Ctrl-C ends Python, not the program
        while not codes and process.is_alive() and not (tmp_path / "out" / "checkpoints" / "guide.ckpt").exists():
            time.sleep(0.01)  # the first kill must not come too late, however fast this machine is now
        process.join(chance.uniform(0.0, longest) if codes else 0.0)
        if process.exitcode is None:
            os.kill(process.pid, number)
        process.join()
        codes.append(process.exitcode)
        for path in (tmp_path / "out" / "checkpoints").glob("*.ckpt"):
            torch.load(path, weights_only=True)
        if process.exitcode == 0:
            break
    assert {code for code in codes if code > 0} <= {130, 143}, (tmp_path / "said").read_text()
    assert -signal.SIGKILL in codes
    code, said = run(tmp_path, *EPOCHS, "--wandb=disabled", "--resume")
    assert code == 0, said
    assert_same(weights(whole), weights(tmp_path))
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == json.loads(
        (whole / "out" / "scores.json").read_text()
    )
    assert not [path.name for path in (tmp_path / "out").rglob(".*")]


def test_sigterm_stops_like_ctrl_c(tmp_path):
    process = start(tmp_path, *EPOCHS, "--wandb=disabled", "--vae.optimization.epochs=1000")
    checkpoint = tmp_path / "out" / "checkpoints" / "guide.ckpt"
    while not checkpoint.exists() and process.is_alive():
        time.sleep(0.05)
    process.terminate()
    process.join()
    assert process.exitcode == 143
    said = (tmp_path / "said").read_text()
    assert f"stopped; what is made is under {tmp_path}/out, --resume goes on from there" in said
    assert "Traceback" not in said


def test_a_full_disk_leaves_the_last_whole_checkpoint(whole, tmp_path):
    """The disk takes the guide's checkpoint and not the vae's; and then another one of the guide's."""
    sizes = {name: (whole / "out" / "checkpoints" / f"{name}.ckpt").stat().st_size for name in MODELS}
    limit = (sizes["vae"] + max(sizes["guide"], sizes["judge"])) // 2
    assert limit < sizes["vae"]
    code, said = run(tmp_path, *EPOCHS, "--wandb=disabled", file_size=limit)
    assert code == 2, said
    assert f"error: {tmp_path}/out/checkpoints/vae.ckpt: the checkpoint could not be written" in said
    assert "Traceback" not in said
    kept = sorted(path.name for path in (tmp_path / "out" / "checkpoints").iterdir())
    assert kept == ["guide.ckpt", "judge.ckpt"]
    code, said = run(tmp_path, *EPOCHS, "--wandb=disabled", "--resume")
    assert code == 0, said
    assert_same(weights(whole), weights(tmp_path))


def test_a_write_that_fails_midway_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    files = WholeCheckpointIO()
    files.save_checkpoint({"epoch": 1}, path)
    real = os.fdopen

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.file.write(data[: len(data) // 2])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", lambda handle, mode: Full(real(handle, mode)))
    with pytest.raises(OSError, match=r"last.ckpt: .*No space left on device.*the one before is kept"):
        files.save_checkpoint({"epoch": 2}, path)
    with pytest.raises(OSError, match="there is none before it"):
        files.save_checkpoint({"epoch": 2}, tmp_path / "other.ckpt")
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_finished_run_goes_on_to_more_epochs_and_keeps_its_id(whole, tmp_path):
    shutil.copytree(whole / "out", tmp_path / "out", symlinks=True)
    before = weights(tmp_path)
    code, said = run(tmp_path, *EPOCHS, "--wandb=offline", "--resume", "--vae.optimization.epochs=4")
    assert code == 0, said
    done = {name: torch.load(tmp_path / "out" / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in MODELS}
    assert {name: state["epoch"] + 1 for name, state in done.items()} == {
        "guide": 2,
        "judge": 2,
        "vae": 4,
        "unguided": 4,
    }
    after = weights(tmp_path)
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"vae", "unguided"}
    runs = [path.name.rpartition("-")[2] for path in (tmp_path / "out" / "wandb").glob("offline-run-*")]
    assert len(runs) == 2
    assert set(runs) == {(tmp_path / "out" / "wandb" / "run-id").read_text()}


def test_what_a_killed_write_leaves_is_swept(tmp_path):
    write_whole(tmp_path / "deep" / "kept", b"x")
    (tmp_path / "deep" / ".hidden").write_bytes(b"of the user")
    hour_old, young = tmp_path / "deep" / ".kept.part-abc", tmp_path / "deep" / ".kept.part-other-1-abc"
    for part in (hour_old, young):
        part.write_bytes(b"half")
    os.utime(hour_old, (time.time() - 4000,) * 2)
    process = context.Process(target=killed_in_a_write, args=(str(tmp_path / "deep" / "half"),))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list((tmp_path / "deep").glob(".half.part-*"))) == 1
    sweep(tmp_path)  # its folders may be those of a run that goes on
    assert len(list((tmp_path / "deep").iterdir())) == 5
    sweep(tmp_path / "deep", tmp_path / "none")
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == [".hidden", young.name, "kept"]


def test_what_is_being_written_is_not_swept(tmp_path, monkeypatch):
    replace = os.replace

    def swept_first(part, path):
        sweep(tmp_path)
        replace(part, path)

    monkeypatch.setattr(os, "replace", swept_first)
    write_whole(tmp_path / "kept", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_checkpoint_of_another_network_is_named(tmp_path):
    def task(width):
        return ClassifierTraining(LabelClassifier((1, 8, 8), 10, widths=(width,)))

    torch.save({"epoch": 0, "state_dict": task(8).state_dict()}, tmp_path / "last.ckpt")
    assert checked_checkpoint(tmp_path / "last.ckpt", 1, task(8)) == tmp_path / "last.ckpt"
    with pytest.raises(ValueError, match=r"last.ckpt: is a checkpoint of another network or version; delete it"):
        checked_checkpoint(tmp_path / "last.ckpt", 1, task(16))


def test_there_is_no_last_checkpoint_until_it_is_written(tmp_path):
    kept = LastCheckpoint(tmp_path / "last.ckpt")
    assert kept.last_model_path == ""
    kept.path.touch()
    assert kept.last_model_path == str(tmp_path / "last.ckpt")


def test_checkpoints_of_no_epoch_are_refused(tmp_path):
    with pytest.raises(ValueError, match="every_n_epochs: expected an integer of at least 1, got 0"):
        LastCheckpoint(tmp_path / "last.ckpt", every_n_epochs=0)
