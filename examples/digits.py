"""Relabel scikit-learn's 1,797 handwritten digits of 8x8 pixels: a minute or two on a laptop, nothing to download.

python examples/digits.py
"""

from labelvae.command_line import run
from labelvae.presets import DIGITS
from labelvae.settings import Settings


def main(settings: Settings) -> None:
    """Guide, judge, model and reference; scores; pictures."""
    from labelvae.experiment import run_experiment  # after --help: importing torch takes seconds

    run_experiment(settings)


if __name__ == "__main__":
    run(main, DIGITS, __doc__)
