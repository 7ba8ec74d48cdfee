"""What stays of an image: its residual, everything outside a mask, and how sure the model is of each pixel.

    python benchmarks/edits.py --model mnist --judge runs/mnist/judge --data mnist --data-dir DIR

One wrong label is drawn by seed for each test image. The residual is left out, carried over whole, or carried over away
from what changes (`residual=True`). Ghosts are found by the judge (effectiveness) and, of strokes, as specks: bright
regions more than the image has. Own label is the PSNR of images relabelled as what they are, 100 where they come back.
Leaves under the output folder `table.md`, `residual.png` (the image, the three ways, two of 8 draws and their variance)
and `mask.png` (the image, a mask in its middle, the image as asked, and as asked inside the mask).
"""

import argparse
from pathlib import Path
from typing import Any

ROWS = 6


def main() -> None:
    """Measure the three ways on one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="Folder of the model, or its name.")
    parser.add_argument("--judge", required=True, help="Folder of a classifier that had no part in its training.")
    parser.add_argument("--data", required=True, help="Name of the data set, as ImageData takes it.")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--count", type=int, default=2000, help="Test images.")
    parser.add_argument("--out", type=Path, default=Path("runs/edits"))
    options = parser.parse_args()
    import torch

    from labelvae import ConditionalVAE, ImageData, LabelClassifier, wrong_labels
    from labelvae.evaluation import peak_signal_to_noise, regions
    from labelvae.system.whole_files import write_whole

    vae = ConditionalVAE.from_pretrained(options.model)
    judge = LabelClassifier.from_pretrained(options.judge)
    data = ImageData(options.data, data_dir=options.data_dir)
    split = data.splits["test"].load()
    chosen = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[: options.count]
    images, own = split.images[chosen].float() / 255.0, split.labels[chosen]
    asked = wrong_labels(own, vae.num_classes, torch.Generator().manual_seed(1))

    def ways(labels: torch.Tensor) -> dict[str, torch.Tensor]:
        plain = vae.relabel(images, labels, own)
        rest = images - vae.relabel(images, own, own)
        kept = vae.relabel(images, labels, own, residual=True)
        return {"no residual": plain, "all of it": (plain + rest).clamp(0.0, 1.0), "residual=True": kept}

    changed, same = ways(asked), ways(own)
    lines = ["| way | effectiveness | own label, dB | specks |", "| --- | --- | --- | --- |"]
    for name, made in changed.items():
        with torch.no_grad():
            judged = torch.cat([judge(part).argmax(dim=1) for part in made.split(500)])
        psnr = float(peak_signal_to_noise(same[name], images).mean())
        strokes = vae.image_shape[0] == 1
        specks = float((regions(made) - regions(images)).float().mean()) if strokes else float("nan")
        right = float((judged == asked).float().mean())
        lines.append(f"| {name} | {right:.3f} | {psnr:.1f} | {f'{specks:.3f}' if strokes else '-'} |")
    table = "\n".join(lines)
    print(table)
    write_whole(options.out / "table.md", table + "\n")
    draw(vae, options, images[:ROWS], asked[:ROWS], {name: made[:ROWS] for name, made in changed.items()})


def draw(vae: Any, options: argparse.Namespace, images: Any, asked: Any, changed: dict[str, Any]) -> None:
    """Draw the two pictures."""
    import torch

    from labelvae.losses.refinement import refining
    from labelvae.models import counterfactuals, soft_edge
    from labelvae.visual.grids import grid

    draws = counterfactuals(vae, images, asked, generator=torch.Generator().manual_seed(2))
    spread = draws.var(dim=1).mean(dim=1, keepdim=True)
    spread = (spread / spread.amax(dim=(1, 2, 3), keepdim=True)).expand(-1, vae.image_shape[0], -1, -1)
    columns = [images, *(made for made in changed.values()), draws[:, 0], draws[:, 1], spread]
    titles = ["image", *changed, "a draw", "another", "variance"]
    grid([list(row) for row in zip(*columns, strict=True)], column_titles=titles).save(options.out / "residual.png")
    height, width = vae.image_shape[1:]
    y, x = torch.linspace(-1.15, 1.15, height)[:, None], torch.linspace(-1.15, 1.15, width)
    mask = soft_edge(((x**2 + y**2) < 1).float()[None, None], height / 16)
    model = refining(vae, options.model)
    whole, inside = model.relabel(images, asked), model.relabel(images, asked, mask=mask)
    columns = [images, mask.expand_as(images), whole, inside]
    names = vae.class_names or [str(label) for label in range(vae.num_classes)]
    captions = [["", "", f"as {names[int(label)]}", ""] for label in asked]
    rows = [list(row) for row in zip(*columns, strict=True)]
    grid(rows, captions, column_titles=["image", "mask", "everywhere", "in the mask"]).save(options.out / "mask.png")


if __name__ == "__main__":
    main()
