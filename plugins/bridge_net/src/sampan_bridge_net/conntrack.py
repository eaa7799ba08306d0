"""Deletes conntrack entries of UDP flows whose destination has changed.

The kernel translates all packets of a flow like its first. A UDP client that keeps sending would still reach the
previous container at the port.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Iterable
from typing import Any

from sampan.syscalls.netns import in_own_thread

_log = logging.getLogger(__name__)


def forget_flows(ports: Collection[tuple[int, int]]) -> None:
    """Delete the entries for these UDP ports (IP version, port). Failures are only logged."""
    if ports:
        in_own_thread(lambda: _forget(ports))


def _forget(ports: Iterable[tuple[int, int]]) -> None:
    from pyroute2 import Conntrack, NetlinkError  # noqa: PLC0415 - imported only to publish UDP ports
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple  # noqa: PLC0415

    with Conntrack() as conntrack:
        for version, port in ports:
            family = socket.AF_INET if version == 4 else socket.AF_INET6
            to_port = NFCTAttrTuple(family=family, proto=socket.IPPROTO_UDP, dport=port)
            try:
                flows: list[Any] = [
                    entry.tuple_orig
                    for entry in conntrack.dump_entries(tuple_orig=to_port)
                    # kernels before 5.8 don't filter
                    if (entry.tuple_orig.family, entry.tuple_orig.proto, entry.tuple_orig.dport)
                    == (family, socket.IPPROTO_UDP, port)
                ]
                for flow in flows:
                    conntrack.entry("del", tuple_orig=flow)
            except NetlinkError as error:
                _log.warning("existing UDP flows to port %d may still go to the previous container: %s", port, error)
