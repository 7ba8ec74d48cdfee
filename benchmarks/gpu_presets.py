"""The presets as the steps take them: as they are, or in a rehearsal with the same terms on tiny networks."""

from __future__ import annotations

from dataclasses import replace

from labelvae.inputs.tensors import ImageShape
from labelvae.runs import presets
from labelvae.runs.settings import Settings

PRESETS: dict[str, tuple[Settings, ImageShape]] = {
    "cifar10": (presets.CIFAR10, (3, 32, 32)),
    "mnist": (presets.MNIST, (1, 28, 28)),
    "folder": (presets.FOLDER, (3, 64, 64)),
    "cifar10_small": (presets.CIFAR10_SMALL, (3, 32, 32)),
    "digits": (presets.DIGITS, (1, 8, 8)),
}
"""Those that differ in networks or terms, with the shape of their images; the most wanted first."""


def preset(name: str, rehearse: bool) -> tuple[Settings, ImageShape]:
    """The settings of that name, and the shape of their images."""
    settings, shape = PRESETS[name]
    if not rehearse:
        return settings, shape
    few = (8, 8, 8)
    vae = replace(settings.vae, encoder_widths=few, decoder_widths=few, discriminator_widths=few, blocks=0)
    guide, judge = replace(settings.guide, widths=few, blocks=0), replace(settings.judge, widths=(16, 16), blocks=0)
    return replace(settings, guide=guide, judge=judge, vae=vae), shape
