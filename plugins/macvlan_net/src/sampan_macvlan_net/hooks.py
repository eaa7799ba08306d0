"""What this package offers: the network driver `macvlan`."""

from __future__ import annotations

from sampan.drivers import NetworkFactory, hookimpl


@hookimpl
def sampan_network_driver() -> tuple[str, NetworkFactory]:
    """The driver `macvlan`."""
    from sampan_macvlan_net.driver import MacvlanDriver  # noqa: PLC0415 - imported only if this driver is selected

    return "macvlan", MacvlanDriver
