"""What a flow on the codes of a trained model changes: its samples, and its counterfactuals.

    python benchmarks/latent_flow.py --model mnist --judge JUDGE --data mnist --data-dir DIR

The flow is the model's prior if it has one. Else it is trained on codes of the training images, drawn from their
posteriors anew in every epoch. The first row is of the model without a prior, the second of the model with the flow as
its prior, and in the third the flow carries codes from label to label. The judge had no part in the model. Samples are
judged by it and, in its features, by their Fréchet distance to real training images of their class, over that of real
held-out images (as many of each class, in the order that they have). Wrong labels are those of
`benchmarks/relabel.py`. Leaves under the output folder a flow that was trained, which a second run takes up,
`table.md`, `samples.png` and `wrong_labels.png`.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

HEADS = {
    "name": "codes",
    "samples_judged": "samples as asked",
    "samples_worst_class": "worst class",
    "samples_realism": "samples, realism over floor",
    "samples_diversity": "diversity",
    "effectiveness": "effectiveness",
    "effectiveness_worst_class": "worst asked class",
    "style_thickness": "thickness",
    "style_slant": "slant",
    "style_layout": "layout",
    "psnr": "own label, dB",
    "reversed_psnr": "reversed, dB",
    "realism_over_floor": "realism, over floor",
    "specks": "specks",
}


def main() -> None:
    """Train the flow and measure without and with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="Folder of the model, or its name.")
    parser.add_argument("--judge", required=True, help="Folder of a classifier that had no part in its training.")
    parser.add_argument("--data", required=True, help="Name of the data set, as ImageData takes it.")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--folder", action="store_true", help="The images lie in class folders.")
    parser.add_argument("--split", default="test", choices=["validation", "test"])
    parser.add_argument("--count", type=int, help="Images of the split; without it, all.")
    parser.add_argument("--real", type=int, default=10_000, help="Training images that realism compares with.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--couplings", type=int, default=8)
    parser.add_argument("--hidden-dim", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/latent_flow"))
    options = parser.parse_args()
    import torch
    from tables import table

    from labelvae import ConditionalVAE, ImageData, LabelClassifier, evaluate
    from labelvae.data.loaders import ImageLoader
    from labelvae.flows import WithFlow
    from labelvae.runs import presets
    from labelvae.system.whole_files import write_whole

    torch.set_num_threads(1)
    plain, vae = (ConditionalVAE.from_pretrained(options.model) for _ in range(2))
    plain.prior = None
    judge = LabelClassifier.from_pretrained(options.judge)
    known = getattr(presets, options.data.upper()).data
    data = ImageData(data_dir=options.data_dir, **asdict(replace(known, name="folder") if options.folder else known))
    held_out = data.loader(options.split)
    real = ImageLoader(data.splits["train"].subset(torch.arange(options.real)), 500)
    if options.count is not None:
        held_out = ImageLoader(data.splits[options.split].subset(torch.arange(options.count)), 500)
    if vae.prior is None:
        vae.prior = fitted(vae, data, options)
    carried = WithFlow(vae, vae.prior)
    rows = []
    for name, model in (("N(0, I)", plain), ("prior", vae), ("carried by the flow", carried)):
        scores = evaluate(model, held_out, judge, real=real, name=name, progress=False)
        row = scores.row() | {"realism_over_floor": scores.realism_by_class / scores.realism_floor}
        rows.append(row | samples_judged(model, judge, real, held_out, scores.realism_floor) | {"name": name})
        print(table(rows[-1:], HEADS), flush=True)
    text = table(rows, HEADS)
    write_whole(options.out / "table.md", text + "\n")
    write_whole(options.out / "rows.json", json.dumps(rows, indent=2) + "\n")
    draw(plain, carried, data, options.out)


def fitted(vae: Any, data: Any, options: argparse.Namespace) -> Any:
    """Return the flow that is saved under the output folder, or train one and save it there."""
    from labelvae.flows import LatentFlow, fit_prior

    saved = options.out / "flow"
    if (saved / "model.safetensors").is_file():
        return LatentFlow.from_pretrained(saved)
    start = time.process_time()
    flow = fit_prior(vae, data.loader("train"), options.epochs, options.couplings, options.hidden_dim, options.seed)
    print(f"flow: {time.process_time() - start:.0f} CPU s", flush=True)
    flow.save_pretrained(saved)
    return flow


def samples_judged(model: Any, judge: Any, real: Any, held_out: Any, floor: float) -> dict[str, float]:
    """Judge as many samples of each class as there are held-out images of it, and measure their realism."""
    import torch

    from labelvae.evaluation import Effectiveness, Realism
    from labelvae.models import evaluation_mode

    right, realism = Effectiveness(judge.num_classes), Realism(judge.num_classes, judge.feature_dim)
    generator = torch.Generator().manual_seed(0)
    with evaluation_mode(judge) as network:
        for images, labels in real:
            realism.update(network.logits_and_features(images)[1], labels, real=True)
        for _, labels in held_out:
            logits, features = network.logits_and_features(model.sample(labels, generator))
            right.update(logits, labels)
            realism.update(features, labels, real=False)
    judged, *by_class = right.compute().tolist()
    _, by_class_distance, diversity = realism.compute().tolist()
    return {
        "samples_judged": judged,
        "samples_worst_class": min(by_class),
        "samples_realism": by_class_distance / floor,
        "samples_diversity": diversity,
    }


def draw(vae: Any, carried: Any, data: Any, out: Path) -> None:
    """Draw samples from N(0, I) beside samples from the prior, and test images under wrong labels both ways."""
    import torch

    from labelvae.inputs.tensors import wrong_labels
    from labelvae.visual.grids import grid, one_of_each

    names = data.class_names
    asked = torch.arange(len(names)).repeat_interleave(8)
    drawn = [
        model.sample(asked, torch.Generator().manual_seed(1)).unflatten(0, (len(names), 8)) for model in (vae, carried)
    ]
    rows = [[*before, *after] for before, after in zip(*drawn, strict=True)]
    grid(rows, row_titles=names, column_titles=["N(0, I)"] * 8 + ["prior"] * 8, group=8).save(out / "samples.png")
    test = data.splits["test"]
    some = test.subset(one_of_each(test.labels, 30)).load()
    images, own = some.images.float() / 255.0, some.labels
    asked = wrong_labels(own, len(names), torch.Generator().manual_seed(0))
    shown = zip(images, vae.relabel(images, asked, own), carried.relabel(images, asked, own), strict=True)
    flat = [each for three in shown for each in three]
    captions = [["image", f"as {names[int(label)]}", "by flow"] for label in asked]
    texts = [text for three in captions for text in three]
    rows = [flat[start : start + 15] for start in range(0, len(flat), 15)]
    grid(rows, [texts[start : start + 15] for start in range(0, len(texts), 15)], group=3).save(
        out / "wrong_labels.png"
    )


if __name__ == "__main__":
    main()
