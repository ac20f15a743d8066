"""`python -m worker.cli`: the same as `evergrant`."""

from worker.cli import main

main()
