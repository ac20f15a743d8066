"""Hypothesis without its time limit: a slow machine is no failure."""

from hypothesis import settings

settings.register_profile("evergrant", deadline=None)
settings.load_profile("evergrant")
