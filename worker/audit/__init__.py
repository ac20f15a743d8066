"""The audit: a line for each hand-out and each change, written before the answer leaves (docs/reference/audit.md)."""
