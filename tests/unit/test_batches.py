"""How beat cuts what it claimed into messages."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from worker.beat import batches


@given(st.integers(0, 2000), st.integers(1, 500))
def test_every_job_is_in_one_message_and_no_message_is_larger_than_it_may_be(count: int, size: int) -> None:
    jobs = [(UUID(int=number), number) for number in range(count)]
    cut = list(batches(jobs, size))

    assert [job for batch in cut for job in batch] == jobs
    assert all(1 <= len(batch) <= size for batch in cut)
    assert len(cut) >= min(count, 2)


def test_messages_of_a_claim_are_alike() -> None:
    """Four full ones and one of a single job cost as much as five full ones."""
    jobs = [(UUID(int=number), number) for number in range(201)]

    assert [len(batch) for batch in batches(jobs, 100)] == [67, 67, 67]
    assert [len(batch) for batch in batches(jobs, 1)] == [1] * 201
