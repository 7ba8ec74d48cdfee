"""Fit a flow to the codes of a trained model, to be its prior."""

from __future__ import annotations

import warnings

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer

from labelvae.data.given_data import Batches
from labelvae.flows.codes import Codes
from labelvae.flows.training import FlowTraining
from labelvae.inputs.checks import check_count
from labelvae.models.latent_flow import LatentFlow
from labelvae.models.vae import ConditionalVAE
from labelvae.system.process import kept_process, quiet


def fit_prior(
    vae: ConditionalVAE,
    batches: Batches,
    epochs: int = 20,
    couplings: int = 8,
    hidden_dim: int = 64,
    seed: int = 0,
) -> LatentFlow:
    """Train a flow on the codes of a trained model, which itself does not change.

    `vae.prior = fit_prior(vae, batches)` makes `vae.sample` draw codes from the flow. `vae.save_pretrained` then saves
    the flow with the model.

    Args:
        vae: the model, of one class.
        batches: the images that the model was trained on, `(B, C, H, W)` in [0, 1], and their labels `(B,)`, in a form
            of `data.given_data`.
        epochs: times every code is seen.
        couplings: layers of the flow.
        hidden_dim: units inside each layer.
        seed: seed of the flow's weights and of the codes.

    Returns:
        The flow, in evaluation mode, on the model's device.

    Raises:
        ValueError: a model of several attributes, or with codes of one entry; a number out of range.
    """
    check_count("epochs", epochs)
    codes = Codes(vae, batches, seed=seed)
    with kept_process():
        quiet()
        warnings.filterwarnings("ignore", message="You defined a `validation_step`")
        torch.manual_seed(seed)
        flow = LatentFlow(vae.latent_dim, vae.num_classes, couplings, hidden_dim)
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            plugins=[LightningEnvironment()],  # one process, also in a job of a cluster
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(FlowTraining(flow, learning_rate=2e-3), codes)
    flow.class_names = vae.class_names
    return flow.to(vae.device).eval()
