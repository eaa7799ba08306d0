"""The API over an engine with handlers supplied by the test, served on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from sampan import models
from sampan.api.app import create_app
from sampan.api.server import HttpLimits, Listener, Server
from sampan.engine import Engine, Handler, Job

STREAMS = ("container_attach", "container_logs", "container_wait", "exec_start", "system_events")
REQUESTS: dict[str, type] = {
    "container_attach": models.AttachContainer,
    "container_create": models.CreateContainer,
    "container_inspect": models.InspectContainer,
    "container_kill": models.KillContainer,
    "container_list": models.ListContainers,
    "container_logs": models.ContainerLogs,
    "container_remove": models.RemoveContainer,
    "container_resize": models.ResizeContainer,
    "container_start": models.StartContainer,
    "container_stop": models.StopContainer,
    "container_wait": models.WaitContainer,
    "driver_list": models.ListDrivers,
    "exec_create": models.CreateExec,
    "exec_inspect": models.InspectExec,
    "exec_resize": models.ResizeExec,
    "exec_start": models.StartExec,
    "image_import": models.ImportImage,
    "image_inspect": models.InspectImage,
    "image_list": models.ListImages,
    "image_load": models.LoadImages,
    "image_pull": models.PullImage,
    "distribution_inspect": models.InspectDistribution,
    "image_history": models.ImageHistory,
    "image_push": models.PushImage,
    "image_save": models.SaveImages,
    "image_search": models.SearchImages,
    "image_remove": models.RemoveImage,
    "image_tag": models.TagImage,
    "network_connect": models.ConnectNetwork,
    "network_create": models.CreateNetwork,
    "network_disconnect": models.DisconnectNetwork,
    "network_inspect": models.InspectNetwork,
    "network_list": models.ListNetworks,
    "network_prune": models.PruneNetworks,
    "network_remove": models.RemoveNetwork,
    "port_list": models.ListExposedPorts,
    "plugin_inspect": models.InspectPlugin,
    "plugin_list": models.ListPlugins,
    "system_events": models.WatchEvents,
    "system_info": models.SystemInfoRequest,
    "system_version": models.SystemVersionRequest,
    "volume_create": models.CreateVolume,
    "volume_inspect": models.InspectVolume,
    "volume_list": models.ListVolumes,
    "volume_remove": models.RemoveVolume,
    "volume_update": models.UpdateVolume,
    "system_df": models.SystemDiskUsage,
    "registry_login": models.CheckAuth,
    "volume_prune": models.PruneVolumes,
    "image_prune": models.PruneImages,
    "build_prune": models.PruneBuildCache,
}


class Daemon:
    """Handles every job as the test specifies, and records the jobs.

    `answers` maps a job's name to its result, the error to raise, or an async function of the job.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.jobs: list[Job[Any]] = []

    async def handle(self, job: Job[Any]) -> Any:
        self.jobs.append(job)
        answer = self.answers.get(job.name)
        if isinstance(answer, BaseException):
            raise answer
        return await answer(job) if callable(answer) else answer

    @property
    def asked(self) -> Any:
        """The request of the last job."""
        return self.jobs[-1].request

    def install(self, engine: Engine) -> None:
        for name, request in REQUESTS.items():
            streams = name in STREAMS
            cancellable = streams or name.startswith("image_")
            engine.register(Handler(name, request, self.handle, slot=not streams, cancellable=cancellable))


class Serving:
    """A running server, the daemon behind it and a client in front of it."""

    def __init__(self, path: Path, engine: Engine, daemon: Daemon, server: Server) -> None:
        self.path = path
        self.engine = engine
        self.daemon = daemon
        self.server = server
        self.http = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)), base_url="http://sampan")

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, Any, dict[str, str]]:
        """Status, body (decoded if it is JSON), headers."""
        async with self.http.request(method, path, **more) as response:
            content = await response.read()
            is_json = response.content_type == "application/json"
            body = await response.json() if content and is_json else content
            return response.status, body, {name.lower(): value for name, value in response.headers.items()}


@asynccontextmanager
async def serving(path: Path, *more: Listener, role: str = "full", **limits: Any) -> AsyncIterator[Serving]:
    """Serve on a unix socket at `path`, and on `more` listeners."""
    engine, daemon = Engine(), Daemon()
    daemon.install(engine)
    engine.started()
    server = Server(create_app(engine), [Listener(f"unix://{path}", role=role), *more], HttpLimits(**limits))
    await server.start()
    served = Serving(path, engine, daemon, server)
    try:
        yield served
    finally:
        await served.http.close()
        await engine.stop(1)
        await server.close(1)
