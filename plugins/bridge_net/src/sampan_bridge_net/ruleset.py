"""The rules of an instance's nftables table, whose number does not depend on the number of networks and ports."""

from __future__ import annotations

_OTHER_ENGINES = ("spn-*", "docker*", "br-*", "podman*", "cni*", "virbr*", "lxcbr*", "lxdbr*", "incusbr*")
"""Bridges of programs that forward as we do and filter their own traffic, starting with other sampan daemons."""

_ICMP, _ICMP6 = 1, 58
"""By number: names are looked up in /etc/protocols, which is missing in most images that an engine may run in."""

CHAINS = {
    # Priorities are numbers (raw, dstnat, filter, srcnat), as old versions of nft know these names only in some
    # hooks.
    "arrive": "type filter hook prerouting priority -300; policy accept;",
    "translate": "",
    "prerouting": "type nat hook prerouting priority -100; policy accept;",
    "output": "type nat hook output priority -100; policy accept;",
    "forward": "type filter hook forward priority 0; policy accept;",
    "postrouting": "type nat hook postrouting priority 100; policy accept;",
}


def skeleton(table: str, closed: frozenset[int], gate: str | None) -> str:
    """The table with its sets, maps and rules. In the same transaction, existing rules are replaced.

    With a `gate`, traffic from outside to published ports is translated only if it arrives at this link.
    """
    flushed = "".join(f"flush chain inet {table} {name}\n" for name in CHAINS)
    return _declarations(table) + flushed + _rules(table, closed, gate)


def _declarations(table: str) -> str:
    chains = "".join(f"  chain {name} {{ {base} }}\n" for name, base in CHAINS.items())
    return f"""
table inet {table} {{
  map published4 {{ type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }}
  map published4_any {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map published6 {{ type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; }}
  map published6_any {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
  set open4 {{ type ipv4_addr . inet_proto . inet_service; }}
  set open6 {{ type ipv6_addr . inet_proto . inet_service; }}
  set routed4 {{ type ifname; }}
  set routed6 {{ type ifname; }}
  set unprotected4 {{ type ifname; }}
  set unprotected6 {{ type ifname; }}
  set known4 {{ type ifname; }}
  set known6 {{ type ifname; }}
  set bridges {{ type ifname; }}
  set internal {{ type ifname; }}
  set talking {{ type ifname . ifname; }}
  set subnets4 {{ type ipv4_addr; flags interval; }}
  set subnets6 {{ type ipv6_addr; flags interval; }}
  set masquerade4 {{ type ipv4_addr; flags interval; }}
  set masquerade6 {{ type ipv6_addr; flags interval; }}
{chains}}}
"""


def _rules(table: str, closed: frozenset[int], gate: str | None) -> str:
    by_gate = f'    iifname != @bridges iifname != "{gate}" return\n' if gate else ""
    rest = ""
    if closed:
        both = [f'    {side} "{name}" accept\n' for name in _OTHER_ENGINES for side in ("iifname", "oifname")]
        rest = "".join(both) + "".join(f"    meta nfproto ipv{version} drop\n" for version in sorted(closed))
    return f"""
table inet {table} {{
  # Loopback addresses never come over a wire. Bridges route them (route_localnet), so that the host reaches published
  # ports at 127.0.0.1; without these rules its neighbours and containers could reach what listens there. Nor does a
  # container send under addresses that are not on its network, but for link-local ones to its neighbours (these come
  # here only with br_netfilter, and are not forwarded).
  chain arrive {{
    iifname != "lo" ip daddr 127.0.0.0/8 drop
    iifname @bridges ip saddr 127.0.0.0/8 drop
    iifname @known4 ip saddr 169.254.0.0/16 ip daddr 169.254.0.0/16 fib daddr type unicast return
    iifname @known4 fib saddr . iif oif missing ip saddr != 0.0.0.0 drop
    iifname @known6 fib saddr . iif oif missing ip6 saddr != {{ ::, fe80::/10 }} drop
  }}
  chain translate {{
    dnat ip to meta l4proto . ip daddr . th dport map @published4
    dnat ip to meta l4proto . th dport map @published4_any
    dnat ip6 to meta l4proto . ip6 daddr . th dport map @published6
    dnat ip6 to meta l4proto . th dport map @published6_any
  }}
  chain prerouting {{
{by_gate}    fib daddr type local jump translate
  }}
  chain output {{
    ip6 daddr ::1 return
    fib daddr type local jump translate
  }}
  # Into a network come answers and what was published; between two networks goes nothing.
  chain forward {{
    iifname . oifname @talking accept
    iifname @bridges ip saddr 169.254.0.0/16 drop
    iifname @internal drop
    oifname @internal drop
    oifname @bridges ct state established,related accept
    oifname @bridges ct status dnat accept
    ip daddr . meta l4proto . th dport @open4 accept
    ip6 daddr . meta l4proto . th dport @open6 accept
    oifname @routed4 meta l4proto {_ICMP} accept
    oifname @routed6 meta l4proto {_ICMP6} accept
    oifname @unprotected4 meta nfproto ipv4 iifname != @bridges accept
    oifname @unprotected6 meta nfproto ipv6 iifname != @bridges accept
    oifname @bridges drop
    iifname @bridges accept
{rest}  }}
  # The host's loopback, and containers that use a published port of the host's, must be answered by way of the host.
  chain postrouting {{
    oifname @bridges ip saddr 127.0.0.0/8 masquerade
    oifname @bridges ct status dnat ip saddr @subnets4 masquerade
    oifname @bridges ct status dnat ip6 saddr @subnets6 masquerade
    ip saddr @subnets4 ip daddr @subnets4 return
    ip6 saddr @subnets6 ip6 daddr @subnets6 return
    ip saddr @masquerade4 oifname != "lo" masquerade
    ip6 saddr @masquerade6 oifname != "lo" masquerade
  }}
}}
"""
