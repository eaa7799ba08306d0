import asyncio
import json
from typing import Any

import aiohttp
import pytest

from sampan import models
from sampan.api.framing import header
from sampan.engine import Job
from sampan.errdefs import NotFound
from tests.support.serving import Serving

ID = "ab" * 32


def summary(**more: Any) -> models.ContainerSummary:
    return models.ContainerSummary(id=ID, names=["/web"], image="busybox", state="running", **more)


async def test_list_passes_its_parameters_on(api: Serving) -> None:
    api.daemon.answers["container_list"] = [summary()]
    params = {"all": "1", "limit": "5", "size": "true", "filters": '{"status": {"exited": true}}'}
    status, body, headers = await api.call("GET", "/v1.50/containers/json", params=params)
    assert (status, body[0]["Id"], body[0]["Names"]) == (200, ID, ["/web"])
    assert headers["content-type"] == "application/json"
    assert api.daemon.asked == models.ListContainers(all=True, limit=5, size=True, filters={"status": ["exited"]})


async def test_an_empty_list_is_an_empty_list(api: Serving) -> None:
    api.daemon.answers["container_list"] = []
    assert (await api.call("GET", "/containers/json"))[:2] == (200, [])


async def test_health_is_in_lists_since_1_52(api: Serving) -> None:
    api.daemon.answers["container_list"] = [summary(health=models.HealthSummary(status="healthy")), summary()]
    new = (await api.call("GET", "/v1.52/containers/json"))[1]
    old = (await api.call("GET", "/v1.51/containers/json"))[1]
    assert new[0]["Health"]["Status"] == "healthy"
    assert ["Health" in one for one in (*new, *old)] == [True, False, False, False]


async def test_annotations_are_in_lists_since_1_46(api: Serving) -> None:
    host = models.SummaryHostConfig(network_mode="bridge", annotations={"a": "b"})
    api.daemon.answers["container_list"] = [summary(host_config=host)]
    assert (await api.call("GET", "/v1.46/containers/json"))[1][0]["HostConfig"]["Annotations"] == {"a": "b"}
    assert (await api.call("GET", "/v1.45/containers/json"))[1][0]["HostConfig"] == {"NetworkMode": "bridge"}


async def test_inspect_before_1_52_repeats_the_bridge_at_the_top(api: Serving) -> None:
    endpoint = models.EndpointSettings(ip_address="172.30.0.2", gateway="172.30.0.1", ip_prefix_len=16)
    api.daemon.answers["container_inspect"] = models.ContainerInspect(
        id=ID,
        state=models.ContainerState(status="running"),
        network_settings=models.NetworkSettings(networks={"bridge": endpoint}),
    )
    new = (await api.call("GET", "/containers/web/json"))[1]["NetworkSettings"]
    old = (await api.call("GET", "/v1.51/containers/web/json"))[1]["NetworkSettings"]
    assert "IPAddress" not in new
    assert (old["IPAddress"], old["Gateway"], old["IPPrefixLen"], old["MacAddress"]) == (
        "172.30.0.2",
        "172.30.0.1",
        16,
        "",
    )


async def test_create_splits_the_body_into_its_three_parts(api: Serving) -> None:
    api.daemon.answers["container_create"] = models.ContainerCreated(id=ID, warnings=["w"])
    body = {
        "Image": "busybox",
        "Cmd": "ls",
        "Env": None,
        "HostConfig": {"Memory": 7, "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
        "NetworkingConfig": {"EndpointsConfig": {"net": {"Aliases": ["a"]}}},
        "Unknown": 1,
    }
    status, answer, _ = await api.call("POST", "/containers/create?name=/web&platform=linux/arm64", json=body)
    assert (status, answer) == (201, {"Id": ID, "Warnings": ["w"]})
    asked: models.CreateContainer = api.daemon.asked
    assert (asked.name, asked.platform) == ("/web", "linux/arm64")
    assert type(asked.config) is models.ContainerConfig
    assert (asked.config.image, asked.config.cmd, asked.config.env) == ("busybox", ["ls"], None)
    assert asked.host_config.memory == 7
    assert asked.host_config.port_bindings == {"80/tcp": [models.PortBinding(host_port="8080")]}
    assert asked.networking_config.endpoints_config == {"net": models.EndpointSettings(aliases=["a"])}


async def test_create_of_an_older_version_ignores_what_came_later(api: Serving) -> None:
    api.daemon.answers["container_create"] = models.ContainerCreated(id=ID)
    body = {"Healthcheck": {"StartInterval": 5}, "HostConfig": {"Annotations": {"a": "b"}, "ConsoleSize": [24, 80]}}
    await api.call("POST", "/v1.41/containers/create", json=body)
    assert api.daemon.asked.config.healthcheck.start_interval == 0
    assert api.daemon.asked.host_config.annotations is None
    assert api.daemon.asked.host_config.console_size == [0, 0]


async def test_create_refuses_options_of_another_kind_of_mount(api: Serving) -> None:
    mount = {"Type": "bind", "Source": "/a", "Target": "/b", "VolumeOptions": {}}
    status, body, _ = await api.call("POST", "/containers/create", json={"HostConfig": {"Mounts": [mount]}})
    assert (status, body["message"]) == (400, 'VolumeOptions must not be specified on mount type "bind"')


@pytest.mark.parametrize(
    ("method", "path", "job", "request_", "status"),
    [
        ("POST", "/containers/web/start", "container_start", models.StartContainer(name="web"), 204),
        (
            "POST",
            "/containers/web/stop?t=-1&signal=INT",
            "container_stop",
            models.StopContainer(name="web", signal="INT", timeout_s=-1),
            204,
        ),
        ("POST", "/v1.41/containers/web/stop?signal=INT", "container_stop", models.StopContainer(name="web"), 204),
        ("POST", "/containers/web/kill", "container_kill", models.KillContainer(name="web"), 204),
        (
            "POST",
            "/containers/web/kill?signal=9",
            "container_kill",
            models.KillContainer(name="web", signal="9"),
            204,
        ),
        (
            "POST",
            "/containers/web/resize?h=24&w=80",
            "container_resize",
            models.ResizeContainer(name="web", height=24, width=80),
            200,
        ),
        (
            "DELETE",
            "/containers/web?v=1&force=1",
            "container_remove",
            models.RemoveContainer(name="web", force=True, volumes=True),
            204,
        ),
    ],
)
async def test_a_verb_becomes_a_job(
    api: Serving, method: str, path: str, job: str, request_: Any, status: int
) -> None:
    assert (await api.call(method, path))[:2] == (status, b"")
    assert (api.daemon.jobs[-1].name, api.daemon.asked) == (job, request_)


async def test_wait_sends_the_head_before_the_container_has_ended(api: Serving) -> None:
    ended = asyncio.Event()

    async def handler(job: Job[models.WaitContainer]) -> None:
        assert job.output is not None
        await job.output.open()
        await ended.wait()
        await job.output.write(models.WaitResult(status_code=3))

    api.daemon.answers["container_wait"] = handler
    async with api.http.post("/containers/web/wait", params={"condition": "next-exit"}) as answer:
        assert answer.status == 200
        ended.set()
        assert json.loads(await answer.read()) == {"StatusCode": 3}
    assert api.daemon.asked == models.WaitContainer(name="web", condition="next-exit")


async def test_a_waiting_client_that_goes_away_cancels_its_job(api: Serving) -> None:
    waiting, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(job: Job[models.WaitContainer]) -> None:
        assert job.output is not None
        await job.output.open()
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    api.daemon.answers["container_wait"] = handler
    async with api.http.post("/containers/web/wait") as answer:
        await waiting.wait()
        answer.close()
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_logs_are_framed_and_named_by_version(api: Serving) -> None:
    async def handler(job: Job[models.ContainerLogs]) -> None:
        assert job.streams is not None
        await job.streams.accept(multiplexed=True)
        await job.streams.write(1, b"out\n")
        await job.streams.write(2, b"err\n")
        assert await job.streams.read() == b""

    api.daemon.answers["container_logs"] = handler
    path = "/containers/web/logs?stdout=1&stderr=1&tail=5&since=1.5&timestamps=1&follow=1"
    status, body, headers = await api.call("GET", path)
    assert (status, body) == (200, header(1, 4) + b"out\n" + header(2, 4) + b"err\n")
    assert headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert (await api.call("GET", "/v1.41" + path))[2]["content-type"] == "application/vnd.docker.raw-stream"
    assert api.daemon.asked == models.ContainerLogs(
        name="web", stdout=True, stderr=True, follow=True, since_ns=1_500_000_000, timestamps=True, tail=5
    )


async def test_logs_of_no_container_are_an_http_error(api: Serving) -> None:
    api.daemon.answers["container_logs"] = NotFound("No such container: web")
    status, body, _ = await api.call("GET", "/containers/web/logs?stdout=1")
    assert (status, body) == (404, {"message": "No such container: web"})


async def test_logs_of_no_stream_are_refused(api: Serving) -> None:
    status, body, _ = await api.call("GET", "/containers/web/logs")
    assert (status, body["message"]) == (400, "Bad parameters: you must choose at least one stream")


async def test_exec_is_created_started_detached_resized_and_inspected(api: Serving) -> None:
    api.daemon.answers["exec_create"] = models.ExecCreated(id="e1")
    api.daemon.answers["exec_inspect"] = models.ExecInspect(
        id="e1", running=False, process_config=models.ExecProcessConfig(entrypoint="ls"), container_id=ID
    )
    body = {"Cmd": ["ls"], "AttachStdout": True, "Env": ["A=b"]}
    assert (await api.call("POST", "/containers/web/exec", json=body))[:2] == (201, {"Id": "e1"})
    asked: models.CreateExec = api.daemon.asked
    assert (asked.container, asked.cmd, asked.attach_stdout, asked.env) == ("web", ["ls"], True, ["A=b"])
    start = {"Detach": True, "Tty": True, "ConsoleSize": [24, 80]}
    assert (await api.call("POST", "/exec/e1/start", json=start))[0] == 200
    assert api.daemon.asked == models.StartExec(id="e1", detach=True, tty=True, console_size=[24, 80])
    await api.call("POST", "/v1.41/exec/e1/start", json=start)
    assert api.daemon.asked.console_size is None
    assert (await api.call("POST", "/exec/e1/resize?h=1&w=2"))[0] == 200
    assert api.daemon.asked == models.ResizeExec(id="e1", height=1, width=2)
    inspected = (await api.call("GET", "/exec/e1/json"))[1]
    assert (inspected["ID"], inspected["ExitCode"], inspected["ProcessConfig"]["entrypoint"]) == ("e1", None, "ls")


async def test_names_may_be_percent_encoded(api: Serving) -> None:
    await api.call("POST", "/containers/a%2Fb/start")
    assert api.daemon.asked.name == "a/b"


async def test_warnings_about_the_request_join_the_daemons(api: Serving) -> None:
    api.daemon.answers["container_create"] = models.ContainerCreated(id=ID, warnings=["w"])
    body = {"Image": "busybox", "HostConfig": {"PortBindings": {"80/tcp": []}}}
    _, answer, _ = await api.call("POST", "/containers/create", json=body)
    assert answer["Warnings"][0] == "w"
    assert answer["Warnings"][1].startswith(
        "Following container port(s) have an empty list of port-bindings: 80/tcp."
    )


async def test_before_1_41_a_create_has_no_platform(api: Serving) -> None:
    api.daemon.answers["container_create"] = models.ContainerCreated(id=ID)
    for version, platform in (("1.40", None), ("1.41", "linux/amd64")):
        url = f"/v{version}/containers/create?platform=linux/amd64"
        await api.call("POST", url, json={"Image": "busybox"})
        assert api.daemon.asked.platform == platform


async def test_wait_before_1_30_has_no_condition_and_its_head_comes_with_the_exit_code(api: Serving) -> None:
    async def fail_late(job: Job[models.WaitContainer]) -> None:
        await job.require_output().open()
        raise NotFound("gone")

    api.daemon.answers["container_wait"] = fail_late
    assert (await api.call("POST", "/v1.29/containers/web/wait?condition=nonsense"))[0] == 404
    assert api.daemon.asked.condition == "not-running"
    with pytest.raises(aiohttp.ClientPayloadError):  # too late for a status: the answer is aborted
        await api.call("POST", "/v1.30/containers/web/wait")


@pytest.mark.parametrize(
    ("version", "format", "status"), [("1.54", "json", 501), ("1.54", "xml", 400), ("1.53", "json", 200)]
)
async def test_logs_as_json_are_refused_where_docker_has_them(
    api: Serving, version: str, format: str, status: int
) -> None:
    url = f"/v{version}/containers/web/logs?stdout=1&format={format}"
    assert (await api.call("GET", url))[0] == status
