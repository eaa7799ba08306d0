"""`sampan network create`."""

from __future__ import annotations

from sampan.cli.command import LIST, SWITCH, Command, Flag, Options
from sampan.cli.create.environment import as_map
from sampan.cli.create.ipam import ipam
from sampan.cli.create.kinds import LABEL
from sampan.cli.session import Session


def create(session: Session, options: Options) -> None:
    """Create a network and print its id."""
    body = {
        "Name": options.args[0],
        "Driver": options.text("driver"),
        "Options": as_map(options.texts("opt")),
        "IPAM": ipam(options),
        "Internal": options.on("internal"),
        "Attachable": options.on("attachable"),
        "Ingress": options.on("ingress"),
        "Scope": options.text("scope"),
        "ConfigOnly": options.on("config-only"),
        "Labels": as_map(options.texts("label")),
        **{name: options.on(flag) for flag, name in _FAMILIES.items() if options.changed(flag)},
    }
    if options.text("config-from"):
        body["ConfigFrom"] = {"Network": options.text("config-from")}
    session.say(session.client.call("POST", "/networks/create", body=body)["Id"])


_FAMILIES = {"ipv4": "EnableIPv4", "ipv6": "EnableIPv6"}

CREATE = Command(
    "create [OPTIONS] NETWORK",
    "Create a network",
    create,
    (
        Flag("attachable", "Enable manual container attachment", SWITCH),
        Flag("aux-address", "Addresses that no container gets, each with a name", LIST),
        Flag("config-from", "The network from which to copy the configuration"),
        Flag("config-only", "Create a configuration only network", SWITCH),
        Flag("driver", "Driver to manage the network", short="d", default="bridge"),
        Flag("gateway", "IPv4 or IPv6 gateway for the subnet", LIST),
        Flag("ingress", "Create swarm routing-mesh network", SWITCH),
        Flag("internal", "Restrict external access to the network", SWITCH),
        Flag("ip-range", "Allocate container addresses from a sub-range", LIST),
        Flag("ipam-driver", "IP address management driver", default="default"),
        Flag("ipam-opt", "Set IPAM driver specific options", LIST),
        Flag("ipv4", "Enable or disable IPv4 address assignment", SWITCH, default=True),
        Flag("ipv6", "Enable or disable IPv6 address assignment", SWITCH),
        Flag("label", "Set metadata on a network", LABEL),
        Flag("opt", "Set driver specific options", LIST, "o"),
        Flag("scope", "Control the network's scope"),
        Flag("subnet", "Subnet in CIDR format that represents a network segment", LIST),
    ),
    least=1,
    most=1,
)
