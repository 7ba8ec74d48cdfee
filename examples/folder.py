"""Relabel images of your own: a folder of images a class.

    python examples/folder.py --data-dir DIR

with DIR/train/CLASS/*.png (or .jpg) and DIR/test/CLASS/*.png; without test/, or with DIR/CLASS/*.png alone, images
are held out by seed. `--data.image-size '[64, 64]'` resizes them.
"""

from labelvae.cli.parser import run
from labelvae.runs.presets import FOLDER
from labelvae.runs.settings import Settings


def main(settings: Settings) -> None:
    """Guide, judge, model and reference; scores; pictures."""
    from labelvae.runs.experiment import run_experiment  # after --help: importing torch takes seconds

    run_experiment(settings)


if __name__ == "__main__":
    run(main, FOLDER, __doc__)
