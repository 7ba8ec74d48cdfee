import torch
from torch import nn

from labelvae import ConditionalVAE
from labelvae.inputs.tensors import wrong_labels
from labelvae.visual.contact_sheets import failures
from labelvae.visual.grids import wrong_labels_grid


class Brightness(nn.Module):
    """Takes a dark image for label 0, one between for 1, and a bright one for 2."""

    device = torch.device("cpu")

    def forward(self, images):
        """Logits `(B, 3)`."""
        return -8.0 * (images.mean(dim=(1, 2, 3))[:, None] - torch.tensor([0.0, 0.5, 1.0])).abs()


class Itself(ConditionalVAE):
    """Changes nothing."""

    def relabel(self, images, labels, own_labels=None, chunk_size=1024):
        """The images."""
        return images


def test_failures_are_those_that_the_judge_takes_least_for_what_was_asked():
    levels = torch.linspace(0.0, 0.9, 60)[torch.randperm(60)]
    images, labels = levels.view(-1, 1, 1, 1).expand(-1, 1, 8, 8), torch.randint(3, (60,))
    vae, names = Itself((1, 8, 8), 3), ["dark", "between", "bright"]
    picture = failures(vae, Brightness(), zip(images.split(16), labels.split(16), strict=True), names)
    generator = torch.Generator().manual_seed(0)  # as `evaluate` draws them
    asked = torch.cat([wrong_labels(part, 3, generator) for part in labels.split(16)])
    worst = Brightness()(images).softmax(dim=1).gather(1, asked[:, None]).flatten().argsort()[:25]
    assert len(worst) == 25
    expected = wrong_labels_grid(images[worst], images[worst], labels[worst], asked[worst], names)
    assert picture.tobytes() == expected.tobytes()
