"""The configuration of registries, and how to connect to each."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sampan.images import certificates
from sampan.images.reference import DEFAULT_DOMAIN

_HUB = "registry-1.docker.io"
_HUB_NAMES = ("index.docker.io", "docker.io", _HUB)


@dataclass(frozen=True)
class RegistryAuth:
    """Credentials for one registry, as in Docker's X-Registry-Auth header."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    server: str = ""


@dataclass(frozen=True)
class Endpoint:
    """One way to connect to a registry: `https://host:port`, and whether its certificate is checked.

    A mirror is used only for pulls, and never gets credentials, which belong to the registry itself.
    """

    url: str
    verify: bool
    is_mirror: bool = False


@dataclass(frozen=True)
class RegistryConfig:
    """How to connect to registries.

    `insecure` are registries (`host`, `host:port`, or a network such as `10.0.0.0/8`) whose certificate is not
    checked and which may use plain HTTP; loopback always may. `mirrors` are URLs (`https://host:port`) that are tried
    before Docker Hub. `ca_file` is trusted in addition to the system's authorities; the first of `certs_dirs` that
    has a directory named like a registry (`host` or `host:port`) determines the authorities and client certificates
    there. `attempts` is how often a request without any result is tried, with delays growing by `retry_delay_s`.
    `downloads` and `uploads` are the numbers of layers transferred at once.
    """

    insecure: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    ca_file: Path | None = None
    certs_dirs: tuple[Path, ...] = ()
    connect_timeout_s: float = 30.0
    read_timeout_s: float = 60.0
    attempts: int = 5
    retry_delay_s: float = 5.0
    downloads: int = 6
    uploads: int = 5

    def endpoints(self, domain: str) -> tuple[Endpoint, ...]:
        """The ways to connect to the registry `domain` (`host` or `host:port`), the best one first."""
        if domain == DEFAULT_DOMAIN:
            return (*self._mirrors, Endpoint(f"https://{_HUB}", verify=True))
        if self.is_insecure(domain):
            return Endpoint(f"https://{domain}", verify=False), Endpoint(f"http://{domain}", verify=False)
        return (Endpoint(f"https://{domain}", verify=True),)

    def tls(self, authority: str, *, verify: bool) -> ssl.SSLContext:
        """The TLS context for `authority` (`host` or `host:port`): trusted authorities and client certificates.

        Reads files. Raises `OSError` for one that can't be read, `InvalidArgument` for an incomplete directory of
        certificates.
        """
        own = next((path for root in self.certs_dirs if (path := root / authority).is_dir()), None)
        if own is None:
            return self._trust if verify else self._no_trust
        return certificates.context(own, ca_file=self.ca_file, verify=verify)

    def is_insecure(self, domain: str) -> bool:
        """Whether the registry may use plain HTTP, or any certificate."""
        host = _host_of(domain)
        if host == "localhost" or domain in self.insecure or host in self.insecure:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or any(address in network for network in self._networks)

    @property
    def _mirrors(self) -> tuple[Endpoint, ...]:
        return tuple(
            Endpoint(url, verify=not self.is_insecure(url.partition("://")[2]), is_mirror=True)
            for url in self.mirrors
        )

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return certificates.context(None, ca_file=self.ca_file, verify=True)

    @cached_property
    def _no_trust(self) -> ssl.SSLContext:
        return certificates.context(None, ca_file=None, verify=False)

    @cached_property
    def _networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return tuple(ipaddress.ip_network(text, strict=False) for text in self.insecure if "/" in text)


def domain_of(server: str) -> str:
    """The registry that clients mean by `https://index.docker.io/v1/`, `host:port`, or nothing (Docker Hub)."""
    host = server.partition("://")[2] or server
    host = host.partition("/")[0]
    return DEFAULT_DOMAIN if host in ("", *_HUB_NAMES) else host


def _host_of(domain: str) -> str:
    if domain.startswith("["):
        return domain[1:].partition("]")[0]
    return domain.partition(":")[0]
