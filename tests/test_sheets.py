import torch
from torch import nn

from labelvae import ConditionalVAE
from labelvae.figures import wrong_labels_grid
from labelvae.inputs import wrong_labels
from labelvae.sheets import failures


class Brightness(nn.Module):
    """Takes a bright image for label 0 and a dark one for label 1."""

    device = torch.device("cpu")

    def forward(self, images):
        """Logits `(B, 2)`."""
        level = 8.0 * images.mean(dim=(1, 2, 3)) - 4.0
        return torch.stack([level, -level], dim=1)


class Itself(ConditionalVAE):
    """Changes nothing."""

    def relabel(self, images, labels, own_labels=None, chunk_size=1024):
        """The images."""
        return images


def test_failures_are_those_that_the_judge_takes_least_for_what_was_asked():
    levels = torch.linspace(0.0, 0.9, 60)[torch.randperm(60)]
    images, labels = levels.view(-1, 1, 1, 1).expand(-1, 1, 8, 8), torch.randint(2, (60,))
    vae = Itself((1, 8, 8), 2)
    picture = failures(vae, Brightness(), zip(images.split(16), labels.split(16), strict=True), ["bright", "dark"])
    asked = wrong_labels(labels, 2)  # of two classes the other one
    worst = torch.where(asked == 0, levels, 1.0 - levels).argsort()[:25]
    assert len(worst) == 25
    expected = wrong_labels_grid(images[worst], images[worst], labels[worst], asked[worst], ["bright", "dark"])
    assert picture.tobytes() == expected.tobytes()
