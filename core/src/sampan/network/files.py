"""A container's `hosts`, `hostname` and `resolv.conf` files.

They are written in place, as they are bind-mounted into running containers. Contents follow Docker's (moby
daemon/libnetwork/{etchosts,internal/resolvconf,sandbox_dns_unix.go}).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from sampan.errdefs import InvalidArgument

HOST_HOSTS = Path("/etc/hosts")
HOST_RESOLV_CONF = Path("/etc/resolv.conf")
RESOLVED_RESOLV_CONF = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved lists the real servers if the usual file has only its stub."""

MOST_BYTES = 1 << 20
"""The limit for a file that a container writes and the daemon reads."""

_RESOLVED_STUB = "127.0.0.53"
_LOOPBACK = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "ff00::\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
)
_DEFAULT_SERVERS_V4 = ("8.8.8.8", "8.8.4.4")
_DEFAULT_SERVERS_V6 = ("2001:4860:4860::8888", "2001:4860:4860::8844")
_ANY_GATEWAY = IPv4Address("0.0.0.0")  # noqa: S104
_WORD = re.compile(r"[^\s#;]+")


@dataclass(frozen=True)
class ContainerFiles:
    """What a container's request says about names.

    `extra_hosts` are `name:address`, as for `--add-host`; the address may be `host-gateway`. `links` are addresses of
    linked containers, each with its names. `host_network`: it shares the host's network, so the host's own files
    apply.
    """

    hostname: str
    domainname: str = ""
    extra_hosts: Sequence[str] = ()
    dns: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    dns_options: Sequence[str] = ()
    links: Sequence[tuple[str, str]] = ()
    host_network: bool = False


@dataclass(frozen=True)
class NetworkView:
    """What the files say about a container's networks: its own addresses, and what `host-gateway` stands for.

    `ipv6`: it has an IPv6 address, so it can use DNS servers with one. `name_server`: the engine's own DNS server,
    which asks the others.
    """

    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    host_gateway: IPv4Address | None = None
    ipv6: bool = False
    name_server: str | None = None


def write_files(directory: Path, files: ContainerFiles, view: NetworkView) -> None:
    """Write `hosts`, `hostname` and `resolv.conf` to `directory`. Raises `InvalidArgument` for an invalid request."""
    contents = {
        "hostname": f"{files.hostname}\n",
        "hosts": hosts(files, view),
        "resolv.conf": resolv_conf(files, view),
    }
    for name, content in contents.items():
        path = directory / name
        path.write_text(content)
        path.chmod(0o644)


def check(files: ContainerFiles) -> None:
    """Raise `InvalidArgument` with Docker's message for what can't be written to the files."""
    for entry in files.extra_hosts:
        _extra_host(entry, _ANY_GATEWAY)
    for server in files.dns:
        _address(server)
    for word in (*files.dns_search, *files.dns_options):
        _word(word)


def change_files(directory: Path, files: ContainerFiles, before: NetworkView, after: NetworkView) -> None:
    """Update a running container's files from one state of its networks to another.

    In `hosts`, only the lines with its own addresses change. If the container has made it larger than `MOST_BYTES`,
    it is left alone.
    """
    _change_hosts(directory / "hosts", files, before, after)
    if before.name_server != after.name_server:
        (directory / "resolv.conf").write_text(resolv_conf(files, after))


def _change_hosts(path: Path, files: ContainerFiles, before: NetworkView, after: NetworkView) -> None:
    with path.open("rb") as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        return
    gone = {str(address).encode() for address in before.addresses if address not in after.addresses}
    kept = [line for line in text.splitlines(keepends=True) if not gone.intersection(line.split()[:1])]
    names = _own_names(files.hostname, files.domainname)
    new = [f"{address}\t{names}" for address in after.addresses if address not in before.addresses]
    path.write_bytes(b"".join(kept) + _lines(new).encode())


def hosts(files: ContainerFiles, view: NetworkView) -> str:
    """The text of `/etc/hosts`."""
    if files.host_network and not files.extra_hosts:
        return HOST_HOSTS.read_text() if HOST_HOSTS.exists() else ""
    extra = [_extra_host(entry, view.host_gateway) for entry in files.extra_hosts]
    names = _own_names(files.hostname, files.domainname)
    own = [f"{address}\t{names}" for address in view.addresses]
    linked = [f"{address}\t{names}" for address, names in files.links]
    return _lines((*_LOOPBACK, *extra, *own, *linked))


def resolv_conf(files: ContainerFiles, view: NetworkView, *, source: Path | None = None) -> str:
    """The text of `/etc/resolv.conf`: the host's, with servers, search list and options replaced by the request's.

    Servers on the host's loopback can't be reached from a container, so they are omitted; if none are left, Docker's
    defaults are used.
    """
    servers, search, options, others = _parse(_host_resolv_conf() if source is None else source)
    if view.name_server is not None:
        servers = [view.name_server]
    elif files.dns:
        servers = [str(_address(server)) for server in files.dns]
    elif not files.host_network:
        servers = _reachable(servers, ipv6=view.ipv6)
    if files.dns_search:
        search = [_word(domain) for domain in files.dns_search if domain != "."]
    if files.dns_options:
        options = [_word(option) for option in files.dns_options]
    if view.name_server is not None and not any(option.startswith("ndots:") for option in options):
        options = [*options, "ndots:0"]  # names without a dot are looked up unchanged
    lines = [f"nameserver {server}" for server in servers]
    if search:
        lines.append(f"search {' '.join(search)}")
    if options:
        lines.append(f"options {' '.join(options)}")
    return _lines((*lines, *others))


def asks_for_search(files: ContainerFiles) -> bool:
    """Whether resolv.conf's options have search domains tried first for names without dots (`ndots` above 0)."""
    options = files.dns_options or _parse(HOST_RESOLV_CONF)[2]
    return any(re.fullmatch("ndots:0*[1-9][0-9]*", option) for option in options)


def _host_resolv_conf() -> Path:
    servers = _parse(HOST_RESOLV_CONF)[0]
    return RESOLVED_RESOLV_CONF if servers == [_RESOLVED_STUB] else HOST_RESOLV_CONF


def _parse(path: Path) -> tuple[list[str], list[str], list[str], list[str]]:
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    others: list[str] = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        words = re.split("[#;]", line, maxsplit=1)[0].split()
        match words:
            case []:
                continue
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["domain" | "search", *domains]:
                search = domains  # the last one wins (resolv.conf(5))
            case ["options", *more]:
                options += more
            case _:
                others.append(" ".join(words))
    return servers, search, options, others


def _reachable(servers: Iterable[str], *, ipv6: bool) -> list[str]:
    reachable: list[str] = []
    for server in servers:
        try:
            address = ip_address(server)
        except ValueError:
            continue
        if not address.is_loopback and (address.version == 4 or ipv6):
            reachable.append(server)
    defaults = (*_DEFAULT_SERVERS_V4, *(_DEFAULT_SERVERS_V6 if ipv6 else ()))
    return reachable or list(defaults)


def _extra_host(entry: str, host_gateway: IPv4Address | None) -> str:
    name, separator, address = entry.partition(":")
    if not separator or not _WORD.fullmatch(name):
        raise InvalidArgument(f'bad format for add-host: "{entry}"')
    if address == "host-gateway":
        if host_gateway is None:
            raise InvalidArgument("unable to derive the IP value for host-gateway")
        return f"{host_gateway}\t{name}"
    try:
        return f"{ip_address(address.removeprefix('[').removesuffix(']'))}\t{name}"
    except ValueError:
        raise InvalidArgument(f'invalid IP address in add-host: "{address}"') from None


def _own_names(hostname: str, domainname: str) -> str:
    full = f"{hostname}.{domainname}" if domainname else hostname
    short, dot, _ = full.partition(".")
    return f"{full} {short}" if dot else full


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError:
        raise InvalidArgument(f'invalid JSON: ParseAddr("{text}"): unable to parse IP') from None


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise InvalidArgument(f"invalid value for resolv.conf: {text!r}")
    return text


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
