"""Reads drawn photographs of written digits, by kind: how many rightly, how many refused, how many silently wrong.

    python benchmarks/photos.py --data-dir DIR

A digit is drawn with its pen before any paper is, and passed over if the guide does not read it then: the table
measures how digits are found, not how legible MNIST's are. "Wrong" is a wrong answer without a doubt. A photograph
without a digit is right when it is refused.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from drawn_no_digits import NO_DIGITS, draw_no_digit
from drawn_photos import FRAMES, LIGHTS, PAPERS, PENS, Drawn, Kind, draw_photo, written
from jsonargparse import auto_cli
from torchvision.datasets import MNIST
from tqdm import tqdm

from labelvae import ConditionalVAE, LabelClassifier
from labelvae.command_line import DashParser
from labelvae.doubts import LEAST_CONFIDENCE, read_digits
from labelvae.frames import fit_ink

KINDS = {
    **{f"pen: {pen}": Kind(pen=pen) for pen in PENS},
    **{f"paper: {paper}": Kind(paper=paper) for paper in PAPERS},
    **{f"light: {light}": Kind(light=light) for light in LIGHTS},
    **{f"frame: {frame}": Kind(frame=frame) for frame in FRAMES},
    **{f"{count} digits": Kind(digits=count) for count in range(2, 7)},
}


def main(data_dir: Path = Path("data"), count: int = 20, seed: int = 0, kinds: list[str] | None = None) -> None:
    """Draws, reads and prints the table.

    Args:
        data_dir: Where MNIST's files are.
        count: Photographs of each kind.
        seed: Of the drawing.
        kinds: Only kinds whose names contain one of these.
    """
    guide, vae = LabelClassifier.from_pretrained("mnist").eval(), ConditionalVAE.from_pretrained("mnist").eval()
    test = MNIST(str(data_dir), train=False)
    digits, labels = test.data.numpy(), test.targets.numpy()

    def draw(name: str, rng: np.random.Generator) -> Drawn:
        if name not in KINDS:
            return draw_no_digit(name.removeprefix("none: "), rng)
        chosen: list[int] = []
        while len(chosen) < KINDS[name].digits:
            index = int(rng.integers(len(digits)))
            ink = written(digits[index], 200, KINDS[name], rng).astype(np.float32)
            belief = guide(fit_ink(ink, 28, 28, 12.0).image[None]).detach().softmax(dim=1)[0]
            if belief.argmax() == labels[index] and belief.max() > 0.9:
                chosen.append(index)
        return draw_photo(digits[chosen], [int(label) for label in labels[chosen]], KINDS[name], rng)

    print("| kind | tried | right | refused | wrong | of these below the least confidence |\n|---|---|---|---|---|---|")
    names = [*KINDS, *(f"none: {name}" for name in NO_DIGITS)]
    for number, name in enumerate(names):
        if kinds and not any(word in name for word in kinds):
            continue
        right = refused = wrong = unsure = 0
        for index in tqdm(range(count), desc=name, leave=False, delay=2):
            drawn = draw(name, np.random.default_rng([seed, number, index]))
            try:
                readings = read_digits(drawn.picture, guide, vae).readings
            except ValueError:
                refused += 1
                right += not drawn.labels
                continue
            said = [one.label for one in readings if not one.doubted]
            if said == drawn.labels:
                right += 1
            elif any(one.doubted for one in readings):
                refused += 1  # the doubted ones are named
            else:
                wrong += 1
                unsure += min(one.confidence for one in readings) < LEAST_CONFIDENCE
        print(f"| {name} | {count} | {right} | {refused} | {wrong} | {unsure} |", flush=True)


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
