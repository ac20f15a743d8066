"""Traces: what runs of the code were seen to do to one grant, and whether the model may do it, too."""
