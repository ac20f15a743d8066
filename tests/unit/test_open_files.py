"""Open files: each request needs one, so a worker that may have few has few under way, or does not start."""

import resource

import pytest

import settings
from worker.service import FEWEST_REQUESTS, OTHER_FILES, fitting


@pytest.mark.parametrize("open_files", [resource.RLIM_INFINITY, 2000 + OTHER_FILES, 10**6])
def test_where_there_are_enough_nothing_changes(open_files: int) -> None:
    asked = settings.Settings(in_flight=2000)
    assert fitting(asked, open_files=open_files) is asked


def test_where_there_are_fewer_so_many_requests_are_under_way() -> None:
    assert fitting(settings.Settings(in_flight=2000), open_files=1024).in_flight == 1024 - OTHER_FILES


def test_where_there_are_hardly_any_a_worker_does_not_start() -> None:
    with pytest.raises(SystemExit):
        fitting(settings.Settings(), open_files=OTHER_FILES + FEWEST_REQUESTS - 1)
