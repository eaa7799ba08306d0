"""Ping, version, info, events, disk usage, and request parsing in general."""

import json
import time
from urllib.parse import quote

from tests.support.steps import (
    Observation,
    Scenario,
    Step,
    Subject,
    api,
    cli,
    create,
    hijack,
    py,
    ran,
    running,
    start,
)

IMAGE = "busybox:test"


def events(name: str, query: str = "", **filters: list[str]) -> Step:
    """The events since the scenario began, sorted where Docker's order is arbitrary."""

    def take(subject: Subject) -> Observation:
        text = quote(json.dumps(filters))
        until = f"{time.time():.9f}"
        path = f"/v1.41/events?since={subject.names['began']}&until={until}&filters={text}{query}"
        status, content = subject.engine.request("GET", path)
        told = [json.loads(line) for line in content.splitlines()]
        for one in told:
            one.pop("sampanSeq", None)
        told.sort(
            key=lambda one: (one["Type"], one["Actor"]["ID"] if one["Type"] == "volume" else "", one["timeNano"])
        )
        return {"status": status, **subject.words.flat(told, "body")}

    return Step(name, take)


def _begin(subject: Subject) -> Observation:
    subject.names["began"] = f"{time.time():.9f}"
    return {}


BEGIN = Step("begin", _begin, quiet=True)

SCENARIOS = (
    Scenario(
        "ping and version",
        [
            api("GET", "/_ping", name="ping"),
            api("HEAD", "/_ping", name="head", version=None),
            api("GET", "/_ping", name="with a body", body=b"x"),
            api("GET", "/version", name="old version", version="1.24"),
            api("GET", "/info", name="too new", version="9.99"),
            api("GET", "/info", name="too old", version="1.11"),
            api("GET", "/nope", name="no such path"),
            api("DELETE", "/info", name="no such method"),
            py("docker-py", lambda client: client.ping()),
        ],
    ),
    Scenario(
        "info",
        [
            *running("web"),
            *ran("ended", "true"),
            api("GET", "/info", name="info"),
            cli("info", "--format", "{{.Containers}} {{.ContainersRunning}} {{.ContainersStopped}} {{.OSType}}"),
        ],
    ),
    Scenario(
        "events of a life",
        [
            BEGIN,
            create(
                "web",
                "sh",
                "-c",
                "read x; exit 3",
                Tty=True,
                OpenStdin=True,
                Labels={"tier": "front"},
                host={"Binds": ["named:/data"]},
            ),
            start("web"),
            api("POST", "/containers/web/resize?h=1&w=2", quiet=True),
            api(
                "POST",
                "/containers/web/exec",
                {"Cmd": ["true"], "AttachStdout": True},
                save={"exec": "Id"},
                quiet=True,
            ),
            hijack("/exec/{exec}/start", {}, name="exec"),
            api("POST", "/containers/web/stop?t=0", quiet=True),
            api("DELETE", "/containers/web", quiet=True),
            api("DELETE", "/volumes/named", quiet=True),
            api("POST", f"/images/{IMAGE}/tag?repo=ark&tag=1", quiet=True),
            api("DELETE", "/images/ark:1", quiet=True),
            events("of the container", type=["container"]),
            events("of the volume", type=["volume"]),
            events("of the network", type=["network"]),
            events("of the image", type=["image"]),
            events("one action", event=["die"]),
            events("exec actions", event=["exec_start"]),
            events("by name", container=["web"]),
            events("by label", label=["tier=front"]),
            events("by another label", label=["tier=back"]),
            events("by image", image=[IMAGE], event=["start"]),
            events("by scope", scope=["swarm"]),
            events("by an unknown filter", nope=["1"], event=["start"]),
        ],
    ),
    Scenario(
        "events refuse",
        [
            api("GET", "/events?since=x", name="bad since"),
            api("GET", "/events?until=x", name="bad until"),
            api("GET", "/events?since=2&until=1", name="end before the beginning"),
            api("GET", "/events?until=1&filters=x", name="bad filters"),
            cli("events", "--since", "x"),
            cli("events", "--since", "1", "--until", "2"),
        ],
    ),
    Scenario(
        "disk usage",
        [
            *ran("ended", "true"),
            api("POST", "/volumes/create", {"Name": "held"}, quiet=True),
            api("GET", "/system/df", name="all"),
            cli("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"),
        ],
    ),
)
