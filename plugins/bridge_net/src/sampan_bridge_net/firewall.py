"""This instance's nftables table: address translation, published ports, and who may talk to whom.

The number of rules does not depend on the number of networks and ports: the rules look things up in sets and maps, in
which each network and each published port is an element. An element's comment says what it belongs to.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from sampan.drivers import PublishedPort
from sampan.errdefs import Conflict, SystemFailure
from sampan.syscalls.nftables import Nft, load
from sampan_bridge_net.elements import ADD, DELETE, Change, ElementSocket, bare
from sampan_bridge_net.gate import Gate
from sampan_bridge_net.published import MAPS, OPEN, Place, Published, elements_of, read_map, read_set, told
from sampan_bridge_net.ruleset import skeleton
from sampan_bridge_net.tables import NFPROTO_INET, count_rules, has_table

_SETS = (
    *("bridges", "internal", "talking", "subnets4", "subnets6", "masquerade4", "masquerade6"),
    *("routed4", "routed6", "unprotected4", "unprotected6", "known4", "known6"),
)


@dataclass(frozen=True)
class Zone:
    """One network as the firewall sees it.

    The sets contain IP versions. With these versions, containers leave with one of the host's addresses
    (`masquerade`), can be reached at their own addresses (`routed`), or there at all ports (`unprotected`), and the
    host has an address on the bridge, so it knows which addresses belong there (`known`).
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


class Firewall:
    """The table of one instance and, if `gated`, the gate in front of its published ports."""

    def __init__(self, instance: str, gate: Gate) -> None:
        self.table = f"sampan_{instance}"
        self.gated = False
        self._gate = gate
        self._nft = Nft()
        self._elements = ElementSocket()
        self._lock = threading.Lock()
        self._published: Published | None = None
        self._rules = 0

    def check(self) -> None:
        """Raise `Unsupported` or `SystemFailure` if this host has no nftables."""
        load()
        has_table(self.table)

    def put(self, zone: Zone, *, closed: Iterable[int]) -> None:
        """Create the table, or restore what is missing of it, with this network in it.

        `closed` are the IP versions for which only containers' traffic may be forwarded.
        """
        with self._lock:
            known, whole = self._known().elements, self._is_whole()
            rules = skeleton(self.table, frozenset(closed), self._gate.exit if self.gated else None)
            gate = self._gate.skeleton() if self.gated else self._gate.removal()
            self._nft.run(rules + self._elements_of(zone) + gate)
            if not whole:  # restore the elements that another program flushed together with the table
                missing = known.items() - self._read().elements.items()
                self._change(self._add(dict(missing)) + self._let_in(ADD, known))
            self._rules = self._count_rules()

    def drop(self, network_id: str) -> bool:
        """Remove a network, and the table together with the last one. Returns whether the table is gone."""
        with self._lock:
            if not has_table(self.table):
                return True
            held = list(self._set_elements())
            commands = self._commands("delete", ((name, text) for name, text, owner in held if owner == network_id))
            if is_last := all(owner == network_id for _, _, owner in held):
                commands = f"delete table inet {self.table}\n{self._gate.removal()}"
                self._published = Published()
                self._rules = 0
            self._nft.run(commands)
            return is_last

    def publish(
        self,
        endpoint_id: str,
        ports: Iterable[PublishedPort],
        addresses: Mapping[int, IPv4Address | IPv6Address],
    ) -> Iterable[Place]:
        """Map ports to an endpoint with these addresses (by IP version), all or none; returns the places taken.

        Host port 0 means none: the container's own port is opened. Raises `Conflict` if another endpoint has one of
        the ports.
        """
        wanted = elements_of(endpoint_id, ports, addresses)
        with self._lock:
            known = self._known()
            for place, element in wanted.items():
                if known.elements.get(place, element) != element:
                    raise Conflict(f"Bind for {told(place)} failed: port is already allocated")
            self._change(self._add(wanted) + self._let_in(ADD, wanted))
            known.add(endpoint_id, wanted)
        return wanted

    def unpublish(self, endpoint_id: str) -> Iterable[Place]:
        """Remove all mappings to this endpoint; returns the places that they had."""
        with self._lock:
            known = self._known()
            leaving = known.of(endpoint_id)
            if leaving:
                self._take_out(leaving)
            known.drop(endpoint_id)
        return leaving

    def _take_out(self, leaving: Mapping[Place, bytes]) -> None:
        there, gate = self._remove(leaving), self._let_in(DELETE, leaving)
        # Deleting a missing element fails the whole batch, adding an existing one does not. The gate alone may be
        # gone.
        anew = self._add(leaving)
        for changes in (there + gate, anew + self._let_in(ADD, leaving) + there + gate, anew + there):
            try:
                self._change(changes)
                return
            except SystemFailure as error:
                failure = error
            if not has_table(self.table):  # another program has deleted it, so nothing is left to do
                return
        raise failure

    def _change(self, changes: Iterable[Change]) -> None:
        try:
            self._elements.apply(changes)
        except OSError as error:
            raise SystemFailure(f"nftables: the table {self.table} can't be changed: {error.strerror}") from error

    def is_whole(self) -> bool:
        """Whether all rules are there, as they were when this object last made them."""
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

    def _add(self, elements: Mapping[Place, bytes]) -> list[Change]:
        return [self._on(ADD, *one) for one in _by_name((name, element) for (name, _), element in elements.items())]

    def _remove(self, places: Iterable[Place]) -> list[Change]:
        return [self._on(DELETE, name, list(map(bare, keys))) for name, keys in _by_name(places)]

    def _on(self, verb: int, name: str, elements: Sequence[bytes]) -> Change:
        return Change(verb, NFPROTO_INET, self.table, name, elements)

    def _let_in(self, verb: int, places: Iterable[Place]) -> list[Change]:
        """What the gate lets in, or no longer lets in. Ports at containers' own addresses are not the host's."""
        if not self.gated:
            return []
        return [
            self._gate.change(verb, MAPS[name], keys, every=name.endswith("_any"))
            for name, keys in _by_name(places)
            if name in MAPS
        ]

    def _commands(self, verb: str, elements: Iterable[tuple[str, str]]) -> str:
        """One command for each set and map: with one for each element, nft takes three times as long."""
        texts: dict[str, list[str]] = {}
        for name, text in elements:
            texts.setdefault(name, []).append(text)
        return "".join(
            f"{verb} element inet {self.table} {name} {{ {', '.join(found)} }}\n" for name, found in texts.items()
        )

    # --- what the kernel has

    def _known(self) -> Published:
        if self._published is None:
            self._published = self._read() if has_table(self.table) else Published()
        return self._published

    def _read(self) -> Published:
        published = Published()
        for kind, names, read in (("map", MAPS, read_map), ("set", OPEN, read_set)):
            for name in names:
                for item in self._nft.query(f"list {kind} inet {self.table} {name}"):
                    for endpoint_id, place, rest in read(name, item.get(kind, {}).get("elem", ())):
                        published.add(endpoint_id, {place: rest})
        return published

    def _set_elements(self) -> Iterator[tuple[str, str, str]]:
        """For each element: the name of its set, its text, and the ID of the network it belongs to."""
        for name in _SETS:
            for item in self._nft.query(f"list set inet {self.table} {name}"):
                for element in item.get("set", {}).get("elem", []):
                    yield name, _element_text(element["elem"]["val"]), element["elem"].get("comment", "")


def _by_name(items: Iterable[tuple[str, bytes]]) -> Iterable[tuple[str, list[bytes]]]:
    """Group items by map or set, because the kernel handles many elements of one in a single request."""
    found: dict[str, list[bytes]] = {}
    for name, item in items:
        found.setdefault(name, []).append(item)
    return found.items()


def _element_text(value: Any) -> str:
    """Convert an element of a set from the form of libnftables-json(5) to nft's syntax."""
    if isinstance(value, dict):
        if "concat" in value:
            return " . ".join(_element_text(part) for part in value["concat"])
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    try:
        return str(ip_address(value))
    except ValueError:
        return f'"{value}"'
