"""The hooks that a plugin may implement. A hook only registers; after that there are only ordinary typed calls.

A plugin is a package with an entry point of group `sampan` naming a module that implements some of these:

    [project.entry-points.sampan]
    zfs = "sampan_zfs.hooks"

    # sampan_zfs/hooks.py
    @hookimpl
    def sampan_storage_driver() -> tuple[str, StorageFactory]:
        return "zfs", ZfsDriver
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pluggy

from sampan.drivers.network import NetworkFactory
from sampan.drivers.resource import ResourceFactory
from sampan.drivers.storage import StorageFactory
from sampan.drivers.volume import VolumeFactory

PROJECT = "sampan"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def sampan_storage_driver() -> tuple[str, StorageFactory]:  # type: ignore[empty-body]
    """Offer one storage driver: the name that selects it, and its factory."""


@hookspec
def sampan_network_driver() -> tuple[str, NetworkFactory]:  # type: ignore[empty-body]
    """Offer one network driver: the name that selects it, and its factory."""


@hookspec
def sampan_resource_driver() -> tuple[str, ResourceFactory]:  # type: ignore[empty-body]
    """Offer one resource driver: the name that selects it, and its factory."""


@hookspec
def sampan_volume_driver() -> tuple[str, VolumeFactory]:  # type: ignore[empty-body]
    """Offer one volume driver: the name that users select it by (`--volume-driver`), and its factory."""


@hookspec
def sampan_authorise(job: Mapping[str, Any]) -> None:
    """Called before a job runs, with its `id`, `name`, `state`, `caller` (`uid`, `gid`, `pid`, `subject`, `role`,
    `address`) and `request` (the typed model that will be executed); raise `errdefs.Forbidden` to refuse it.

    The daemon's loop, and so every client, waits for the answer: decide from what you already know, and fetch
    policies in advance."""


@hookspec
def sampan_job_started(job: Mapping[str, Any]) -> None:
    """Called when a job starts to run, with the same argument, in the daemon's loop."""


@hookspec
def sampan_job_finished(job: Mapping[str, Any]) -> None:
    """Called after a job has ended, whatever the outcome, with the same argument, in the daemon's loop."""


@hookspec
def sampan_oci_spec(container_id: str, labels: Mapping[str, str], spec: dict[str, Any]) -> None:
    """Adjust, in place, the OCI runtime spec of a container before it starts. Called in the daemon's loop."""


@hookspec
def sampan_api_router() -> Any:
    """Offer a `fastapi.APIRouter` that is added to the API."""


@hookspec
def sampan_cli_command() -> Any:
    """Offer a `sampan.cli.command.Command`, or a list of them, for the command line."""
