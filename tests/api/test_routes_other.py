"""Networks, volumes, jobs, drivers, plugins, metrics."""

import asyncio
from typing import Any

from fastapi import APIRouter

from sampan import models
from sampan.api.app import create_app
from sampan.engine import Engine, Job
from tests.support.serving import Serving


async def test_networks_are_listed_and_inspected(api: Serving) -> None:
    network = models.NetworkInspect(name="bridge", id="abc", driver="bridge")
    api.daemon.answers.update(network_list=[network], network_inspect=network)
    assert (await api.call("GET", "/networks"))[1][0]["Name"] == "bridge"
    assert (await api.call("GET", "/networks/bridge?verbose=1&scope=local"))[1]["Id"] == "abc"
    assert api.daemon.asked == models.InspectNetwork(name="bridge", verbose=True, scope="local")


async def test_volumes_are_created_listed_inspected_and_removed(api: Serving) -> None:
    volume = models.Volume(name="data", driver="local", mountpoint="/data")
    api.daemon.answers.update(
        volume_create=volume, volume_inspect=volume, volume_list=models.VolumeList(volumes=[volume])
    )
    body = {"Name": "data", "Labels": {"a": "b"}, "DriverOpts": None}
    assert (await api.call("POST", "/volumes/create", json=body))[0] == 201
    assert api.daemon.asked == models.CreateVolume(name="data", labels={"a": "b"})
    assert (await api.call("POST", "/volumes/create"))[0] == 201
    assert api.daemon.asked.name == ""
    assert (await api.call("GET", "/volumes"))[1]["Volumes"][0]["Mountpoint"] == "/data"
    assert (await api.call("GET", "/volumes/data"))[1] == {
        "Driver": "local",
        "Labels": None,
        "Mountpoint": "/data",
        "Name": "data",
        "Options": None,
        "Scope": "local",
    }
    assert (await api.call("DELETE", "/volumes/data?force=true"))[0] == 204
    assert api.daemon.asked == models.RemoveVolume(name="data", force=True)


async def test_jobs_are_listed_inspected_and_cancelled(api: Serving) -> None:
    running = asyncio.Event()

    async def pull(job: Job[Any]) -> None:
        running.set()
        await asyncio.Event().wait()

    api.daemon.answers["image_pull"] = pull
    pulling = asyncio.create_task(api.call("POST", "/images/create?fromImage=busybox"))
    await running.wait()
    jobs = (await api.call("GET", "/jobs"))[1]
    assert [(job["Name"], job["State"]) for job in jobs] == [("image_pull", "running")]
    assert jobs[0]["Caller"]["Role"] == "full"
    path = f"/jobs/{jobs[0]['Id']}"
    assert (await api.call("GET", path))[1]["Id"] == jobs[0]["Id"]
    assert (await api.call("DELETE", path))[0] == 204
    assert (await pulling)[0] == 503
    assert (await api.call("GET", path))[1]["State"] == "cancelled"
    assert (await api.call("DELETE", path))[0] == 404
    assert (await api.call("GET", "/jobs/nope"))[:2] == (404, {"message": "No such job: nope"})


async def test_metrics_count_jobs(api: Serving) -> None:
    api.daemon.answers["container_list"] = []
    await api.call("GET", "/containers/json")
    status, body, headers = await api.call("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'sampan_jobs_total{job="container_list",state="succeeded"} 1.0' in body


async def test_drivers_and_plugins_are_listed(api: Serving) -> None:
    driver = models.DriverInfo(kind="storage", name="overlayfs", distribution="sampan-overlayfs", version="1")
    api.daemon.answers.update(driver_list=[driver], plugin_list=[models.Plugin(name="sampan-overlayfs:1")])
    assert (await api.call("GET", "/drivers"))[1][0]["Distribution"] == "sampan-overlayfs"
    plugin = (await api.call("GET", "/plugins"))[1][0]
    assert (plugin["Name"], plugin["Enabled"], plugin["Config"]["Interface"]["Types"]) == (
        "sampan-overlayfs:1",
        True,
        [],
    )


def test_a_package_may_add_routes_and_they_are_no_longer_unserved() -> None:
    router = APIRouter()

    @router.post("/build")
    async def build() -> str:
        return "built"

    document = create_app(Engine(), routers=[router]).openapi()
    assert "501" not in document["paths"]["/build"]["post"]["responses"]
