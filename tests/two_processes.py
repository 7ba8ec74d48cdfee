"""Trains digits on the CPU in some processes and saves the weights: `python two_processes.py FILE PROCESSES`.

What one process does with a batch, two do with half of it each, where the loss of an image depends on that image
alone. So batch statistics stay as they are, and the draws (codes, wrong labels) are taken out.
"""

import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch.nn.modules.batchnorm import _BatchNorm

from labelvae import (
    ConditionalVAE,
    DiagonalGaussian,
    Discriminator,
    GuidedELBO,
    ImageData,
    LabelClassifier,
    Objective,
    VAETraining,
)
from labelvae.losses import guided_elbo as losses
from labelvae.training.callbacks import LastCheckpoint


class KeepStatistics(Callback):
    """Batch normalization in evaluation mode."""

    def on_train_epoch_start(self, trainer, pl_module):
        for part in pl_module.modules():
            if isinstance(part, _BatchNorm):
                part.eval()


def task():
    guide = LabelClassifier((1, 8, 8), 10, widths=(8, 8), feature_dim=8)
    DiagonalGaussian.rsample = lambda self, generator=None: self.mean
    losses.wrong_labels = lambda labels, classes: (labels + 1) % classes
    vae = ConditionalVAE((1, 8, 8), 10, latent_dim=6, encoder_widths=(8,), hidden_dim=16)
    objective = Objective(likelihood="gaussian", label_weight=5.0, adversarial_weight=1.0)
    return VAETraining(vae, GuidedELBO(guide, Discriminator((1, 8, 8), 10, (8,)), objective))


def main(file, processes):
    seed_everything(0, verbose=False)
    data = ImageData("digits", batch_size=64 // processes)
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=1,
        limit_train_batches=8,
        limit_val_batches=0,
        logger=False,
        callbacks=[KeepStatistics(), LastCheckpoint(Path(file))],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    trainer.fit(task(), datamodule=data)
    assert trainer.global_step == 8


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], int(sys.argv[2]))
