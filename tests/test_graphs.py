"""A step that is replayed from a graph; the graph itself is tried on a GPU, by benchmarks/gpu_recorded.py."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything

from labelvae import ConditionalVAE, GuidedELBO, ImageData, LabelClassifier, Objective, VAETraining
from labelvae.data.image_sets import ImageSet
from labelvae.data.loaders import ImageLoader
from labelvae.training.graphs import GraphedStep, Recording

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step`:UserWarning")


class Played:
    """In place of a CUDA graph: it runs the step again, and writes its results where they were the first time."""

    def __init__(self, step: GraphedStep, *inputs: torch.Tensor) -> None:
        self.step, self.inputs = step, inputs
        self.names, self.values = step._forth_and_back(*inputs)
        self.gradients = [weight.grad for weight in step._weights()]

    def replay(self) -> None:
        _, values = self.step._forth_and_back(*self.inputs)
        self.values.copy_(values)
        for weight, gradient in zip(self.step._weights(), self.gradients, strict=True):
            if gradient is not None:
                gradient.copy_(weight.grad)
            weight.grad = gradient


class OnGraph(Callback):
    """Gives a task on a CPU the graph that it takes on a GPU."""

    def on_train_start(self, trainer, pl_module):
        pl_module._step = pl_module._graph = GraphedStep(pl_module.step, pl_module)


@pytest.fixture
def played(monkeypatch):
    def record(step, *batch):
        inputs = [value.clone() for value in batch]
        states = torch.get_rng_state(), [(buffer, buffer.clone()) for buffer in step.module.buffers()]
        graph = Played(step, *inputs)
        torch.set_rng_state(states[0])
        for buffer, value in states[1]:
            buffer.copy_(value)
        return Recording(graph, *inputs, graph.names, graph.values, graph.gradients, step._weights())

    monkeypatch.setattr(GraphedStep, "_record", record)


def trained(callbacks, batch_size=16, **trainer):
    seed_everything(0, verbose=False)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (72, 1, 8, 8), generator=generator, dtype=torch.uint8)
    data = ImageData.from_tensors(images, torch.arange(72) % 3, ["a", "b", "c"])
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4)
    task = VAETraining(vae, GuidedELBO(LabelClassifier((1, 8, 8), 3), objective=Objective(class_mean_weight=1.0)))
    loader = data.loader("train", batch_size, shuffle=True)
    how = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
    }
    fitted = Trainer(max_epochs=3, accelerator="cpu", callbacks=callbacks, log_every_n_steps=2, **how, **trainer)
    fitted.fit(task, loader)
    return task, fitted


def test_a_replayed_training_is_the_same_training(played):
    plain, before = trained([])
    replayed, after = trained([OnGraph()])
    assert before.global_step == after.global_step > 9
    for name, value in plain.vae.state_dict().items():
        torch.testing.assert_close(replayed.vae.state_dict()[name], value, msg=name)
    assert after.callback_metrics["train/total"] == pytest.approx(float(before.callback_metrics["train/total"]))


def test_batches_of_another_size_are_not_replayed(played):
    seen = []

    class Looking(OnGraph):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append((len(batch[0]), pl_module._graph.replayed))

    task, _ = trained([Looking()], batch_size=24)
    assert (24, True) in seen
    assert {replayed for size, replayed in seen if size != 24} == {False}
    for value in task.vae.state_dict().values():
        assert value.isfinite().all()


def test_a_step_that_cannot_be_recorded_runs_without():
    class Failing(OnGraph):
        def on_train_start(self, trainer, pl_module):
            super().on_train_start(trainer, pl_module)
            pl_module._graph._record = self.fail

        def fail(self, *batch):
            raise RuntimeError("operation not permitted when stream is capturing\nand more")

    with pytest.warns(UserWarning, match=r"graphs: not possible .* \(operation not permitted when stream is capturing"):
        failed, _ = trained([Failing()])
    plain, _ = trained([])
    for name, value in plain.vae.state_dict().items():
        torch.testing.assert_close(failed.vae.state_dict()[name], value, msg=name)


class Accumulating(Callback):
    """Add up the gradients of two batches from the second epoch on."""

    def on_train_epoch_start(self, trainer, pl_module):
        trainer.accumulate_grad_batches = 1 if trainer.current_epoch == 0 else 2


class Freezing(Callback):
    """Train the decoder alone in the second epoch."""

    def on_train_epoch_start(self, trainer, pl_module):
        pl_module.vae.encoder.requires_grad_(trainer.current_epoch != 1)


@pytest.mark.parametrize("change", [Accumulating, Freezing])
def test_what_changes_between_epochs_holds_for_replays_too(change, played):
    plain, before = trained([change()])
    replayed, after = trained([OnGraph(), change()])
    assert before.global_step == after.global_step
    for name, value in plain.vae.state_dict().items():
        torch.testing.assert_close(replayed.vae.state_dict()[name], value, msg=name)


def test_on_a_cpu_there_is_no_graph():
    class Seen(Callback):
        def on_train_start(self, trainer, pl_module):
            assert pl_module.graphed
            assert pl_module._graph is None

    seed_everything(0, verbose=False)
    task = VAETraining(ConditionalVAE((1, 8, 8), 3), GuidedELBO(LabelClassifier((1, 8, 8), 3)), graphed=True)
    batches = ImageLoader(ImageSet(torch.zeros(8, 1, 8, 8, dtype=torch.uint8), torch.arange(8) % 3), 8)
    how = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
    }
    trainer = Trainer(max_epochs=1, accelerator="cpu", callbacks=[Seen()], **how)
    trainer.fit(task, batches)
    assert trainer.global_step == 1
