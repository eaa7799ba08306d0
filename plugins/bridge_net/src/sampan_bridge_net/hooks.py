"""What this package offers: the network driver `bridge`."""

from __future__ import annotations

from sampan.drivers import NetworkFactory, hookimpl


@hookimpl
def sampan_network_driver() -> tuple[str, NetworkFactory]:
    """The driver `bridge`."""
    from sampan_bridge_net.driver import BridgeDriver  # noqa: PLC0415 - imported only if this driver is selected

    return "bridge_net", BridgeDriver
