"""Networks, and a container's place in them."""

from __future__ import annotations

from pydantic import Field

from sampan.models.base import Int64, Model, Request, omitempty


class PortBinding(Model):
    """Where on the host a port is published; an empty `host_port` lets the engine choose."""

    host_ip: str = Field("", alias="HostIp")
    host_port: str = ""


class EndpointIPAMConfig(Model):
    """Addresses asked for by the user."""

    ipv4_address: str = omitempty("")
    ipv6_address: str = omitempty("")
    link_local_ips: list[str] | None = omitempty()


class EndpointSettings(Model):
    """A container's attachment to one network: what was asked for, and what it got."""

    ipam_config: EndpointIPAMConfig | None = Field(None, alias="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: Int64 = 0
    network_id: str = ""
    endpoint_id: str = ""
    gateway: str = ""
    ip_address: str = ""
    ip_prefix_len: Int64 = 0
    ipv6_gateway: str = ""
    global_ipv6_address: str = ""
    global_ipv6_prefix_len: Int64 = 0
    dns_names: list[str] | None = Field(None, alias="DNSNames")


class NetworkingConfig(Model):
    """The networks of a container about to be created, by name or id."""

    endpoints_config: dict[str, EndpointSettings | None] | None = None


class IPAMConfig(Model):
    """One address pool of a network."""

    subnet: str = omitempty("")
    ip_range: str = omitempty("")
    gateway: str = omitempty("")
    auxiliary_addresses: dict[str, str] | None = omitempty()


class IPAM(Model):
    """How a network gives out addresses."""

    driver: str = ""
    options: dict[str, str] | None = None
    config: list[IPAMConfig] | None = None


class ConfigReference(Model):
    """The network whose configuration this one takes."""

    network: str = ""


class NetworkContainer(Model):
    """A container as its network sees it."""

    name: str = ""
    endpoint_id: str = ""
    mac_address: str = ""
    ipv4_address: str = ""
    ipv6_address: str = ""


class NetworkInspect(Model):
    """Everything that is known about a network."""

    name: str
    id: str
    created: str = ""
    scope: str = "local"
    driver: str = ""
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    ipam: IPAM = Field(default_factory=IPAM)
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_from: ConfigReference = Field(default_factory=ConfigReference)
    config_only: bool = False
    containers: dict[str, NetworkContainer] | None = Field(default_factory=dict)
    options: dict[str, str] | None = Field(default_factory=dict)
    labels: dict[str, str] | None = Field(default_factory=dict)


class CreateNetwork(Model):
    """network_create, as it comes in the body. A name is unique whatever `check_duplicate` says, as with Docker."""

    name: str = ""
    check_duplicate: bool = False
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None
    ipam: IPAM | None = None
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class NetworkCreated(Model):
    """The answer to network_create."""

    id: str
    warning: str = ""


class ConnectNetworkBody(Model):
    """What the body of a connect says."""

    container: str = ""
    endpoint_config: EndpointSettings | None = None


class DisconnectNetworkBody(Model):
    """What the body of a disconnect says."""

    container: str = ""
    force: bool = False


class ConnectNetwork(Request):
    """network_connect."""

    name: str
    container: str
    settings: EndpointSettings = Field(default_factory=EndpointSettings)


class DisconnectNetwork(Request):
    """network_disconnect; `force` also takes off what is left of a container that is gone."""

    name: str
    container: str
    force: bool = False


class RemoveNetwork(Request):
    """network_remove."""

    name: str


class ListNetworks(Request):
    """network_list."""

    filters: dict[str, list[str]] = Field(default_factory=dict)


class InspectNetwork(Request):
    """network_inspect."""

    name: str
    verbose: bool = False
    scope: str = ""
