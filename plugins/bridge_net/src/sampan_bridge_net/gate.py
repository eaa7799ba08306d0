"""The gate: connections from outside to a published port pass the host's own firewall first.

If a packet is translated where other engines do it, before routing, it is forwarded and never filtered as one for the
host. So the first packet of a connection from outside is left untranslated: for the host, at the host's port. It
passes every firewall's input chain. If they accept it, it is sent unchanged through a veth pair, arrives a second
time, and is translated then. All further packets belong to a known connection and take the direct way.

The tables are of the families ip and ip6, as inet has no `dup`. Source: nft(8), DUP STATEMENT; Linux
net/ipv4/netfilter/nf_dup_ipv4.c.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from ipaddress import IPv4Interface
from pathlib import Path

from sampan.errdefs import SystemFailure, Unsupported
from sampan.syscalls import rtnetlink
from sampan.syscalls.nftables import Nft
from sampan_bridge_net import links
from sampan_bridge_net.elements import Change, bare
from sampan_bridge_net.tables import NFPROTO_IPV4, NFPROTO_IPV6, count_rules, has_table

_FAMILIES = {4: ("ip", NFPROTO_IPV4), 6: ("ip6", NFPROTO_IPV6)}
_ADDRESS_TYPES = {4: "ipv4_addr", 6: "ipv6_addr"}
_ONWARD = {4: "169.254.0.1", 6: links.ONWARD_V6}
"""Where the copies are sent: nobody has these addresses, and as the links don't use ARP, nobody is asked for them."""

_MAC = "02:73:70:67:00:01"
_ADDRESS = IPv4Interface("127.83.80.71/32")
"""A link without an address accepts no packets under the loose reverse path filter."""

_FIRST, _LAST = -1000, 1000  # before and after all firewalls, whose priorities are a few hundred at most
_LOOSE = "2"
_NO_ADDRESSES = "1"


class Gate:
    """The links and tables of one instance's gate. Produces text for nft transactions, which the caller runs."""

    def __init__(self, instance: str) -> None:
        self.table = f"sampan_{instance}_gate"
        alias = f"sampan {instance} gate"
        entry, self.exit = f"spga{instance}", f"spgb{instance}"
        self._links = links.Pair(entry, self.exit, alias, _MAC, _ADDRESS, mark=zlib.crc32(alias.encode()))

    def check(self) -> None:
        """Raise `Unsupported` if this kernel does not support it; changes nothing."""
        begin = "".join(f"add table {family} {self.table}_try\n" for family, _ in _FAMILIES.values())
        end = "".join(f"delete table {family} {self.table}_try\n" for family, _ in _FAMILIES.values())
        nft = Nft()
        try:
            nft.run(begin + self._text(f"{self.table}_try", "lo") + end)
        except SystemFailure as error:
            raise Unsupported(f"published ports can't be subjected to the host's firewall: {error}") from error
        finally:
            nft.close()

    def skeleton(self) -> str:
        """The tables with their rules. The rules of existing tables are replaced; the elements of their sets stay."""
        return self._text(self.table, self._links.entry)

    def change(self, verb: int, version: int, keys: Iterable[bytes], *, every: bool) -> Change:
        """Add or delete keys of published ports: those for `every` address of the host, or for one."""
        name = "any" if every else "one"
        return Change(verb, _FAMILIES[version][1], self.table, name, list(map(bare, keys)))

    def removal(self) -> str:
        """The commands that delete those of the tables that exist."""
        there = [family for family, number in _FAMILIES.values() if has_table(self.table, number)]
        return "".join(f"delete table {family} {self.table}\n" for family in there)

    def count_rules(self) -> int:
        """How many rules there are."""
        return sum(count_rules(self.table, number) for _, number in _FAMILIES.values())

    def put_links(self) -> None:
        """Create the pair of links, or restore what is missing."""
        links.put_pair(self._links, self._tune)

    def delete_links(self) -> None:
        """Delete the pair, if it exists."""
        if rtnetlink.index_of(self._links.entry) is not None:
            links.delete_pair(self._links)

    def _tune(self) -> None:
        for ifname in (self._links.entry, self.exit):
            rtnetlink.tune_ipv6(ifname, enabled=True)
            if (setting := rtnetlink.IPV6_CONF / ifname / "addr_gen_mode").exists():
                setting.write_text(_NO_ADDRESSES)
        Path("/proc/sys/net/ipv4/conf", self.exit, "rp_filter").write_text(_LOOSE)

    def _text(self, table: str, entry: str) -> str:
        gate = "".join(self._table_text(table, entry, version) for version in _FAMILIES)
        return gate + self._marking_text(table)

    def _table_text(self, table: str, entry: str, version: int) -> str:
        family = _FAMILIES[version][0]
        declared = f"""
table {family} {table} {{
  set any {{ type inet_proto . inet_service; }}
  set one {{ type inet_proto . {_ADDRESS_TYPES[version]} . inet_service; }}
  chain admit {{ }}
  chain input {{ type filter hook input priority {_LAST}; policy accept; }}
}}
flush chain {family} {table} admit
flush chain {family} {table} input
"""
        # A packet that came through the gate and is still for the host must not go through it again, in an endless
        # loop.
        rules = f"""
table {family} {table} {{
  chain admit {{
    dup to {_ONWARD[version]} device "{entry}"
    drop
  }}
  chain input {{
    iifname {{ "lo", "{self.exit}" }} return
    meta l4proto . th dport @any jump admit
    meta l4proto . {family} daddr . th dport @one jump admit
  }}
}}
"""
        return declared + rules

    def _marking_text(self, table: str) -> str:
        """Marks that let IPv6 packets pass a strict reverse path filter such as firewalld's.

        Such a filter checks `fib saddr . mark . iif`. The marks are removed before the packet is routed. (For IPv4,
        this is a setting of the link.)
        """
        return f"""
table ip6 {table} {{
  chain arrive {{ type filter hook prerouting priority {_FIRST}; policy accept; }}
  chain proceed {{ type filter hook prerouting priority {_LAST}; policy accept; }}
}}
flush chain ip6 {table} arrive
flush chain ip6 {table} proceed
table ip6 {table} {{
  chain arrive {{
    iifname "{self.exit}" meta mark set {self._links.mark}
  }}
  chain proceed {{
    iifname "{self.exit}" meta mark set 0
  }}
}}
"""
