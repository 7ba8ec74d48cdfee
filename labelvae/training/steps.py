"""How many steps a training makes: the schedule of the learning rate and the warm-up of the terms need to know."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from labelvae.data.loaders import ImageLoader


def planned_steps(trainer: Trainer, epochs: int | None) -> int:
    """Count the optimizer's steps of a whole training.

    The steps that a resumed training has made already are counted as they were made, with its former batches. The
    steps to come are counted with the present batches, and with the accumulation of gradients of each epoch.

    Args:
        trainer: the trainer.
        epochs: the number of epochs; None or -1 if only the trainer's `max_steps` ends the training.

    Returns:
        The number of steps, at least 1.

    Raises:
        ValueError: a training without an end; training data that make no batch.
    """
    steps = trainer.estimated_stepping_batches  # makes the loader, if there is none yet
    if trainer.limit_train_batches == 0 or trainer.max_steps == 0 or epochs == 0:
        return 1  # nothing is trained
    batches = trainer.num_training_batches
    if epochs is not None and epochs != -1 and not math.isinf(batches):
        if batches == 0:
            raise ValueError(
                "training data: expected at least one batch, got none; there are no images, or drop_last leaves out "
                "the only batch, which is not full: take a smaller batch_size"
            )
        steps = trainer.global_step + _to_come(trainer, int(batches), epochs)
        steps = steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)
    if not 0 < steps < math.inf:
        raise ValueError(
            "max_steps: the learning rate's schedule needs to know when the training ends; pass "
            "Trainer(max_steps=...), or max_epochs where the training data have a length"
        )
    return int(steps)


def close_epoch(trainer: Trainer) -> None:
    """Let a training that was saved at the end of an epoch go on with the next one.

    With `max_steps`, Lightning would end the epoch a second time: the order of the images would be that of another
    epoch, and one of `max_epochs` would be missing.
    """
    loop = trainer.fit_loop
    epochs: Any = loop.epoch_progress.current
    whole = epochs.ready == epochs.started == epochs.processed
    if loop.restarting and whole and not (loop.restarted_mid_epoch or loop.restarted_on_epoch_start):
        if epochs.completed < epochs.processed:
            loop.epoch_progress.increment_completed()
        loop.reset_restart_stage()
        loop.epoch_loop.restarting = False
        loop.epoch_loop.reset_restart_stage()


def skip_seen_batches(trainer: Trainer) -> None:
    """Let a training that was saved within an epoch go on with the batches that it has not seen.

    Lightning gives loaders their state when it makes them. To count the steps, they were made before that.
    """
    loop: Any = trainer.fit_loop
    combined, states = loop._combined_loader, loop._combined_loader_states_to_load
    if not loop.restarted_mid_epoch or combined is None:
        return
    if states and len(states) == len(combined._state_dicts()):
        loop._load_combined_loader_states()
        iter(loop._data_fetcher)
    progress = loop.epoch_loop.batch_progress.current
    seen = progress.processed if loop.epoch_loop.restarted_on_train_batch_end else progress.completed
    for loader in combined.flattened:
        if isinstance(loader, ImageLoader):  # also of a checkpoint that does not say it
            batches = seen if seen < trainer.num_training_batches else 0
            loader.load_state_dict({"epoch": loop.epoch_progress.current.processed, "batches": batches})


def accumulates(trainer: Trainer) -> bool:
    """Return whether gradients of several batches are added up, in some epoch."""
    planned = [each for each in _of(trainer) if each.going_to_accumulate_grad_batches()]
    return bool(planned) or trainer.accumulate_grad_batches > 1


def _to_come(trainer: Trainer, batches: int, epochs: int) -> int:
    """Count the steps from the present epoch to the last. Those already made in the present epoch are left out."""
    begun = trainer.fit_loop.epoch_loop.batch_progress
    added = [_accumulated(trainer, epoch) for epoch in range(trainer.current_epoch, epochs)]
    made = 0 if begun.is_last_batch or not added else min(begun.current.ready, batches) // added[0]
    return sum(math.ceil(batches / count) for count in added) - made


def _accumulated(trainer: Trainer, epoch: int) -> int:
    """Return the number of batches whose gradients are added up for a step of an epoch."""
    planned = [each.get_accumulate_grad_batches(epoch) for each in _of(trainer)]
    return planned[-1] if planned else trainer.accumulate_grad_batches


def _of(trainer: Trainer) -> list[GradientAccumulationScheduler]:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return [each for each in callbacks if isinstance(each, GradientAccumulationScheduler)]
