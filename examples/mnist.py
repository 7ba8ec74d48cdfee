"""Relabel MNIST: a first look in some minutes. Its files are downloaded to the data folder if they are not there.

    python examples/mnist.py --data-dir DIR

`labelvae train mnist --data-dir DIR` takes longer over the same settings, and scores better.
"""

from labelvae.command_line import run
from labelvae.presets import MNIST_BRIEF
from labelvae.settings import Settings


def main(settings: Settings) -> None:
    """Guide, judge, model and reference; scores; pictures."""
    from labelvae.experiment import run_experiment  # after --help: importing torch takes seconds

    run_experiment(settings)


if __name__ == "__main__":
    run(main, MNIST_BRIEF, __doc__)
