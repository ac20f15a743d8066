"""Turn into another program that ends when the process which started it ends; run by path, not imported.

    python -I -S launch.py PARENT SIGNAL IDENTITY PROGRAM [ARGUMENT]…

PARENT is the process that must live; when the thread of it that started this one ends, the kernel sends SIGNAL
(Linux: PR_SET_PDEATHSIG). IDENTITY is `same`, `namespace` (root appears as nobody in a user namespace of its own
and stays the owner of its files) or `nobody` (root gives itself up). This is a program of its own because a
`preexec_fn` is unsafe beside threads.
"""

import ctypes
import os
import signal
import sys

NOBODY = 65534
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Take on the identity, tie the life to the parent, and exec."""
    parent, death_signal, identity, *program = sys.argv[1:]
    _take_identity(identity)
    if sys.platform == "linux":
        # After the change of identity, which would clear it.
        _libc("prctl", PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the process that started this one has ended already")
    # Python ignores these two, and what is ignored stays ignored across exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execv(program[0], program)  # noqa: S606  # no shell is wanted
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


def _take_identity(identity: str) -> None:
    if identity == "namespace":
        uid, gid = os.geteuid(), os.getegid()
        _libc("unshare", CLONE_NEWUSER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{NOBODY} {uid} 1")
        _write("/proc/self/gid_map", f"{NOBODY} {gid} 1")
    elif identity == "nobody":
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def _libc(function: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        sys.exit(f"{function}: {os.strerror(ctypes.get_errno())}")


def _write(path: str, text: str) -> None:
    # Bytes: a text file might import a codec, and in the new namespace Python's own folder may be shut.
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, text.encode())
    os.close(fd)


if __name__ == "__main__":
    main()
