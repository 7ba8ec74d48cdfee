"""The same batches in every epoch, for a trainer that overfits."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, Trainer

from labelvae.data.loaders import ImageLoader


class KeptOrder(Callback):
    """Keep an `ImageLoader` from shuffling while a trainer overfits. Afterwards it shuffles again, also after an error.

    Lightning itself does this for a `DataLoader`.
    """

    def __init__(self) -> None:
        self._held: list[ImageLoader] = []

    @classmethod
    def attach(cls, trainer: Trainer) -> None:
        """Add this callback to a trainer that overfits, unless the trainer has it."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        if trainer.overfit_batches and not any(isinstance(each, cls) for each in callbacks):  # type: ignore[attr-defined]
            callbacks.append(cls())

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Stop the shuffling."""
        found = trainer.train_dataloader
        for loader in found if isinstance(found, list | tuple) else [found]:
            if isinstance(loader, ImageLoader) and loader.shuffle:
                loader.shuffle = False
                self._held.append(loader)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Stop the shuffling of a loader that was made anew for this epoch."""
        self.on_train_start(trainer)

    def on_train_end(self, *_: Any) -> None:
        """Let the loaders shuffle again."""
        while self._held:
            self._held.pop().shuffle = True

    def on_exception(self, *_: Any) -> None:
        """Let the loaders shuffle again."""
        self.on_train_end()
