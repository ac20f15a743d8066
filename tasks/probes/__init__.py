"""Probes: questions whether a refresh token lives, and what a provider does with one that is used."""
