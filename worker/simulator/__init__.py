"""The bundled provider by the name that it had in 0.1: what tests of others import goes on working, with a warning."""

import warnings

import simulator

__path__ = simulator.__path__

warnings.warn("worker.simulator is called simulator now; this name goes after 0.2", DeprecationWarning, stacklevel=2)
