"""Fuzzing: what comes in by each door, made of what is right and then spoilt."""
