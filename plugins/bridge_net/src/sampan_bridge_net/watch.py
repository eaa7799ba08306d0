"""Noticing that another program takes rules away: `nft flush ruleset`, a firewall that is loaded again.

The kernel tells each change of any table. Source: Linux uapi/linux/netfilter/nfnetlink.h, nf_tables.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

NETLINK_NETFILTER, NFNLGRP_NFTABLES = 12, 7
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE = 2, 5, 8

_REMOVALS = frozenset(
    (NFNL_SUBSYS_NFTABLES << 8) | kind for kind in (NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE)
)
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port


class RuleWatch:
    """What the kernel tells of the tables of the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._socket.fileno()

    def saw_removal(self) -> bool:
        """Read all news; whether tables, chains or rules were taken away, or there was more than could be told."""
        removal = False
        while True:
            try:
                news = self._socket.recv(1 << 16)
            except BlockingIOError:
                return removal
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                removal = True
                continue
            removal = removal or any(kind in _REMOVALS for kind in _types(news))

    def close(self) -> None:
        """Look no more."""
        self._socket.close()


def _types(news: bytes) -> Iterator[int]:
    offset = 0
    while offset + _HEADER.size <= len(news):
        length, kind, *_ = _HEADER.unpack_from(news, offset)
        yield kind
        offset += max((length + 3) & ~3, _HEADER.size)
