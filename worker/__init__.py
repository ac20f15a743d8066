"""What runs: beat and worker, and the faces for people and programs: cli, web, embedded, demo."""

import sys
from types import TracebackType


def _quiet_when_interrupted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C while a command is still being loaded, or has done its work: nothing to tell, and no defect of ours."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _quiet_when_interrupted
