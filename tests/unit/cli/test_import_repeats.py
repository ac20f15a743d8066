"""What stands twice in an import file is found with little memory."""

import sys

from worker.cli.imports.lines import Bad, Offered
from worker.cli.imports.repeats import Repeats


def offered(line: int, ref: str, token: str) -> Offered:
    return Offered(line=line, ref=ref, refresh_token=token)


def test_a_ref_and_a_refresh_token_that_stood_before_name_their_first_line() -> None:
    repeats = Repeats()
    assert repeats.fault(offered(1, "a", "t1")) is None
    assert repeats.fault(offered(2, "b", "t2")) is None
    assert repeats.fault(offered(3, "a", "t3")) == Bad(3, "its ref stands in line 1 already", "a")
    assert repeats.fault(offered(4, "c", "t2")) == Bad(4, "its refresh token stands in line 2 already", "c")


def test_a_ref_and_a_token_of_the_same_letters_are_two_things() -> None:
    repeats = Repeats()
    assert repeats.fault(offered(1, "a", "b")) is None
    assert repeats.fault(offered(2, "b", "a")) is None


def test_a_line_at_fault_takes_neither_its_ref_nor_its_token() -> None:
    repeats = Repeats()
    assert repeats.fault(offered(1, "a", "t1")) is None
    assert repeats.fault(offered(2, "b", "t1")) is not None
    assert repeats.fault(offered(3, "a", "t2")) is not None
    assert repeats.fault(offered(4, "b", "t2")) is None


def test_each_of_many_lines_is_found_again_and_held_in_a_few_bytes() -> None:
    count = 20_000
    repeats = Repeats()
    empty = held_bytes(repeats)
    assert not any(repeats.fault(offered(n, f"ref-{n}", f"token-{n}")) for n in range(count))
    for n in range(count):
        assert repeats.fault(offered(count + n, f"ref-{n}", "new")) == Bad(
            count + n, f"its ref stands in line {n} already", f"ref-{n}"
        )
    assert held_bytes(repeats) - empty < 40 * count  # 24 that are needed, and room to grow


def held_bytes(repeats: Repeats) -> int:
    return sum(
        sys.getsizeof(part) for seen in (repeats.refs, repeats.tokens) for bucket in seen.buckets for part in bucket
    )
