"""Fake sandboxes: the calling process's own network namespace, which is not changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface

from sampan.network.kernel import NameSockets, SandboxKernel, bind_name_sockets, parse_sysctl
from sampan.network.records import EndpointRecord


class MemorySandboxKernel(SandboxKernel):
    """For tests without root. Name servers listen on a free port of 127.0.0.1; all else is only recorded."""

    def __init__(self) -> None:
        self.default_routes: list[EndpointRecord] = []
        self.addresses: list[tuple[str, str]] = []
        self.sysctls: list[tuple[str, str]] = []
        self.listening: list[NameSockets] = []

    def make(self) -> int:
        """The process's own namespace."""
        return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def set_default_routes(self, netns_fd: int, endpoint: EndpointRecord) -> None:
        """Recorded in `default_routes`."""
        self.default_routes.append(endpoint)

    def add_addresses(self, netns_fd: int, ifname: str, addresses: Sequence[IPv4Interface | IPv6Interface]) -> None:
        """Recorded in `addresses`."""
        self.addresses += [(ifname, str(address)) for address in addresses]

    def set_sysctls(self, netns_fd: int, ifname: str, settings: Sequence[str]) -> None:
        """Recorded in `sysctls`."""
        self.sysctls += [(ifname, text) for text in settings if parse_sysctl(text)]

    def listen_for_names(self, netns_fd: int, port: int) -> NameSockets:
        """Listen on any free port, recorded in `listening`."""
        self.listening.append(bind_name_sockets("127.0.0.1", 0))
        return self.listening[-1]
