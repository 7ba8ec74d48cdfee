import copy

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch.nn import functional as F

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
from labelvae.training.callbacks import LastCheckpoint, MovingAverage
from labelvae.training.optimizers import CLIP_NORM, learning_rate_factor

OBJECTIVE = Objective(
    likelihood="gaussian",
    label_weight=5.0,
    cycle_weight=0.5,
    equivariance_weight=0.5,
    adversarial_weight=1.0,
    guide_augmentation=Augmentation(noise=0.1),
)


def trainer(tmp_path, epochs, *callbacks, **how):
    return Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=bool(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        default_root_dir=tmp_path,
        **how,
    )


def vae_task():
    seed_everything(1, verbose=False)
    guide = LabelClassifier((1, 8, 8), 10, widths=(8, 8), feature_dim=8)
    vae = ConditionalVAE((1, 8, 8), 10, latent_dim=6, encoder_widths=(8, 16), hidden_dim=32)
    loss = GuidedELBO(guide, Discriminator((1, 8, 8), 10, (8, 8)), OBJECTIVE)
    changes = Augmentation(sizes=(0.8, 1.2), strokes=(0.7, 1.5), shift=0.1, share=0.5)
    return VAETraining(vae, loss, learning_rate=4e-3, augmentation=changes)


@pytest.mark.parametrize(("schedule", "top"), [("cosine", 20), ("one-cycle", 60)])
def test_the_learning_rate_warms_up_and_goes_to_zero(schedule, top):
    factors = [learning_rate_factor(step, 200, schedule) for step in range(201)]
    assert factors.index(max(factors)) == top
    assert max(factors) == 1
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert 0 < factors[0] < 0.1
    assert factors[-1] == pytest.approx(0)


def test_a_classifier_learns_digits(digits, tmp_path):
    seed_everything(0, verbose=False)
    classifier = LabelClassifier((1, 8, 8), 10, widths=(16, 32), feature_dim=32)
    task = ClassifierTraining(classifier, Augmentation(shift=0.05, noise=0.1), learning_rate=5e-3)
    fit = trainer(tmp_path, 6)
    fit.fit(task, datamodule=digits)
    assert fit.callback_metrics["val/accuracy"] > 0.9


def test_a_network_takes_the_names_of_the_classes_it_is_trained_on(tmp_path):
    data = ImageData.from_tensors(torch.rand(40, 1, 8, 8), [0, 1] * 20, ["cat", "dog"], batch_size=8)
    named = LabelClassifier((1, 8, 8), 2, widths=(4,))
    named.class_names = ["a", "b"]
    classifier, vae = LabelClassifier((1, 8, 8), 2, widths=(4,)), ConditionalVAE((1, 8, 8), 2, latent_dim=2)
    for task in (ClassifierTraining(classifier), ClassifierTraining(named), VAETraining(vae, GuidedELBO())):
        trainer(tmp_path, 1).fit(task, datamodule=data)
    assert classifier.class_names == vae.class_names == ["cat", "dog"]
    assert named.class_names == ["a", "b"]


def test_a_pooled_classifier_is_whitened_once_by_its_first_batch(digits, tmp_path):
    def task():
        seed_everything(0, verbose=False)
        return ClassifierTraining(LabelClassifier((1, 8, 8), 10, kind="pooled", widths=(16, 32), feature_dim=32))

    path, first, more = tmp_path / "last.ckpt", task(), task()
    assert torch.equal(first.classifier.maps[0].filters.flatten(1), torch.eye(4))
    trainer(tmp_path, 1, LastCheckpoint(path)).fit(first, datamodule=digits)
    filters = first.classifier.maps[0].filters
    assert not torch.equal(filters.flatten(1), torch.eye(4))
    given = filters.clone()
    trainer(tmp_path, 1).fit(first, datamodule=digits)  # once more, from its weights
    assert torch.equal(filters, given)
    longer = trainer(tmp_path, 5, LastCheckpoint(path))
    longer.fit(more, datamodule=digits, ckpt_path=path, weights_only=True)
    assert torch.equal(more.classifier.maps[0].filters, filters)
    assert longer.callback_metrics["val/accuracy"] > 0.9


def test_the_guide_is_the_same_after_a_fit(digits, tmp_path):
    task = vae_task()
    before = copy.deepcopy(task.loss.guide.state_dict())
    model_before = copy.deepcopy(task.vae.state_dict())
    discriminator_before = copy.deepcopy(task.loss.discriminator.state_dict())
    trainer(tmp_path, 2).fit(task, datamodule=digits)
    for name, value in task.loss.guide.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    moved = [n for n, p in task.vae.named_parameters() if not torch.equal(p, model_before[n])]
    assert len(moved) == len(list(task.vae.parameters()))
    assert any(not torch.equal(p, discriminator_before[n]) for n, p in task.loss.discriminator.named_parameters())


def test_the_loss_falls(digits, tmp_path):
    task = vae_task()
    batch = next(iter(digits.loader("validation")))
    task.vae.eval()  # as a model that was loaded is; fit must put it into training mode
    before = task.loss(task.vae, *batch).reconstruction.mean()
    statistics = task.vae.decoder.norms[0].norm.running_mean.clone()
    trainer(tmp_path, 4).fit(task, datamodule=digits)
    assert not torch.equal(task.vae.decoder.norms[0].norm.running_mean, statistics)
    assert task.loss(task.vae.eval(), *batch).reconstruction.mean() < before - 20


@pytest.mark.parametrize(
    "how", [{}, {"max_steps": 50}, {"max_steps": 20, "accumulate_grad_batches": 3, "val_check_interval": 4}]
)
def test_a_stopped_and_resumed_run_ends_like_one_never_stopped(how, digits, tmp_path):
    whole = vae_task()
    unbroken = trainer(tmp_path, 4, LastCheckpoint(tmp_path / "whole.ckpt"), **how)
    unbroken.fit(whole, datamodule=digits)

    class StopInEpoch2(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.current_epoch == 2 and batch_idx == 5:
                raise RuntimeError("stopped")

    path = tmp_path / "last.ckpt"
    with pytest.raises(RuntimeError, match="stopped"):
        trainer(tmp_path, 4, LastCheckpoint(path), StopInEpoch2(), **how).fit(vae_task(), datamodule=digits)
    torch.rand(100)  # whatever else happens in between
    resumed, again = vae_task(), trainer(tmp_path, 4, LastCheckpoint(path), **how)
    again.fit(resumed, datamodule=digits, ckpt_path=path, weights_only=True)
    assert again.global_step == unbroken.global_step
    for (name, value), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(other, value, rtol=0, atol=0, msg=name)


class Listed:
    """A stateful loader of somebody else: its state is read when an iteration is made."""

    def __init__(self, batches):
        self.batches, self.given, self.first = batches, 0, 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        self.given, self.first = self.first, 0
        return self._from(self.given)

    def _from(self, first):
        for batch in self.batches[first:]:
            self.given += 1
            yield batch

    def state_dict(self):
        return {"given": self.given}

    def load_state_dict(self, state):
        self.first = state["given"]


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
@pytest.mark.parametrize("how", [{}, {"max_steps": 25}, {"accumulate_grad_batches": 2}])
@pytest.mark.parametrize("source", ["data", "before", "listed"])
def test_a_run_that_is_resumed_within_an_epoch_ends_like_one_never_stopped(how, source, digits, tmp_path):
    """A checkpoint that was made before loaders had a state ("before") is resumed in the same way."""

    def fit(task, *callbacks, **resume):
        loader = Listed(list(digits.loader("train", 100)))
        batches = {"train_dataloaders": loader} if source == "listed" else {"datamodule": digits}
        fit = trainer(tmp_path, 3, LastCheckpoint(tmp_path / "last.ckpt"), *callbacks, limit_val_batches=0, **how)
        fit.fit(task, **batches, **resume)
        return fit.global_step

    class SaveOnce(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 9 and not path.exists():
                trainer.save_checkpoint(path)

    path = tmp_path / "within.ckpt"
    whole, resumed = vae_task(), vae_task()
    steps = fit(whole, SaveOnce())
    if source == "before":
        checkpoint = torch.load(path, weights_only=True)
        del checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"]
        torch.save(checkpoint, path)
    torch.rand(100)  # whatever else happens in between
    assert fit(resumed, ckpt_path=path, weights_only=True) == steps
    for (name, value), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        torch.testing.assert_close(other, value, rtol=0, atol=0, msg=name)


class Weights(Callback):
    """Keeps a copy of the model's weights after every step, and of those that an epoch is validated with."""

    def __init__(self):
        self.steps, self.validated = [], []

    def on_train_batch_end(self, trainer, task, *_):
        self.steps.append(copy.deepcopy(task.vae.state_dict()))

    def on_validation_epoch_end(self, trainer, task):
        if not trainer.sanity_checking:
            self.validated.append(copy.deepcopy(task.vae.state_dict()))


def test_the_moving_average_is_what_is_validated_and_kept(digits, tmp_path):
    task, seen = vae_task(), Weights()
    guide = copy.deepcopy(task.loss.guide.state_dict())
    trainer(tmp_path, 2, seen, MovingAverage(0.8)).fit(task, datamodule=digits)
    name = "encoder.maps.1.weight"
    average = seen.steps[0][name]
    for place, step in enumerate(seen.steps[1:], start=1):
        kept = min(0.8, (1 + place) / (10 + place))
        average = kept * average + (1 - kept) * step[name]
        if place == 17:
            torch.testing.assert_close(seen.validated[0][name], average)
    assert len(seen.steps) == 36
    torch.testing.assert_close(task.vae.state_dict()[name], average)
    assert not torch.allclose(average, seen.steps[-1][name], rtol=1e-3)
    for key, value in task.loss.guide.state_dict().items():
        torch.testing.assert_close(value, guide[key], rtol=0, atol=0)


def test_the_directions_of_a_spectral_normalization_are_not_averaged(digits, tmp_path):
    loss = GuidedELBO(None, Discriminator((1, 8, 8), 10, widths=(8, 8)), Objective(adversarial_weight=1.0))
    task = VAETraining(ConditionalVAE((1, 8, 8), 10, encoder_widths=(8, 8)), loss)
    trainer(tmp_path, 1, MovingAverage(0.9)).fit(task, datamodule=digits)
    found = {name: value for name, value in loss.discriminator.state_dict().items() if name.endswith(("_u", "_v"))}
    assert len(found) == 8
    for name, vector in found.items():
        torch.testing.assert_close(vector.norm(), torch.tensor(1.0), msg=name)


def test_a_resumed_run_goes_on_with_its_moving_average(digits, tmp_path):
    whole, resumed, path = vae_task(), vae_task(), tmp_path / "last.ckpt"
    trainer(tmp_path, 3, LastCheckpoint(tmp_path / "whole.ckpt"), MovingAverage(0.9)).fit(whole, datamodule=digits)

    class Stop(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 45:
                raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        trainer(tmp_path, 3, LastCheckpoint(path), Stop(), MovingAverage(0.9)).fit(vae_task(), datamodule=digits)
    again = trainer(tmp_path, 3, LastCheckpoint(path), MovingAverage(0.9))
    again.fit(resumed, datamodule=digits, ckpt_path=path, weights_only=True)
    finished = vae_task()  # and one that has nothing left to do ends with the average too
    last = trainer(tmp_path, 3, LastCheckpoint(path), MovingAverage(0.9))
    last.fit(finished, datamodule=digits, ckpt_path=path, weights_only=True)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0, msg=name)
        torch.testing.assert_close(finished.state_dict()[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("decay", [0.0, 1.0, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match="decay: expected a finite number above 0 and below 1"):
        MovingAverage(decay)


def test_a_finished_run_can_go_on_to_more_epochs(digits, tmp_path):
    path = tmp_path / "last.ckpt"
    trainer(tmp_path, 2, LastCheckpoint(path, every_n_epochs=5)).fit(vae_task(), datamodule=digits)
    more = trainer(tmp_path, 3, LastCheckpoint(path))
    more.fit(vae_task(), datamodule=digits, ckpt_path=path, weights_only=True)
    assert more.current_epoch == 3
    assert more.global_step == 3 * 18


def test_terms_are_logged_every_k_steps_and_nothing_else(digits, tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    calls = []

    class Counting(CSVLogger):
        def log_metrics(self, metrics, step=None):
            calls.append((step, sorted(metrics)))

    fit = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=Counting(tmp_path),
        log_every_n_steps=9,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    fit.fit(vae_task(), datamodule=digits)
    train = [(step, names) for step, names in calls if any(name.startswith("train/") for name in names)]
    assert [step for step, _ in train] == [8, 17, 26, 35]
    assert "train/reconstruction" in train[0][1]
    assert "train/discriminator" in train[0][1]


def test_a_frozen_classifier_is_not_trained_in_silence(guide):
    GuidedELBO(guide)
    with pytest.raises(ValueError, match="train a guide before GuidedELBO takes it"):
        ClassifierTraining(guide)


def test_a_loss_for_another_model_is_refused_before_anything_is_trained(guide):
    with pytest.raises(ValueError, match="guide: knows 3 classes of images"):
        VAETraining(ConditionalVAE((1, 8, 8), 4), GuidedELBO(guide))


def test_labels_of_validation_are_checked():
    task = ClassifierTraining(LabelClassifier((1, 8, 8), 3, widths=(4,)))
    with pytest.raises(ValueError, match="from 0 to 2, got 3"):
        task.validation_step((torch.rand(2, 1, 8, 8), torch.tensor([0, 3])), 0)


def test_a_trainer_without_an_end_is_refused(digits, tmp_path):
    with pytest.raises(ValueError, match="max_steps: the learning rate's schedule needs to know when"):
        trainer(tmp_path, -1).fit(vae_task(), datamodule=digits)


def test_a_given_clipping_is_honoured(vae, guide):
    task = VAETraining(vae, GuidedELBO(guide))
    for parameter in vae.parameters():
        parameter.grad = torch.full_like(parameter, 10.0)
    optimizer = torch.optim.SGD(task.parameter_groups(), lr=1.0)
    task.configure_gradient_clipping(optimizer, 0.5)
    norm = torch.stack([parameter.grad.norm() for parameter in vae.parameters()]).norm()
    assert norm.item() == pytest.approx(0.5, rel=1e-3)


def test_each_group_is_clipped_by_itself(vae):
    task = VAETraining(vae, GuidedELBO(None, Discriminator((1, 8, 8), 3), Objective(adversarial_weight=1.0)))
    for group, size in zip(task.parameter_groups(), (1e-4, 1e4), strict=True):
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, size)
    task.configure_gradient_clipping(torch.optim.SGD(task.parameter_groups(), lr=1.0))
    assert all((parameter.grad == 1e-4).all() for parameter in vae.parameters())
    norms = [parameter.grad.norm() for parameter in task.loss.discriminator.parameters()]
    assert torch.stack(norms).norm().item() == pytest.approx(CLIP_NORM, rel=1e-3)


def test_a_classifier_is_trained_on_changed_images_and_smoothed_labels(guide, images, labels):
    guide.eval()
    plain = ClassifierTraining(guide, label_smoothing=0.3).step(images, labels, 0.0)["total"]
    torch.testing.assert_close(plain, F.cross_entropy(guide(images), labels, label_smoothing=0.3))
    changed = ClassifierTraining(guide, Augmentation(noise=0.5), 0.3).step(images, labels, 0.0)["total"]
    assert (changed - plain).abs() > 1e-6


def test_a_model_is_trained_on_changed_images_and_validated_on_images_as_they_are(vae, images, labels):
    class Seen(GuidedELBO):
        def forward(self, vae, images, *others, **how):
            self.images = images
            return super().forward(vae, images, *others, **how)

    loss = Seen(None, None, Objective(label_weight=0.0))
    task = VAETraining(vae, loss, augmentation=Augmentation(sizes=(0.5, 0.6)))
    task.step(images, labels, 0.0)
    assert not torch.equal(loss.images, images)
    task.held_out_terms(images, labels)
    assert loss.images is images
    VAETraining(vae, loss).step(images, labels, 0.0)
    assert loss.images is images


def test_a_batch_of_one_is_refused_in_words(digits):
    how = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", enable_model_summary=False, **how)
    with pytest.raises(ValueError, match="batch_size: a training step needs at least 2 images, .*got 1"):
        trainer.fit(
            ClassifierTraining(LabelClassifier((1, 8, 8), 10, widths=(4,))),
            digits.loader("train", 1),
            digits.loader("test"),
        )
