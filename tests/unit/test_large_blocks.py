"""What a process that serves for long holds of a block that it has let go."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
from worker.large_blocks import give_back_when_free

def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096

def read_twice() -> None:
    for _ in range(2):
        block = bytearray(20_000_000)
        copy = bytes(block)

if sys.argv[1] == "given back":
    give_back_when_free()
before = resident()
for _ in range(3):
    thread = threading.Thread(target=read_twice)
    thread.start()
    thread.join()
print((resident() - before) // 1_000_000)
"""


def held(how: str) -> int:
    """Megabytes that a process keeps after a thread of it held twice twenty."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=60)
    return int(ended.stdout)


def test_a_large_block_is_given_back_when_it_is_free() -> None:
    if held("left alone") < 10:
        pytest.skip("this C library gives them back by itself")
    assert held("given back") < 4
