"""Relabel scikit-learn's 1,797 handwritten digits of 8x8 pixels: a minute or two on a laptop, nothing to download.

python examples/digits.py
"""

from labelvae.cli.parser import run
from labelvae.runs.presets import DIGITS
from labelvae.runs.settings import Settings


def first_look(settings: Settings) -> None:
    """Draw five hands, each writing all ten digits, by the MNIST model that comes with the package."""
    import torch

    from labelvae import ConditionalVAE
    from labelvae.photos.picture_files import save_picture
    from labelvae.visual.grids import style_transfer_grid

    vae, path = ConditionalVAE.from_pretrained("mnist"), settings.out / "first_look" / "mnist.png"
    hands = vae.sample(list(range(10)), torch.Generator().manual_seed(4))[[0, 3, 4, 7, 9]]
    digits = torch.stack([vae.relabel(hands, digit) for digit in range(10)], dim=1)
    save_picture(style_transfer_grid(hands, digits, [str(digit) for digit in range(10)]), path)
    print(f"to look at meanwhile, five hands and their ten digits by the packaged MNIST model: {path}", flush=True)


def main(settings: Settings) -> None:
    """Guide, judge, model and reference; scores; pictures."""
    if not (settings.resume or settings.fast_dev_run):
        first_look(settings)
    from labelvae.runs.experiment import run_experiment  # after --help: importing torch takes seconds

    run_experiment(settings)


if __name__ == "__main__":
    run(main, DIGITS, __doc__)
