"""The fleet page: what the command line tells, for a browser; it changes nothing."""
