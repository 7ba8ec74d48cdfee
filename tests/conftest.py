import getpass
import os
import signal
import socket
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from labelvae import ConditionalVAE, ImageData, LabelClassifier

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# What torch compiles for one processor's instructions crashes under fewer, and its cache does not tell them apart.
limits = [torch.backends.cpu.get_cpu_capability(), os.environ.get("ONEDNN_MAX_CPU_ISA", "all")]
folder = "-".join(["torchinductor", getpass.getuser(), *limits]).replace(" ", "_")
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / folder))

# A shell's background job ignores Ctrl-C and hands that on; the programs that the tests start and stop must not.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def only_this_machine(self: socket.socket, address: object) -> None:
        here = self.family == socket.AF_UNIX or (isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1"))
        if not here:
            raise AssertionError(f"a test asked {address} on the network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_this_machine)


@pytest.fixture
def shape() -> tuple[int, int, int]:
    return (1, 8, 8)


@pytest.fixture
def vae(shape) -> ConditionalVAE:
    return ConditionalVAE(shape, num_classes=3, latent_dim=4, encoder_widths=(8, 8), hidden_dim=16)


@pytest.fixture
def guide(shape) -> LabelClassifier:
    return LabelClassifier(shape, num_classes=3, widths=(8, 8), feature_dim=8)


@pytest.fixture
def images(shape) -> Tensor:
    return torch.rand(6, *shape)


@pytest.fixture
def labels() -> Tensor:
    return torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.fixture(scope="session")
def digits() -> ImageData:
    return ImageData("digits", test_share=1 / 6, validation_share=0.2, batch_size=64)
