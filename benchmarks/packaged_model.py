"""Makes the model that comes with the package from a finished run, in half precision.

    labelvae train mnist_varied --data-dir DIR
    python benchmarks/packaged_model.py --run runs/mnist_varied --data-dir DIR

or of what benchmarks/packaged_training.py made. Writes model, guide, card and pictures, and prints what half precision
costs on the test images.
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
from labelvae.figures import one_of_each
from labelvae.hub import PACKAGED
from labelvae.model_card import write_model_card
from labelvae.picture_files import save_picture
from labelvae.presets import MNIST_VARIED
from labelvae.scores import save_scores, scores_table
from labelvae.sheets import sheets

MOST_BYTES = 2_250_000


def main(run: Path, data_dir: Path = Path("data"), out: Path = PACKAGED / "mnist") -> None:
    """Halves, compares and writes.

    Args:
        run: Folder of the run.
        data_dir: Where MNIST's files are.
        out: Folder of the packaged model.
    """
    data = ImageData(data_dir=data_dir, **asdict(MNIST_VARIED.data))
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
        held_out = data.splits["test"]
        some = held_out.subset(one_of_each(held_out.labels, 40)).load()
        for name, picture in sheets(vae, some.images.float() / 255.0, some.labels, data.class_names).items():
            save_picture(picture, made / f"{name}.png")
        write_model_card(out / "vae", made, "mnist")
    for name in ("vae", "guide"):
        write_classes(out / name, data.class_names)
    size = sum(path.stat().st_size for path in out.rglob("*.safetensors"))
    print(f"{size:,} bytes of weights under {out}")
    if size > MOST_BYTES:
        raise SystemExit(f"error: at most {MOST_BYTES:,} bytes of weights come with the package")


if __name__ == "__main__":
    auto_cli(main, as_positional=False, parser_class=DashParser)
