"""Ways to condition a VAE on a label, by name, others' and ours: where the label enters, and what the loss asks of it.

Each recipe is a `VAESettings`: the sizes and the training of a data set's preset, with another conditioning and another
objective. To add a recipe, add an entry to `recipes`. To add a new way for the label to enter, write a few lines in
`models/conditioning.py`.
"""

from __future__ import annotations

from dataclasses import replace

from labelvae.losses.objective import Objective
from labelvae.runs.settings import Settings, VAESettings


def recipes(preset: Settings, channels: int) -> dict[str, VAESettings]:
    """Return the recipes by name, for the images of a preset. "labelvae" is the preset's own.

    The label enters the encoder and the decoder as follows:

    - planes-embedding, planes-onehot, planes-mixed: as planes next to the image, mixed in by a 1x1 convolution, and as
      entries next to the code: an embedding; one-hot; or one-hot planes and an embedding (Sohn et al., 2015).
    - latent-shift: as an embedding added to the posterior's mean and log-variance; not in the decoder. A tenth of the
      training labels are wrong, and a frozen classifier must see the label that was fed in.
    - encoder-only: as one-hot planes in the encoder; not in the decoder.
    - batchnorm: not in the encoder; as conditional batch norm and planes in the decoder (De Vries et al., 2017). A
      frozen classifier must see the own label, by a smoothed binary cross-entropy. In colour, noise is added to the
      codes.
    - mlp: one-hot, next to the pixels and next to the code, with 500 hidden units (Kingma & Welling, 2013, arXiv
      1312.6114).
    - vanilla: nowhere; the same VAE as mlp, without labels.

    Args:
        preset: the settings of a data set.
        channels: the channels of its images.
    """
    ours = preset.vae
    colour = channels > 1
    elbo = Objective(likelihood="gaussian", scale=ours.objective.scale, learn_scale=True, label_weight=0.0)
    plain = replace(ours, objective=elbo, refine=0.0)
    dense = replace(
        ours,
        encoder_widths=(),
        decoder_widths=(),
        spatial_latent=False,
        hidden_dim=500,
        latent_dim=2 if preset.data.name == "mnist" else 10,
        objective=Objective(likelihood="bernoulli", label_weight=0.0),
    )
    return {
        "planes-embedding": replace(plain, encoder_label="embedding", decoder_label="embedding"),
        "planes-onehot": replace(plain, encoder_label="onehot", decoder_label="onehot"),
        "planes-mixed": replace(plain, encoder_label="onehot", decoder_label="embedding"),
        "latent-shift": replace(
            ours,
            encoder_label="shift",
            decoder_label="none",
            latent_dim=512 if colour else 10,
            objective=replace(elbo, own_label_weight=300.0 if colour else 100.0, label_noise=0.1),
        ),
        "encoder-only": replace(plain, encoder_label="onehot", decoder_label="none"),
        "batchnorm": replace(
            plain,
            decoder_label="batchnorm-planes",
            objective=replace(
                elbo,
                own_label_weight=ours.objective.label_weight,
                label_loss="binary",
                label_smoothing=0.1,
                latent_noise=0.5 if colour else 0.0,
            ),
        ),
        "mlp": replace(dense, encoder_label="onehot", decoder_label="onehot"),
        "vanilla": replace(dense, encoder_label="none", decoder_label="none"),
        "labelvae": ours,
    }
