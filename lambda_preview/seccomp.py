"""Takes the decoder's access to the system away: a list of system calls that it may still make (seccomp, Linux only).

After the filter is installed, the process can compute, allocate memory, start threads, and read and write the pipes that it has. It cannot
open files, connect to the network, start processes or programs, or read other processes. So a decoder that executes an attacker's code has
no way to the credentials of the worker.
"""

import ctypes
import errno
import platform
import struct
import sys

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_ARCHITECTURE_OFFSET, _NUMBER_OFFSET, _FIRST_ARGUMENT_OFFSET = 4, 0, 16
_CLONE_THREAD = 0x00010000
_CLONE3 = 435

_CALLS = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "readv": (19, 65),
    "writev": (20, 66),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "sched_getaffinity": (204, 123),
    "gettid": (186, 178),
    "futex": (202, 98),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
    "membarrier": (324, 283),
    "restart_syscall": (219, 128),
    "ppoll": (271, 73),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "sigaltstack": (131, 132),
}
"""The allowed system calls, and their numbers in arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux."""
_MACHINES = {"x86_64": (0xC000003E, 56, 0), "aarch64": (0xC00000B7, 220, 1)}
"""The constant of each architecture, its number of `clone`, and its column in the table."""


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def allowed_numbers(machine: str) -> dict[str, int]:
    """Return the allowed system calls and their numbers on this architecture."""
    return {name: numbers[_MACHINES[machine][2]] for name, numbers in _CALLS.items()}


def is_supported() -> bool:
    """Whether this system has a filter."""
    return sys.platform == "linux" and platform.machine() in _MACHINES


def install() -> bool:
    """Install the filter for the rest of the process. Return False where the system has no such filter."""
    if not is_supported():
        return False
    machine = platform.machine()
    architecture, clone, _ = _MACHINES[machine]
    numbers = sorted(set(allowed_numbers(machine).values()))
    instructions = [
        _instruction(_LOAD, _ARCHITECTURE_OFFSET),
        _instruction(_JUMP_IF_EQUAL, architecture, if_true=1),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER_OFFSET),
        # Threads only. The flags of clone3 are in memory that a filter cannot read; without it, the C library calls clone.
        _instruction(_JUMP_IF_EQUAL, _CLONE3, if_false=1),
        _instruction(_RETURN, _ERRNO | errno.ENOSYS),
        _instruction(_JUMP_IF_EQUAL, clone, if_false=4),
        _instruction(_LOAD, _FIRST_ARGUMENT_OFFSET),
        _instruction(_JUMP_IF_SET, _CLONE_THREAD, if_false=1),
        _instruction(_RETURN, _ALLOW),
        _instruction(_RETURN, _ERRNO | errno.EPERM),
        # Each of these jumps leads to the last instruction.
        *(_instruction(_JUMP_IF_EQUAL, number, if_true=len(numbers) - index) for index, number in enumerate(numbers)),
        _instruction(_RETURN, _ERRNO | errno.EPERM),
        _instruction(_RETURN, _ALLOW),
    ]
    program = _Program(len(instructions), b"".join(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _instruction(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
