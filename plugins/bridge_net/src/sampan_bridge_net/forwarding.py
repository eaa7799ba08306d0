"""Turning on the kernel's forwarding, without making the host a router for everybody.

As with Docker: who turns it on also sees to it that only containers' traffic is forwarded. Who finds it on leaves
the rest to the administrator. Which of the two it was is noted for the time until the next boot.
"""

from __future__ import annotations

from pathlib import Path

SWITCHES = {4: Path("/proc/sys/net/ipv4/ip_forward"), 6: Path("/proc/sys/net/ipv6/conf/all/forwarding")}
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Forwarding:
    """The host's forwarding of IPv4 and IPv6, and whether it was this driver that turned it on."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def enable(self, version: int) -> None:
        """Turn forwarding of this IP version on, if it is off."""
        switch = SWITCHES[version]
        if switch.read_text().strip() != "0":
            return
        self._note(version).write_text(BOOT_ID.read_text())
        if version == 6:
            _keep_router_advertisements()
        switch.write_text("1")

    def is_ours(self, version: int) -> bool:
        """Whether it was off since the last boot until this driver turned it on."""
        try:
            return self._note(version).read_text() == BOOT_ID.read_text()
        except FileNotFoundError:
            return False

    def _note(self, version: int) -> Path:
        return self._state_dir / f"forwarding-{version}"


def _keep_router_advertisements() -> None:
    """A host that learns its routes from router advertisements goes on to; else it would lose them as it forwards.

    1 is `unless forwarding`, 2 `even if forwarding` (kernel Documentation/networking/ip-sysctl.rst, accept_ra).
    """
    for setting in Path("/proc/sys/net/ipv6/conf").glob("*/accept_ra"):
        if setting.read_text().strip() == "1":
            setting.write_text("2")
