"""Runtime: what a process has while it works. Knows no story: those hand in what is to be done."""
