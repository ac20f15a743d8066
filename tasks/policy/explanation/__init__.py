"""Explanation: why a grant is as it is, in one sentence, told alike wherever people ask."""
