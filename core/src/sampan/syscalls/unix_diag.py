"""sock_diag(7) for unix sockets: what the kernel knows about a socket's peer.

Layouts: Linux uapi/linux/{netlink,sock_diag,unix_diag}.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys

from sampan.syscalls import netlink

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_UDIAG_SHOW_PEER = 4
_UNIX_DIAG_PEER = 2
_ANY_STATE = _ANY_COOKIE = 0xFFFFFFFF

_REQUEST = struct.Struct("=BBxxIIIII")  # unix_diag_req: family, protocol, states, inode, what to show, cookie
_ANSWER_BYTES = 16  # unix_diag_msg
_CAN_NOT_TELL = (errno.ENOENT, errno.EPROTONOSUPPORT)  # without unix_diag or sock_diag, respectively


def peer_inode(connection: socket.socket) -> int | None:
    """The inode of a unix socket's peer; 0 while the connection is not accepted, or once it is closed.

    `None` if the kernel can't tell (without CONFIG_UNIX_DIAG). Raises `OSError`.
    """
    try:
        return _peer_of(_ask(connection))
    except OSError as error:
        if error.errno in _CAN_NOT_TELL:
            return None
        raise


def _ask(connection: socket.socket) -> bytes:
    inode = os.fstat(connection.fileno()).st_ino
    body = _REQUEST.pack(socket.AF_UNIX, 0, _ANY_STATE, inode, _UDIAG_SHOW_PEER, _ANY_COOKIE, _ANY_COOKIE)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as diag:
        diag.send(netlink.frame(_SOCK_DIAG_BY_FAMILY, 0, body))
        return diag.recv(4096)


def _peer_of(answer: bytes) -> int:
    [(kind, _, body)] = netlink.messages(answer)
    if kind == netlink.NLMSG_ERROR and (error := netlink.error_of(body)):
        raise error
    peer = dict(netlink.attributes(body[_ANSWER_BYTES:])).get(_UNIX_DIAG_PEER, b"")
    return int.from_bytes(peer, sys.byteorder)
