"""The model: an image and a label in, the image as that label out.

(Conditional VAE: Kingma et al., 2014, arXiv 1406.5298, model M2; Sohn et al., 2015.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn

from labelvae.inputs.checks import (
    LARGEST_DEPTH,
    LARGEST_SIZE,
    check_choice,
    check_count,
    check_flag,
    check_widths,
)
from labelvae.inputs.tensors import (
    Images,
    ImageShape,
    Labels,
    as_images,
    check_image_shape,
    check_images,
)
from labelvae.models.edits import confined, own_for_residual, with_residual
from labelvae.models.inference import evaluation_mode
from labelvae.models.labelled import label_arguments
from labelvae.models.latent import DiagonalGaussian, check_codes
from labelvae.models.loaded import check_both
from labelvae.models.networks import Decoder, Encoder, own_for_encoder
from labelvae.models.options import DecoderLabel, EncoderLabel, Upsampling
from labelvae.models.own_networks import check_logits, check_part, copies, own_parts, posterior_of, try_part
from labelvae.models.passes import codes_of, images_of
from labelvae.models.prior import WithPrior
from labelvae.models.pyramids import check_places, default_widths


class ConditionalVAE(WithPrior):
    """A label-conditional variational autoencoder:

        z ~ q(z | x)            the encoder: what an image x has apart from its label
        x ~ p(x | z, y)         the decoder: the image with that style, as label y

    Relabelling decodes the latent code z of an image under another label. The result is the image's counterfactual:

        x' = decode(mean of q(z | x), y')

    (VAE: Kingma & Welling, 2014, arXiv 1312.6114. With labels: Kingma et al., 2014, arXiv 1406.5298.)

    `encode` and `decode` are the differentiable halves, for training. `reconstruct`, `relabel`, `sample` and
    `interpolate` are for use. They run in evaluation mode, without gradients, in chunks, and on the model's device, and
    leave the model's mode as it is. Their results are on the images' device (those of `sample` on the model's). Invalid
    images, labels and codes raise `ValueError`. Under `torch.autocast` they compute in bfloat16 and return the model's
    own type.

    Labels are one index or, once `class_names` is set, one name for the whole batch; `(B,)` of them; or weights over
    the classes `(B, K)`, one-hot or a blend. With several attributes they are a dict from names to values, or rows
    `(B, A)`, see `Attributes`.

    Args:
        image_shape: `(C, H, W)`, any size from 8x8, square or not.
        num_classes: K, the number of classes, at least 2. Give this or `attributes`.
        latent_dim: D, the entries of a code.
        encoder_widths: the channels after each halving of the resolution. None chooses by the image's size. An empty
            list gives fully connected layers only.
        decoder_widths: the channels before each doubling, coarsest first. None mirrors the encoder.
        hidden_dim: the units between the maps and the code, in both halves.
        blocks: the residual blocks at each resolution.
        encoder_label: how the label enters the encoder. "none": not at all; such a model relabels better, because it
            cannot code an image differently for its label. "onehot" or "embedding": next to the image, as channels.
            "shift": an embedding is added to mean and log-variance.
        decoder_label: how the label enters the decoder. "batchnorm": with the code, and as the scale and shift of every
            normalization. "batchnorm-planes": also as planes next to the maps. "onehot" or "embedding": with the code.
            "none": not at all; an image is then relabelled by encoding it under the asked label.
        embedding_dim: the entries of the embedding, which both halves share.
        spatial_latent: make the code `latent_dim / (h w)` channels of the coarsest `h x w` maps, without hidden units.
            This keeps the layout of an image.
        upsampling: "subpixel", the fastest, or "nearest", less prone to checkerboards; see `Decoder`.
        encoder: an encoder of your own, called as `encoder(images)`, or as `encoder(images, label)` if `encoder_label`
            is not "none". It returns mean and log-variance, as `(B, 2D)` or as two tensors `(B, D)`.
        decoder: a decoder of your own, called as `decoder(z, label)`. It returns pixel logits `(B, C, H, W)`. The label
            is weights over the classes, `(B, K)`, or its embedding if `decoder_label` is "embedding".
        attributes: the parts of a label: a dict from names to `Category`, `Binary` and `Continuous`.

    Attributes:
        prior: what `sample` draws codes from: None for N(0, I), or a flow that `flows.fit_prior` fitted to the codes of
            the trained model. It is saved with the model, see `WithPrior`.

    Raises:
        ValueError: an argument out of range; an encoder or decoder that fails or returns another shape.

    >>> vae = ConditionalVAE(image_shape=(1, 28, 28), num_classes=10)
    >>> vae.relabel(torch.rand(5, 1, 28, 28), 8).shape
    torch.Size([5, 1, 28, 28])
    >>> posterior = vae.encode(torch.rand(5, 1, 28, 28))  # the halves, for a training loop of your own
    >>> vae.decode(posterior.rsample(), torch.tensor([3, 1, 4, 1, 5])).shape
    torch.Size([5, 1, 28, 28])
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int | None = None,
        latent_dim: int = 16,
        encoder_widths: Sequence[int] | None = None,
        decoder_widths: Sequence[int] | None = None,
        hidden_dim: int = 128,
        blocks: int = 0,
        encoder_label: EncoderLabel = "none",
        decoder_label: DecoderLabel = "batchnorm",
        embedding_dim: int = 8,
        spatial_latent: bool = False,
        upsampling: Upsampling = "subpixel",
        attributes: Mapping[str, Any] | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        own = {"encoder": check_part("encoder", encoder), "decoder": check_part("decoder", decoder)}
        image_shape = check_image_shape(image_shape)
        encoder_widths = check_widths(
            "encoder_widths", default_widths(image_shape) if encoder_widths is None else encoder_widths, at_least=0
        )
        decoder_widths = check_widths(
            "decoder_widths", encoder_widths[::-1] if decoder_widths is None else decoder_widths, at_least=0
        )
        label, found, entries = label_arguments(num_classes, attributes)
        latent_dim = check_count("latent_dim", latent_dim, at_most=LARGEST_SIZE)
        hidden_dim = check_count("hidden_dim", hidden_dim, at_most=LARGEST_SIZE)
        blocks = check_count("blocks", blocks, at_least=0, at_most=LARGEST_DEPTH)
        embedding_dim = check_count("embedding_dim", embedding_dim, at_most=LARGEST_SIZE)
        check_choice("encoder_label", encoder_label, get_args(EncoderLabel))
        check_choice("decoder_label", decoder_label, get_args(DecoderLabel))
        spatial_latent = check_flag("spatial_latent", spatial_latent)
        check_choice("upsampling", upsampling, get_args(Upsampling))
        if spatial_latent:
            check_places(image_shape, latent_dim, encoder_widths, decoder_widths)
        aside = {"self", "__class__", "own", "label", "found", "entries"}
        aside |= {"encoder", "decoder", "num_classes", "attributes"}
        others = {name: value for name, value in locals().items() if name not in aside | {"aside"}}
        super().__init__({"image_shape": image_shape, **label, **others})  # the arguments, as checked
        self.image_shape = image_shape
        self._set_label(label.get("num_classes"), found)
        self.latent_dim = latent_dim
        self.encoder_label = encoder_label
        self.decoder_label = decoder_label
        embedded = "embedding" in (encoder_label, decoder_label)
        self.embedding = nn.Linear(entries, embedding_dim, bias=False) if embedded else None
        beside = {"onehot": entries, "embedding": embedding_dim}
        self.encoder = own["encoder"] or Encoder(
            image_shape,
            latent_dim,
            encoder_widths,
            hidden_dim,
            blocks,
            label_dim=beside.get(encoder_label, 0),
            shift_classes=entries if encoder_label == "shift" else None,
            spatial=spatial_latent,
        )
        normed = decoder_label.startswith("batchnorm")
        self.decoder = own["decoder"] or Decoder(
            image_shape,
            latent_dim,
            label_dim=entries if normed else beside.get(decoder_label, 0),
            norm_classes=entries if normed else None,
            plane_dim=entries if decoder_label == "batchnorm-planes" else 0,
            widths=decoder_widths,
            hidden_dim=hidden_dim,
            blocks=blocks,
            spatial=spatial_latent,
            upsampling=upsampling,
        )
        for name in [name for name, part in own.items() if part is not None]:
            try_part(name, self)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile both halves in place, as `nn.Module.compile` does. The weights keep their names."""
        self.encoder.compile(*args, **kwargs)
        self.decoder.compile(*args, **kwargs)

    def encode(self, images: Tensor, labels: Labels | None = None) -> DiagonalGaussian:
        """Return the posterior over the latent codes `(B, D)` of images `(B, C, H, W)` in [0, 1].

        Args:
            images: the images.
            labels: the images' own labels. Needed only by an encoder that sees the label.

        Raises:
            ValueError: images or labels of another shape, type or range.
        """
        check_images(images, self.image_shape)
        check_both(self.encoder, "images", images)
        label, own_encoder = None, not isinstance(self.encoder, Encoder)
        if self.encoder_label != "none":
            own = self.label_weights(own_for_encoder(labels), images.shape[0], device=images.device)
            label = self._entered(own, self.encoder_label)
        seen: list[Any] = [images.to(self.dtype), label]
        if own_encoder:
            seen = copies(seen if self.encoder_label != "none" else seen[:1])
        return posterior_of(self.encoder(*seen), images.shape[0], self.latent_dim)

    def decode_logits(self, z: Tensor, labels: Labels) -> Tensor:
        """Return pixel logits `(B, C, H, W)` of codes `(B, D)` under labels; their sigmoid is the image."""
        check_codes(z, self.latent_dim)
        check_both(self.decoder, "z", z)
        label = self._entered(self.label_weights(labels, z.shape[0], device=z.device), self.decoder_label)
        seen = [z.to(self.dtype), label]
        if isinstance(self.decoder, Decoder):
            logits: Tensor = self.decoder(*seen)
            return logits
        return check_logits(self.decoder(*copies(seen)), z.shape[0], self.image_shape)

    def own_parts(self, parametrized: bool = True) -> dict[str, str]:
        """Return the class names of an encoder or decoder that was given or changed; see `save_pretrained`."""
        return own_parts(self, parametrized)

    def _entered(self, label: Tensor, way: EncoderLabel | DecoderLabel) -> Tensor:
        """Return label weights `(B, K)` as a network sees them that takes the label by `way`, `(B, L)`."""
        label = label.to(self.dtype)
        return self.embedding(label) if self.embedding and way == "embedding" else label

    def decode(self, z: Tensor, labels: Labels) -> Tensor:
        """Return images `(B, C, H, W)` in [0, 1] of codes `(B, D)` under labels."""
        return torch.sigmoid(self.decode_logits(z, labels))

    def forward(self, images: Tensor, labels: Labels) -> Tensor:
        """Return images `(B, C, H, W)` in [0, 1] through a sampled code, under `labels`; differentiable."""
        return self.decode(self.encode(images, labels).rsample(), labels)

    def reconstruct(self, images: Images, labels: Labels, chunk_size: int = 1024) -> Tensor:
        """Return images `(B, C, H, W)` in [0, 1] under their own labels, from the posterior mean; see `relabel`."""
        own = self.weighed(self.label_weights(self.all_known(labels), as_images(images, self.image_shape).shape[0]))
        return self.relabel(images, own, own, chunk_size)

    def relabel(
        self,
        images: Images,
        labels: Labels,
        own_labels: Labels | nn.Module | None = None,
        chunk_size: int = 1024,
        mask: Images | None = None,
        residual: bool = False,
    ) -> Tensor:
        """Return the counterfactuals of `images`: as `labels`, in their own style, from the posterior mean.

        Args:
            images: `(B, C, H, W)` or `(B, H, W, C)`, floats in [0, 1] or 8-bit integers: a tensor, an array, a PIL
                image or a list of them. One image without B is a batch of one.
            labels: what each image is asked to be. Of several attributes, those that are left out stay as they are.
            own_labels: what each image is, or an `AttributeClassifier` that reads it; attributes that stay need it,
                `residual`, and an encoder that sees the label, unless the decoder does not.
            chunk_size: largest number of images computed at a time. A processor takes fewer, which is faster.
            mask: where images may change, see `edits.confined`; None for everywhere.
            residual: carry over what the model does not draw of each image, see `edits.with_residual`.

        Returns:
            `(B, C, H, W)` in [0, 1], on the device of `images`; `(1, C, H, W)` for one image.

        Raises:
            ValueError: images or labels of another shape, type or range.
        """
        images = as_images(images, self.image_shape)
        asked, own = self.asked_and_own(images, labels, own_labels)
        own = self.all_known(own, "own_labels") if residual or self.encoder_label != "none" else own
        with evaluation_mode(self) as model:
            seen = own if self.decoder_sees_label else self.weighed(asked)
            codes = codes_of(model, images, seen, "own_labels", chunk_size)
            made = images_of(model, codes, asked, chunk_size, images.device)
            if check_flag("residual", residual):
                weights = self.label_weights(own_for_residual(own), images.shape[0], "own_labels")
                if not self.decoder_sees_label:
                    codes = codes_of(model, images, own, "own_labels", chunk_size)
                made = with_residual(images, made, images_of(model, codes, weights, chunk_size, images.device))
        return made if mask is None else confined(images, made, mask)

    def interpolate(
        self,
        images: Images,
        start: Labels,
        end: Labels,
        steps: int = 9,
        chunk_size: int = 1024,
        own_labels: Labels | nn.Module | None = None,
    ) -> Tensor:
        """Return images on the way from one label to another, with their style kept: `(B, steps, C, H, W)` in [0, 1].

        The label's weights move linearly from `start` to `end`, in at least 2 `steps`. A number moves in its own unit.
        An angle goes the shorter way round, or as written if that is a whole turn or more: from 0 to 360 degrees is
        once around. An encoder that sees the label takes `start` as the images' own. Attributes that are left out stay
        as in `own_labels`.
        """
        steps = check_count("steps", steps, at_least=2)
        images = as_images(images, self.image_shape)
        way, own = self.label_way(images, start, end, steps, own_labels)
        if not self.decoder_sees_label:
            return torch.stack([self.relabel(images, self.weighed(each), own, chunk_size) for each in way], dim=1)
        with evaluation_mode(self) as model:
            codes = codes_of(model, images, own, "start", chunk_size)
            return torch.stack([images_of(model, codes, each, chunk_size, images.device) for each in way], dim=1)
