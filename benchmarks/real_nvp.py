"""Relabelling by a conditional Real NVP: images to noise under their own label, and back under a wrong one.

    python benchmarks/real_nvp.py --data mnist --data-dir DIR --epochs 10
    python benchmarks/real_nvp.py --data mnist --data-dir DIR --epochs 10 --guide mnist --label-weight 100

With `--guide`, the loss has the guide's label loss of each training image under a wrong label, as a VAE's has.
The judge is the preset's, trained here unless `--judge` names one; it had no part in the flow. Wrong labels are those
of `benchmarks/relabel.py`. Leaves under the output folder the flow, which a second run takes up, `table.md`,
`row.json`, `wrong_labels.png`, `every_class.png` and `samples.png`.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any


def main() -> None:
    """Train, judge, draw."""
    options = arguments()
    from labelvae.system.allocator import keep_freed_memory

    keep_freed_memory()  # before torch is imported
    import torch
    from packaged_model import opinion_of
    from tables import HEADS, table

    from labelvae import ImageData
    from labelvae.data.loaders import ImageLoader
    from labelvae.evaluation import evaluate
    from labelvae.flows import RealNVP
    from labelvae.models.frozen import Classifier
    from labelvae.runs import presets
    from labelvae.runs.experiment import Experiment
    from labelvae.system.whole_files import write_whole

    torch.set_num_threads(1)
    preset = getattr(presets, options.data.upper())
    source = replace(preset.data, name="folder") if options.folder else preset.data
    preset = replace(preset, data=source)
    data = ImageData(data_dir=options.data_dir, **asdict(source))
    if (options.out / "flow" / "model.safetensors").is_file():
        flow, seconds = RealNVP.from_pretrained(options.out / "flow"), None
    else:
        start = time.process_time()
        flow = trained(data, options)
        seconds = time.process_time() - start
    if options.judge is None:
        out = options.out / "classifiers"
        settings = replace(
            preset, data_dir=options.data_dir, out=out, log="none", resume=(out / "settings.yaml").is_file()
        )
        judge: Classifier = Experiment(settings, data).classifier("judge", preset.judge)
    else:
        judge = opinion_of(options.judge, flow)
    test = data.loader("test")
    if options.count is not None:
        test = ImageLoader(data.splits["test"].subset(torch.arange(options.count)), 500)
    with torch.no_grad():
        torch.manual_seed(0)
        nats = torch.cat([-flow.log_prob(images, labels) for images, labels in test])
    real = ImageLoader(data.splits["train"].subset(torch.arange(options.real)), 500)
    scores = evaluate(flow, test, judge, real=real, name="real-nvp", progress=False)
    row = scores.row() | {
        "nats": float(nats.mean()),
        "bits_per_dimension": float(nats.mean()) / flow.entries / 0.6931471805599453,
        "realism_over_floor": scores.realism_by_class / scores.realism_floor,
        "parameters": sum(each.numel() for each in flow.parameters()),
        "epochs": options.epochs,
        "seed": options.seed,
        "seconds": seconds,
    }
    heads = HEADS | {"bits_per_dimension": "bits per dimension"}
    text = table([row], heads)
    print(text)
    write_whole(options.out / "row.json", json.dumps(row, indent=2) + "\n")
    write_whole(options.out / "table.md", text + "\n")
    draw(flow, data, options.out)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="Whose preset.")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--folder", action="store_true", help="The images are in class folders.")
    parser.add_argument(
        "--judge", type=Path, help="Folder of a classifier, or a .pt2 file; without it, the preset's is trained."
    )
    parser.add_argument("--guide", help="Folder or name of a classifier for the loss; without it, there is none.")
    parser.add_argument("--label-weight", type=float, default=100.0, help="Lambda of its label loss.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--widths", type=int, nargs="*", default=[16, 32], help="Channels at each resolution.")
    parser.add_argument("--couplings", type=int, default=4, help="Layers at each resolution.")
    parser.add_argument("--flat-couplings", type=int, default=8, help="Layers on all entries.")
    parser.add_argument("--hidden-dim", type=int, default=512, help="Units inside those.")
    parser.add_argument("--precision", default="bf16-mixed", choices=["bf16-mixed", "32-true"], help="Of the training.")
    parser.add_argument("--count", type=int, help="Test images; without it, all.")
    parser.add_argument("--real", type=int, default=10_000, help="Training images that realism compares with.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/real_nvp"))
    return parser.parse_args()


def trained(data: Any, options: argparse.Namespace) -> Any:
    """Train a flow and save it."""
    import torch
    from lightning.pytorch import Trainer, seed_everything

    from labelvae.flows import FlowTraining, RealNVP

    seed_everything(options.seed, verbose=False)
    shape = data.image_shape
    flow = RealNVP(
        shape, data.num_classes, options.widths, options.couplings, options.hidden_dim, options.flat_couplings
    )
    flow.class_names = data.class_names
    task = FlowTraining(flow, options.learning_rate) if options.guide is None else guided(flow, options)
    trainer = Trainer(
        max_epochs=options.epochs,
        accelerator="cpu",
        precision=options.precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[said()],
    )
    train = data.loader("train", options.batch_size, shuffle=True, drop_last=True, seed=options.seed)
    trainer.fit(task, train, data.loader("validation", 500))
    flow.eval().save_pretrained(options.out / "flow")
    torch.manual_seed(options.seed)
    return flow


def guided(flow: Any, options: argparse.Namespace) -> Any:
    """Return a training of the flow with the label loss of counterfactuals beside the likelihood."""
    from torch import Tensor

    from labelvae import LabelClassifier
    from labelvae.flows import FlowTraining
    from labelvae.inputs.tensors import wrong_labels
    from labelvae.losses.terms import label_loss

    guide = LabelClassifier.from_pretrained(options.guide).freeze()

    class Guided(FlowTraining):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            images, labels = batch
            asked = wrong_labels(labels, flow.num_classes)
            noise, _ = flow(images, labels)
            label = label_loss(guide(flow.inverse(noise, asked)), asked).mean()
            if batch_idx % 100 == 0:
                print(f"label loss {label.item():.3f}", flush=True)
            total: Tensor = super().training_step(batch, batch_idx) + options.label_weight * label
            return total

    return Guided(flow, options.learning_rate)


def said() -> Any:
    """Return a callback that prints the means of the epochs so far."""
    from lightning.pytorch import Callback

    class Said(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            print(pl_module.history[-1:], flush=True)

    return Said()


def draw(flow: Any, data: Any, out: Path) -> None:
    """Draw test images under wrong labels and under every label, and samples."""
    import torch

    from labelvae.inputs.tensors import wrong_labels
    from labelvae.visual.grids import one_of_each, samples_grid, style_transfer_grid, wrong_labels_grid

    names, generator = data.class_names, torch.Generator().manual_seed(0)
    test = data.splits["test"]
    some = test.subset(one_of_each(test.labels, 40)).load()
    images, own = some.images[:25].float() / 255.0, some.labels[:25]
    asked = wrong_labels(own, len(names), generator)
    wrong_labels_grid(images, flow.relabel(images, asked, own), own, asked, names).save(out / "wrong_labels.png")
    images, own = images[:10], own[:10]
    every = torch.stack([flow.relabel(images, label, own) for label in range(len(names))], dim=1)
    style_transfer_grid(images, every, names).save(out / "every_class.png")
    asked = torch.arange(len(names)).repeat_interleave(10)
    samples = flow.sample(asked, generator).unflatten(0, (len(names), 10))
    samples_grid(samples, names).save(out / "samples.png")


if __name__ == "__main__":
    main()
