"""Relabel scikit-learn's 1,797 handwritten digits of 8x8 pixels: two minutes on a laptop, nothing to download.

python examples/digits.py
"""

from labelvae.command_line import run
from labelvae.presets import DIGITS
from labelvae.settings import Settings


def main(settings: Settings) -> None:
    """Guide, judge, model and reference; scores; pictures."""
    from labelvae.experiment import relabelling  # after --help: importing torch takes seconds

    relabelling(settings)


if __name__ == "__main__":
    run(main, DIGITS, __doc__)
