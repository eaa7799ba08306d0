"""The host's own DNS servers, reread when they change."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

from sampan.network.dns.relay import Upstream


class HostServers:
    """The servers in the host's resolv.conf.

    They are queried from the host's network namespace, so that servers on its loopback (systemd-resolved, dnsmasq)
    work too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._servers: tuple[Upstream, ...] = ()

    def get(self) -> tuple[Upstream, ...]:
        """The current servers; the file is read again if it has changed."""
        try:
            stat = os.stat(self._path)  # noqa: PTH116 - called for each relayed query
        except OSError:
            return ()
        seen = stat.st_mtime_ns, stat.st_ino, stat.st_size
        if seen != self._seen:
            self._servers = tuple(map(Upstream, _servers(self._path.read_text(errors="replace"))))
            self._seen = seen
        return self._servers


def _servers(text: str) -> list[str]:
    found = []
    for line in text.splitlines():
        match line.split():
            case ["nameserver", address, *_] if _is_address(address):
                found.append(address)
    return found


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
