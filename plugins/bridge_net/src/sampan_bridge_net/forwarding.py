"""Enables the kernel's IP forwarding without turning the host into a router for everybody.

As in Docker: if the driver enables it, it also makes sure that only containers' traffic is forwarded; if it was
enabled already, the rest is up to the administrator. Which of the two it was is recorded until the next boot.
"""

from __future__ import annotations

from pathlib import Path

SWITCHES = {4: Path("/proc/sys/net/ipv4/ip_forward"), 6: Path("/proc/sys/net/ipv6/conf/all/forwarding")}
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Forwarding:
    """The host's forwarding of IPv4 and IPv6, and whether this driver enabled it."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def enable(self, version: int) -> None:
        """Enable forwarding of this IP version, if it is disabled."""
        switch = SWITCHES[version]
        if switch.read_text().strip() != "0":
            return
        self._note(version).write_text(BOOT_ID.read_text())
        if version == 6:
            _keep_router_advertisements()
        switch.write_text("1")

    def is_ours(self, version: int) -> bool:
        """Whether it was this driver that enabled it after the last boot."""
        try:
            return self._note(version).read_text() == BOOT_ID.read_text()
        except FileNotFoundError:
            return False

    def _note(self, version: int) -> Path:
        return self._state_dir / f"forwarding-{version}"


def _keep_router_advertisements() -> None:
    """Keep accepting router advertisements on interfaces that do, since forwarding would make them lose their routes.

    1 means `unless forwarding`, 2 `even if forwarding` (kernel Documentation/networking/ip-sysctl.rst, accept_ra).
    """
    for setting in Path("/proc/sys/net/ipv6/conf").glob("*/accept_ra"):
        if setting.read_text().strip() == "1":
            setting.write_text("2")
