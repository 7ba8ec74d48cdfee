"""Makes the model that comes with the package from a finished run, in half precision.

    labelvae train mnist --data-dir DIR --out runs/mnist_small --vae.encoder-widths '[24,48,96]' --vae.hidden-dim 64
    python benchmarks/packaged_model.py --run runs/mnist_small --data-dir DIR

Writes model, guide and card, and prints what half precision costs on the test images.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from jsonargparse import auto_cli

from labelvae import ConditionalVAE, ImageData, LabelClassifier, evaluate
from labelvae.classes import write_classes
from labelvae.command_line import DashParser
from labelvae.hub import PACKAGED
from labelvae.model_card import write_model_card
from labelvae.presets import MNIST
from labelvae.scores import save_scores, scores_table

MOST_BYTES = 2_000_000


def main(run: Path, data_dir: Path = Path("data"), out: Path = PACKAGED / "mnist") -> None:
    """Halves, compares and writes.

    Args:
        run: Folder of the run.
        data_dir: Where MNIST's files are.
        out: Folder of the packaged model.
    """
    data = ImageData(data_dir=data_dir, **asdict(MNIST.data))
    guide, judge = (LabelClassifier.from_pretrained(run / name) for name in ("guide", "judge"))
    vae = ConditionalVAE.from_pretrained(run / "vae")
    test, real = data.loader("test"), data.loader("train")
    scores = [evaluate(vae, test, judge, real=real, guide=guide, name="float32")]
    vae.half().save_pretrained(out / "vae")
    guide.half().save_pretrained(out / "guide")
    vae, guide = ConditionalVAE.from_pretrained(out / "vae"), LabelClassifier.from_pretrained(out / "guide")
    scores.insert(0, evaluate(vae, test, judge, real=real, guide=guide, name="float16, as it comes"))
    print(scores_table(scores))
    with tempfile.TemporaryDirectory() as folder:  # the run, with these scores
        made = Path(shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoints"), dirs_exist_ok=True))
        save_scores(scores, made / "scores.json")
        write_model_card(out / "vae", made, "mnist")
    for name in ("vae", "guide"):
        write_classes(out / name, data.class_names)
    size = sum(path.stat().st_size for path in out.rglob("*.safetensors"))
    print(f"{size:,} bytes of weights under {out}")
    if size > MOST_BYTES:
        raise SystemExit(f"error: at most {MOST_BYTES:,} bytes of weights come with the package")


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
