"""Resource usage of containers, as the clients show it."""

import json

import pytest

from tests.support.clients import Client
from tests.support.engines import Dockerd

IMAGE = "busybox:test"
FIGURES = {"BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"}


def test_a_table_is_drawn_of_what_runs(client: Client) -> None:
    busy = "while :; do :; done"
    client("run", "-d", "--name", "busy", "--stop-timeout", "0", IMAGE, "sh", "-c", busy)
    client("create", "--name", "idle", IMAGE, "true")
    head, line = client("stats", "--no-stream").splitlines()
    assert head.split()[:4] == ["CONTAINER", "ID", "NAME", "CPU"]
    assert line.split()[1] == "busy"
    row = json.loads(client("stats", "--no-stream", "--format", "json", "busy"))
    assert set(row) >= FIGURES
    assert row["CPUPerc"] != "0.00%"
    shown = client("stats", "--no-stream", "--all", "--format", "{{.Name}} {{.PIDs}}").splitlines()
    assert sorted(line.split()[0] for line in shown) == ["busy", "idle"]
    client("rm", "-f", "busy")


def test_what_was_received_is_counted(client: Client) -> None:
    if isinstance(client.engine, Dockerd):
        pytest.skip("a container of the image can't ping its gateway there")
    client("run", "-d", "--name", "talker", IMAGE, "sleep", "1000")
    client("exec", "talker", "ping", "-c", "3", "-s", "1000", gateway(client))
    row = json.loads(client("stats", "--no-stream", "--format", "json", "talker"))
    received, _, sent = row["NetIO"].partition(" / ")
    assert received.endswith("kB")
    assert sent.endswith("kB")


def gateway(client: Client) -> str:
    document = client.engine.get("/containers/talker/json")
    return str(document["NetworkSettings"]["Networks"]["bridge"]["Gateway"])


def test_a_live_table_is_drawn_until_it_is_interrupted(client: Client) -> None:
    client("run", "-d", "--name", "boat", IMAGE, "sleep", "1000")
    with client.terminal("stats", "boat") as terminal:
        terminal.expect("boat")
        terminal.expect("boat")
        terminal.send("\x03")
