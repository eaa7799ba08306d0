"""sock_diag(7) for unix sockets: what the kernel knows about a socket's peer.

Layouts: Linux uapi/linux/{netlink,sock_diag,unix_diag}.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_UDIAG_SHOW_PEER = 4
_UNIX_DIAG_PEER = 2
_ANY_STATE = _ANY_COOKIE = 0xFFFFFFFF

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBxxIIIII")  # unix_diag_req: family, protocol, states, inode, what to show, cookie
_ANSWER_BYTES = 16  # unix_diag_msg
_ATTRIBUTE = struct.Struct("=HH")
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
    header = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as diag:
        diag.send(header + body)
        return diag.recv(4096)


def _peer_of(answer: bytes) -> int:
    length, kind, *_ = _HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        (code,) = struct.unpack_from("=i", answer, _HEADER.size)
        raise OSError(-code, os.strerror(-code))
    offset = _HEADER.size + _ANSWER_BYTES
    while offset + _ATTRIBUTE.size <= length:
        size, attribute = _ATTRIBUTE.unpack_from(answer, offset)
        if attribute == _UNIX_DIAG_PEER:
            return int.from_bytes(answer[offset + _ATTRIBUTE.size : offset + size], sys.byteorder)
        offset += (size + 3) & ~3
    return 0
