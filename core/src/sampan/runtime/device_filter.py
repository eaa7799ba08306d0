"""Restricts a container's devices by an eBPF program on its cgroup.

runc loads such a program itself. crun first raises RLIMIT_MEMLOCK, which requires CAP_SYS_RESOURCE and has not been
necessary since Linux 5.11; so for crun the filter is installed here, before the container is created, and its rules
are omitted from the spec. Source: kernel Documentation/userspace-api/ebpf and cgroup-v2.rst, "Device controller"; the
rules that every container has: OCI runtime-spec config-linux.md, "Default Devices".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from sampan.errdefs import SystemFailure
from sampan.syscalls.bpf import (
    BPF_CGROUP_DEVICE,
    BPF_F_ALLOW_MULTI,
    BPF_PROG_TYPE_CGROUP_DEVICE,
    prog_attach,
    prog_load,
)

_BLOCK, _CHARACTER = 1, 2
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL_ACCESS = 7
_DEFAULT_RULES: tuple[Mapping[str, Any], ...] = (
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1))
    ),
)

# eBPF opcodes and registers (kernel Documentation/bpf/standardization/instruction-set.rst)
_LOAD_WORD, _AND, _SHIFT_RIGHT, _MOVE, _MOVE_REGISTER = 0x61, 0x54, 0x74, 0xB7, 0xBC
_JUMP_UNLESS_EQUAL, _JUMP_UNLESS_SAME, _EXIT = 0x55, 0x5D, 0x95
_Test: TypeAlias = tuple[list[bytes], tuple[int, int, int, int]]
"""Preparing instructions, and the jump (opcode, register, other register, value) to the next rule."""

_ANSWER, _CONTEXT, _TYPE, _ASKED, _MAJOR, _MINOR, _SCRATCH = 0, 1, 2, 3, 4, 5, 6


def take_over(spec: dict[str, Any], cgroups: Path = Path("/sys/fs/cgroup")) -> dict[str, Any]:
    """Apply the spec's device rules here, and return the spec without them.

    A spec without a cgroup, or any spec on a host with cgroup v1, which has no such programs, is returned unchanged.
    """
    linux = spec["linux"]
    path, rules = linux.get("cgroupsPath"), linux.get("resources", {}).get("devices")
    if not (path and rules) or not (cgroups / "cgroup.controllers").exists():
        return spec
    cgroup = cgroups / path.lstrip("/")
    cgroup.mkdir(parents=True, exist_ok=True)
    attach(cgroup, rules)
    resources = {name: value for name, value in linux["resources"].items() if name != "devices"}
    return {**spec, "linux": {**linux, "resources": resources}}


def attach(cgroup: Path, rules: Sequence[Mapping[str, Any]]) -> None:
    """Restrict the processes of `cgroup` to what `rules` (`linux.resources.devices`) allow; the last match wins.

    Raises `SystemFailure`: a container without its filter must not start.
    """
    try:
        program = prog_load(BPF_PROG_TYPE_CGROUP_DEVICE, compile_rules([*rules, *_DEFAULT_RULES]))
        try:
            directory = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                prog_attach(program, directory, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI)
            finally:
                os.close(directory)
        finally:
            os.close(program)
    except OSError as error:
        raise SystemFailure(f"the device filter of cgroup {cgroup} can't be set: {error}") from error


def compile_rules(rules: Sequence[Mapping[str, Any]]) -> bytes:
    """The program: for each rule, starting with the last, return its answer if it matches; else deny."""
    return b"".join(_program(rules))


def _program(rules: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    # struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor
    yield _instruction(_LOAD_WORD, _TYPE, _CONTEXT, 0)
    yield _instruction(_MOVE_REGISTER, _ASKED, _TYPE)
    yield _instruction(_AND, _TYPE, value=0xFFFF)
    yield _instruction(_SHIFT_RIGHT, _ASKED, value=16)
    yield _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, 4)
    yield _instruction(_LOAD_WORD, _MINOR, _CONTEXT, 8)
    for rule in reversed(rules):
        tests = list(_tests(rule))
        yield from _rule(rule, tests)
        if not tests:  # it always matches; the kernel rejects programs with unreachable instructions
            return
    yield from _answer(allow=False)


def _rule(rule: Mapping[str, Any], tests: Sequence[_Test]) -> Iterator[bytes]:
    answer = list(_answer(allow=bool(rule.get("allow"))))
    for index, (prepare, test) in enumerate(tests):
        yield from prepare
        behind = sum(len(more) + 1 for more, _ in tests[index + 1 :]) + len(answer)
        yield _instruction(test[0], test[1], test[2], behind, test[3])
    yield from answer


def _tests(rule: Mapping[str, Any]) -> Iterator[_Test]:
    kind = rule.get("type") or "a"
    if kind in "bc":
        yield [], (_JUMP_UNLESS_EQUAL, _TYPE, 0, _BLOCK if kind == "b" else _CHARACTER)
    access = sum(_ACCESS[letter] for letter in set(rule.get("access") or "rwm"))
    if access != _ALL_ACCESS:  # the rule must include all of the access asked for
        prepare = [_instruction(_MOVE_REGISTER, _SCRATCH, _ASKED), _instruction(_AND, _SCRATCH, value=access)]
        yield prepare, (_JUMP_UNLESS_SAME, _SCRATCH, _ASKED, 0)
    for register, number in ((_MAJOR, rule.get("major")), (_MINOR, rule.get("minor"))):
        if number is not None and number >= 0:
            yield [], (_JUMP_UNLESS_EQUAL, register, 0, number)


def _answer(*, allow: bool) -> Iterator[bytes]:
    yield _instruction(_MOVE, _ANSWER, value=int(allow))
    yield _instruction(_EXIT)


def _instruction(opcode: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, source << 4 | target, offset, value)
