"""Relabels a million images in bounded memory, chunk by chunk, into a file.

    python benchmarks/many_images.py --model runs/mnist/vae --out runs/many
    python benchmarks/many_images.py --out runs/many --count 20000          an untrained model, to see that it runs

Prints, after each tenth, the images a second and the most memory the process held so far.
"""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

import torch
from jsonargparse import auto_cli

from labelvae import ConditionalVAE
from labelvae.cli.parser import DashParser
from labelvae.system.allocator import keep_freed_memory
from labelvae.system.whole_files import write_whole


def main(out: Path = Path("runs/many"), model: Path | None = None, count: int = 1_000_000, chunk: int = 2000) -> None:
    """Relabels images of noise and writes `many.json` beside them.

    Args:
        out: folder of the results, which take a byte a pixel.
        model: folder of a model; none takes an untrained one of MNIST's shape.
        count: images.
        chunk: images that are in memory at once.
    """
    keep_freed_memory()
    vae = ConditionalVAE((1, 28, 28), 10).eval() if model is None else ConditionalVAE.from_pretrained(model)
    out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    rows, start = [], time.perf_counter()
    with (out / "relabelled.uint8").open("wb") as file:
        for first in range(0, count, chunk):
            last = min(first + chunk, count)
            images = torch.rand(last - first, *vae.image_shape, generator=generator)
            made = vae.relabel(images, torch.arange(first, last) % vae.num_classes)
            file.write((made * 255.0).round().byte().numpy().tobytes())
            if last * 10 // count > first * 10 // count:
                megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                rate = round(last / (time.perf_counter() - start))
                rows.append({"images": last, "images a second": rate, "peak memory, MB": megabytes})
                print(rows[-1], flush=True)
    write_whole(out / "many.json", json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
