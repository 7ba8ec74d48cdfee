import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import nn

from labelvae import ClassifierTraining, LabelClassifier
from labelvae.losses.attack import noise_step, projected_gradient
from labelvae.losses.terms import label_loss
from labelvae.runs.settings import ClassifierSettings


class Linear(nn.Module):
    """A classifier whose gradient is known: one logit a class, the weighted sum of the pixels."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, images):
        return images.flatten(1) @ self.weights


WEIGHTS = torch.tensor([[1.0, -1.0], [-2.0, 2.0], [0.0, 0.0], [0.5, -0.5]])
IMAGES = torch.full((3, 1, 2, 2), 0.5)
UPHILL = torch.tensor([[-1.0, 1.0, 0.0, -1.0], [1.0, -1.0, 0.0, 1.0], [-1.0, 1.0, 0.0, -1.0]])
"""Signs of the gradient of the loss under the labels 0, 1, 0."""


def test_many_steps_end_in_the_worst_corner():
    attacked = projected_gradient(Linear(WEIGHTS), IMAGES, torch.tensor([0, 1, 0]), 0.1)
    change = (attacked - IMAGES).flatten(1)
    there = UPHILL != 0
    torch.testing.assert_close(change[there], 0.1 * UPHILL[there])
    assert change.abs().max() <= 0.1 + 1e-6


def test_one_step_goes_uphill_from_noise():
    torch.manual_seed(0)
    images = IMAGES[:1].repeat(4000, 1, 1, 1)
    change = (noise_step(Linear(WEIGHTS), images, torch.zeros(4000, dtype=torch.long), 0.05) - images).flatten(1)
    torch.testing.assert_close(change.mean(dim=0), 0.05 * UPHILL[0], rtol=0, atol=5e-3)
    assert 0.14 < change.abs().max() <= 0.15 + 1e-6  # the noise, and the step
    assert change[:, 2].abs().max() <= 0.1 + 1e-6  # where the gradient is 0, the noise alone


@pytest.mark.parametrize("attack", [noise_step, projected_gradient])
def test_attacked_images_are_images(attack):
    images = torch.tensor([0.0, 1.0, 0.99, 0.01]).reshape(1, 1, 2, 2)
    attacked = attack(Linear(WEIGHTS), images, torch.tensor([1]), 0.3)
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert not attacked.requires_grad


def test_an_attack_raises_the_loss_and_leaves_the_weights_alone():
    torch.manual_seed(0)
    classifier = LabelClassifier((1, 8, 8), 10, widths=(8, 8), feature_dim=8).eval()
    images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 10
    with torch.no_grad():  # as in a validation step
        attacked = projected_gradient(classifier, images, labels, 0.05)
    assert label_loss(classifier(attacked), labels).mean() > label_loss(classifier(images), labels).mean()
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_training_on_attacked_images_makes_a_classifier_harder_to_attack(digits, tmp_path):
    images, labels = next(iter(digits.loader("validation")))
    robust = []
    for adversarial in (0.0, 0.1):
        seed_everything(0, verbose=False)
        classifier = LabelClassifier((1, 8, 8), 10, widths=(16, 32), feature_dim=32)
        task = ClassifierTraining(classifier, learning_rate=5e-3, adversarial=adversarial)
        fit = Trainer(
            accelerator="cpu",
            max_epochs=6,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        fit.fit(task, datamodule=digits)
        assert fit.callback_metrics["val/accuracy"] > 0.9
        classifier.eval()
        attacked = projected_gradient(classifier, images, labels, 0.1)
        robust.append(float((classifier(attacked).argmax(dim=1) == labels).float().mean()))
    assert robust[1] > robust[0] + 0.1


@pytest.mark.parametrize("adversarial", [-0.1, 1.0, float("nan")])
def test_a_step_out_of_range_is_refused(adversarial):
    with pytest.raises(ValueError, match="adversarial: expected a finite number"):
        ClassifierSettings(adversarial=adversarial)
    with pytest.raises(ValueError, match="adversarial: expected a finite number"):
        ClassifierTraining(LabelClassifier((1, 8, 8), 10), adversarial=adversarial)
