"""Plug in parts of your own: a loss term, a decoder, a torchvision guide, a likelihood, a data set and a metric.

    python examples/own_parts.py

Scikit-learn's 8x8 digits, one epoch of each: to read, not to look at.
"""

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from torchmetrics.image import PeakSignalNoiseRatio
from torchvision.models import resnet18

from labelvae import ConditionalVAE, Gaussian, GuidedELBO, ImageData, LabelClassifier, StepRecord, VAETraining, evaluate


def total_variation(record: StepRecord) -> Tensor:
    """How much neighbouring pixels of the counterfactual differ, `(B,)`."""
    images = record.counterfactual
    return images.diff(dim=2).abs().flatten(1).sum(dim=1) + images.diff(dim=3).abs().flatten(1).sum(dim=1)


class Decoding(nn.Module):
    """A code `(B, 12)` and label weights `(B, 10)` to pixel logits `(B, 1, 8, 8)`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12 + 10, 128), nn.SiLU(), nn.Linear(128, 64))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Pixel logits."""
        logits: Tensor = self.layers(torch.cat([z, label], dim=1)).unflatten(1, (1, 8, 8))
        return logits


class InColour(nn.Module):
    """A network for images in colour, shown grey ones."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.network(images.expand(-1, 3, -1, -1))
        return logits


def main() -> None:
    """Train for an epoch, and evaluate."""
    digits = ImageData("digits").splits["train"].load()
    data = ImageData.from_datasets(TensorDataset(digits.images, digits.labels))
    guide = LabelClassifier.wrap(InColour(resnet18(num_classes=10)), data.image_shape, 10, mean=0.45, std=0.22, size=32)
    vae = ConditionalVAE(data.image_shape, 10, latent_dim=12, decoder=Decoding())
    loss = GuidedELBO(guide, likelihood=Gaussian(0.12), terms={"total_variation": (0.1, total_variation)})
    trainer = Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.fit(VAETraining(vae, loss), datamodule=data)
    judge = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))  # untrained, as the guide is
    scores = evaluate(vae, data.loader("test"), judge, metrics={"near": PeakSignalNoiseRatio(data_range=1.0)})
    print({name: value for name, value in scores.row().items() if name in ("effectiveness", "psnr", "near")})


if __name__ == "__main__":
    main()
