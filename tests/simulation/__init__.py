"""The simulation: the real beat, worker, settle and replay code, driven by a virtual clock from a seed."""
