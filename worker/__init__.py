"""What runs: the processes and the faces."""
