"""This instance's nftables table: address translation, published ports, and who may talk to whom.

The rules are the same however many networks and ports there are: they look things up in sets and maps, where each
network and each published port is an element. An element's comment says whose it is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from sampan.drivers import L4, PublishedPort
from sampan.errdefs import Conflict, SystemFailure
from sampan.syscalls.nftables import Nft, load
from sampan_bridge_net.gate import Gate
from sampan_bridge_net.ruleset import skeleton
from sampan_bridge_net.tables import count_rules, has_table

PROTOCOL_NUMBERS = {L4.TCP: 6, L4.UDP: 17, L4.SCTP: 132}
_PROTOCOLS = {number: protocol for protocol, number in PROTOCOL_NUMBERS.items()}
_MAPS = ("published4", "published4_any", "published6", "published6_any")
_OPEN = ("open4", "open6")
_SETS = (
    *("bridges", "internal", "talking", "subnets4", "subnets6", "masquerade4", "masquerade6"),
    *("routed4", "routed6", "unprotected4", "unprotected6", "known4", "known6"),
)


@dataclass(frozen=True)
class Target:
    """Where a published port leads."""

    endpoint_id: str
    address: IPv4Address | IPv6Address
    port: int


@dataclass(frozen=True)
class Zone:
    """One network as the firewall sees it.

    Over these IP versions its containers leave with an address of the host's (`masquerade`), are reached at their own
    (`routed`), or there at all ports (`unprotected`); the host is on the bridge itself and knows who belongs there
    (`known`).
    """

    id: str
    bridge: str
    subnets: tuple[IPv4Network | IPv6Network, ...]
    internal: bool
    talking: bool
    masquerade: frozenset[int]
    routed: frozenset[int]
    unprotected: frozenset[int]
    known: frozenset[int]


@dataclass(frozen=True)
class _Key:
    """What a client asks for: a port of the host's, or if it is `open` one of a container's at its own address."""

    protocol: L4
    host_ip: IPv4Address | IPv6Address
    host_port: int
    open: bool = False


class _Published:
    """The published ports, by what a client asks for and by endpoint: nothing is searched among all of them."""

    def __init__(self, targets: Mapping[_Key, Target]) -> None:
        self.targets: dict[_Key, Target] = {}
        self._by_endpoint: dict[str, dict[_Key, Target]] = {}
        self.add(targets)

    def add(self, targets: Mapping[_Key, Target]) -> None:
        self.targets.update(targets)
        for key, target in targets.items():
            self._by_endpoint.setdefault(target.endpoint_id, {})[key] = target

    def of(self, endpoint_id: str) -> Mapping[_Key, Target]:
        return self._by_endpoint.get(endpoint_id, {})

    def drop(self, endpoint_id: str) -> None:
        for key in self._by_endpoint.pop(endpoint_id, {}):
            del self.targets[key]


class Firewall:
    """The table of one instance, and if `gated` the gate before its published ports."""

    def __init__(self, instance: str, gate: Gate) -> None:
        self.table = f"sampan_{instance}"
        self.gated = False
        self._gate = gate
        self._nft = Nft()
        self._lock = threading.Lock()
        self._published: _Published | None = None
        self._rules = 0

    def check(self) -> None:
        """Raise `Unsupported` or `SystemFailure` if this host has no nftables."""
        load()
        has_table(self.table)

    def put(self, zone: Zone, *, closed: Iterable[int]) -> None:
        """Make the table, or put right what is missing of it, with this network in it.

        `closed` are the IP versions for which nothing but containers' traffic may be forwarded.
        """
        with self._lock:
            known, whole = self._known().targets, self._is_whole()
            rules = skeleton(self.table, frozenset(closed), self._gate.exit if self.gated else None)
            gate = self._gate.skeleton() if self.gated else self._gate.removal()
            self._nft.run(rules + self._elements_of(zone) + gate)
            if not whole:  # what another program flushed away with the table comes back
                missing = known.items() - self._read().items()
                self._nft.run(self._add(dict(missing)) + self._let_in("add", known))
            self._rules = self._count_rules()

    def drop(self, network_id: str) -> bool:
        """Take a network out; with the last one the table goes. Answers whether it is gone."""
        with self._lock:
            if not has_table(self.table):
                return True
            held = list(self._set_elements())
            commands = self._commands("delete", ((name, text) for name, text, owner in held if owner == network_id))
            if is_last := all(owner == network_id for _, _, owner in held):
                commands = f"delete table inet {self.table}\n{self._gate.removal()}"
                self._published = _Published({})
                self._rules = 0
            self._nft.run(commands)
            return is_last

    def publish(self, endpoint_id: str, targets: dict[PublishedPort, IPv4Address | IPv6Address]) -> None:
        """Lead ports to their targets, all or none. Raises `Conflict` if another endpoint has one.

        A host port 0 is none: the container's own port is opened.
        """
        wanted = {
            _key(port, address): Target(endpoint_id, address, port.container_port)
            for port, address in targets.items()
        }
        with self._lock:
            known = self._known()
            for key, target in wanted.items():
                if known.targets.get(key, target) != target:
                    host = f"[{key.host_ip}]" if key.host_ip.version == 6 else key.host_ip
                    raise Conflict(f"Bind for {host}:{key.host_port} failed: port is already allocated")
            self._nft.run(self._add(wanted) + self._let_in("add", wanted))
            known.add(wanted)

    def unpublish(self, endpoint_id: str) -> list[PublishedPort]:
        """Lead no port to this endpoint any more; answers those that did."""
        with self._lock:
            known = self._known()
            leaving = known.of(endpoint_id)
            if leaving:
                self._take_out(leaving)
            known.drop(endpoint_id)
        return [
            PublishedPort(key.protocol, key.host_ip, key.host_port, target.port)
            for key, target in leaving.items()
            if not key.open
        ]

    def _take_out(self, leaving: Mapping[_Key, Target]) -> None:
        # Deleting what is not there would fail the whole batch, adding what is there does not.
        commands = self._add(leaving) + self._remove(leaving)
        gate = self._let_in("add", leaving) + self._let_in("delete", leaving)
        try:
            self._nft.run(commands + gate)
        except SystemFailure:
            if has_table(self.table):  # else another program has taken it away, and nothing is left to do
                self._nft.run(commands)  # it may have been the gate alone

    def is_whole(self) -> bool:
        """Whether the rules are all there, as they were when this object last made them."""
        with self._lock:
            return self._rules == 0 or self._is_whole()

    def _is_whole(self) -> bool:
        return self._rules != 0 and self._count_rules() == self._rules

    def _count_rules(self) -> int:
        return count_rules(self.table) + (self._gate.count_rules() if self.gated else 0)

    # --- elements

    def _elements_of(self, zone: Zone) -> str:
        bridge = f'"{zone.bridge}"'
        elements = {"bridges": [bridge]}
        if zone.internal:
            elements["internal"] = [bridge]
        if zone.talking:
            elements["talking"] = [f"{bridge} . {bridge}"]
        for subnet in zone.subnets:
            elements.setdefault(f"subnets{subnet.version}", []).append(str(subnet))
            if subnet.version in zone.masquerade:
                elements.setdefault(f"masquerade{subnet.version}", []).append(str(subnet))
        for name, versions in (
            ("routed", zone.routed),
            ("unprotected", zone.unprotected),
            ("known", zone.known),
        ):
            elements.update({f"{name}{version}": [bridge] for version in versions})
        return self._commands(
            "add", ((name, f'{text} comment "{zone.id}"') for name, texts in elements.items() for text in texts)
        )

    def _add(self, targets: Mapping[_Key, Target]) -> str:
        return self._commands("add", (_element(key, target) for key, target in targets.items()))

    def _remove(self, keys: Iterable[_Key]) -> str:
        return self._commands("delete", map(_place, keys))

    def _let_in(self, verb: str, keys: Iterable[_Key]) -> str:
        """What the gate lets in, or no longer; ports at containers' own addresses are not the host's."""
        if not self.gated:
            return ""
        return self._gate.elements(verb, ((key.host_ip.version, _place(key)[1]) for key in keys if not key.open))

    def _commands(self, verb: str, elements: Iterable[tuple[str, str]]) -> str:
        """One command for each set and map: with one for each element nft takes thrice the time."""
        texts: dict[str, list[str]] = {}
        for name, text in elements:
            texts.setdefault(name, []).append(text)
        return "".join(
            f"{verb} element inet {self.table} {name} {{ {', '.join(found)} }}\n" for name, found in texts.items()
        )

    # --- what the kernel has

    def _known(self) -> _Published:
        if self._published is None:
            self._published = _Published(self._read() if has_table(self.table) else {})
        return self._published

    def _read(self) -> dict[_Key, Target]:
        published = {
            key: target
            for name in _MAPS
            for item in self._nft.query(f"list map inet {self.table} {name}")
            for element in item.get("map", {}).get("elem", [])
            for key, target in [_parse_published(name, element)]
        }
        opened = {
            key: target
            for name in _OPEN
            for item in self._nft.query(f"list set inet {self.table} {name}")
            for element in item.get("set", {}).get("elem", [])
            for key, target in [_parse_open(element["elem"])]
        }
        return published | opened

    def _set_elements(self) -> Iterator[tuple[str, str, str]]:
        """Name of the set, the element as text, and the network it belongs to."""
        for name in _SETS:
            for item in self._nft.query(f"list set inet {self.table} {name}"):
                for element in item.get("set", {}).get("elem", []):
                    yield name, _element_text(element["elem"]["val"]), element["elem"].get("comment", "")


def _key(port: PublishedPort, address: IPv4Address | IPv6Address) -> _Key:
    if port.host_port == 0:
        return _Key(port.protocol, address, port.container_port, open=True)
    return _Key(port.protocol, port.host_ip, port.host_port)


def _place(key: _Key) -> tuple[str, str]:
    """Which map or set a published port is in, and what it matches there."""
    protocol, version = PROTOCOL_NUMBERS[key.protocol], key.host_ip.version
    if key.open:
        return f"open{version}", f"{key.host_ip} . {protocol} . {key.host_port}"
    if key.host_ip.is_unspecified:
        return f"published{version}_any", f"{protocol} . {key.host_port}"
    return f"published{version}", f"{protocol} . {key.host_ip} . {key.host_port}"


def _element(key: _Key, target: Target) -> tuple[str, str]:
    """Where a published port is, and what it is there."""
    name, match = _place(key)
    lead = "" if key.open else f" : {target.address} . {target.port}"
    return name, f'{match} comment "{target.endpoint_id}"{lead}'


def _parse_published(name: str, element: Any) -> tuple[_Key, Target]:
    match, (address, port) = element[0]["elem"], element[1]["concat"]
    protocol, *host, host_port = match["val"]["concat"]
    any_host = "::" if name.startswith("published6") else "0.0.0.0"  # noqa: S104
    key = _Key(_PROTOCOLS[int(protocol)], ip_address(host[0] if host else any_host), int(host_port))
    return key, Target(match.get("comment", ""), ip_address(address), int(port))


def _parse_open(element: Any) -> tuple[_Key, Target]:
    address, protocol, port = element["val"]["concat"]
    key = _Key(_PROTOCOLS[int(protocol)], ip_address(address), int(port), open=True)
    return key, Target(element.get("comment", ""), key.host_ip, key.host_port)


def _element_text(value: Any) -> str:
    """An element of a set, as libnftables-json(5) tells it, as nft takes it."""
    if isinstance(value, dict):
        if "concat" in value:
            return " . ".join(_element_text(part) for part in value["concat"])
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    try:
        return str(ip_address(value))
    except ValueError:
        return f'"{value}"'
