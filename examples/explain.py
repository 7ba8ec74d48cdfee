"""Explain a classifier of yours: which change to an image makes it say something else?

    python examples/explain.py --model runs/mnist/vae --classifier runs/mnist/judge --to 8 scan.png explanation.png

The way from the image's reconstruction to its counterfactual is walked in a hundred steps, until the classifier says
something else than it said of the image. Drawn beside each other: the image, its reconstruction, the first image that
flips the classifier, the counterfactual, and where the flipped one differs from the reconstruction. The classifier is
one of labelvae's, or any module from images `(B, C, H, W)` in [0, 1] to logits `(B, K)` that `torch.export.save` wrote
to a file ending in .pt2, for batches of any size.
"""

from pathlib import Path
from typing import Literal

from labelvae.cli.parser import DashParser


def explain(
    image: Path,
    out: Path,
    *,
    model: str,
    classifier: str,
    to: str,
    invert: bool = False,
    fit: Literal["pad", "crop", "strokes"] = "pad",
) -> None:
    """Finds the smallest change that flips a classifier, and draws it.

    Args:
        image: What is explained.
        out: The picture that is drawn.
        model: Folder of a trained model, or its name.
        classifier: Folder of the classifier to explain, or a .pt2 file.
        to: The label of the counterfactual, its name or index.
        invert: Swap dark and bright first.
        fit: How the image is fitted into the model's frame.
    """
    import torch  # after --help: importing torch takes seconds

    from labelvae import ConditionalVAE, LabelClassifier
    from labelvae.inputs.class_names import label_of, read_classes
    from labelvae.models.hub import locate
    from labelvae.photos.picture_files import save_picture
    from labelvae.photos.scans import read_scan
    from labelvae.visual.grids import grid

    vae = ConditionalVAE.from_pretrained(model)
    yours: torch.nn.Module
    if classifier.endswith(".pt2"):
        try:
            yours = torch.export.load(classifier).module()
        except Exception as error:  # whatever a broken file makes the reader raise
            raise ValueError(f"{classifier}: not a file that torch.export.save wrote ({error})") from error
    else:
        yours = LabelClassifier.from_pretrained(classifier)
    names = read_classes(locate(model, vae.kind), vae.num_classes)
    asked = label_of(to, names)
    pixels = read_scan(image, vae.image_shape, invert=invert, fit=fit)
    with torch.no_grad():
        said = int(yours(pixels[None]).argmax())
        if said == asked:
            raise ValueError(f"to: the classifier says {names[asked]} of the image already; ask for another label")
        way = vae.interpolate(pixels[None], said, asked, steps=101)[0]
        verdicts = yours(way).argmax(dim=1)
    flips = (verdicts != said).nonzero().flatten().tolist()
    shown, captions = [pixels, way[0]], [f"image: {names[said]}", f"model: {names[int(verdicts[0])]}"]
    if flips:
        step, flipped = flips[0], way[flips[0]]
        shown += [flipped, way[-1], 0.5 + 0.5 * (flipped - way[0])]
        captions += [f"{step} %: {names[int(verdicts[step])]}", f"as {names[asked]}", "change"]
        size = float((flipped - way[0]).abs().mean())
        print(f"{names[said]} becomes {names[int(verdicts[step])]} after {step} % of the way, mean change {size:.4f}")
    else:
        shown, captions = [*shown, way[-1], 0.5 + 0.5 * (way[-1] - way[0])], [*captions, f"as {names[asked]}", "change"]
        print(f"the classifier says {names[said]} all the way to the counterfactual")
    save_picture(grid([shown], [captions]), out)


if __name__ == "__main__":
    parser = DashParser(description=__doc__)
    parser.add_function_arguments(explain, as_positional=True)
    arguments = parser.parse_args()
    try:
        explain(**vars(parser.instantiate(arguments)))
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
