"""Counts that do not jitter: waits, memory that is kept, modules, the size of what inference holds."""

import copy
import io
import os
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from labelvae import Augmentation, ConditionalVAE, Discriminator, GuidedELBO, LabelClassifier, Objective, VAETraining
from labelvae.inputs import tensors as inputs
from labelvae.losses.terms import class_mean_loss, linear_warm_up, style_loss
from labelvae.models.export import export_program
from labelvae.runs.presets import MNIST
from labelvae.system import compiling
from labelvae.training.callbacks import Bar, LastCheckpoint
from labelvae.training.options import Optimization

EVERY_TERM = Objective(
    label_weight=5.0,
    own_label_weight=1.0,
    perceptual_weight=0.1,
    class_mean_weight=1.0,
    cycle_weight=0.5,
    equivariance_weight=0.5,
    adversarial_weight=1.0,
    style_weight=1.0,
    label_constraint=True,
    discriminator_augmentation=Augmentation(shift=0.1, flip=True, interpolation="nearest"),
)


def task(**how) -> VAETraining:
    torch.manual_seed(1)
    guide = LabelClassifier((1, 8, 8), 10, widths=(8, 8), feature_dim=8)
    vae = ConditionalVAE((1, 8, 8), 10, latent_dim=6, encoder_widths=(8, 16), hidden_dim=32)
    discriminator = Discriminator((1, 8, 8), 10, (8, 8), guide.map_widths)
    other = LabelClassifier((1, 8, 8), 10, widths=(8,), feature_dim=8)
    return VAETraining(vae, GuidedELBO(guide, discriminator, EVERY_TERM, [other]), **how)


def fit(path, what, digits, epochs=1, resume=None, **how):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        limit_val_batches=0,
        enable_model_summary=False,
        default_root_dir=path,
        **{"logger": False, "enable_progress_bar": False, "enable_checkpointing": "callbacks" in how, **how},
    )
    torch.manual_seed(2)
    trainer.fit(what, datamodule=digits, ckpt_path=resume, weights_only=True)
    return trainer


class Reads(TorchDispatchMode):
    """Scalars read on the host: item(), float(), bool(), and data-dependent shapes."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += "_local_scalar_dense" in str(func) or "nonzero" in str(func)
        return func(*args, **(kwargs or {}))


class Fetches(TorchFunctionMode):
    """Tensors brought to the host."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += getattr(func, "__name__", "") in ("tolist", "item", "cpu", "numpy", "__bool__", "__float__")
        return func(*args, **(kwargs or {}))


def waits(tmp_path, digits, monkeypatch, epochs, every) -> int:
    # As on an accelerator: no value is checked while gradients are recorded, not by one_hot either.
    monkeypatch.setattr(inputs, "readable", lambda values: not torch.is_grad_enabled())
    monkeypatch.setattr(F, "one_hot", lambda labels, classes: (labels[:, None] == torch.arange(classes)).long())
    with Reads() as reads, Fetches() as fetches:
        how = {"logger": CSVLogger(tmp_path), "log_every_n_steps": every, "enable_progress_bar": True}
        trainer = fit(tmp_path, task(), digits, epochs, callbacks=[Bar()], **how)
    assert trainer.global_step == 18 * epochs
    return reads.count + fetches.count


@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_the_host_waits_when_it_logs_and_never_else(tmp_path, digits, monkeypatch):
    often, seldom = (waits(tmp_path, digits, monkeypatch, 2, every) for every in (9, 36))
    assert often - seldom == 2  # 4 log calls against 1, one wait each, and 1 look at unlogged terms at an epoch's end
    longer = waits(tmp_path, digits, monkeypatch, 4, every=72)
    # 36 steps more: what Lightning and the looks at the weights read, at two epochs' ends and before two checkpoints
    assert longer - seldom <= 14


def test_freed_memory_stays_with_the_process_and_is_used_again():
    script = """
import os, sys
if sys.argv[1] == "kept":
    from labelvae.system.allocator import keep_freed_memory
    if not keep_freed_memory():
        print("no glibc"); raise SystemExit
import torch
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20
before = resident()
left = []
for _ in range(60):
    torch.ones(64 * 2**18)  # 64 MiB, freed at once
    left.append(resident() - before)
print(left[0], left[30], left[-1])
"""
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("the system does not say how much memory a process holds")
    said = [
        subprocess.run([sys.executable, "-c", script, how], capture_output=True, text=True, check=True).stdout.strip()
        for how in ("default", "kept")
    ]
    if said[1] == "no glibc":
        pytest.skip("the allocator is not glibc's")
    default, kept = ([int(number) for number in line.split()] for line in said)
    assert max(default) < 32
    assert min(kept) > 32
    assert kept[2] < kept[1] + 32  # what was freed is used again


def test_importing_the_package_imports_few_modules():
    code = "import sys; before = set(sys.modules); import labelvae; print(*sorted(set(sys.modules) - before))"
    added = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = [name for name in added if name.startswith("labelvae")]
    assert ours == ["labelvae", "labelvae._moved"]
    assert len(added) < 80


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_options_change_neither_names_nor_what_is_saved(tmp_path, digits, precision):
    plain, fast = task(), task(channels_last=True)
    names = list(plain.state_dict())
    for what in (plain, fast):
        fit(tmp_path, what, digits, precision=precision)
    assert list(fast.state_dict()) == names
    assert fast.vae.decoder.ups[0][0].weight.is_contiguous(memory_format=torch.channels_last)
    fast.vae.save_pretrained(tmp_path / "fast")
    back = ConditionalVAE.from_pretrained(tmp_path / "fast")
    images, _ = next(iter(digits.loader("test")))
    torch.testing.assert_close(back.relabel(images, 3), fast.vae.eval().relabel(images, 3), rtol=1e-4, atol=1e-5)
    tolerance = 0.02 if precision == "32-true" else 0.2  # rounding grows along the training
    difference = (plain.vae.relabel(images, 3) - fast.vae.relabel(images, 3)).abs().mean()
    assert difference < tolerance


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False)])
def test_the_layout_may_change_when_a_run_is_resumed(tmp_path, digits, before, after):
    whole, path = task(channels_last=after), tmp_path / "last.ckpt"
    fit(tmp_path, whole, digits, 2, callbacks=[LastCheckpoint(tmp_path / "whole.ckpt")])
    fit(tmp_path, task(channels_last=before), digits, 2, callbacks=[LastCheckpoint(path), Stop()])
    resumed = task(channels_last=after)
    trainer = fit(tmp_path, resumed, digits, 2, path, callbacks=[LastCheckpoint(path)])
    for parameter, state in trainer.optimizers[0].state.items():
        assert state["exp_avg"].stride() == parameter.stride()
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=2e-2, atol=2e-3, msg=name)


@pytest.mark.parametrize(("options", "precision"), [({}, "bf16-mixed"), ({"compiled": True}, "32-true")])
def test_options_may_be_added_to_a_run_that_is_resumed_and_then_exported(
    tmp_path, digits, monkeypatch, options, precision
):
    compile_, path = torch.compile, tmp_path / "last.ckpt"
    monkeypatch.setattr(torch, "compile", lambda function: compile_(function, backend="eager"))
    torch._dynamo.reset()
    fit(tmp_path, task(), digits, 2, callbacks=[LastCheckpoint(path), Stop()])
    fast = task(**options)
    trainer = fit(tmp_path, fast, digits, 2, path, precision=precision, callbacks=[LastCheckpoint(path)])
    assert trainer.current_epoch == 2
    assert trainer.global_step == 2 * len(digits.train_dataloader())
    export_program(fast.vae, tmp_path / "model.pt2")
    images, _ = next(iter(digits.loader("test")))
    made = torch.export.load(tmp_path / "model.pt2").module()(images, torch.full((len(images),), 3))
    torch.testing.assert_close(made, fast.vae.relabel(images, 3), rtol=1e-4, atol=1e-5)


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.isatty = lambda: terminal


def test_the_bar_is_drawn_every_twenty_steps(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Stream(terminal=True))
    assert Bar().refresh_rate == 20
    assert Bar().is_enabled


@pytest.mark.parametrize(("epochs", "told"), [(3, [1, 2, 3]), (25, [3, 6, 9, 12, 15, 18, 21, 24, 25])])
def test_a_file_gets_a_few_lines_in_place_of_the_bar(tmp_path, digits, monkeypatch, epochs, told):
    monkeypatch.setattr(sys, "stdout", Stream(terminal=False))
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    how = {"enable_progress_bar": True, "log_every_n_steps": 1, "limit_train_batches": 2}
    fit(tmp_path, task(), digits, epochs, callbacks=[Bar()], **how)
    printed = sys.stdout.getvalue()
    assert "\r" not in printed
    lines = [line for line in printed.splitlines() if line.startswith("epoch ")]
    assert [int(line.split()[1]) for line in lines] == told
    assert all(re.fullmatch(rf"epoch \d+ of {epochs}, loss [\d.e+-]+", line) for line in lines)


class Stop(Callback):
    """Ends the training after its first epoch."""

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


def test_a_compiled_step_is_the_step(tmp_path, digits, monkeypatch):
    compile_, graphs = torch.compile, []

    def backend(graph, inputs):  # the tracing without the C++ compiler's minutes
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function: compile_(function, backend=backend))
    torch._dynamo.reset()
    compiled, plain = task(compiled=True), task()
    names = list(plain.state_dict())
    for what in (compiled, plain):
        fit(tmp_path, what, digits, limit_train_batches=4)
    assert len(graphs) == 1  # no break, and no second compilation
    assert list(compiled.state_dict()) == names
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)
    copy.deepcopy(compiled)


def test_without_a_compiler_there_is_one_warning(monkeypatch):
    def backend(graph, inputs):
        raise RuntimeError("no C++ compiler")

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: compile_(function, backend=backend))
    torch._dynamo.reset()
    step = compiling.compiled_or_eager(lambda x: x.sin() + 1)
    with pytest.warns(UserWarning, match="compile: not possible here, training goes on without"):
        torch.testing.assert_close(step(torch.zeros(3)), torch.ones(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(torch.zeros(3))


def test_other_errors_are_not_taken_for_a_missing_compiler():
    def wrong(x):
        raise ValueError("images: wrong")

    with pytest.raises(ValueError, match="images: wrong"):
        compiling.compiled_or_eager(torch.compiler.disable(wrong))(torch.zeros(3))


def test_the_warm_up_of_a_compiled_step_is_the_same():
    for progress in (0.0, 0.03, 0.1, 0.5, 1.0):
        value = linear_warm_up(torch.tensor(progress), 0.1)
        torch.testing.assert_close(value, torch.tensor(linear_warm_up(progress, 0.1)))


def test_under_bfloat16_every_term_is_computed_in_float32(digits):
    images, labels = next(iter(digits.loader("train", 64)))
    what = task()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = what.loss(what.vae, images, labels)
        posterior = what.vae.encode(images)
        means = class_mean_loss(posterior.mean, labels)
        style = style_loss(images, labels, images.flip(0), labels, 10)
    assert posterior.mean.dtype == torch.bfloat16
    used = {name: value for name, value in vars(terms).items() if isinstance(value, torch.Tensor)}
    assert len(used) > 6
    for name, value in used.items():
        assert value.dtype == torch.float32, name
    assert posterior.kl_per_dimension().dtype == torch.float32
    torch.testing.assert_close(means, class_mean_loss(posterior.mean.float(), labels), rtol=0, atol=0)
    torch.testing.assert_close(style, style_loss(images, labels, images.flip(0), labels, 10), rtol=0, atol=0)


def test_the_step_size_follows_the_batch_size():
    preset = MNIST.guide.optimization
    assert preset.rate_factor == 1.0
    larger = replace(preset, batch_size=4 * preset.batch_size)
    assert larger.rate_factor == pytest.approx(2.0)
    assert MNIST.vae.optimization.rate_factor == pytest.approx(0.5**0.5)  # tuned at 128, run at 64
    assert Optimization(batch_size=512).rate_factor == 1.0


class Largest(TorchDispatchMode):
    """How many tensors had at least so many elements."""

    def __init__(self, least):
        super().__init__()
        self.least, self.storages = least, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.numel() >= self.least:
            self.storages.add(out.untyped_storage().data_ptr())
        return out


def test_any_number_of_images_are_relabelled_in_chunks(vae, shape):
    images = torch.rand(3000, *shape)
    with Largest(1000 * 64) as largest:
        made = vae.relabel(images, 2, chunk_size=100)
    assert largest.storages <= {made.untyped_storage().data_ptr(), images.untyped_storage().data_ptr()}
    torch.testing.assert_close(made[:50], vae.relabel(images[:50], 2))


def test_bfloat16_and_compiled_relabelling_agree(vae, images, labels):
    vae.eval()
    expected = vae.relabel(images, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = vae.relabel(images, labels)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, expected, rtol=0, atol=0.03)
    names = list(vae.state_dict())
    vae.compile(backend="eager")
    torch.testing.assert_close(vae.relabel(images, labels), expected)
    assert list(vae.state_dict()) == names


class MostEntries(TorchDispatchMode):
    """The largest tensor that an operation makes, by the number of its entries."""

    def __init__(self):
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, tuple | list) else (made,):
            if isinstance(each, torch.Tensor) and each.layout == torch.strided and each.device.type == "cpu":
                self.entries = max(self.entries, each.numel())
        return made


def largest_tensor(classes: int, images: int = 6, **label: Any) -> int:
    guide = LabelClassifier((1, 8, 8), classes, widths=(8, 8), feature_dim=8)
    vae = ConditionalVAE((1, 8, 8), classes, latent_dim=6, encoder_widths=(8, 16), hidden_dim=32, **label)
    discriminator = Discriminator((1, 8, 8), classes, (8, 8), guide.map_widths)
    loss = GuidedELBO(guide, discriminator, EVERY_TERM)
    with MostEntries() as largest:
        loss(vae, torch.rand(images, 1, 8, 8), torch.arange(images)).total.backward()
        vae.relabel(torch.rand(images, 1, 8, 8), 1)
    return largest.entries


def test_no_tensor_of_a_step_grows_faster_than_the_classes():
    few, many = largest_tensor(2000), largest_tensor(10_000)
    assert many <= 5 * few
    assert many < 10_000 * 64  # neither K x K, nor a plane for each class, K x H x W


def test_the_decoder_lays_no_plane_for_each_class():
    few, many = (largest_tensor(2000, images, decoder_label="batchnorm-planes") for images in (6, 60))
    assert few == many  # a weight; 60 images with 2000 planes of 4x4 would be more
