"""A model's relabelling as a file for other programs: ONNX, or PyTorch's own exported program:

    images (B, C, H, W) float32 in [0, 1], labels (B,) int64  ->  relabelled (B, C, H, W) float32 in [0, 1]

Labels of a model of attributes are rows (B, A) float32, a column an attribute, in the order of `config.json`: the index
of a category, 0 or 1, or a number in its unit. All are asked for; to keep one, say what the image is.

The batch may have any size from 1. The exported graph checks nothing: out of range in, nonsense out.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelvae.inputs.checks import check_kind
from labelvae.models.own_networks import posterior_of
from labelvae.models.savable import savable_weights
from labelvae.models.vae import ConditionalVAE
from labelvae.system.compiling import uncompiled
from labelvae.system.whole_files import user_path, write_whole


class Relabelling(nn.Module):
    """`ConditionalVAE.relabel` as a bare graph.

    Args:
        vae: the model. It is put in evaluation mode.

    Raises:
        ValueError: a model whose encoder sees the label, or whose decoder does not see it or sees an embedding of it.
    """

    def __init__(self, vae: ConditionalVAE) -> None:
        super().__init__()
        if vae.encoder_label != "none" or vae.decoder_label not in ("onehot", "batchnorm", "batchnorm-planes"):
            raise ValueError(
                "model: expected a blind encoder and a decoder that is given the label as it is, got "
                f"encoder_label={vae.encoder_label!r} and decoder_label={vae.decoder_label!r}; only those are exported"
            )
        self.encoder, self.decoder = vae.encoder, vae.decoder
        self.attributes, self.latent_dim = vae.attributes, vae.latent_dim
        self.num_classes = vae.num_classes if vae.attributes is None else 0
        self.eval()

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Images as labels, `(B, C, H, W)`.

        Args:
            images: `(B, C, H, W)` in [0, 1].
            labels: class indices `(B,)`; or rows `(B, A)`.
        """
        if self.attributes is None:
            weights = F.one_hot(labels, self.num_classes).to(images.dtype)
        else:
            weights = self.attributes.weights(labels).to(images.dtype)
        code = posterior_of(self.encoder(images), images.shape[0], self.latent_dim).mean
        relabelled: Tensor = torch.sigmoid(self.decoder(code, weights))
        return relabelled


def exported(vae: ConditionalVAE) -> torch.export.ExportedProgram:
    """Export the relabelling of a model, on the CPU, for batches of any size.

    Args:
        vae: the model. It is copied, and stays as it is.

    Returns:
        The exported program, from images and labels to relabelled images.

    Raises:
        ValueError: a model whose encoder sees the label, or whose decoder does not see it or sees an embedding of it.
    """
    vae = uncompiled(vae)
    check_kind("vae", vae, ConditionalVAE)
    own = {name: deepcopy(uncompiled(getattr(vae, name))).cpu() for name in vae.own_parts(parametrized=False)}
    alone = ConditionalVAE(**vae.config, **own)
    alone.load_state_dict(savable_weights(vae, own))
    graph = Relabelling(alone.float())
    labels = torch.zeros(2, dtype=torch.long) if vae.attributes is None else vae.attributes.examples(2)
    example = (torch.zeros(2, *vae.image_shape, dtype=torch.float32), labels)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        return torch.export.export(graph, example, dynamic_shapes={"images": {0: batch}, "labels": {0: batch}})


def export_program(vae: ConditionalVAE, path: str | Path) -> None:
    """Write the relabelling of a model as a .pt2 file. `torch.export.load(path).module()` reads it.

    Args:
        vae: the model. It stays as it is.
        path: the file.

    Raises:
        ValueError: a model whose encoder sees the label, or whose decoder does not see it or sees an embedding of it; a
            file that cannot be written.
    """
    buffer = io.BytesIO()
    torch.export.save(exported(vae), buffer)
    _write(path, buffer.getvalue())


def export_onnx(vae: ConditionalVAE, path: str | Path) -> None:
    """Write the relabelling of a model as an ONNX file that holds the weights (the `export` extra).

    The inputs are `images` and `labels`, the output is `relabelled`.

    Args:
        vae: the model. It stays as it is.
        path: the file.

    Raises:
        ValueError: a model whose encoder sees the label, or whose decoder does not see it or sees an embedding of it;
            no exporter installed; a file that cannot be written.
    """
    try:
        import onnxscript  # noqa: F401  what torch's exporter needs
    except ImportError as error:
        raise ValueError(f"onnx: needs the extra of that name ({error}); pip install 'labelvae[export]'") from error
    program = exported(vae)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = os.path.join(folder, "model.onnx")
        with contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                program,
                f=file,
                input_names=["images", "labels"],
                output_names=["relabelled"],
                external_data=False,
                dynamo=True,
                verbose=False,
            )
        _write(path, Path(file).read_bytes())


def _write(path: str | Path, content: bytes) -> None:
    try:
        write_whole(user_path(path), content)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: the file could not be written ({error}); give another path") from error
