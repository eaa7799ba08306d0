"""How container create requests from older API versions are interpreted."""

from typing import Any

import pytest

from sampan.api.adapt import adapt_create
from sampan.errdefs import InvalidArgument
from sampan.models import CreateContainerBody, PortBinding


def body(**host: Any) -> CreateContainerBody:
    return CreateContainerBody.model_validate({"Image": "busybox", "HostConfig": host})


@pytest.mark.parametrize(("version", "mode"), [((1, 39), "shareable"), ((1, 40), "")])
def test_ipc_was_shareable_before_1_40(version: tuple[int, int], mode: str) -> None:
    request = body()
    adapt_create(request, version)
    assert request.host_config.ipc_mode == mode


def test_an_ipc_mode_that_is_asked_for_stays() -> None:
    request = body(IpcMode="private")
    adapt_create(request, (1, 24))
    assert request.host_config.ipc_mode == "private"


def test_options_of_binds_that_came_later_are_ignored() -> None:
    options = {"NonRecursive": True, "CreateMountpoint": True}
    for version, kept in (((1, 39), (False, False)), ((1, 41), (True, False)), ((1, 42), (True, True))):
        request = body(Mounts=[{"Type": "bind", "BindOptions": options}])
        adapt_create(request, version)
        [mount] = request.host_config.mounts or []
        assert mount.bind_options
        assert (mount.bind_options.non_recursive, mount.bind_options.create_mountpoint) == kept


@pytest.mark.parametrize(
    ("version", "mount", "message"),
    [
        (
            (1, 43),
            {"Type": "bind", "BindOptions": {"ReadOnlyForceRecursive": True}},
            "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
        ),
        (
            (1, 44),
            {"Type": "volume", "VolumeOptions": {"Subpath": "a"}},
            "VolumeOptions.Subpath needs API v1.45 or newer",
        ),
        ((1, 47), {"Type": "image"}, 'Mount type "Image" needs API v1.48 or newer'),
    ],
)
def test_what_an_old_client_can_not_mean_is_refused(
    version: tuple[int, int], mount: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        adapt_create(body(Mounts=[mount]), version)
    adapt_create(body(Mounts=[mount]), (version[0], version[1] + 1))


def test_endpoints_had_no_mac_address_before_1_44_and_no_priority_before_1_48() -> None:
    endpoint = {"MacAddress": "02:42:ac:11:00:02", "GwPriority": 5}
    for version, kept in (
        ((1, 43), ("", 0)),
        ((1, 44), (endpoint["MacAddress"], 0)),
        ((1, 48), (endpoint["MacAddress"], 5)),
    ):
        request = CreateContainerBody.model_validate(
            {"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"bridge": endpoint, "none": None}}}
        )
        if version < (1, 44):
            del (request.networking_config.endpoints_config or {})["none"]
        adapt_create(request, version)
        settings = (request.networking_config.endpoints_config or {})["bridge"]
        assert settings
        assert (settings.mac_address, settings.gw_priority) == kept


def test_the_containers_own_mac_address_is_deprecated_since_1_44_and_refused_since_1_52() -> None:
    request = CreateContainerBody.model_validate({"Image": "busybox", "MacAddress": "02:42:ac:11:00:02"})
    assert adapt_create(request, (1, 43)) == []
    assert "deprecated" in adapt_create(request, (1, 44))[0]
    with pytest.raises(InvalidArgument, match="container-wide MAC address no longer supported"):
        adapt_create(request, (1, 52))


@pytest.mark.parametrize("bindings", [None, []])
def test_a_port_without_bindings_is_published_on_any_port(bindings: list[Any] | None) -> None:
    for version, warned in (((1, 51), False), ((1, 52), True)):
        request = body(PortBindings={"80/tcp": bindings, "81/tcp": [{"HostPort": "8081"}]})
        warnings = adapt_create(request, version)
        assert request.host_config.port_bindings == {
            "80/tcp": [PortBinding()],
            "81/tcp": [PortBinding(host_port="8081")],
        }
        assert [text.partition(". ")[0] for text in warnings] == [
            "Following container port(s) have an empty list of port-bindings: 80/tcp"
        ] * warned


MAC = "92:d0:c6:0a:29:33"


def asked(mode: str = "", endpoints: dict[str, Any] | None = None, **fields: Any) -> CreateContainerBody:
    host = {"NetworkMode": mode, **fields.pop("HostConfig", {})}
    networking = {"EndpointsConfig": endpoints}
    return CreateContainerBody.model_validate(
        {"Image": "busybox", "HostConfig": host, "NetworkingConfig": networking, **fields}
    )


@pytest.mark.parametrize(("mode", "name"), [("", "default"), ("bridge", "bridge"), ("mine", "mine")])
def test_the_containers_mac_address_is_its_endpoints(mode: str, name: str) -> None:
    for version, warnings in (((1, 43), 0), ((1, 44), 1), ((1, 51), 1)):
        request = asked(mode, MacAddress=MAC)
        assert len(adapt_create(request, version)) == warnings
        endpoint = (request.networking_config.endpoints_config or {})[name]
        assert endpoint and endpoint.mac_address == MAC


def test_a_mac_address_needs_an_interface_of_its_own() -> None:
    with pytest.raises(InvalidArgument, match="conflicting options: mac-address and the network mode"):
        adapt_create(asked("host", MacAddress=MAC), (1, 43))
    with pytest.raises(InvalidArgument, match="must match the endpoint-specific MAC address"):
        adapt_create(asked("mine", {"mine": {"MacAddress": "02:00:00:00:00:01"}}, MacAddress=MAC), (1, 44))


def test_an_interfaces_sysctl_moves_to_its_endpoint_until_1_47() -> None:
    sysctls = {"net.ipv4.conf.eth0.forwarding": "1", "net.core.somaxconn": "5"}
    request = asked("mine", HostConfig={"Sysctls": sysctls})
    [warning] = adapt_create(request, (1, 47))
    assert warning.startswith('Migrated sysctl "net.ipv4.conf.eth0.forwarding" to DriverOpts{')
    assert request.host_config.sysctls == {"net.core.somaxconn": "5"}
    endpoint = (request.networking_config.endpoints_config or {})["mine"]
    assert endpoint and endpoint.driver_opts == {
        "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.forwarding=1"
    }
    with pytest.raises(InvalidArgument, match="must be supplied using driver option"):
        adapt_create(asked("mine", HostConfig={"Sysctls": sysctls}), (1, 48))
    with pytest.raises(InvalidArgument, match="unable to determine network endpoint for sysctl"):
        adapt_create(asked("mine", HostConfig={"Sysctls": {"net.ipv4.conf.eth1.forwarding": "1"}}), (1, 47))
