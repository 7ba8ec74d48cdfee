"""Which images a run reads, and how they are split. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from labelvae.checks import as_size, check_choice, check_count, check_flag, check_number, plain_fields

DataName = Literal["digits", "mnist", "fashion_mnist", "kmnist", "cifar10", "folder"]


@dataclass(frozen=True)
class DataSettings:
    """The images, and how they are split.

    Attributes:
        name: Which data set; `folder` reads images in class folders.
        image_size: Height and width of the images of a folder, such as 64, 64x48 or [64, 48]; null keeps their own
            where all are alike.
        validation_share: Share of the training images held out for choosing settings.
        test_share: Share held out for the final table, of data that has no test images of its own.
        memory_share: Largest share of the free memory, of a GPU or of the machine, that images may take to be held in
            it. Images of a folder that take more stay in their files and are decoded while the network trains.
        seed: Of the split.
        skip_unreadable: Leave out images of a folder that cannot be read, with a warning, instead of refusing all.
    """

    name: DataName = "digits"
    image_size: tuple[int, int] | int | str | None = None
    validation_share: float = 0.1
    test_share: float = 0.2
    memory_share: float = 0.5
    seed: int = 0
    skip_unreadable: bool = False

    def __post_init__(self) -> None:
        plain_fields(self)
        check_flag("skip_unreadable", self.skip_unreadable)
        check_choice("name", self.name, get_args(DataName))
        for name in ("validation_share", "test_share"):
            check_number(name, getattr(self, name), above=0, below=0.5)
        check_number("memory_share", self.memory_share, at_least=0, below=1)
        check_count("seed", self.seed, at_least=0, at_most=2**32 - 1)
        if self.image_size is not None:
            object.__setattr__(self, "image_size", as_size("image_size", self.image_size))
            if self.name != "folder":
                raise ValueError(f"image_size: is for a folder of images only, got it beside {self.name!r}")
