"""The simulation: the real beat, worker, settle and replay code, driven in one process by a virtual clock from a seed."""
