"""Segment your own images: what does every pixel show?

    python examples/segmentation.py --data-dir DIR --out runs/segmentation

DIR holds `images/` and, beside it, `masks/` with a file of the same name for every image. Leaves the network, its
scores and a picture (image, truth, prediction) under the output folder. The benchmark `benchmarks/unets.py`
compares four ways to build and train the network.
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
    fast_dev_run: bool = False,
) -> None:
    """Trains a U-Net, scores it on images held out, and draws what it finds.

    Args:
        data_dir: Folder of the images and masks.
        out: Folder of the results.
        size: Height and width that images and masks are scaled and cropped to.
        downsampling: How the resolution is halved.
        upsampling: How the resolution is doubled.
        loss: What is minimized.
        epochs: Times every training image is seen.
        seed: Of the weights, the order of the images and the mirroring.
        fast_dev_run: Try one batch.
    """
    import json

    import torch
    from lightning.pytorch import Trainer, seed_everything

    from labelvae.segmentation import (
        SegmentationTraining,
        UNet,
        read_masked_folder,
        segmentation_grid,
        segmentation_scores,
    )
    from labelvae.system.whole_files import write_whole

    seed_everything(seed, verbose=False)
    train, validation, test = read_masked_folder(data_dir, size).split(0.15, 0.15)
    network = UNet(3, len(train.class_names), downsampling=downsampling, upsampling=upsampling)
    network.class_names = list(train.class_names)
    trainer = Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False, fast_dev_run=fast_dev_run)
    trainer.fit(SegmentationTraining(network, loss), train.loader(8, shuffle=True, seed=seed), validation.loader(32))

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
