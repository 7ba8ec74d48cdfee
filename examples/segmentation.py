"""Segment your own images: what does every pixel show?

    python examples/segmentation.py --data-dir DIR --out runs/segmentation

DIR holds `images/` and, beside it, `masks/` with a file of the same name for every image. Leaves the network, its
scores and a picture (image, truth, prediction) under the output folder. If it was stopped, the same command with
`--resume` goes on from the last whole epoch. The benchmark `benchmarks/unets.py` compares four ways to build and train
the network.
"""

from pathlib import Path
from typing import Literal

from labelvae.cli.parser import DashParser


def segment(
    *,
    data_dir: Path,
    out: Path = Path("runs/segmentation"),
    size: int = 128,
    downsampling: Literal["max", "strided"] = "max",
    upsampling: Literal["transposed", "nearest"] = "transposed",
    loss: Literal["cross-entropy", "dice"] = "cross-entropy",
    epochs: int = 30,
    seed: int = 0,
    resume: bool = False,
    fast_dev_run: bool = False,
) -> None:
    """Trains a U-Net, scores it on images held out, and draws what it finds.

    Args:
        data_dir: folder of the images and masks.
        out: folder of the results.
        size: height and width that images and masks are scaled and cropped to.
        downsampling: how the resolution is halved.
        upsampling: how the resolution is doubled.
        loss: what is minimized.
        epochs: times every training image is seen.
        seed: of the weights, the order of the images and the mirroring.
        resume: go on from the last whole epoch in `out`.
        fast_dev_run: try one batch.
    """
    import json

    import torch
    from lightning.pytorch import Trainer, seed_everything

    from labelvae.runs.run_folder import checked_checkpoint, claim_plainly
    from labelvae.segmentation import (
        SegmentationTraining,
        UNet,
        read_masked_folder,
        segmentation_grid,
        segmentation_scores,
    )
    from labelvae.system.whole_files import write_whole
    from labelvae.training.callbacks import LastCheckpoint

    if fast_dev_run:
        out, resume = out / "fast-dev-run", True
    data = read_masked_folder(data_dir, size)
    claim_plainly(out, {"size": size, "seed": seed, "images": data.fingerprint()}, resume)
    train, validation, test = data.split(0.15, 0.15)
    seed_everything(seed, verbose=False)
    network = UNet(3, len(train.class_names), downsampling=downsampling, upsampling=upsampling)
    network.class_names = list(train.class_names)
    task = SegmentationTraining(network, loss)
    last = out / "checkpoints" / "unet.ckpt"
    keep = {"enable_checkpointing": False} if fast_dev_run else {"callbacks": [LastCheckpoint(last)]}
    trainer = Trainer(max_epochs=epochs, logger=False, fast_dev_run=fast_dev_run, **keep)
    before = checked_checkpoint(last, epochs, task) if last.is_file() else None
    batches = train.loader(8, shuffle=True, seed=seed)
    try:
        trainer.fit(task, batches, validation.loader(32), ckpt_path=before, weights_only=True)
    except SystemExit as error:
        raise KeyboardInterrupt from error  # Lightning turns Ctrl-C into an exit

    scores = segmentation_scores(network, test.loader(32))
    print(json.dumps(scores.to_dict(), indent=2))
    network.save_pretrained(out / "unet")
    write_whole(out / "scores.json", json.dumps(scores.to_dict(), indent=2) + "\n")
    some = test.subset(torch.arange(min(6, len(test))))
    images = some.images.float() / 255.0
    segmentation_grid(images, some.masks, {"prediction": network.segment(images)}).save(out / "segmentation.png")


if __name__ == "__main__":
    parser = DashParser(description=__doc__)
    parser.add_function_arguments(segment)
    arguments = parser.parse_args()
    try:
        segment(**vars(parser.instantiate(arguments)))
    except (ValueError, OSError, FloatingPointError) as error:
        parser.exit(2, f"error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"\nstopped; what is made is under {arguments.out}, --resume goes on from there\n")
