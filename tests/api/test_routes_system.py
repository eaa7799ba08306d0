import json

import pytest

from sampan import __version__, models
from sampan.engine import Job
from sampan.models.versions import NEWEST_API, OLDEST_API
from tests.support.serving import Serving


async def test_ping_tells_the_versions_without_a_job(api: Serving) -> None:
    for method, content in (("GET", b"OK"), ("HEAD", b"")):
        for path in ("/_ping", "/v1.24/_ping", "/v1.56/_ping"):
            status, body, headers = await api.call(method, path)
            assert (status, body) == (200, content)
            assert headers["api-version"] == "1.56"
            assert headers["builder-version"] == "1"
            assert headers["docker-experimental"] == "false"
            assert headers["ostype"] == "linux"
            assert headers["cache-control"] == "no-cache, no-store, must-revalidate"
            assert headers["pragma"] == "no-cache"
            assert headers["server"] == f"Sampan/{__version__} (linux)"
            assert headers["content-length"] == str(len(content))
    assert api.daemon.jobs == []


async def test_version_says_which_versions_of_the_api_are_spoken(api: Serving) -> None:
    api.daemon.answers["system_version"] = models.SystemVersion(
        version="9", api_version=NEWEST_API, min_api_version=OLDEST_API
    )
    status, body, headers = await api.call("GET", "/version")
    assert (status, body["ApiVersion"], body["MinAPIVersion"], body["Version"]) == (200, "1.56", "1.24", "9")
    assert headers["sampan-job"] == api.daemon.jobs[-1].id


async def test_info_of_an_older_version_has_its_fields(api: Serving) -> None:
    api.daemon.answers["system_info"] = models.SystemInfo(
        runc_commit=models.Commit(id="abc"), firewall_backend=models.FirewallInfo(driver="nftables")
    )
    new = (await api.call("GET", "/info"))[1]
    assert new["FirewallBackend"] == {"Driver": "nftables"}
    assert "BridgeNfIptables" not in new
    old = (await api.call("GET", "/v1.48/info"))[1]
    assert "FirewallBackend" not in old
    assert old["BridgeNfIptables"] is False
    assert old["RuncCommit"] == {"ID": "abc", "Expected": "abc"}


async def test_events_are_lines_of_json_in_the_shape_of_the_version(api: Serving) -> None:
    async def handler(job: Job[models.WatchEvents]) -> None:
        assert job.output is not None
        await job.output.open()
        actor = models.EventActor(id="abc", attributes={"image": "busybox"})
        await job.output.write(models.Event(type="container", action="start", actor=actor, time=5))

    api.daemon.answers["system_events"] = handler
    async with api.http.get("/events", params={"since": "1", "until": "2.5", "filters": '{"type": ["a"]}'}) as answer:
        assert answer.content_type == "application/jsonl"
        event = await answer.json(content_type=None)
    assert event["Action"] == "start"
    assert "status" not in event
    assert api.daemon.asked == models.WatchEvents(since_ns=10**9, until_ns=25 * 10**8, filters={"type": ["a"]})
    async with api.http.get("/v1.50/events") as answer:
        assert answer.content_type == "application/json"
        event = await answer.json()
    assert (event["status"], event["id"], event["from"]) == ("start", "abc", "busybox")


@pytest.mark.parametrize(
    ("path", "accept", "form"),
    [
        ("/events", "*/*", "application/jsonl"),
        ("/events", "application/json", "application/jsonl"),
        ("/events", "application/x-ndjson", "application/x-ndjson"),
        (
            "/v1.51/events",
            "text/plain, application/JSON-seq;q=0.4, application/x-ndjson;q=0.3",
            "application/json-seq",
        ),
        ("/v1.51/events", "application/x-ndjson, application/jsonl", "application/jsonl"),
        ("/v1.51/events", "application/jsonl;q=0, application/json-seq;q=x", "application/json"),
    ],
)
async def test_events_come_in_the_form_that_the_client_wants(api: Serving, path: str, accept: str, form: str) -> None:
    async def handler(job: Job[models.WatchEvents]) -> None:
        await job.require_output().write(
            models.Event(type="container", action="start", actor=models.EventActor(id="a"))
        )

    api.daemon.answers["system_events"] = handler
    async with api.http.get(path, headers={"Accept": accept}) as answer:
        assert answer.content_type == form
        content = await answer.read()
    assert content.startswith(b"\x1e{" if form == "application/json-seq" else b"{")
    assert json.loads(content.lstrip(b"\x1e"))["Action"] == "start"


async def test_events_that_would_end_before_they_begin_are_refused(api: Serving) -> None:
    status, body, _ = await api.call("GET", "/events", params={"since": "2", "until": "1"})
    assert status == 400
    assert body["message"] == "`since` time (2) cannot be after `until` time (1)"


async def test_a_flag_is_read_as_docker_reads_it(api: Serving) -> None:
    api.daemon.answers["container_list"] = []
    for text, wanted in (("1", True), ("true", True), ("x", True), ("0", False), ("False", False), ("", False)):
        await api.call("GET", "/containers/json", params={"all": text, "limit": ""})
        assert api.daemon.asked.all is wanted
