"""How much memory is free, and whether images fit in a share of it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_CONTAINER = (  # the limit and the use of a container's memory, by the version of control groups
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_memory(device: torch.device) -> int:
    """Return the free memory of a device, in bytes.

    For a GPU this is the GPU's memory. For the CPU it is the machine's, or the container's if that is less.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = _of_the_machine()
    for limit, used in _CONTAINER:
        try:
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such file, or "max" for no limit
            continue
    return max(0, free)


def _of_the_machine() -> int:
    try:
        import psutil
    except ImportError:  # used from a source tree, next to packages that somebody else installed
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return int(psutil.virtual_memory().available)


def fits(size: int, device: torch.device, share: float) -> bool:
    """Return whether `size` bytes are at most `share` of the free memory of `device`."""
    return size <= share * free_memory(device)
