"""What a model draws the codes of new images from: N(0, I), or a flow that was fitted to its codes."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor

from labelvae.inputs.checks import check_kind
from labelvae.inputs.tensors import ImageShape, Labels, moved
from labelvae.models.labelled import Labelled
from labelvae.models.latent_flow import LatentFlow, check_flow
from labelvae.models.options import DecoderLabel
from labelvae.models.passes import images_of


class WithPrior(Labelled):
    """A model of codes that may carry a prior.

    Attributes:
        prior: what the codes of new images are drawn from: a flow on the codes of the trained model, see
            `flows.fit_prior`, or None for N(0, I). It is saved and loaded with the model, but is no submodule:
            `state_dict`, `parameters` and `to` leave it alone. It is of the codes of these weights, so training the
            model, and loading other weights, set it to None with a warning.
    """

    prior: LatentFlow | None = None
    saved_with: ClassVar = {"prior": LatentFlow}
    latent_dim: int
    image_shape: ImageShape
    decoder_label: DecoderLabel

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. A prior is checked, and does not become a submodule."""
        if name == "prior":
            object.__setattr__(self, name, None if value is None else check_flow(name, value, self))
        else:
            super().__setattr__(name, value)

    @property
    def decoder_sees_label(self) -> bool:
        """Whether one code can be decoded under several labels."""
        return self.decoder_label != "none"

    def sample(self, labels: Labels, generator: torch.Generator | None = None, chunk_size: int = 1024) -> Tensor:
        """Return new images `(B, C, H, W)` in [0, 1], on the model's device, of codes drawn from the prior.

        The prior is `self.prior`, or N(0, I) where that is None. Labels are an index or a name, for one image, or
        `(B,)` or `(B, K)`.

        Raises:
            ValueError: labels of another number, type or range; a prior without values, on the meta device.
        """
        check_kind("generator", generator, torch.Generator, optional=True)
        labels, count = self.counted_labels(labels)
        asked = self.label_weights(labels, count)
        if self.prior is None and not self.decoder_sees_label:
            raise ValueError(f"labels: a decoder with decoder_label={self.decoder_label!r} draws no images of a label")
        if self.prior is not None:
            codes = moved(self.prior.sample(asked, generator, chunk_size), self.device, "prior")
        else:
            where = generator.device if generator is not None else "cpu"
            codes = torch.randn(count, self.latent_dim, generator=generator, device=where)
        return images_of(self, codes, asked, chunk_size, self.device)

    def drop_prior(self) -> None:
        """Set the prior to None, with a warning if there is one: the weights change, and the codes with them."""
        if self.prior is not None:
            self.prior = None
            warnings.warn(
                "prior: other weights have other codes, so the model's prior is dropped and sample draws from N(0, I); "
                "fit another one to the trained model: vae.prior = labelvae.flows.fit_prior(vae, batches)",
                stacklevel=3,
            )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Drop the prior if other weights are loaded."""
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.prior is not None and any(
            prefix + name in state_dict and not torch.equal(value, state_dict[prefix + name].to(value))
            for name, value in self.state_dict().items()  # the encoder's and the decoder's are not loaded yet
        ):
            self.drop_prior()
