"""A process that is left as it was: its environment, warnings, logging and random numbers."""

from __future__ import annotations

import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

LIBRARIES = ("PL_", "LIGHTNING_", "WANDB_", "PYTORCH_", "CUDA_", "CUBLAS_", "TORCH", "KMP_", "OMP_", "MASTER_")
"""Beginnings of the environment variables that Lightning, wandb and torch set."""


RANKS = (("SLURM_PROCID", "SLURM_NTASKS"), ("RANK", "WORLD_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"))
"""Variables in which launchers number the processes that they start, and count them."""

FIRST = (None, "", "0")
"""Numbers of the first process, and of the only one."""


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Set environment variables in this context. None leaves a variable as it is.

    >>> import os
    >>> with environment(LABELVAE_EXAMPLE="1"):
    ...     os.environ["LABELVAE_EXAMPLE"]
    '1'
    >>> "LABELVAE_EXAMPLE" in os.environ
    False
    """
    wanted = {name: value for name, value in values.items() if value is not None}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        _put_back(before)


@contextmanager
def kept_process() -> Iterator[None]:
    """Restore, at the end of this context, what a run changes in its process.

    Restored are the filters of warnings, the logging levels of Lightning and wandb, the environment variables of
    `LIBRARIES`, `sys.excepthook` and `sys.exit`, the number of threads, and the random number generators of Python,
    NumPy and torch.
    """
    variables = {name: value for name, value in os.environ.items() if name.startswith(LIBRARIES)}
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric", "wandb")]
    levels = [logger.level for logger in loggers]
    hooks, threads = (sys.excepthook, sys.exit), torch.get_num_threads()
    drawn, drawn_by_numpy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(torch.random.fork_rng(devices))
        try:
            yield
        finally:
            random.setstate(drawn)
            np.random.set_state(drawn_by_numpy)
            sys.excepthook, sys.exit = hooks
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            new = {name: None for name in os.environ if name.startswith(LIBRARIES)}
            _put_back(new | variables)


def quiet() -> None:
    """Hide Lightning's messages about itself, in this process. Problems are still reported.

    `kept_process` restores the messages.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", module="lightning")
    warnings.filterwarnings("ignore", message="The .* does not have many workers")  # resident batches need none


def check_one_process() -> None:
    """Make sure that a cluster's launcher started this program once.

    Raises:
        ValueError: `srun` or `torchrun` started it several times, and this is not the first process.
    """
    rank, count = next(
        ((os.environ[rank], os.environ.get(count, "?")) for rank, count in RANKS if os.environ.get(rank) not in FIRST),
        ("0", "1"),
    )
    if rank != "0":
        raise ValueError(
            f"processes: this program was started {count} times, and this is number {rank}; a run is one process: "
            "start it once, for example with srun --ntasks=1"
        )


def _put_back(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
