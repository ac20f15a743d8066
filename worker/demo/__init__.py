"""The demo: Evergrant and the job that most teams write, side by side, under the same faults."""
