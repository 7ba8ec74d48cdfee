"""Keep the memory that a training step frees for the next step.

glibc returns large blocks to the kernel as soon as they are free, and asks for them again in the next step. Every page
is then cleared and mapped again, with hundreds of thousands of page faults a step. Keeping the blocks costs only memory
that would be taken again anyway. Importing the package never does this. `labelvae train` does, and a program may.
"""

from __future__ import annotations

import ctypes
import sys

# From malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD = 256 * 1024**2


def keep_freed_memory() -> bool:
    """Tell glibc to keep the memory that the process frees.

    It has the effect of MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456 in the
    environment of a new process. Call it before the first large tensor is made.

    Returns:
        Whether it was done. False without glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # No block of its own mapping, no top of the heap given back, and the heap grown 256 MiB at a time.
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1), mallopt(_M_TOP_PAD, _TOP_PAD)])
