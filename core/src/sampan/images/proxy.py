"""Chooses the proxy for a URL according to the environment.

`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` and their lower-case forms, interpreted as in Go's programs
(golang.org/x/net/http/httpproxy): loopback is never reached through a proxy.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping

from yarl import URL


def proxy_of(url: URL, environment: Mapping[str, str] = os.environ) -> URL | None:
    """The proxy for `url`, `None` for a direct connection."""
    text = _variable(environment, "https_proxy" if url.scheme == "https" else "http_proxy")
    if not text or _is_direct(url, _variable(environment, "no_proxy")):
        return None
    return URL(text if "://" in text else f"http://{text}")


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name.upper()) or environment.get(name) or ""


def _is_direct(url: URL, exceptions: str) -> bool:
    host = (url.host or "").lower()
    address = _address(host)
    if host == "localhost" or (address and address.is_loopback):
        return True
    return any(_matches(one.strip().lower(), host, url.port, address) for one in exceptions.split(","))


def _matches(
    pattern: str, host: str, port: int | None, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
) -> bool:
    if pattern in ("", "*"):
        return pattern == "*"
    if address is not None and (network := _network(pattern)):
        return address in network
    name, colon, wanted_port = pattern.rpartition(":")
    if colon and wanted_port.isdigit():
        if port != int(wanted_port):
            return False
        pattern = name.strip("[]")
    suffix = pattern.removeprefix("*")
    if suffix.startswith("."):
        return host.endswith(suffix)
    return host == suffix or host.endswith(f".{suffix}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _network(pattern: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return None
