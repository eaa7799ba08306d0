"""Converts Docker's seccomp profiles to the form of the OCI runtime spec.

A profile's rules may depend on the container's capabilities, the architecture, and the kernel's version. Source of
the rules: github.com/moby/profiles seccomp/seccomp_linux.go.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import platform
from pathlib import Path
from typing import Any

from sampan.errdefs import InvalidArgument
from sampan.runtime import kernel

_DEFAULT = Path(__file__).parent / "profiles" / "seccomp-default.json"
_X32 = "SCMP_ARCH_X32"
_X32_GETPID = 0x40000000 | 39  # arch/x86/include/uapi/asm/unistd.h: __X32_SYSCALL_BIT
_CONDITIONS = frozenset({"includes", "excludes", "comment", "name"})
# By uname's machine: the profile's name in conditions, and libseccomp's constant.
_MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "i686": ("x86", "SCMP_ARCH_X86"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "loongarch64": ("loongarch64", "SCMP_ARCH_LOONGARCH64"),
    "mips64": ("mips64", "SCMP_ARCH_MIPS64"),
}


def supported() -> bool:
    """Whether the kernel supports seccomp filters."""
    return Path("/proc/sys/kernel/seccomp/actions_avail").exists()


@functools.lru_cache(maxsize=32)
def default_profile(capabilities: frozenset[str]) -> dict[str, Any]:
    """`linux.seccomp` for a container with these capabilities. The result is shared and must not be changed."""
    return resolve(_DEFAULT.read_text(), capabilities)


def resolve(profile: str, capabilities: frozenset[str]) -> dict[str, Any]:
    """`linux.seccomp` for a profile in Docker's JSON. Raises `InvalidArgument`."""
    try:
        document = json.loads(profile)
        return _resolve(document, capabilities)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from None


def _resolve(document: dict[str, Any], capabilities: frozenset[str]) -> dict[str, Any]:
    arch, native = _MACHINES.get(platform.machine(), (platform.machine(), ""))
    maps = document.pop("archMap", None) or []
    if maps and document.get("architectures"):
        raise ValueError("both 'architectures' and 'archMap' are specified in the seccomp profile")
    for entry in maps:
        if entry["architecture"] == native:
            below = entry.get("subArchitectures") or []
            document["architectures"] = [native, *(one for one in below if one != _X32 or _kernel_has_x32())]
    document["syscalls"] = [
        _plain(rule) for rule in document.get("syscalls") or [] if _applies(rule, arch, capabilities)
    ]
    return document


@functools.cache
def _kernel_has_x32() -> bool:
    """Whether programs of the x32 ABI can run here; hardly any kernel supports it.

    Its part of the filter costs each start of a container or an exec 10 ms (measured: runc 1.1.5, libseccomp 2.5.4).
    Without that part, an x32 system call kills the process instead of failing with ENOSYS, so nothing more is
    allowed.
    """
    if "Seccomp:\t0\n" not in Path("/proc/self/status").read_text():
        return True  # trying might kill this process too
    return bool(ctypes.CDLL(None).syscall(_X32_GETPID) == os.getpid())


def _applies(rule: dict[str, Any], arch: str, capabilities: frozenset[str]) -> bool:
    excludes, includes = rule.get("excludes") or {}, rule.get("includes") or {}
    if arch in (excludes.get("arches") or []) or capabilities & set(excludes.get("caps") or []):
        return False
    if (unneeded := excludes.get("minKernel")) and kernel.is_at_least(unneeded):
        return False
    if (arches := includes.get("arches")) and arch not in arches:
        return False
    if not capabilities >= set(includes.get("caps") or []):
        return False
    needed = includes.get("minKernel")
    return not needed or kernel.is_at_least(needed)


def _plain(rule: dict[str, Any]) -> dict[str, Any]:
    """The rule without conditions; the old form with a single `name` is converted to `names`."""
    if "name" in rule and rule.get("names"):
        raise ValueError("both 'name' and 'names' are specified in the seccomp profile")
    plain = {key: value for key, value in rule.items() if key not in _CONDITIONS and value is not None}
    if "name" in rule:
        plain["names"] = [rule["name"]]
    return plain
