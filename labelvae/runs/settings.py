"""Every setting of a run, with its unit and default, as plain dataclasses.

They are the options of the command line and the contents of `settings.yaml`, and `runs/presets.py` fills them in for
each data set. Nothing here imports torch, so that `--help` answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from labelvae.data.settings import Augmentation
from labelvae.data.settings import DataName as DataName  # noqa: PLC0414  where it is looked for
from labelvae.data.settings import DataSettings as DataSettings  # noqa: PLC0414
from labelvae.inputs.checks import (
    LARGEST_DEPTH,
    LARGEST_SIZE,
    LARGEST_THREADS,
    check_choice,
    check_count,
    check_flag,
    check_kind,
    check_number,
    check_widths,
    plain_fields,
)
from labelvae.losses.objective import Objective
from labelvae.models.options import ClassifierKind, DecoderLabel, EncoderLabel, Upsampling
from labelvae.system.whole_files import user_path
from labelvae.training.options import LogKind, Optimization, WandbMode
from labelvae.training.options import Schedule as Schedule  # noqa: PLC0414  where it is looked for

Accelerator = Literal["auto", "cpu", "gpu", "mps"]
Precision = Literal["auto", "32-true", "bf16-mixed"]
Compile = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class ClassifierSettings:
    """A guide or a judge. A number out of range raises `ValueError`.

    Attributes:
        kind: architecture: convolutional; pooled, slower and better on natural images; or mlp, fully connected layers
            on the pixels.
        widths: channels after each halving of the resolution, or units of each layer of an mlp.
        blocks: residual blocks at each resolution.
        feature_dim: units of the last hidden layer.
        dropout: share of the last hidden layer's units dropped in training, in [0, 1).
        label_smoothing: label smoothing of the cross-entropy, in [0, 1).
        augmentation: random changes of the training images. A guide trained with them is hard to fool.
        optimization: how the classifier is trained.
        adversarial: size of the attack on each training image, in the range [0, 1] of a pixel (0.0157 is 4 grey levels
            of 255); 0 trains without attacks. Attacks nearly double the time. What convinces a classifier trained with
            them looks more like the class to a person (Santurkar et al., 2019, arXiv 1906.09453).
    """

    kind: ClassifierKind = "convolutional"
    widths: tuple[int, ...] = (32, 64)
    blocks: int = 0
    feature_dim: int = 64
    dropout: float = 0.0
    label_smoothing: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimization: Optimization = field(default_factory=Optimization)
    adversarial: float = 0.0

    def __post_init__(self) -> None:
        plain_fields(self)
        check_kind("augmentation", self.augmentation, Augmentation)
        check_kind("optimization", self.optimization, Optimization)
        check_choice("kind", self.kind, get_args(ClassifierKind))
        check_widths("widths", self.widths)
        check_count("blocks", self.blocks, at_least=0, at_most=LARGEST_DEPTH)
        check_count("feature_dim", self.feature_dim, at_most=LARGEST_SIZE)
        for name in ("dropout", "label_smoothing", "adversarial"):
            check_number(name, getattr(self, name), at_least=0, below=1)


@dataclass(frozen=True)
class VAESettings:
    """The conditional VAE and its objective. A number out of range raises `ValueError`.

    Attributes:
        latent_dim: dimensions of the latent code.
        encoder_widths: channels after each halving of the resolution; null chooses by the image's size, an empty list
            gives fully connected layers only.
        decoder_widths: channels before each doubling, coarsest first; null mirrors the encoder.
        hidden_dim: units between the maps and the code.
        blocks: residual blocks at each resolution.
        encoder_label: how the label enters the encoder; see `ConditionalVAE`.
        decoder_label: how the label enters the decoder; see `ConditionalVAE`.
        embedding_dim: entries of the label's embedding, if there is one.
        spatial_latent: make the code channels of the coarsest maps, without hidden units. This keeps the layout of an
            image.
        upsampling: how the decoder doubles the resolution; nearest is slower and less prone to checkerboards.
        discriminator_widths: channels of the discriminator, which is used if adversarial_weight is above 0.
        discriminator_learning_rate: largest step size of the discriminator.
        discriminator_sees_guide: Whether the discriminator also sees the guide's maps; for natural images.
        augmentation: random changes of the training images, so that the model also serves such images.
        refine: radius by which the guide refines what `labelvae relabel` makes (see `Refined`), saved with the model; 0
            refines nothing.
        objective: the loss.
        optimization: how the model is trained.
    """

    latent_dim: int = 16
    encoder_widths: tuple[int, ...] | None = None
    decoder_widths: tuple[int, ...] | None = None
    hidden_dim: int = 128
    blocks: int = 0
    encoder_label: EncoderLabel = "none"
    decoder_label: DecoderLabel = "batchnorm"
    embedding_dim: int = 8
    spatial_latent: bool = False
    upsampling: Upsampling = "subpixel"
    discriminator_widths: tuple[int, ...] = (32, 64, 64)
    discriminator_learning_rate: float = 4e-4
    discriminator_sees_guide: bool = False
    augmentation: Augmentation = field(default_factory=Augmentation)
    refine: float = 0.0
    objective: Objective = field(default_factory=Objective)
    optimization: Optimization = field(default_factory=Optimization)

    def __post_init__(self) -> None:
        plain_fields(self)
        for name, kind in (("augmentation", Augmentation), ("objective", Objective), ("optimization", Optimization)):
            check_kind(name, getattr(self, name), kind)
        for name in ("latent_dim", "hidden_dim", "embedding_dim"):
            check_count(name, getattr(self, name), at_most=LARGEST_SIZE)
        check_count("blocks", self.blocks, at_least=0, at_most=LARGEST_DEPTH)
        check_flag("spatial_latent", self.spatial_latent)
        check_choice("upsampling", self.upsampling, get_args(Upsampling))
        check_choice("encoder_label", self.encoder_label, get_args(EncoderLabel))
        check_choice("decoder_label", self.decoder_label, get_args(DecoderLabel))
        for name in ("encoder_widths", "decoder_widths"):
            if getattr(self, name) is not None:
                check_widths(name, getattr(self, name), at_least=0)
        check_widths("discriminator_widths", self.discriminator_widths)
        check_number("discriminator_learning_rate", self.discriminator_learning_rate, above=0)
        check_flag("discriminator_sees_guide", self.discriminator_sees_guide)
        check_number("refine", self.refine, at_least=0)


@dataclass(frozen=True)
class Settings:
    """The settings of a run, and of where and how it runs.

    Attributes:
        data_dir: folder of the data set's files. Missing files are downloaded to it.
        out: folder for everything that the run makes.
        accelerator: device of the run; auto takes a GPU if there is one.
        precision: precision of the arithmetic; auto takes bf16-mixed if the processor or GPU computes in it and the
            model is not small, else 32-true. Losses are computed in float32.
        log: where curves and pictures go: Weights & Biases, TensorBoard's files, a CSV file (curves only), or nowhere.
        channels_last: keep the channels of a pixel next to each other in memory; auto does so where it is faster.
        compile: compile the training step, which takes half a minute to minutes once; auto is off.
        graphs: record the training step as a CUDA graph; auto does so on an NVIDIA GPU. Use false for an objective of
            your own in which Python code decides something at every step.
        threads: number of the processor's threads that compute; auto takes one for small steps (of two cores, also for
            MNIST's), else torch's number.
        keep_memory: on Linux, keep freed memory for the next step instead of returning it to the kernel.
        wandb: mode of Weights & Biases. Online needs an account, offline writes files to send later; auto takes
            WANDB_MODE, else offline.
        find_learning_rate: train the guide, then only try learning rates for the model, and draw the loss over them in
            the folder learning-rate under `out`. With resume, an existing guide there is used.
        resume: continue the run in `out` from its last checkpoint.
        overwrite: replace the run in `out`. Otherwise a folder that holds a run is left alone.
        fast_dev_run: run two batches of everything, as a trial. Results go to a folder of their own.
        rounds: wrong labels drawn for each test image. More rounds give steadier figures for a small test set.
        data: the images.
        guide: the frozen classifier inside the loss.
        judge: the independent classifier that scores the model.
        vae: the model.
    """

    data_dir: Path = Path("data")
    out: Path = Path("runs/labelvae")
    accelerator: Accelerator = "auto"
    precision: Precision = "auto"
    log: LogKind = "wandb"
    channels_last: Literal["auto"] | bool = "auto"
    compile: Compile = "auto"
    graphs: Literal["auto"] | bool = "auto"
    threads: Literal["auto"] | int = "auto"
    keep_memory: bool = True
    wandb: WandbMode = "auto"
    find_learning_rate: bool = False
    resume: bool = False
    overwrite: bool = False
    fast_dev_run: bool = False
    rounds: int = 1
    data: DataSettings = field(default_factory=DataSettings)
    guide: ClassifierSettings = field(default_factory=ClassifierSettings)
    judge: ClassifierSettings = field(
        default_factory=lambda: ClassifierSettings(kind="mlp", widths=(256, 256), optimization=Optimization(seed=1))
    )
    vae: VAESettings = field(default_factory=VAESettings)

    def __post_init__(self) -> None:
        plain_fields(self)
        parts = {"data": DataSettings, "guide": ClassifierSettings, "judge": ClassifierSettings, "vae": VAESettings}
        for name, kind in parts.items():
            check_kind(name, getattr(self, name), kind)
        for name in ("keep_memory", "find_learning_rate", "resume", "overwrite", "fast_dev_run"):
            check_flag(name, getattr(self, name))
        check_count("rounds", self.rounds)
        check_choice("accelerator", self.accelerator, get_args(Accelerator))
        check_choice("precision", self.precision, get_args(Precision))
        check_choice("compile", self.compile, get_args(Compile))
        for name in ("channels_last", "graphs"):
            if getattr(self, name) != "auto":
                check_flag(name, getattr(self, name))
        if self.threads != "auto":
            check_count("threads", self.threads, at_most=LARGEST_THREADS)
        check_choice("log", self.log, get_args(LogKind))
        check_choice("wandb", self.wandb, get_args(WandbMode))
        if self.guide.kind == "mlp" and self.vae.objective.perceptual_weight > 0:
            raise ValueError(
                "guide.kind: vae.objective.perceptual_weight compares the guide's maps, and an mlp has none; "
                "take a convolutional or pooled guide, or set the weight to 0"
            )
        object.__setattr__(self, "out", user_path(self.out))
        object.__setattr__(self, "data_dir", user_path(self.data_dir))
        network = [(how.kind, how.widths, how.blocks) for how in (self.guide, self.judge)]
        if network[0] == network[1] or self.judge.optimization.seed == self.guide.optimization.seed:
            raise ValueError(
                "judge: expected another architecture and another seed than the guide's, so that its opinion is "
                f"its own; got {self.judge} beside {self.guide}"
            )
