"""How much of a machine the embedded PostgreSQL takes."""

from pathlib import Path

import pytest

from worker.embedded import sizing

GB = 1 << 30


@pytest.mark.parametrize(
    ("memory", "disk", "buffers", "log"),
    [
        (GB // 2, 8 * GB, "128MB", "1024MB"),
        (4 * GB, 40 * GB, "512MB", "2560MB"),
        (256 * GB, 2000 * GB, "8192MB", "4096MB"),
    ],
)
def test_buffers_go_by_memory_and_the_log_by_the_disk(memory: int, disk: int, buffers: str, log: str) -> None:
    options = sizing.options(memory=memory, disk=disk)
    assert (options["shared_buffers"], options["max_wal_size"]) == (buffers, log)


@pytest.mark.parametrize(("processes", "pool", "most"), [(4, 5, "100"), (67, 5, "385"), (4, 40, "210")])
def test_all_processes_may_open_what_they_may_and_others_besides(processes: int, pool: int, most: str) -> None:
    assert sizing.options(memory=GB, disk=GB, processes=processes, pool=pool)["max_connections"] == most


def test_what_a_commit_promises_is_not_for_sale() -> None:
    weakened = {"fsync", "full_page_writes", "synchronous_commit"}
    assert not weakened & set(sizing.options(memory=GB, disk=GB))


def test_the_limit_of_a_container_counts_and_no_limit_is_none(tmp_path: Path) -> None:
    limited, unlimited = tmp_path / "limited", tmp_path / "unlimited"
    limited.write_text("536870912\n", encoding="ascii")
    unlimited.write_text("max\n", encoding="ascii")
    assert list(sizing.limits([unlimited, tmp_path / "missing", limited])) == [536870912]


def test_memory_is_that_of_the_machine_at_most() -> None:
    assert 64 << 20 < sizing.memory() < 1 << 50
