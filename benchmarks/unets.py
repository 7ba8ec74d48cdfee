"""Four U-Nets side by side: how the resolution is halved, how it is doubled, and which loss.

    python benchmarks/unets.py --data-dir DIR --seeds 3

DIR holds `images/` and masks beside it, see `labelvae.segmentation.read_masked_folder`, or torchvision's
`oxford-iiit-pet/`. A folder is split by seed 0 into 70 % training, 15 % validation (the curves) and 15 % test images;
pets have their own test images. Leaves under the output folder `rows.json`, written after every training, `table.md`,
`curves.png` and `pictures.png`, the last two of the first seed. `--resume` goes on with the rows that are there, and
with a training that was stopped.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

WAYS: dict[str, tuple[Any, Any, Any]] = {
    "pool, transposed, CE": ("max", "transposed", "cross-entropy"),
    "pool, transposed, Dice": ("max", "transposed", "dice"),
    "strided, transposed, CE": ("strided", "transposed", "cross-entropy"),
    "strided, upsampled, Dice": ("strided", "nearest", "dice"),
}

SPLITS = ("training", "validation", "test")


def main() -> None:
    """Train every way with every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="Folder of the images.")
    parser.add_argument("--out", type=Path, default=Path("runs/segmentation"), help="Folder of the results.")
    parser.add_argument("--classes", nargs="+", help="Names of the classes, in the order of the masks' values.")
    parser.add_argument("--size", help="Height and width that images are scaled to, such as 128 or 128x96.")
    parser.add_argument("--seeds", type=int, default=1, help="Trainings of each way.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32, 64], help="Channels at each resolution.")
    parser.add_argument("--turn", action="store_true", help="The images have no up: also turn them.")
    parser.add_argument("--crop", type=int, help="Side of the squares of the images that a step is trained on.")
    parser.add_argument("--resume", action="store_true", help="Go on with what is there.")
    options = parser.parse_args()
    from labelvae.system.allocator import keep_freed_memory

    keep_freed_memory()  # before torch is imported
    import torch

    from labelvae.runs.run_folder import claim_plainly
    from labelvae.segmentation import learning_curves, read_masked_folder, read_pets, segmentation_grid
    from labelvae.system.whole_files import write_whole

    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    if (Path(options.data_dir) / "oxford-iiit-pet").is_dir():
        train, test = read_pets(options.data_dir, options.size or 128)
        train, validation = train.split(0.15)
    else:
        train, validation, test = read_masked_folder(options.data_dir, options.size, options.classes).split(0.15, 0.15)
    fixed = {name: getattr(options, name) for name in ("epochs", "batch_size", "widths", "turn", "crop")}
    images = {
        f"{name} images": part.fingerprint() for name, part in zip(SPLITS, (train, validation, test), strict=True)
    }
    claim_plainly(options.out, {**fixed, **images}, options.resume)
    print(f"{len(train)} training, {len(validation)} validation and {len(test)} test images", flush=True)
    saved = options.out / "rows.json"
    rows = json.loads(saved.read_text()) if saved.is_file() else []
    for seed in range(options.seeds):
        for name in WAYS:
            if not any(row["name"] == name and row["seed"] == seed for row in rows):
                rows.append(trained(name, seed, (train, validation, test), options))
                write_whole(saved, json.dumps(rows, indent=2) + "\n")
                print({key: value for key, value in rows[-1].items() if key not in ("history", "shown")}, flush=True)
    first = {row["name"]: row for row in rows if row["seed"] == 0}
    histories = {name: row["history"] for name, row in first.items()}
    learning_curves(histories, "pixel_accuracy", "validation pixel accuracy").save(options.out / "curves.png")
    some = test.subset(torch.arange(len(first[next(iter(first))]["shown"])))
    found = {name: torch.tensor(row["shown"]) for name, row in first.items()}
    segmentation_grid(some.images.float() / 255.0, some.masks, found).save(options.out / "pictures.png")
    text = table(rows, test.class_names)
    write_whole(options.out / "table.md", text + "\n")
    print(text)


def trained(name: str, seed: int, splits: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Train one network; return its row."""
    import torch
    from lightning.pytorch import Trainer, seed_everything

    from labelvae.runs.run_folder import checked_checkpoint
    from labelvae.segmentation import SegmentationTraining, UNet, segmentation_scores
    from labelvae.training.callbacks import LastCheckpoint

    train, validation, test = splits
    down, up, loss = WAYS[name]
    seed_everything(seed, verbose=False)
    network = UNet(train.images.shape[1], len(train.class_names), options.widths, down, up)
    network.class_names = list(train.class_names)
    network.to(memory_format=torch.channels_last)  # a third faster on a processor
    task = SegmentationTraining(network, loss, turn=options.turn, crop=options.crop)
    last = options.out / "checkpoints" / f"{name.replace(', ', '-')}-{seed}.ckpt"
    trainer = Trainer(
        max_epochs=options.epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[LastCheckpoint(last)],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        gradient_clip_val=0,
    )
    start, cpu = time.perf_counter(), time.process_time()
    trainer.fit(
        task,
        train.loader(options.batch_size, shuffle=True, seed=seed),
        validation.loader(64),
        ckpt_path=checked_checkpoint(last, options.epochs, task) if last.is_file() else None,
        weights_only=True,
    )
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    scores = segmentation_scores(network, test.loader(64))
    if seed == 0:
        network.save_pretrained(options.out / name.replace(", ", "-"))
    return {
        "name": name,
        "seed": seed,
        **scores.to_dict(),
        "parameters": sum(each.numel() for each in network.parameters()),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "history": task.history,
        "shown": network.segment(torch.stack([test[index][0] for index in range(6)])).tolist() if seed == 0 else [],
    }


def table(rows: list[dict[str, Any]], class_names: Any) -> str:
    """Means and, of several seeds, standard deviations as Markdown."""
    heads = ["way", "pixel accuracy", "mean IoU", *(f"Dice, {name}" for name in class_names), "parameters", "CPU s"]
    lines = [heads, ["---"] * len(heads)]
    for name in WAYS:
        own = [row for row in rows if row["name"] == name]
        columns = [[row["pixel_accuracy"] for row in own], [row["mean_iou"] for row in own]]
        columns += [[row["dice"][index] for row in own] for index in range(len(class_names))]
        cells = [
            f"{statistics.mean(column):.3f}" + (f" ± {statistics.stdev(column):.3f}" if len(column) > 1 else "")
            for column in columns
        ]
        spent = statistics.mean(row["cpu_seconds"] for row in own)
        lines.append([name, *cells, f"{own[0]['parameters']:,}", f"{spent:.0f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
