"""Garbage: how seldom a process that serves for long looks for it."""

import gc

COLLECT_AFTER = 5000  # more objects made than gone; Python's own 700 is for programs that make few


def rest() -> None:
    """Let the garbage collector pass by what is there, which stays until the end: walking over it costs a tenth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
