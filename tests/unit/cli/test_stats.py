"""`stats`: figures computed from readings, the table, and the live display."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from sampan.cli.commands import stats
from sampan.cli.usage import Usage, sparkline
from tests.unit.cli.conftest import Answer, FakeEngine, Outcome, Request

Main = Callable[..., Outcome]
ID = "686f7a20f4b28cf1080944738049d784dbbfdce3245b507832f9d70acddef474"


def reading(own_ns: int, host_ns: int) -> dict[str, Any]:
    return {
        "id": ID,
        "name": "/web",
        "cpu_stats": {"cpu_usage": {"total_usage": own_ns}, "system_cpu_usage": host_ns, "online_cpus": 2},
        "memory_stats": {"usage": 3 << 20, "limit": 64 << 20, "stats": {"inactive_file": 1 << 20}},
        "networks": {"eth0": {"rx_bytes": 1200, "tx_bytes": 0}, "eth1": {"rx_bytes": 300, "tx_bytes": 7}},
        "blkio_stats": {
            "io_service_bytes_recursive": [{"op": "read", "value": 4096}, {"op": "write", "value": 1_500_000}]
        },
        "pids_stats": {"current": 3},
    }


EMPTY = {"id": ID, "name": "/web", "cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "_INTERVAL_S", 0)
    monkeypatch.setattr(stats, "_FIRST_INTERVAL_S", 0)


@pytest.fixture
def web(engine: FakeEngine) -> list[Any]:
    """Successive stats responses for the container `web`."""
    readings: list[Any] = [reading(0, 100), reading(25, 200)]

    def answer(request: Request) -> Any:
        assert request.query == {"stream": ["0"], "one-shot": ["1"]}
        return readings.pop(0) if readings else Answer({"message": "No such container: web"}, 404)

    engine.on("GET", "/containers/json", [{"Id": ID}])
    engine.on("GET", "/containers/[^/]*/json", {"Id": ID})
    engine.on("GET", "/containers/[^/]*/stats", answer)
    return readings


def test_the_table_has_dockers_columns_and_figures(web: list[Any], main: Main) -> None:
    outcome = main("stats", "--no-stream")
    assert outcome.err == ""
    assert outcome.out == (
        "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O      BLOCK I/O       PIDS\n"
        "686f7a20f4b2   web       50.00%    2MiB / 64MiB        3.12%     1.5kB / 7B   4.1kB / 1.5MB   3\n"
    )


def test_json_and_whole_ids(web: list[Any], main: Main) -> None:
    row = json.loads(main("stats", "--no-stream", "--no-trunc", "--format", "json", "web").out)
    assert (row["Container"], row["ID"], row["CPUPerc"], row["PIDs"]) == ("web", ID, "50.00%", "3")


def test_one_that_does_not_run_uses_nothing(web: list[Any], main: Main) -> None:
    web[:] = [EMPTY, EMPTY]
    shown = main(
        "stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.NetIO}} {{.PIDs}}", "web"
    )
    assert shown.out == "web 0.00% 0B / 0B 0B / 0B 0\n"


def test_one_that_is_named_twice_is_one(web: list[Any], main: Main) -> None:
    assert len(main("stats", "--no-stream", "web", "web").out.splitlines()) == 2
    assert main("stats", "--no-stream", "web", "web").err == ""  # gone by now


def test_one_that_there_is_not_is_an_error(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/containers/nosuch/json", Answer({"message": "No such container: nosuch"}, 404))
    outcome = main("stats", "nosuch")
    assert (outcome.status, outcome.err) == (1, "Error response from daemon: No such container: nosuch\n")


def test_live_it_draws_over_what_was_there_until_all_are_gone(web: list[Any], main: Main) -> None:
    web.append(reading(125, 300))
    screens = main("stats", "web").out.split("\033[H")
    assert screens[0] == "\033[2J"
    assert [screen.endswith("\033[J") for screen in screens[1:]] == [True, True]
    assert "CPU HISTORY\033[K\n" in screens[1]
    assert screens[1].splitlines()[1].endswith("█\033[K")
    assert "200.00%" in screens[2]
    assert screens[2].splitlines()[1].endswith("▂█\033[K".replace("▂", "▃"))


def test_all_asks_for_those_that_do_not_run_too(web: list[Any], engine: FakeEngine, main: Main) -> None:
    main("stats", "--no-stream", "-a")
    listed = [request for request in engine.requests if request.path == "/containers/json"]
    assert [request.query.get("all") for request in listed] == [["1"], ["1"]]


def test_the_history_keeps_the_last_values_and_is_scaled_to_the_largest() -> None:
    usage = Usage("web", history=3)
    host = own = 0
    for step in (0, 10, 20, 40):
        host, own = host + 100, own + step
        usage.add(reading(own, host))
    assert usage.row(full=False)["History"] == sparkline(deque([20.0, 40.0, 80.0])) == "▃▅█"
    assert sparkline(deque([0.0, 0.1])) == "▁▁"
