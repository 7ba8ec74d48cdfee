"""What a model draws the codes of new images from: N(0, I), or a flow that was fitted to its codes."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor

from labelvae.inputs.tensors import moved
from labelvae.models.labelled import Labelled
from labelvae.models.latent_flow import LatentFlow, check_flow


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

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. A prior is checked, and does not become a submodule."""
        if name == "prior":
            object.__setattr__(self, name, None if value is None else check_flow(name, value, self))
        else:
            super().__setattr__(name, value)

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

    def _drawn_codes(self, label: Tensor, generator: torch.Generator | None, chunk_size: int) -> Tensor:
        """Draw a code `(B, D)` for each row of label weights `(B, L)`.

        Raises:
            ValueError: a prior without values, on the meta device.
        """
        if self.prior is not None:
            return moved(self.prior.sample(label, generator, chunk_size), self.device, "prior")
        where = generator.device if generator is not None else "cpu"
        return torch.randn(len(label), self.latent_dim, generator=generator, device=where)
