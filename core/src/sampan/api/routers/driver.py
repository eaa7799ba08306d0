"""Drivers and plugins, and the packages that provide them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from sampan.api.describe import answers, lists, returns
from sampan.api.params import Filters, Run, read_filters
from sampan.models import DriverInfo, InspectPlugin, ListDrivers, ListPlugins, Plugin

router = APIRouter()


@router.get(
    "/drivers",
    tags=["Driver"],
    summary="List drivers",
    operation_id="DriverList",
    response_class=Response,
    responses=lists(DriverInfo) | answers(),
)
async def list_drivers(run: Run) -> Response:
    """The installed drivers with their packages, and what is wrong with those that were left out."""
    return await run.result("driver_list", ListDrivers())


@router.get(
    "/plugins",
    tags=["Plugin"],
    summary="List plugins",
    operation_id="PluginList",
    response_class=Response,
    responses=lists(Plugin) | answers(),
)
async def list_plugins(run: Run, filters: Filters = "") -> Response:
    """The packages that provide drivers, as `docker plugin ls` shows them."""
    return await run.result("plugin_list", ListPlugins(filters=read_filters(filters)))


@router.get(
    "/plugins/{name}/json",
    tags=["Plugin"],
    summary="Inspect a plugin",
    operation_id="PluginInspect",
    response_class=Response,
    responses=returns(Plugin) | answers(404),
)
async def inspect_plugin(name: str, run: Run) -> Response:
    """One package that provides drivers."""
    return await run.result("plugin_inspect", InspectPlugin(name=name))
