"""How a model is trained, and where its curves go. Nothing here imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from labelvae.inputs.checks import check_choice, check_count, check_number, plain_fields

Schedule = Literal["cosine", "one-cycle"]
LogKind = Literal["wandb", "tensorboard", "csv", "none"]
WandbMode = Literal["auto", "online", "offline", "disabled"]


@dataclass(frozen=True)
class Optimization:
    """How a model is trained. A number out of range raises `ValueError`.

    Attributes:
        epochs: number of times that every training image is seen.
        least_steps: smallest number of steps. Epochs are added until it is reached, so that few images train long
            enough.
        batch_size: images in a step.
        tuned_batch_size: batch size that learning_rate was chosen for; null for batch_size. At another batch size the
            step size is learning_rate * sqrt(batch_size / tuned_batch_size), Adam's rule (Malladi et al., 2022, arXiv
            2205.10287).
        learning_rate: largest step size of AdamW.
        schedule: how the learning rate moves: a linear warm-up and a cosine, or one cycle of two cosines.
        weight_decay: weight decay of AdamW.
        average_decay: decay at a step of a moving average of the weights, in [0, 1), less over the first steps. The
            average is kept in place of the last weights; 0 keeps the last weights (Polyak & Juditsky, 1992; for
            generators, Yazici et al., 2019, arXiv 1806.04498).
        seed: seed of the weights, of the order of the images and of every random draw.
    """

    epochs: int = 10
    least_steps: int = 0
    batch_size: int = 128
    tuned_batch_size: int | None = None
    learning_rate: float = 2e-3
    schedule: Schedule = "cosine"
    weight_decay: float = 1e-2
    average_decay: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        plain_fields(self)
        check_count("epochs", self.epochs)
        check_count("least_steps", self.least_steps, at_least=0)
        check_count("batch_size", self.batch_size, at_least=2)
        if self.tuned_batch_size is None:  # kept when batch_size is replaced
            object.__setattr__(self, "tuned_batch_size", self.batch_size)
        check_count("tuned_batch_size", self.tuned_batch_size, at_least=2)
        check_count("seed", self.seed, at_least=0, at_most=2**32 - 1)
        check_choice("schedule", self.schedule, get_args(Schedule))
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("weight_decay", self.weight_decay, at_least=0)
        check_number("average_decay", self.average_decay, at_least=0, below=1)

    @property
    def rate_factor(self) -> float:
        """The factor of every step size at this batch size.

        >>> Optimization(batch_size=512, tuned_batch_size=128).rate_factor
        2.0
        """
        return math.sqrt(self.batch_size / (self.tuned_batch_size or self.batch_size))
