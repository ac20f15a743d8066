"""Large blocks of memory: given back to the system as soon as they are free."""

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD = -3  # malloc.h
LARGE = 1024 * 1024


def give_back_when_free() -> None:
    """Let the C library map each block from a megabyte on by itself.

    Left alone, glibc raises that limit to the largest block that was ever freed, and keeps what comes after: a worker
    that had read the journal of another, twenty megabytes, stayed seventy larger for good. A C library that has no such
    call keeps its own ways.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)
