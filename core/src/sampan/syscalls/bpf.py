"""bpf(2), as far as needed for programs attached to cgroups.

Constants keep their kernel names (include/uapi/linux/bpf.h).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform

BPF_PROG_LOAD = 5
BPF_PROG_ATTACH = 8
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6
BPF_F_ALLOW_MULTI = 2

_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_ATTEMPTS = 100
_LICENSE = b"Apache-2.0"


class _ProgLoad(ctypes.Structure):
    """The beginning of `union bpf_attr` for BPF_PROG_LOAD."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
    )


class _ProgAttach(ctypes.Structure):
    """The beginning of `union bpf_attr` for BPF_PROG_ATTACH."""

    _fields_ = (
        ("target_fd", ctypes.c_uint32),
        ("attach_bpf_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def prog_load(program_type: int, instructions: bytes) -> int:
    """Load a program of 8-byte instructions; returns its file descriptor. Raises `OSError`."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(_LICENSE)
    attributes = _ProgLoad(program_type, len(instructions) // 8, ctypes.addressof(code), ctypes.addressof(licence))
    return _bpf(BPF_PROG_LOAD, attributes)


def prog_attach(program: int, cgroup: int, attach_type: int, flags: int = 0) -> None:
    """Attach a loaded program to an open cgroup, which then holds a reference to it. Raises `OSError`."""
    _bpf(BPF_PROG_ATTACH, _ProgAttach(cgroup, program, attach_type, flags))


def _bpf(command: int, attributes: ctypes.Structure) -> int:
    number = _SYS_BPF[platform.machine()]
    for _ in range(_ATTEMPTS):
        result: int = _libc.syscall(
            ctypes.c_long(number),
            ctypes.c_int(command),
            ctypes.byref(attributes),
            ctypes.c_uint(ctypes.sizeof(attributes)),
        )
        if result >= 0:
            return result
        failure = ctypes.get_errno()
        # the verifier gives up when a signal is pending, and the call must be repeated (kernel/bpf/verifier.c)
        if failure != errno.EAGAIN:
            break
    raise OSError(failure, f"bpf: {os.strerror(failure)}")
