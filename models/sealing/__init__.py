"""Sealing: keys, the vault that seals with them, and what is sealed with which."""
