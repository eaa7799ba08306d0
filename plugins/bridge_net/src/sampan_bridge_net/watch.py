"""Notices when another program removes rules: `nft flush ruleset`, or a firewall that reloads.

The kernel announces each change of any table. Source: Linux uapi/linux/netfilter/nfnetlink.h, nf_tables.h.
"""

from __future__ import annotations

import errno
import socket

from sampan_bridge_net.tables import NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES, messages

NFNLGRP_NFTABLES = 7
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
SO_RCVBUFFORCE = 33
NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE = 2, 5, 8

_REMOVALS = frozenset(
    (NFNL_SUBSYS_NFTABLES << 8) | kind for kind in (NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE)
)
_BUFFER_BYTES = 1 << 22
"""Room for the notifications of thousands of ports that are published at once."""


class RuleWatch:
    """Notifications about the tables in the network namespace of the thread that creates this object."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _BUFFER_BYTES)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """A descriptor that is readable when there are notifications."""
        return self._socket.fileno()

    def saw_removal(self) -> bool:
        """Read all notifications; whether tables, chains or rules were removed, or notifications were lost."""
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
            removal = removal or any(kind in _REMOVALS for kind, _ in messages(news))

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()
