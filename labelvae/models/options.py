"""The choices that networks offer, by name. Nothing here imports torch."""

from typing import Literal

EncoderLabel = Literal["none", "onehot", "embedding", "shift"]
DecoderLabel = Literal["none", "onehot", "embedding", "batchnorm", "batchnorm-planes"]
Upsampling = Literal["subpixel", "nearest"]
ClassifierKind = Literal["convolutional", "pooled", "mlp"]
