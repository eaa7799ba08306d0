"""Networks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from sampan.api.body import body_schema, json_body
from sampan.api.describe import answers, lists, returns
from sampan.api.params import Filters, Flag, Name, Run, read_filters
from sampan.models import (
    ConnectNetwork,
    ConnectNetworkBody,
    CreateNetwork,
    DisconnectNetwork,
    DisconnectNetworkBody,
    EndpointSettings,
    ExposedPort,
    InspectNetwork,
    ListExposedPorts,
    ListNetworks,
    NetworkCreated,
    NetworkInspect,
    NetworksPruned,
    PruneNetworks,
    RemoveNetwork,
)

router = APIRouter(tags=["Network"])


@router.get(
    "/networks",
    summary="List networks",
    operation_id="NetworkList",
    response_class=Response,
    responses=lists(NetworkInspect) | answers(),
)
async def list_networks(run: Run, filters: Filters = "") -> Response:
    """The networks of this engine, without their containers."""
    return await run.result("network_list", ListNetworks(filters=read_filters(filters)))


@router.post(
    "/networks/create",
    summary="Create a network",
    operation_id="NetworkCreate",
    status_code=201,
    response_class=Response,
    responses=returns(NetworkCreated, 201) | answers(403, 404, 409, 501),
    openapi_extra=body_schema(CreateNetwork, required=True),
)
async def create_network(
    run: Run, body: Annotated[CreateNetwork, Depends(json_body(CreateNetwork, required=True))]
) -> Response:
    """Create a network. Unless pools are given, it gets subnets that don't conflict with anything on the host."""
    return await run.result("network_create", body, 201)


@router.post(
    "/networks/prune",
    summary="Remove unused networks",
    operation_id="NetworkPrune",
    response_class=Response,
    responses=returns(NetworksPruned) | answers(409),
)
async def prune_networks(run: Run, filters: Filters = "") -> Response:
    """Remove the networks that no running container is connected to."""
    return await run.result("network_prune", PruneNetworks(filters=read_filters(filters)))


@router.post(
    "/networks/{name:path}/connect",
    summary="Connect a container to a network",
    operation_id="NetworkConnect",
    response_class=Response,
    responses=answers(403, 404, 409, 501),
    openapi_extra=body_schema(ConnectNetworkBody, required=True),
)
async def connect_network(
    run: Run, name: Name, body: Annotated[ConnectNetworkBody, Depends(json_body(ConnectNetworkBody, required=True))]
) -> Response:
    """Connect a container to a network: at once if it is running, otherwise when it starts."""
    settings = body.endpoint_config or EndpointSettings()
    return await run.result("network_connect", ConnectNetwork(name=name, container=body.container, settings=settings))


@router.post(
    "/networks/{name:path}/disconnect",
    summary="Disconnect a container from a network",
    operation_id="NetworkDisconnect",
    response_class=Response,
    responses=answers(403, 404, 409),
    openapi_extra=body_schema(DisconnectNetworkBody, required=True),
)
async def disconnect_network(
    run: Run,
    name: Name,
    body: Annotated[DisconnectNetworkBody, Depends(json_body(DisconnectNetworkBody, required=True))],
) -> Response:
    """Disconnect a container from a network."""
    request = DisconnectNetwork(name=name, container=body.container, force=body.force)
    return await run.result("network_disconnect", request)


@router.delete(
    "/networks/{name:path}",
    summary="Remove a network",
    operation_id="NetworkDelete",
    status_code=204,
    responses=answers(403, 404),
)
async def remove_network(run: Run, name: Name) -> Response:
    """Remove a network that no running container is connected to."""
    return await run.result("network_remove", RemoveNetwork(name=name), 204)


@router.get(
    "/networks/{name:path}",
    summary="Inspect a network",
    operation_id="NetworkInspect",
    response_class=Response,
    responses=returns(NetworkInspect) | answers(404),
)
async def inspect_network(run: Run, name: Name, verbose: Flag = False, scope: str = "") -> Response:
    """One network, with the containers that are connected to it."""
    return await run.result("network_inspect", InspectNetwork(name=name, verbose=verbose, scope=scope))


@router.get(
    "/ports",
    summary="List exposed ports",
    operation_id="PortList",
    response_class=Response,
    responses=lists(ExposedPort) | answers(),
)
async def list_exposed_ports(run: Run) -> Response:
    """What can be reached from outside in the running containers, by whom, and through which interfaces."""
    return await run.result("port_list", ListExposedPorts())
