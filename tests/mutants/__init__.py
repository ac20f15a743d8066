"""Mutants: known wrong designs, put into the code one at a time to see the tests turn red."""
