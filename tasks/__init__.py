"""What is done: a story a file, and rooms for settling, runtime, probes, policy, OAuth and the journal."""
