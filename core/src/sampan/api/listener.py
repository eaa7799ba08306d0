"""The server's listening sockets: unix sockets, sockets passed by systemd, and TCP with mutual TLS."""

from __future__ import annotations

import errno
import grp
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sampan.errdefs import Conflict, InvalidArgument, SystemFailure

FULL = "full"
_SYSTEMD_FIRST_FD = 3
BACKLOG = 1024
_TLS_PORT = 2376


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the server's certificate and key, and the CA that signs client certificates."""

    certificate: Path
    key: Path
    client_authority: Path


@dataclass(frozen=True)
class Listener:
    """An address, as for dockerd's `-H`, and the role of its clients.

    `address` is `unix:///path`, `tcp://host:port` or `fd://` (all sockets passed by systemd). `role` is `full` or
    `read-only`. `group`, a name or a number, owns a unix socket (mode 0660).
    """

    address: str
    role: str = FULL
    group: str | None = None
    tls: TlsFiles | None = None

    def open(self) -> list[socket.socket]:
        """Bind and listen.

        Raises `InvalidArgument` for an invalid address, `Conflict` if another process listens there, and
        `SystemFailure` if the kernel refuses it.
        """
        scheme, _, rest = self.address.partition("://")
        match scheme:
            case "unix":
                return [_open_unix(Path(rest), self.group)]
            case "fd":
                return _inherited()
            case "tcp":
                return [_open_tcp(self.address, self.tls)]
            case _:
                raise InvalidArgument(f"Invalid bind address format: {self.address}")

    def tls_context(self) -> ssl.SSLContext | None:
        """For TCP: TLS 1.2 or newer, requiring a client certificate signed by our CA."""
        if self.tls is None or not self.address.startswith("tcp://"):
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.tls.certificate, self.tls.key)
            context.load_verify_locations(self.tls.client_authority)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"{self.address}: can't load TLS certificates: {error}") from None
        return context


def _open_unix(path: Path, group: str | None) -> socket.socket:
    """Open a socket that only root can connect to until its group and mode are set."""
    gid = _gid(group) if group else -1
    listening = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path)
        os.fchmod(listening.fileno(), 0o600)  # bind creates the file with this mode
        listening.bind(str(path))
        os.chown(path, -1, gid)
        path.chmod(0o660)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise SystemFailure(f"can't listen on unix://{path}: {error.strerror or error}") from None
    except BaseException:
        listening.close()
        raise
    return listening


def _remove_stale(path: Path) -> None:
    """Remove a socket file that nobody listens on."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        code = probe.connect_ex(str(path))
    if code != errno.ECONNREFUSED:
        raise Conflict(f"can't listen on unix://{path}: another process does")
    path.unlink()


def _gid(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise InvalidArgument(f"group {group} not found") from None


def _open_tcp(address: str, tls: TlsFiles | None) -> socket.socket:
    if tls is None:
        raise InvalidArgument(
            f"{address}: TCP is served with mutual TLS only: give a certificate, its key and the clients' authority"
        )
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "127.0.0.1", _TLS_PORT if parts.port is None else parts.port
    except ValueError:
        raise InvalidArgument(f"Invalid bind address format: {address}") from None
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(where)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise SystemFailure(f"can't listen on {address}: {error.strerror or error}") from None
    return listening


def _inherited() -> list[socket.socket]:
    """The sockets of sd_listen_fds(3), which are not inherited by child processes."""
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal() or int(count) == 0:
        raise InvalidArgument("no sockets found: fd:// needs systemd's socket activation")
    inherited = [socket.socket(fileno=_SYSTEMD_FIRST_FD + number) for number in range(int(count))]
    for listening in inherited:
        listening.set_inheritable(False)
        if listening.family != socket.AF_UNIX:
            raise InvalidArgument("fd:// takes unix sockets only: TCP is served with mutual TLS, as tcp://")
    return inherited
