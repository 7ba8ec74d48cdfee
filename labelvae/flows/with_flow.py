"""A conditional VAE that relabels by a flow on its codes."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from labelvae.data.given_data import Batches
from labelvae.flows.fitting import fit_prior
from labelvae.inputs.checks import check_kind
from labelvae.inputs.tensors import Images, ImageShape, Labels, as_images
from labelvae.models.edits import confined
from labelvae.models.latent_flow import LatentFlow as LatentFlow  # noqa: PLC0414  where it is looked for
from labelvae.models.latent_flow import check_flow
from labelvae.models.passes import codes_of, images_of
from labelvae.models.vae import ConditionalVAE
from labelvae.system.compiling import uncompiled


class WithFlow:
    """A conditional VAE whose codes a flow carries from label to label, and draws.

    `ConditionalVAE.relabel` decodes the code of an image under another label. Here the flow first makes it a code that
    images of that label have. `sample` draws codes from the flow, as a model does whose `prior` the flow is.

    Args:
        vae: the model, of one class.
        flow: a flow on its codes.

    Raises:
        ValueError: a flow on other codes or classes.
    """

    def __init__(self, vae: ConditionalVAE, flow: LatentFlow) -> None:
        vae = uncompiled(vae)
        check_kind("vae", vae, ConditionalVAE)
        self.vae, self.flow = vae, check_flow("flow", flow, vae)

    @classmethod
    def fit(
        cls,
        vae: ConditionalVAE,
        batches: Batches,
        epochs: int = 20,
        couplings: int = 8,
        hidden_dim: int = 64,
        seed: int = 0,
    ) -> Self:
        """Train a flow on the codes of a model, see `fit_prior`, which has the same arguments.

        Returns:
            The model with its flow; `.flow.save_pretrained(folder)` keeps the flow.

        Raises:
            ValueError: a model of several attributes, or with codes of one entry; a number out of range.
        """
        return cls(vae, fit_prior(vae, batches, epochs, couplings, hidden_dim, seed))

    @property
    def image_shape(self) -> ImageShape:
        """`(C, H, W)` of the images."""
        return self.vae.image_shape

    @property
    def num_classes(self) -> int:
        """K."""
        return self.vae.num_classes

    @property
    def class_names(self) -> list[str] | None:
        """The name of each label, or None."""
        return self.vae.class_names

    @property
    def decoder_sees_label(self) -> bool:
        """Whether images of a label can be drawn: always, because the flow draws their codes."""
        return True

    def reconstruct(self, images: Images, labels: Labels, chunk_size: int = 1024) -> Tensor:
        """Return images under their own labels, to which the flow adds nothing; see `ConditionalVAE`."""
        return self.vae.reconstruct(images, labels, chunk_size)

    def relabel(
        self,
        images: Images,
        labels: Labels,
        own_labels: Labels,
        chunk_size: int = 1024,
        mask: Images | None = None,
    ) -> Tensor:
        """Return the counterfactuals of images from carried codes.

        Args:
            images: as `ConditionalVAE.relabel` takes them.
            labels: what each image is asked to be.
            own_labels: what each image is, from which its code is carried.
            chunk_size: images at a time.
            mask: where images may change, see `confined`; None for everywhere.

        Returns:
            `(B, C, H, W)` in [0, 1], on the device of `images`.

        Raises:
            ValueError: images or labels of another shape, type or range.
        """
        images = as_images(images, self.image_shape)
        asked = self.vae.label_weights(labels, len(images))
        own = self.vae.label_weights(own_labels, len(images), "own_labels")
        codes = codes_of(self.vae, images, own, "own_labels", chunk_size)
        carried = self.flow.carry(codes, own, asked, chunk_size)
        made = images_of(self.vae, carried, asked, chunk_size, images.device)
        return made if mask is None else confined(images, made, mask)

    def sample(self, labels: Labels, generator: torch.Generator | None = None, chunk_size: int = 1024) -> Tensor:
        """Return new images `(B, C, H, W)` in [0, 1], on the model's device, of codes drawn from the flow.

        Args:
            labels: an index or a name, for one image; or `(B,)` or `(B, K)`.
            generator: of the noise; None takes torch's own.
            chunk_size: images at a time.

        Raises:
            ValueError: labels of another type or range.
        """
        codes = self.flow.sample(labels, generator, chunk_size)
        asked = self.vae.label_weights(labels, len(codes))
        return images_of(self.vae, codes, asked, chunk_size, self.vae.device)
