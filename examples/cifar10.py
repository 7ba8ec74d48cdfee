"""Relabel CIFAR10: a car as a dog, its colours and layout kept. Made for a GPU.

    python examples/cifar10.py --data-dir DIR

`--fast-dev-run` without a data folder tries the code on random images of the same shape.
"""

from labelvae.cli.parser import run
from labelvae.runs.presets import CIFAR10
from labelvae.runs.settings import Settings


def main(settings: Settings) -> None:
    """Guide, judge, model and reference; scores; pictures."""
    import torch  # after --help: importing torch takes seconds

    from labelvae.data.image_data import ImageData
    from labelvae.runs.experiment import run_experiment

    made = None
    if settings.fast_dev_run and settings.data_dir == CIFAR10.data_dir:
        images, labels = torch.randint(256, (600, 3, 32, 32), dtype=torch.uint8), torch.arange(600) % 10
        made = ImageData.from_tensors(images, labels, [f"class {label}" for label in range(10)])
    run_experiment(settings, made)


if __name__ == "__main__":
    run(main, CIFAR10, __doc__)
