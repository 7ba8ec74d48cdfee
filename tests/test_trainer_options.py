"""What users of Lightning do with a Trainer, on both tasks."""

import warnings
from io import BytesIO

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    ModelPruning,
    StochasticWeightAveraging,
)
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from labelvae import (
    Augmentation,
    ClassifierTraining,
    ConditionalVAE,
    Discriminator,
    GuidedELBO,
    ImageData,
    LabelClassifier,
    Objective,
    VAETraining,
)
from labelvae.training.callbacks import MovingAverage
from labelvae.training.descriptions import built

X, Y = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(100) % 3


def loader(*parts, batch_size=20, **how):
    return DataLoader(TensorDataset(*parts), batch_size, **how)


def vae_task(**objective):
    guide, other = (LabelClassifier((1, 8, 8), 3, widths=(width,), feature_dim=8) for width in (4, 6))
    how = Objective(likelihood="gaussian", guide_augmentation=Augmentation(noise=0.1), **objective)
    loss = GuidedELBO(guide, Discriminator((1, 8, 8), 3, (4, 8), guide.map_widths), how, [other])
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(4, 8), hidden_dim=8)
    return VAETraining(vae, loss, learning_rate=1e-3, schedule="one-cycle", prefix="a/")


def classifier_task():
    return ClassifierTraining(LabelClassifier((1, 8, 8), 3, widths=(4,)), Augmentation(shift=0.1), 0.1)


TASKS = [vae_task, classifier_task]


@pytest.fixture
def trainer(tmp_path):
    def make(**how):
        plain = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 2}
        callbacks = how.setdefault("callbacks", [])
        plain["enable_checkpointing"] = any(isinstance(each, ModelCheckpoint) for each in callbacks)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's advice on workers and the like
            return Trainer(**({"accelerator": "cpu", "default_root_dir": tmp_path} | plain | how))

    return make


pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:UserWarning:lightning", "ignore:.training_step. returned", "ignore:.*does not have many workers"
)


@pytest.mark.parametrize("task", TASKS)
def test_test_scores_what_validate_scores(task, trainer):
    made = task()
    torch.manual_seed(1)
    tested = trainer().test(made, loader(X, Y), verbose=False)[0]
    torch.manual_seed(1)
    validated = trainer().validate(made, loader(X, Y), verbose=False)[0]
    assert {name.replace("test/", "val/"): value for name, value in tested.items()} == validated
    assert f"{made.prefix}test/total" in tested


def test_a_classifier_predicts_probabilities(trainer):
    task = classifier_task()
    for batches in (loader(X, Y), loader(X), DataLoader(X, 20), DataLoader([{"image": image} for image in X], 20)):
        predicted = torch.cat(trainer().predict(task, batches))
        torch.testing.assert_close(predicted, task.classifier.eval()(X).softmax(dim=1))


def test_a_model_predicts_every_class(trainer):
    task = vae_task()
    predicted = torch.cat(trainer().predict(task, loader(X)))
    assert predicted.shape == (100, 3, 1, 8, 8)
    for label in range(3):
        torch.testing.assert_close(predicted[:, label], task.vae.relabel(X, label))
    sees = VAETraining(ConditionalVAE((1, 8, 8), 3, encoder_label="onehot"), GuidedELBO())
    assert trainer().predict(sees, loader(X, Y))[0].shape == (20, 3, 1, 8, 8)
    with pytest.raises(ValueError, match="this encoder sees the label of the image"):
        trainer().predict(sees, loader(X))


@pytest.mark.parametrize("task", TASKS)
def test_terms_of_the_training_can_be_monitored(task, trainer, tmp_path):
    class Terms(EarlyStopping):
        seen: list = []  # noqa: RUF012

        def on_train_batch_end(self, trainer, pl_module, outputs, *_):
            self.seen.append(float(outputs["loss"]))

    made = task()
    kept = ModelCheckpoint(tmp_path, monitor=f"{made.prefix}train/total")
    watch = Terms(f"{made.prefix}train/total", check_on_train_epoch_end=True)
    watch.seen = []
    fit = trainer(callbacks=[kept, watch], max_epochs=1)
    fit.fit(made, loader(X, Y), loader(X, Y))
    mean = sum(watch.seen) / 5
    assert float(fit.callback_metrics[f"{made.prefix}train/total"]) == pytest.approx(mean, rel=1e-5)
    assert float(kept.best_model_score) == pytest.approx(mean, rel=1e-5)
    assert float(watch.best_score) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("every", [0, 2, 50])
def test_between_logs_nothing_is_read(every, trainer, monkeypatch):
    from labelvae.training.term_window import TermWindow

    read, real = [], TermWindow.read
    monkeypatch.setattr(TermWindow, "read", lambda self: (read.append(len(self.unread)), real(self))[1])
    trainer(log_every_n_steps=every, limit_val_batches=0).fit(vae_task(), loader(X, Y))
    assert read == {0: [5, 5], 2: [2, 2, 1, 1, 2, 2], 50: [5, 5]}[every]


@pytest.mark.parametrize("task", [lambda: vae_task(adversarial_weight=1.0, label_constraint=True), *TASKS])
def test_a_task_is_rebuilt_from_its_checkpoint_alone(task, trainer, tmp_path):
    made = task()
    fit = trainer()
    fit.fit(made, loader(X, Y))
    fit.save_checkpoint(tmp_path / "whole.ckpt")
    assert torch.load(tmp_path / "whole.ckpt", weights_only=True)["hyper_parameters"]["learning_rate"]
    fit.save_checkpoint(tmp_path / "weights.ckpt", weights_only=True)
    files = [tmp_path / "whole.ckpt", str(tmp_path / "weights.ckpt"), BytesIO((tmp_path / "whole.ckpt").read_bytes())]
    for file in files:
        again = type(made).load_from_checkpoint(file)
        assert again.hyperparameters() == made.hyperparameters()
        for (name, value), other in zip(made.state_dict().items(), again.state_dict().values(), strict=True):
            torch.testing.assert_close(other, value, rtol=0, atol=0, msg=name)
    assert type(made).load_from_checkpoint(files[0], learning_rate=0.5).learning_rate == 0.5
    if isinstance(made, VAETraining):
        assert again.loss.objective == made.loss.objective
        assert all(guide.frozen for guide in again.loss.guidance.guides)


def test_what_cannot_be_rebuilt_is_named(trainer, tmp_path):
    class Mine(ConditionalVAE):
        pass

    task, path = VAETraining(Mine((1, 8, 8), 3), GuidedELBO()), tmp_path / "mine.ckpt"
    fit = trainer()
    fit.fit(task, loader(X, Y))
    fit.save_checkpoint(path)
    with pytest.raises(ValueError, match="vae: the checkpoint was made with a Mine of your own.*pass vae="):
        VAETraining.load_from_checkpoint(path)
    assert type(VAETraining.load_from_checkpoint(path, vae=Mine((1, 8, 8), 3)).vae) is Mine
    with pytest.raises(ValueError, match="does not say what its classifier was"):
        ClassifierTraining.load_from_checkpoint(path)
    with pytest.raises(ValueError, match="its weights are not those of this VAETraining"):
        VAETraining.load_from_checkpoint(path, vae=ConditionalVAE((1, 8, 8), 3, latent_dim=5))
    whole = path.read_bytes()
    for broken in (whole[:1000], whole[: len(whole) // 2], b"", b"a text"):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="is no checkpoint that can be read"):
            VAETraining.load_from_checkpoint(path)
    foreign = {"hyper_parameters": ["learning_rate"], "state_dict": {}, "pytorch-lightning_version": "2.6.0"}
    torch.save(foreign, path)
    with pytest.raises(ValueError, match="does not say what its vae and loss was"):
        VAETraining.load_from_checkpoint(path)
    torch.save(foreign | {"state_dict": None}, path)
    with pytest.raises(ValueError, match="is no checkpoint that can be read .it has no weights"):
        VAETraining.load_from_checkpoint(path)
    with pytest.raises(ValueError, match="there is no such checkpoint"):
        VAETraining.load_from_checkpoint(tmp_path / "nothing.ckpt")


def test_a_class_of_your_own_has_its_article():
    with pytest.raises(ValueError, match="guide: the checkpoint was made with an Expert of your own.*pass guide="):
        built("guide", {"class": "Expert"})


def test_a_checkpoint_of_before_still_resumes_and_asks_for_the_parts(trainer, tmp_path):
    path = tmp_path / "old.ckpt"
    fit = trainer(max_epochs=1)
    fit.fit(vae_task(), loader(X, Y))
    fit.save_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["hyper_parameters"]
    torch.save(checkpoint, path)
    more = trainer()
    more.fit(vae_task(), loader(X, Y), ckpt_path=path, weights_only=True)
    assert more.global_step == 10
    with pytest.raises(ValueError, match="does not say what its vae and loss was.*pass vae=..., loss="):
        VAETraining.load_from_checkpoint(path)


class Clipped(ClassifierTraining):
    largest = 0.0

    def on_before_optimizer_step(self, optimizer):
        self.before = max(float(p.grad.abs().max()) for p in self.classifier.parameters())

    def optimizer_step(self, epoch, batch_idx, optimizer, closure=None):
        super().optimizer_step(epoch, batch_idx, optimizer, closure)
        grads = [p.grad for p in self.classifier.parameters() if p.grad is not None]
        self.after = max(float(grad.abs().max()) for grad in grads)
        self.norm = float(torch.stack([grad.norm() for grad in grads]).norm())


@pytest.mark.parametrize(
    ("how", "held"),
    [
        (
            {"gradient_clip_val": 1e-3, "gradient_clip_algorithm": "value"},
            lambda task: task.after <= 1.001e-3 < task.norm,
        ),
        ({"gradient_clip_val": 1e-3}, lambda task: task.norm <= 1.001e-3),
        ({"gradient_clip_val": 0}, lambda task: task.norm > 1e-2),
        ({"gradient_clip_val": 0.0}, lambda task: task.norm > 1e-2),
    ],
)
def test_clipping_is_what_was_asked_for(how, held, trainer):
    task = Clipped(LabelClassifier((1, 8, 8), 3, widths=(4,)))
    trainer(**how, max_epochs=1).fit(task, loader(X, Y))
    assert held(task)


def test_clipping_by_0_clips_nothing():
    from labelvae.training.optimizers import clip_gradients

    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.tensor([1e6])
    clip_gradients(torch.optim.SGD([weight], lr=1.0), 0.0)
    assert float(weight.grad) == 1e6


@pytest.mark.parametrize(
    ("how", "steps"),
    [
        ({"accumulate_grad_batches": 3}, 4),
        ({"callbacks": [GradientAccumulationScheduler({0: 1, 1: 5})]}, 6),
        ({"val_check_interval": 2}, 10),
        ({"max_epochs": -1, "max_steps": 3}, 3),
        ({"barebones": True}, 10),
        ({"precision": "64-true"}, 10),
        ({"callbacks": [EMAWeightAveraging(decay=0.9)]}, 10),
        ({"callbacks": [StochasticWeightAveraging(1e-3, swa_epoch_start=1)], "max_epochs": 3}, 15),
        ({"detect_anomaly": True}, 10),
        ({"profiler": "simple"}, 10),
        ({"reload_dataloaders_every_n_epochs": 1}, 10),
    ],
)
def test_a_trainer_may_be_told(how, steps, trainer):
    for task in TASKS:
        fit = trainer(**({"logger": None, "enable_progress_bar": None} if "barebones" in how else {}) | how)
        fit.fit(task(), loader(X, Y), loader(X, Y))
        assert fit.global_step in (steps, steps + 1)  # averaging adds a pass over the batches


def test_an_average_leaves_the_guide_alone(trainer):
    task = vae_task()
    before = {name: value.clone() for name, value in task.loss.guidance.state_dict().items()}
    trainer(callbacks=[EMAWeightAveraging(decay=0.97)]).fit(task, loader(X, Y))
    for name, value in task.loss.guidance.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, msg=name)


def test_several_loaders_of_validation_have_names_of_their_own(trainer):
    fit = trainer()
    fit.fit(classifier_task(), loader(X, Y), [loader(X, Y), loader(X[:40], Y[:40])])
    assert {f"val/total/dataloader_idx_{place}" for place in range(2)} <= set(fit.callback_metrics)


def test_a_task_can_be_trained_twice(trainer):
    task = vae_task()
    for _ in range(2):
        fit = trainer()
        fit.fit(task, loader(X, Y))
        assert fit.global_step == task.steps == 10


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


def test_a_stream_needs_its_steps(trainer):
    fit = trainer(max_epochs=-1, max_steps=7)
    fit.fit(classifier_task(), DataLoader(Stream(), 20))
    assert fit.global_step == 7
    for how in ({"max_epochs": 1}, {"max_epochs": -1, "max_time": "00:00:00:05"}):
        with pytest.raises(ValueError, match="max_steps: the learning rate.*pass Trainer.max_steps"):
            trainer(**how).fit(classifier_task(), DataLoader(Stream(), 20))


def test_a_last_batch_of_one_image_is_skipped_and_said(trainer):
    for task in TASKS:
        fit = trainer()
        with pytest.warns(UserWarning, match="the last batch of an epoch is skipped: it has one image"):
            fit.fit(task(), loader(X[:41], Y[:41]), loader(X, Y))
        assert float(fit.callback_metrics[f"{fit.lightning_module.prefix}train/total"]) > 0


@pytest.mark.parametrize("precision", ["16-true"])
def test_half_precision_is_refused(precision, trainer):
    with pytest.raises(ValueError, match="precision: expected 32-true or bf16-mixed, got 16-true"):
        trainer(precision=precision).fit(classifier_task(), loader(X, Y))


def test_batches_of_two_loaders_are_refused_in_words(trainer):
    with pytest.raises(ValueError, match="got a dict of a, b; rename them in the data set, or pass one loader"):
        trainer().fit(classifier_task(), {"a": loader(X, Y), "b": loader(X, Y)})


def test_warnings_are_as_before_when_a_training_fails(trainer):
    before = list(warnings.filters)
    with pytest.raises(ValueError, match="got values from -0.99"):
        trainer(num_sanity_val_steps=0).fit(vae_task(), loader(X * 2 - 1, Y))
    assert list(warnings.filters) == before


def test_pruning_of_the_frozen_guide_is_refused_and_of_the_model_taken(trainer):
    everywhere = ModelPruning("l1_unstructured", amount=0.2)
    with pytest.raises(ValueError, match="callbacks: ModelPruning would prune the frozen guide"):
        trainer(callbacks=[everywhere]).fit(vae_task(), loader(X, Y))
    task = vae_task()
    guided = {name: value.clone() for name, value in task.loss.guidance.state_dict().items()}
    layers = [(part, "weight") for part in task.vae.encoder.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    pruning = ModelPruning("l1_unstructured", parameters_to_prune=layers, amount=0.5)
    trainer(callbacks=[pruning]).fit(task, loader(X, Y))
    assert any((part.weight == 0).any() for part, _ in layers)
    torch.testing.assert_close(dict(task.loss.guidance.state_dict()), guided, rtol=0, atol=0)


@pytest.mark.parametrize("make", TASKS)
def test_a_training_without_gradients_is_refused(make, trainer):
    task = make()
    with torch.inference_mode(), pytest.raises(ValueError, match="inference_mode: there are no gradients"):
        trainer().fit(task, loader(X, Y))


@pytest.mark.parametrize("make", TASKS)
def test_weights_that_cannot_be_trained_are_refused(make, trainer):
    with torch.device("meta"):
        empty = make()
    with pytest.raises(ValueError, match="weights: .* is on the device meta and has no values; make the networks on"):
        trainer().fit(empty, loader(X, Y))
    with torch.inference_mode():
        fixed = make()
    with pytest.raises(ValueError, match="weights: .* was made inside torch.inference_mode and has no gradient"):
        trainer().fit(fixed, loader(X, Y))
    task, device = make(), torch.get_default_device()
    torch.set_default_device("meta")
    try:
        with pytest.raises(ValueError, match="device: the default is meta"):
            trainer().fit(task, loader(X, Y))
    finally:
        torch.set_default_device(device)


OPTIMIZERS = [
    lambda weights: torch.optim.SGD(weights, 1e-5, momentum=0.9),
    lambda weights: torch.optim.Adagrad(weights, 1e-5),
    lambda weights: torch.optim.LBFGS(weights, 1e-5, max_iter=1),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimizer_of_your_own_keeps_the_warm_up_of_the_terms(optimizer, trainer, tmp_path):
    class Mine(ClassifierTraining):
        def configure_optimizers(self):
            return optimizer(self.parameters())

        def step(self, images, labels, progress):
            seen.append(progress)
            return super().step(images, labels, progress)

    seen, fit = [], trainer(max_epochs=1)
    fit.fit(Mine(LabelClassifier((1, 8, 8), 3, widths=(4,))), loader(X, Y))
    assert seen == [0, 0.2, 0.4, 0.6, 0.8]
    fit.save_checkpoint(tmp_path / "mine.ckpt")
    seen.clear()
    longer = Mine(LabelClassifier((1, 8, 8), 3, widths=(4,)))
    trainer().fit(longer, loader(X, Y), ckpt_path=tmp_path / "mine.ckpt", weights_only=True)
    assert seen == [0.5, 0.6, 0.7, 0.8, 0.9]


def test_an_optimizer_of_your_own_may_train_without_an_end(trainer):
    class Mine(ClassifierTraining):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 1e-5)

    fit = trainer(max_epochs=-1, callbacks=[Stopped(7)])
    with pytest.raises(RuntimeError, match="stopped"):
        fit.fit(Mine(LabelClassifier((1, 8, 8), 3, widths=(4,))), loader(X, Y))
    assert fit.global_step == 7


class Stopped(Callback):
    """End a training by an error after a step."""

    def __init__(self, step, error=RuntimeError):
        self.step, self.error = step, error

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise self.error("stopped")


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_loader_shuffles_again_after_a_training_that_failed_while_it_overfitted(error, trainer):
    batches = ImageData.from_tensors(X, Y, list("abc")).loader("train", 20, shuffle=True)
    fit = trainer(overfit_batches=2, callbacks=[Stopped(3, error)])
    with pytest.raises(error, match="stopped"):
        fit.fit(classifier_task(), batches, loader(X, Y))
    assert batches.shuffle
    trainer(overfit_batches=2).fit(classifier_task(), [batches], loader(X, Y))
    assert batches.shuffle


def test_a_loader_that_is_made_anew_overfits_to_the_same_batches(trainer):
    seen = []

    class Watch(ClassifierTraining):
        def training_step(self, batch, batch_idx):
            seen.append(batch[1].tolist())
            return super().training_step(batch, batch_idx)

    data = ImageData.from_tensors(X, Y, list("abc"), batch_size=20)
    fit = trainer(overfit_batches=2, reload_dataloaders_every_n_epochs=1)
    fit.fit(Watch(LabelClassifier((1, 8, 8), 3, widths=(4,))), datamodule=data)
    assert seen[:2] == seen[2:]


class Rates(Callback):
    """Keep the learning rate of every step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, *_):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


def test_the_schedule_ends_with_the_training_whatever_changes_its_steps(trainer):
    data = ImageData.from_tensors(X, Y, list("abc"), batch_size=20)
    finder, added = BatchSizeFinder(max_trials=2, init_val=2, steps_per_trial=1), GradientAccumulationScheduler({0: 2})
    for changing, source, steps in ((finder, {"datamodule": data}, None), (added, {}, 4 * 3)):
        task, rates = classifier_task(), Rates()
        fit = trainer(max_epochs=4, callbacks=[changing, rates], limit_val_batches=0)
        fit.fit(task, *(() if source else (loader(X, Y),)), **source)
        assert fit.global_step == task.steps == (steps or 4 * len(data.train_dataloader()))
        assert rates.seen[-5] > rates.seen[-1] == 0


def test_a_rate_that_a_callback_finds_is_the_one_of_the_training(trainer, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.tuner.lr_finder._LRFinder.suggestion", lambda *_: 0.004)
    rates, task = Rates(), vae_task(adversarial_weight=1.0)
    fit = trainer(max_epochs=4, callbacks=[LearningRateFinder(num_training_steps=4), rates], limit_val_batches=0)
    fit.fit(task, loader(X, Y))
    assert task.learning_rate == 0.004
    assert max(rates.seen) == pytest.approx(0.004, rel=0.05)
    groups = fit.optimizers[0].param_groups
    assert [groups[0]["initial_lr"], groups[-1]["initial_lr"]] == [0.004, task.discriminator_learning_rate]


@pytest.mark.parametrize("how", [{"max_steps": 0}, {"max_epochs": 0}, {"limit_train_batches": 0}])
def test_a_trainer_that_shall_train_nothing_trains_nothing(how, trainer):
    for task in TASKS:
        fit = trainer(**how)
        fit.fit(task(), loader(X, Y), loader(X, Y))
        assert fit.global_step == 0


@pytest.mark.filterwarnings("ignore:Total length of")
def test_training_data_without_a_batch_are_refused(trainer):
    for batches in (loader(X[:0], Y[:0]), loader(X[:5], Y[:5], drop_last=True)):
        with pytest.raises(ValueError, match="training data: expected at least one batch, got none.*smaller batch"):
            trainer().fit(classifier_task(), batches)


def resumed(task, trainer, path, **how):
    fit = trainer(**how)
    fit.fit(task, loader(X, Y), loader(X, Y), ckpt_path=path, weights_only=True)
    return fit


@pytest.mark.parametrize(
    ("how", "steps"),
    [({}, 10), ({"accumulate_grad_batches": 3}, 7), ({"limit_train_batches": 2}, 7), ({"max_steps": 8}, 8)],
)
def test_a_training_that_is_resumed_with_other_steps_ends_with_its_schedule(how, steps, trainer, tmp_path):
    path = tmp_path / "first.ckpt"
    first = trainer(max_epochs=1)
    first.fit(classifier_task(), loader(X, Y))
    first.save_checkpoint(path)
    task, rates = classifier_task(), Rates()
    fit = resumed(task, trainer, path, callbacks=[rates], **how)
    assert fit.global_step == task.steps == steps
    assert rates.seen[0] > rates.seen[-1] == 0


@pytest.mark.filterwarnings("ignore:.*the checkpoint was made with")
def test_what_a_resumed_training_does_not_take_is_said(trainer, tmp_path):
    path = tmp_path / "first.ckpt"
    first = trainer(max_epochs=1)
    first.fit(vae_task(), loader(X, Y))
    first.save_checkpoint(path)
    task = vae_task()
    task.learning_rate = 0.5
    with pytest.warns(UserWarning, match=r"learning_rate: the checkpoint was made with 0.001, now 0.5; a resumed tr"):
        fit = resumed(task, trainer, path)
    assert fit.optimizers[0].param_groups[0]["initial_lr"] == 0.001
    with pytest.warns(UserWarning, match=r"loss: the checkpoint was made with label_weight 5.0, now 2.0"):
        resumed(vae_task(label_weight=2.0), trainer, path)
    for other in (classifier_task(), VAETraining(ConditionalVAE((1, 8, 8), 3, latent_dim=5), GuidedELBO())):
        with pytest.raises(ValueError, match="ckpt_path: the checkpoint's weights are not those of this"):
            resumed(other, trainer, path)
    with pytest.raises(ValueError, match="lr, size: VAETraining has no such argument, only vae, loss, learning_rate"):
        VAETraining.load_from_checkpoint(path, lr=0.5, size=3)
    with pytest.raises(ValueError, match="is a folder; give the path of a checkpoint in it"):
        VAETraining.load_from_checkpoint(tmp_path)


def test_a_network_without_a_weight_to_train_is_refused(trainer):
    task = vae_task()
    task.vae.requires_grad_(False)
    with pytest.raises(ValueError, match="weights: all are frozen, none can be trained"):
        trainer().fit(task, loader(X, Y))


def test_a_prefix_is_a_text():
    with pytest.raises(ValueError, match="prefix: expected str, got NoneType"):
        ClassifierTraining(LabelClassifier((1, 8, 8), 3, widths=(4,)), prefix=None)


def test_an_average_of_weights_of_16_bits(trainer):
    task = vae_task()
    before = task.vae.encoder.hidden.weight.clone()
    trainer(precision="bf16-true", callbacks=[MovingAverage(0.9)]).fit(task, loader(X, Y), loader(X, Y))
    assert not torch.equal(task.vae.encoder.hidden.weight, before)
