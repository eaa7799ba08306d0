"""Which registries there are, and how each may be spoken to."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sampan.images.reference import DEFAULT_DOMAIN

_HUB = "registry-1.docker.io"


@dataclass(frozen=True)
class RegistryAuth:
    """Credentials for one registry, as Docker's X-Registry-Auth header carries them."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    server: str = ""


@dataclass(frozen=True)
class Endpoint:
    """One way to reach a registry: `https://host:port`, and whether its certificate is checked."""

    url: str
    verify: bool


@dataclass(frozen=True)
class RegistryConfig:
    """How registries are reached.

    `insecure` names registries (`host`, `host:port`, or a network such as `10.0.0.0/8`) whose certificate is not
    checked and which may speak plain HTTP; loopback always may. `ca_file` is trusted beside the system's authorities.
    `attempts` is how often a request that brings nothing is tried, waiting `retry_delay_s` longer each time.
    `downloads` layers are fetched at once.
    """

    insecure: tuple[str, ...] = ()
    ca_file: Path | None = None
    connect_timeout_s: float = 30.0
    read_timeout_s: float = 60.0
    attempts: int = 5
    retry_delay_s: float = 5.0
    downloads: int = 6

    def endpoints(self, domain: str) -> tuple[Endpoint, ...]:
        """The ways to reach the registry `domain` (`host` or `host:port`), the best one first."""
        if domain == DEFAULT_DOMAIN:
            return (Endpoint(f"https://{_HUB}", verify=True),)
        if self._is_insecure(domain):
            return Endpoint(f"https://{domain}", verify=False), Endpoint(f"http://{domain}", verify=False)
        return (Endpoint(f"https://{domain}", verify=True),)

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """What certificates are checked with."""
        context = ssl.create_default_context()
        if self.ca_file is not None:
            context.load_verify_locations(self.ca_file)
        return context

    def _is_insecure(self, domain: str) -> bool:
        host = _host_of(domain)
        if host == "localhost" or domain in self.insecure or host in self.insecure:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or any(address in network for network in self._networks)

    @cached_property
    def _networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return tuple(ipaddress.ip_network(text, strict=False) for text in self.insecure if "/" in text)


def _host_of(domain: str) -> str:
    if domain.startswith("["):
        return domain[1:].partition("]")[0]
    return domain.partition(":")[0]
