"""The daemon's address: parsing `-H`, opening the socket, TLS."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, NamedTuple

from sampan.cli.errors import CliError, ConnectionFailed

if TYPE_CHECKING:
    import ssl

    from sampan.cli.command import Options


class TlsFiles(NamedTuple):
    """The files for mutual TLS; `verify` checks the daemon's certificate against `ca`."""

    ca: str
    cert: str
    key: str
    verify: bool


class Endpoint(NamedTuple):
    """A daemon's address: `path` for a unix socket, otherwise `host` and `port`; `text` is used in messages."""

    text: str
    path: str = ""
    host: str = ""
    port: int = 0
    tls: TlsFiles | None = None

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        return f"{self.host}:{self.port}" if self.host else "sampan"

    def open(self) -> socket.socket:
        """Connect, and return the socket. Raises `ConnectionFailed`, or `CliError` if permission is denied."""
        try:
            if self.path:
                return _open_unix(self.path)
            return socket.create_connection((self.host, self.port))
        except PermissionError as error:
            raise CliError(
                f"permission denied while trying to connect to the sampan daemon at {self.text}: {error.strerror}"
            ) from None
        except OSError:
            raise ConnectionFailed(
                f"Cannot connect to the sampan daemon at {self.text}. Is the sampan daemon running?"
            ) from None

    def tls_context(self) -> ssl.SSLContext:
        """The TLS settings for this endpoint. Raises `CliError` naming the file that can't be used."""
        import ssl

        assert self.tls is not None  # noqa: S101  # callers ask only for endpoints with TLS
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.tls.verify:
                context.load_verify_locations(self.tls.ca)
            else:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.tls.verify or os.path.exists(self.tls.cert):  # noqa: PTH110  # pathlib costs 8 ms of start
                context.load_cert_chain(self.tls.cert, self.tls.key)
        except (OSError, ssl.SSLError) as error:
            raise CliError(
                f"could not load TLS files ({self.tls.ca}, {self.tls.cert}, {self.tls.key}): {error}"
            ) from None
        return context


def _open_unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def endpoint(address: str, options: Options) -> Endpoint:
    """Parse an address as for docker's `-H`, with the TLS flags and variables. Raises `CliError`."""
    scheme, separator, rest = address.strip().partition("://")
    if not separator:
        scheme, rest = "tcp", scheme
    if scheme == "unix":
        return Endpoint(f"unix://{rest}", path=rest)
    if scheme not in ("tcp", "http", "https"):
        raise CliError(f"invalid bind address format: {address}")
    tls = tls_files(options)
    host, port = _host_and_port(rest.partition("/")[0], address, 2376 if tls else 2375)
    return Endpoint(f"tcp://{rest}", host=host, port=port, tls=tls)


def _host_and_port(authority: str, address: str, default_port: int) -> tuple[str, int]:
    if authority.startswith("["):
        host, _, tail = authority[1:].partition("]")
        port = tail.removeprefix(":")
    else:
        host, _, port = authority.partition(":")
    if not (port or "0").isdigit():
        raise CliError(f"invalid bind address format: {address}")
    return host or "localhost", int(port or default_port)


def tls_files(options: Options) -> TlsFiles | None:
    """The TLS files by `--tls*`, DOCKER_TLS, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH; `None` without TLS."""
    verify = options.on("tlsverify") if options.changed("tlsverify") else bool(os.environ.get("DOCKER_TLS_VERIFY"))
    if not (verify or options.on("tls") or os.environ.get("DOCKER_TLS")):
        return None
    directory = os.environ.get("DOCKER_CERT_PATH") or config_dir(options)

    def file(flag: str, name: str) -> str:
        return options.text(flag) or f"{directory}/{name}"

    return TlsFiles(file("tlscacert", "ca.pem"), file("tlscert", "cert.pem"), file("tlskey", "key.pem"), verify)


def config_dir(options: Options) -> str:
    """The directory of the client's settings: `--config`, DOCKER_CONFIG, or `~/.docker`."""
    return (
        options.text("config") or os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")  # noqa: PTH111
    )
