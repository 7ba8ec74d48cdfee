"""Fits the prior of a model that comes with the package to the training images, and saves it with the model.

    python benchmarks/packaged_prior.py --model mnist --data mnist --data-dir DIR --epochs 15

The weights of the model do not change, but for rounding to `--bits`; without these, model and prior are saved in half
precision. `benchmarks/latent_flow.py` measures what the prior does to the samples. The sheet of samples beside the
model, which its card shows, is drawn anew.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path


def main() -> None:
    """Fit, save and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mnist", help="Name of the packaged model.")
    parser.add_argument("--data", default="mnist", help="Name of the data set, as ImageData takes it.")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--folder", action="store_true", help="The images lie in class folders.")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--couplings", type=int, default=8)
    parser.add_argument("--hidden-dim", type=int, default=64)
    parser.add_argument("--bits", type=int, help="So many for a weight; without it, half precision.")
    parser.add_argument("--out", type=Path, help="Folder of the model with its prior; without it, its own.")
    options = parser.parse_args()
    import torch

    from labelvae import ConditionalVAE, ImageData
    from labelvae.flows import fit_prior
    from labelvae.models.hub import locate
    from labelvae.photos.picture_files import save_picture
    from labelvae.runs import presets
    from labelvae.visual.contact_sheets import sheets
    from labelvae.visual.grids import one_of_each

    torch.set_num_threads(1)
    folder = locate(options.model, "ConditionalVAE")
    out = options.out or folder
    vae = ConditionalVAE.from_pretrained(folder)
    known = getattr(presets, options.data.upper()).data
    data = ImageData(data_dir=options.data_dir, **asdict(replace(known, name="folder") if options.folder else known))
    before = (folder / "model.safetensors").stat().st_size
    flow = fit_prior(vae, data.loader("train"), options.epochs, options.couplings, options.hidden_dim)
    vae.prior = flow if options.bits else flow.half()
    (vae if options.bits else vae.half()).save_pretrained(out, options.bits)
    size = (out / "model.safetensors").stat().st_size
    print(f"{size:,} bytes of weights, {before:,} before")
    again = ConditionalVAE.from_pretrained(out)
    some = data.splits["test"].subset(one_of_each(data.splits["test"].labels, 40)).load()
    drawn = sheets(again, some.images.float() / 255.0, some.labels, data.class_names)
    save_picture(drawn["samples"], out / "samples.png")


if __name__ == "__main__":
    main()
