"""What a process that serves for long holds of a block that it has let go."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from worker.large_blocks import give_back_when_free

def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096

if sys.argv[1] == "given back":
    give_back_when_free()
before, kept = resident(), []
for _ in range(3):
    block = b"x" * 20_000_000
    kept.append(b"y" * 2000)  # what lives on behind it keeps the heap from shrinking
    del block
print((resident() - before) // 1_000_000)
"""


def held(how: str) -> int:
    """Megabytes that a process keeps of twenty that it held three times."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=60)
    return int(ended.stdout)


def test_a_large_block_is_given_back_when_it_is_free() -> None:
    if held("left alone") < 10:
        pytest.skip("this C library gives them back by itself")
    assert held("given back") < 4
