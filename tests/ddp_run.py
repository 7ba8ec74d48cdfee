"""Two processes on the CPU; `test_ddp.py` runs it. Each writes what it saw to FOLDER/RANK.pt."""

import copy
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer

from labelvae import (
    ClassifierTraining,
    ConditionalVAE,
    Discriminator,
    GuidedELBO,
    ImageData,
    LabelClassifier,
    Objective,
    VAETraining,
)


def data() -> ImageData:
    """120 images whose first two pixels are their number."""
    images = torch.randint(256, (120, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, 0, 0, 0] = torch.arange(120)
    return ImageData.from_tensors(images, torch.arange(120) % 3, ["a", "b", "c"], 10, validation_share=0.3)


def numbers(images: torch.Tensor) -> list[int]:
    return (images[:, 0, 0, 0] * 255).round().int().tolist()


def flat(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


class Watch(Callback):
    """What each process sees, and its own gradient of the first batch before it is averaged."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.own = self.averaged = torch.empty(0)
        self.noise = 0.0

    def on_train_epoch_start(self, trainer, pl_module):
        if not self.seen:
            self.noise = float(torch.rand(()))
        self.seen.append([])

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen[-1] += numbers(batch[0])
        torch.manual_seed(trainer.global_step * 10 + trainer.global_rank)
        if not len(self.own):
            alone = copy.deepcopy(pl_module)
            state = torch.get_rng_state()
            alone.step(*batch, 0.0)["total"].backward()
            torch.set_rng_state(state)
            self.own = flat(alone)

    def on_after_backward(self, trainer, pl_module):
        if not len(self.averaged):
            self.averaged = flat(pl_module).clone()


def run(task, folder: Path) -> tuple[Trainer, Watch]:
    watch = Watch()
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=2,
        logger=False,
        callbacks=[watch],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=folder,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, datamodule=data())
    return trainer, watch


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1])
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16)
    guide = LabelClassifier((1, 8, 8), 3, widths=(8, 8), feature_dim=8)
    objective = Objective(adversarial_weight=1.0, cycle_weight=0.5)
    task = VAETraining(vae, GuidedELBO(guide, Discriminator((1, 8, 8), 3, (8, 8)), objective))
    trainer, watch = run(task, folder)
    classifier = ClassifierTraining(LabelClassifier((1, 8, 8), 3, kind="mlp", widths=(16,)))
    again, _ = run(classifier, folder)
    found = {
        "seen": watch.seen,
        "noise": watch.noise,
        "own": watch.own,
        "averaged": watch.averaged,
        "shown": task.shown,
        "weights": torch.cat([p.detach().flatten() for p in vae.parameters()]),
        "classifier": classifier.classifier.state_dict(),
        "metrics": {name: float(value) for name, value in again.callback_metrics.items()},
    }
    torch.save(found, folder / f"{trainer.global_rank}.pt")


if __name__ == "__main__":
    main()
