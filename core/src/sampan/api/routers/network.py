"""Networks."""

from __future__ import annotations

from fastapi import APIRouter, Response

from sampan.api.describe import answers, lists, returns
from sampan.api.params import Filters, Flag, Name, Run, read_filters
from sampan.models import InspectNetwork, ListNetworks, NetworkInspect, NetworksPruned, PruneNetworks

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
    "/networks/prune",
    summary="Remove unused networks",
    operation_id="NetworkPrune",
    response_class=Response,
    responses=returns(NetworksPruned) | answers(409),
)
async def prune_networks(run: Run, filters: Filters = "") -> Response:
    """Remove the networks that no container is on; the predefined ones stay."""
    return await run.result("network_prune", PruneNetworks(filters=read_filters(filters)))


@router.get(
    "/networks/{name:path}",
    summary="Inspect a network",
    operation_id="NetworkInspect",
    response_class=Response,
    responses=returns(NetworkInspect) | answers(404),
)
async def inspect_network(run: Run, name: Name, verbose: Flag = False, scope: str = "") -> Response:
    """One network, with the containers attached to it."""
    return await run.result("network_inspect", InspectNetwork(name=name, verbose=verbose, scope=scope))
