"""Relabel MNIST: a first look in some minutes. Its files are downloaded to the data folder if they are not there.

    python examples/mnist.py --data-dir DIR

`labelvae train mnist --data-dir DIR` takes longer over the same settings, and scores better.
"""

from labelvae.cli.parser import run
from labelvae.runs.presets import MNIST_BRIEF
from labelvae.runs.settings import Settings


def main(settings: Settings) -> None:
    """Guide, judge, model and reference; scores; pictures."""
    from labelvae.runs.experiment import run_experiment  # after --help: importing torch takes seconds

    run_experiment(settings)


if __name__ == "__main__":
    run(main, MNIST_BRIEF, __doc__)
