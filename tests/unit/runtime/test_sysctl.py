"""Sysctls that a container may set."""

from __future__ import annotations

import pytest

from sampan.errdefs import InvalidArgument
from sampan.runtime import sysctl


@pytest.mark.parametrize(
    "name",
    [
        "net.ipv4.ip_forward",
        "net/ipv4/conf/eth0.5/forwarding",
        "kernel.msgmax",
        "fs.mqueue.msg_max",
        "kernel.domainname",
    ],
)
def test_those_of_its_own_namespaces(name: str) -> None:
    sysctl.check({name: "1 2\t3".replace("\t", " ")}, own_network=True, own_ipc=True, own_uts=True)
    with pytest.raises(InvalidArgument):
        sysctl.check({name: "1"}, own_network=False, own_ipc=False, own_uts=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel.core_pattern", "|/bin/sh"),
        ("vm.overcommit_memory", "1"),
        ("user.max_user_namespaces", "1"),
        ("kernel", "1"),
        ("", "1"),
        ("net.", "1"),
        ("net..ipv4", "1"),
        ("net/../kernel/core_pattern", "1"),
        ("../net.a", "1"),
        ("net.a+kernel.core_pattern", "1"),
        ("net.a=1\nkernel.core_pattern", "1"),
        ("net.a b", "1"),
        ("net.ipv4.ip_forward", "1\n2"),
        ("net.ipv4.ip_forward", "1\0"),
    ],
)
def test_nothing_else(name: str, value: str) -> None:
    with pytest.raises(InvalidArgument):
        sysctl.check({name: value}, own_network=True, own_ipc=True, own_uts=True)
