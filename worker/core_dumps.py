"""Core dumps: none is written, and no other process of the user looks into ours; either would hold secrets in clear."""

import ctypes
import resource
import sys

PR_SET_DUMPABLE = 4


def forbid() -> None:
    """Let this process and its children write none, and shut its memory to whoever is not root (`ptrace`, `/proc`).

    What the kernel refuses stays as it was: a process that works matters more. Pages are not locked in memory: where
    the limit on that is low, each allocation beyond it would fail, so swap is the operating system's to encrypt.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
