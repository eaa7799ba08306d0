"""Optional kernel features that network tests need: each is probed, and the test is skipped without it.

Probes run in the caller's network namespace and change nothing there.
"""

from __future__ import annotations

import subprocess

import pytest

from sampan.syscalls.netns import in_own_thread

COPY = "table {family} try {{ chain copies {{ dup to {address} device lo; }}; }}"
LOOK_UP = """
table inet try {
  chain arrive {
    type filter hook prerouting priority 0;
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
  }
}
"""
UFW_RULES = """
for command in iptables ip6tables; do
    $command -A INPUT -j LOG
    $command -A INPUT -m recent --set
    $command -A INPUT -j REJECT
done
ip6tables -A INPUT -p icmpv6 -m hl --hl-eq 255
ip6tables -A INPUT -m rt --rt-type 0
"""


def need_packet_copies() -> None:
    """Needed by the gate in front of published ports."""
    for family, address in (("ip", "192.0.2.1"), ("ip6", "2001:db8::1")):
        if problem := _refusal("nft", "--check", COPY.format(family=family, address=address)):
            pytest.skip(f"this kernel's nftables can't copy packets (dup, family {family}): {problem}")


def need_route_lookups() -> None:
    """Needed for a reverse path filter made of nftables rules."""
    if problem := _refusal("nft", "--check", LOOK_UP):
        pytest.skip(f"this kernel's nftables can't look up routes (fib): {problem}")


def need_ipv6_rules() -> None:
    """Needed for packets that the gate sends past an IPv6 reverse path filter."""
    if not subprocess.run(["ip", "-6", "rule"], capture_output=True, check=False).stdout:
        pytest.skip("this kernel has no policy routing for IPv6: it names no rules, not even that of local addresses")


def need_flow_table() -> None:
    """Needed to delete UDP flows from connection tracking."""
    if problem := in_own_thread(_flows_refusal):
        pytest.skip(f"this kernel does not give access to its connection tracking: {problem}")


def need_ufw_matches() -> None:
    """Needed for ufw's default rules; probed in a separate network namespace."""
    if problem := _refusal("unshare", "--net", "sh", "-e", "-c", UFW_RULES):
        pytest.skip(f"this kernel has not all that ufw's rules match: {problem}")


def _refusal(*command: str) -> str:
    """The first line of a command's stderr; empty if it succeeded."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return next(iter(done.stderr.splitlines()), f"{command[0]} ended with {done.returncode}")


def _flows_refusal() -> str:
    from pyroute2 import Conntrack, NetlinkError  # noqa: PLC0415 - slow to import

    with Conntrack() as conntrack:
        try:
            list(conntrack.dump_entries())
        except NetlinkError as error:
            return str(error)
    return ""
