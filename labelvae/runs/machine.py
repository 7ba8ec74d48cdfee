"""What this machine can do, and how a run uses it: precision, memory layout, compiling, threads.

`machine_of` asks torch for the facts. `choose` decides from facts and settings alone, so that decisions for any machine
can be tested. Nothing here imports torch before `machine_of` is called.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from labelvae.runs.settings import Settings

SMALL_STEP = 16_384
"""A training step on fewer pixels (batch size x height x width) is small. On 64 images of 8x8 pixels, bfloat16 gains
nothing, channels-last gains 7 % of a step with AVX2 and nothing with AVX-512, and a second thread gains little on an
idle machine and loses much on a busy one.
"""

LONE_STEP = 60_000
"""A training step on fewer pixels gains little from the second of two threads. On 64 images of MNIST (50,176 pixels) a
step takes 188 ms on one thread and 158 on two; beside a busy process, 188 and 687. On 64 images of CIFAR10 (65,536
pixels, wider maps) it takes 983 and 610 (AVX-512 with bfloat16). The core that is left trains the reference.
"""

_WITHOUT_BFLOAT16 = {"sse41", "avx", "avx2", "avx2_vnni", "avx2_vnni_2", "avx512_core", "avx512_core_vnni"}
"""Values of ONEDNN_MAX_CPU_ISA with which convolutions do not use bfloat16 instructions."""


@dataclass(frozen=True)
class Machine:
    """The facts about a machine.

    Attributes:
        device: type of the device that trains: cpu, cuda or mps.
        instructions: name of the processor's instructions, or of the GPU.
        bfloat16: Whether it computes in bfloat16. Emulating bfloat16 is slower than float32.
        threads: number of threads that torch would use.
    """

    device: str
    instructions: str
    bfloat16: bool
    threads: int


@dataclass(frozen=True)
class Choice:
    """How a run uses the machine.

    Attributes:
        precision: Lightning's name of the precision.
        channels_last: Whether the channels of a pixel lie next to each other in memory.
        compiled: Whether the training step is compiled.
        threads: number of the processor's threads that compute.
        reason: reason for the precision.
        graphed: Whether the training step is recorded as a CUDA graph.
        warning: why a precision that was asked for is slow, or "".
    """

    precision: Literal["32-true", "bf16-mixed"]
    channels_last: bool
    compiled: bool
    threads: int
    reason: str
    graphed: bool = False
    warning: str = ""

    def line(self) -> str:
        """Return one line that says what was chosen, and why.

        >>> Choice("32-true", True, False, 2, "because this processor emulates bfloat16 (AVX2)").line()
        'precision: 32-true, because this processor emulates bfloat16 (AVX2); channels-last, not compiled, 2 threads'
        """
        layout = "channels-last" if self.channels_last else "channels first"
        compiled = ("compiled" if self.compiled else "not compiled") + (", as a CUDA graph" if self.graphed else "")
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"precision: {self.precision}, {self.reason}; {layout}, {compiled}, {threads}"

    def say(self) -> None:
        """Print the line and, on standard error, the warning."""
        print(self.line(), flush=True)
        if self.warning:
            print(f"warning: {self.warning}", file=sys.stderr)


def choose(settings: Settings, image_shape: tuple[int, int, int], machine: Machine) -> Choice:
    """Decide how a run uses a machine. A setting other than auto is obeyed.

    Args:
        settings: the settings of the run.
        image_shape: `(C, H, W)` of the images.
        machine: the facts about the machine.

    Returns:
        Precision, memory layout, graph, compiling and threads, and the reason.
    """
    how, pixels = settings.vae.optimization, image_shape[1] * image_shape[2]
    small = how.batch_size * pixels < SMALL_STEP
    lone = small or (how.batch_size * pixels < LONE_STEP and machine.threads <= 2)
    faster = machine.device == "cpu" and machine.instructions.upper() == "AVX2" if small else machine.device != "mps"
    channels_last, threads = settings.channels_last, settings.threads
    whose = "processor" if machine.device == "cpu" else "GPU"
    slow = f"this {whose} emulates bfloat16 ({machine.instructions})"
    precision, warning = settings.precision, ""
    if precision != "auto":
        reason = "as asked"
        if precision == "bf16-mixed" and not machine.bfloat16:
            warning = f"precision: bf16-mixed is slower than 32-true here, because {slow}; use --precision auto"
    elif not machine.bfloat16:
        precision, reason = "32-true", f"because {slow}"
    elif small:
        precision, reason = "32-true", "because bfloat16 gains nothing on a model and images this small"
    else:
        precision, reason = "bf16-mixed", f"because this {whose} computes in bfloat16 ({machine.instructions})"
    return Choice(
        precision=precision,
        channels_last=faster if channels_last == "auto" else channels_last,
        compiled=settings.compile == "on",
        graphed=machine.device == "cuda" if settings.graphs == "auto" else settings.graphs,
        threads=(1 if lone else machine.threads) if threads == "auto" else threads,
        reason=reason,
        warning=warning,
    )


def device_of(accelerator: str) -> torch.device:
    """Return the device of a Lightning accelerator; the first of several GPUs.

    Args:
        accelerator: Lightning's name of it, or auto.

    Raises:
        ValueError: There is no such accelerator here.
    """
    import torch

    there = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if accelerator == "auto":
        accelerator = next(name for name, available in there.items() if available)
    if not there[accelerator]:
        raise ValueError(f"accelerator: there is no {accelerator} here; use --accelerator auto or cpu")
    return torch.device({"gpu": "cuda:0"}.get(accelerator, accelerator))


def machine_of(device: torch.device) -> Machine:
    """Return the facts about a device's machine, as torch knows them.

    Args:
        device: the device that would train.
    """
    import torch

    threads = torch.get_num_threads()
    if device.type == "cuda":
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return Machine("cuda", torch.cuda.get_device_name(device), native, threads)
    if device.type != "cpu":
        return Machine(device.type, platform.machine(), False, threads)
    limit = _limit(os.environ)
    native = _computes_bfloat16() and limit not in _WITHOUT_BFLOAT16
    instructions = limit.upper() if limit in _WITHOUT_BFLOAT16 else torch.backends.cpu.get_cpu_capability()
    return Machine("cpu", f"{instructions} with bfloat16" if native else instructions, native, threads)


def _limit(environment: Mapping[str, str]) -> str:
    """Return the instructions that oneDNN, which computes the convolutions, is limited to; "" for no limit."""
    return (environment.get("ONEDNN_MAX_CPU_ISA") or environment.get("DNNL_MAX_CPU_ISA") or "").lower()


def _computes_bfloat16() -> bool:
    """Return whether oneDNN computes in bfloat16 and, on x86, the processor has the instructions.

    On AVX-512 without them, oneDNN says that it computes in bfloat16, but is two to three times slower than in float32.
    """
    import torch

    try:
        supported = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a torch without oneDNN
        return False
    if not supported or not torch.backends.mkldnn.is_available():
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    instructions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private, so they may go
    return any(bool(getattr(torch.cpu, name, bool)()) for name in instructions)


@contextmanager
def threads_at_work(count: int) -> Iterator[None]:
    """Let torch compute with `count` threads in this context, and with as many as before after it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
