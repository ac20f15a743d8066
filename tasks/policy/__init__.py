"""Pure decisions: what an answer means, when work is due, how long to wait, whether we may send, who is dead.

Nothing in here does I/O or reads a clock; times and facts are handed in.
"""
