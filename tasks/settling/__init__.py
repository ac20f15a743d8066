"""Settling: from an answer to what the database says, live or from a journal; `settle` is the story."""
