"""What is done: one job a file."""
