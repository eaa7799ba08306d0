"""`ps`, `logs`, and the short commands on containers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from sampan.cli.commands.ps import displayed_ports
from tests.unit.cli.conftest import Answer, FakeEngine, Outcome

Main = Callable[..., Outcome]
WEB: dict[str, Any] = {
    "Id": "686f7a20f4b28cf1080944738049d784dbbfdce3245b507832f9d70acddef474",
    "Names": ["/web", "/other/link"],
    "Image": "docker.io/library/httpd:2",
    "ImageID": "sha256:4b9d5fc057627afad793cecff39c3ce561c1752be4135a218ce42fa1d03198e8",
    "Command": "sh -c 'while true; do date; done'",
    "Created": 0,
    "State": "running",
    "Status": "Up 2 minutes (healthy)",
    "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
    "Labels": {"com.x-y": "1", "a": "b"},
    "Mounts": [{"Type": "volume", "Name": "a-very-long-volume-name", "Driver": "local"}],
    "NetworkSettings": {"Networks": {"bridge": {}}},
    "SizeRw": 12,
    "SizeRootFs": 1982000,
}


@pytest.fixture
def listed(engine: FakeEngine) -> FakeEngine:
    engine.on("GET", "/containers/json", [{**WEB, "Created": int(time.time()) - 150}])
    return engine


def test_the_table_has_dockers_columns(listed: FakeEngine, main: Main) -> None:
    assert main("ps").out == (
        "CONTAINER ID   IMAGE     COMMAND                  CREATED         STATUS                   PORTS"
        "                  NAMES\n"
        '686f7a20f4b2   httpd:2   "sh -c \'while true; …"   2 minutes ago   Up 2 minutes (healthy)   '
        "0.0.0.0:8080->80/tcp   web\n"
    )


def test_an_empty_table_has_its_head(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/containers/json", [])
    assert main("container", "ls").out == ("CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n")


@pytest.mark.parametrize(
    ("flags", "query"),
    [
        ([], {}),
        (["-a"], {"all": ["1"]}),
        (["-l"], {"all": ["1"], "limit": ["1"]}),
        (["-n", "3"], {"all": ["1"], "limit": ["3"]}),
        (["-s"], {"size": ["1"]}),
        (["--format", "{{.Size}}"], {"size": ["1"]}),
        (["-f", "status=exited", "-f", "label=a=b"], {"filters": ['{"status":["exited"],"label":["a=b"]}']}),
    ],
)
def test_flags_become_the_query(flags: list[str], query: dict[str, Any], listed: FakeEngine, main: Main) -> None:
    main("ps", *flags)
    assert listed.request("GET", "/containers/json").query == query


@pytest.mark.parametrize(
    ("flags", "out"),
    [
        (["-q"], "686f7a20f4b2\n"),
        (["-q", "--no-trunc"], f"{WEB['Id']}\n"),
        (["--format", r"{{.Names}}\t{{.Status}}"], "web\tUp 2 minutes (healthy)\n"),
        (["--format", "{{.Names}}", "--no-trunc"], "web,other/link\n"),
        (["--format", r"table {{.Names}}\t{{.Size}}"], "NAMES     SIZE\nweb       12B (virtual 1.98MB)\n"),
        (["--format", r'table {{upper .ID}}\t{{.Label "com.x-y"}}'], "CONTAINER ID   x y\n686F7A20F4B2   1\n"),
        (["--format", "{{.Labels}} {{.Mounts}} {{.LocalVolumes}} {{.Networks}} {{.HealthStatus}}"],
         "a=b,com.x-y=1 a-very-long-vo… 1 bridge healthy\n"),
    ],
)  # fmt: skip
def test_formats(flags: list[str], out: str, listed: FakeEngine, main: Main) -> None:
    assert main("ps", *flags).out == out


def test_json_is_one_object_a_line(listed: FakeEngine, main: Main) -> None:
    row = json.loads(main("ps", "--format", "json").out)
    assert (row["ID"], row["Command"], row["Platform"]) == ("686f7a20f4b2", '"sh -c \'while true; …"', None)
    assert list(row) == sorted(row)


def test_a_wrong_format_names_the_field(listed: FakeEngine, main: Main) -> None:
    outcome = main("ps", "--format", "{{.Nope}}")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("template parsing error: template: ")


def test_the_format_of_the_settings_is_used(listed: FakeEngine, main: Main, tmp_path: Any) -> None:
    (tmp_path / "config.json").write_text('{"psFormat": "{{.Names}}"}')
    assert main("ps").out == "web\n"


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ([("", 80, 0, "tcp")], "80/tcp"),
        ([("", 81, 0, "tcp"), ("", 80, 0, "tcp"), ("", 90, 0, "udp")], "80-81/tcp, 90/udp"),
        ([("0.0.0.0", 80, 80, "tcp"), ("0.0.0.0", 81, 81, "tcp")], "0.0.0.0:80-81->80-81/tcp"),
        ([("::", 80, 8080, "tcp"), ("0.0.0.0", 80, 8080, "tcp")], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([("", 80, 0, "tcp"), ("", 82, 0, "tcp")], "80/tcp, 82/tcp"),
    ],
)
def test_ports_are_joined_to_ranges(ports: list[tuple[str, int, int, str]], text: str) -> None:
    documents = [
        {"IP": address, "PrivatePort": private, "PublicPort": public, "Type": protocol}
        for address, private, public, protocol in ports
    ]
    assert displayed_ports(documents) == text


@pytest.mark.parametrize(
    ("argv", "method", "path", "query"),
    [
        (["stop", "-t", "0", "-s", "INT"], "POST", "stop", {"t": ["0"], "signal": ["INT"]}),
        (["stop"], "POST", "stop", {}),
        (["restart", "--timeout=-1"], "POST", "restart", {"t": ["-1"]}),
        (["container", "restart"], "POST", "restart", {}),
        (["pause"], "POST", "pause", {}),
        (["unpause"], "POST", "unpause", {}),
        (["kill"], "POST", "kill", {"signal": ["KILL"]}),
        (["kill", "-s", "HUP"], "POST", "kill", {"signal": ["HUP"]}),
        (["container", "rm", "-v"], "DELETE", "", {"v": ["1"]}),
    ],
)
def test_short_commands_act_on_each_name(
    argv: list[str], method: str, path: str, query: dict[str, Any], engine: FakeEngine, main: Main
) -> None:
    engine.on(method, f"/containers/(a|b%20c)/?{path}", Answer(None, 204))
    assert main(*argv, "a", "nope", "b c") == Outcome(
        1, "a\nb c\n", f"Error response from daemon: page not found: /containers/nope{'/' * bool(path)}{path}\n"
    )
    assert engine.requests[1].query == query


def test_rm_by_force_of_what_is_not_there_is_no_failure(engine: FakeEngine, main: Main) -> None:
    engine.on("DELETE", "/containers/a", Answer(None, 204))
    engine.on("DELETE", "/containers/nope", Answer({"message": "No such container: nope"}, 404))
    engine.on("DELETE", "/containers/busy", Answer({"message": "in progress"}, 409))
    complaint = "Error response from daemon: No such container: nope\n"
    assert main("rm", "-f", "nope", "a") == Outcome(0, "a\n", complaint)
    assert engine.request("DELETE", "/containers/a").query == {"force": ["1"]}
    assert main("rm", "nope") == Outcome(1, "", complaint)
    assert main("rm", "-f", "busy") == Outcome(1, "", "Error response from daemon: in progress\n")


@pytest.mark.parametrize(
    ("flags", "query"),
    [
        ([], {}),
        (["--checkpoint", "c", "--checkpoint-dir", "/d"], {"checkpoint": ["c"], "checkpoint-dir": ["/d"]}),
    ],
)
def test_start_asks_for_the_checkpoint_it_is_given(
    flags: list[str], query: dict[str, Any], engine: FakeEngine, main: Main
) -> None:
    engine.on("POST", "/containers/a/start", Answer(None, 204))
    assert main("start", *flags, "a") == Outcome(0, "a\n", "")
    assert engine.request("POST", "/containers/a/start").query == query


def test_wait_prints_the_statuses(engine: FakeEngine, main: Main) -> None:
    engine.on("POST", "/containers/.*/wait", {"StatusCode": 137})
    assert main("wait", "a", "b").out == "137\n137\n"


def test_two_times_to_wait_are_one_too_many(main: Main) -> None:
    assert main("restart", "-t", "1", "--time", "2", "a") == Outcome(
        1, "", "conflicting options: cannot specify both --timeout and --time\n"
    )


def test_rename_says_nothing_unless_it_fails(engine: FakeEngine, main: Main) -> None:
    engine.on("POST", "/containers/a/rename", Answer(None, 204))
    assert main("rename", "a", "b") == Outcome(0, "", "")
    assert engine.request("POST", "/containers/a/rename").query == {"name": ["b"]}
    assert main("container", "rename", "c", "d") == Outcome(
        1,
        "",
        "failed to rename container: Error response from daemon: page not found: /containers/c/rename\n",
    )


def test_update_sends_what_is_asked_and_prints_warnings_last(engine: FakeEngine, main: Main) -> None:
    engine.on("POST", "/containers/(a|b)/update", {"Warnings": ["No swap."]})
    flags = ("-m", "64m", "--memory-swap", "-1", "--cpus", "1.5", "--pids-limit", "-1", "--restart", "on-failure:3")
    assert main("update", *flags, "a", "b") == Outcome(0, "a\nb\nNo swap.\nNo swap.\n", "")
    body = engine.request("POST", "/containers/a/update").json
    said = {name: value for name, value in body.items() if value}
    assert said == {
        "Memory": 64 << 20,
        "MemorySwap": -1,
        "NanoCpus": 1_500_000_000,
        "PidsLimit": -1,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
    }


def test_update_sends_control_files_and_alerts_only_if_asked(engine: FakeEngine, main: Main) -> None:
    engine.on("POST", "/containers/(a|b)/update", {"Warnings": None})
    assert main("update", "--cgroup-conf", "memory.high=32M", "--psi-alert", "io:some:1ms/1s", "a").status == 0
    asked = engine.request("POST", "/containers/a/update").json
    assert (asked["Unified"], asked["PsiAlerts"]) == ({"memory.high": "32M"}, ["io:some:1ms/1s"])
    assert main("update", "--memory", "64m", "b").status == 0
    assert not {"Unified", "PsiAlerts"} & engine.request("POST", "/containers/b/update").json.keys()


def test_update_wants_a_flag(main: Main) -> None:
    assert main("update", "a") == Outcome(1, "", "you must provide one or more flags when using this command\n")


def test_top_is_a_table(engine: FakeEngine, main: Main) -> None:
    answer = {"Titles": ["PID", "COMMAND"], "Processes": [["1", "sh -c sleep"], ["23", "sleep"]]}
    engine.on("GET", "/containers/a/top", answer)
    assert main("top", "a", "-o", "pid,cmd").out == (
        "PID                 COMMAND\n1                   sh -c sleep\n23                  sleep\n"
    )
    assert engine.request("GET", "/containers/a/top").query == {"ps_args": ["-o pid,cmd"]}


def test_port_lists_bindings_in_natural_order(engine: FakeEngine, main: Main) -> None:
    ports = {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "9/udp": [{"HostIp": "", "HostPort": "9"}],
        "70/tcp": None,
    }
    engine.on("GET", "/containers/web/json", {"NetworkSettings": {"Ports": ports}})
    assert main("port", "web").out == "9/udp -> :9\n80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n"
    assert main("port", "web", "80").out == "0.0.0.0:8080\n[::]:8080\n"
    assert main("port", "web", "70/tcp") == Outcome(1, "", "no public port '70/tcp' published for web\n")


EXPOSED = [
    {
        "ContainerID": "a" * 64,
        "ContainerName": "web",
        "Network": "bridge",
        "Address": "0.0.0.0",
        "Port": 8080,
        "Protocol": "tcp",
        "ContainerPort": 80,
        "Interfaces": ["eth0", "wg0"],
        "ReachedBy": "everybody",
    },
    {
        "ContainerID": "b" * 64,
        "ContainerName": "db",
        "Network": "lan",
        "Address": "192.0.2.7",
        "Port": 0,
        "Protocol": "",
        "ContainerPort": 0,
        "Interfaces": [],
        "ReachedBy": "wire",
    },
]


def test_port_exposed_is_a_table_of_all_containers_or_of_one(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/ports", EXPOSED)
    engine.on("GET", "/containers/db/json", {"Id": "b" * 64})
    lines = [line.split("   ") for line in main("port", "--exposed").out.splitlines()]
    assert [[cell.strip() for cell in line if cell.strip()] for line in lines] == [
        ["ADDRESS", "PORT", "PROTO", "INTERFACES", "REACHED BY", "CONTAINER", "CONTAINER PORT", "NETWORK"],
        ["0.0.0.0", "8080", "tcp", "eth0,wg0", "everybody", "web", "80", "bridge"],
        ["192.0.2.7", "any", "any", "-", "who is on its wire", "db", "any", "lan"],
    ]
    assert main("port", "--exposed", "--format", "{{.ContainerID}}", "db").out == f"{'b' * 12}\n"
    assert main("port", "--exposed", "db", "80").err == (
        "conflicting options: --exposed takes a container, but no port\n"
    )
    assert "'sampan port' requires at least 1 and at most 2 arguments" in main("port").err


def test_logs_are_split_for_pipes_and_plain_for_terminals(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/containers/a/json", {"Id": "a1", "Config": {"Tty": False}})
    engine.on("GET", "/containers/b/json", {"Id": "b1", "Config": {"Tty": True}})
    engine.on("GET", "/containers/a1/logs", Answer(iter([b"\1\0\0\0\0\0\0\3ou", b"t\2\0\0\0\0\0\0\3err"])))
    engine.on("GET", "/containers/b1/logs", Answer(b"raw\1\r\n"))
    assert main("logs", "-f", "-t", "-n", "5", "a") == Outcome(0, "out", "err")
    assert engine.request("GET", "/containers/a1/logs").query == {
        "stdout": ["1"], "stderr": ["1"], "follow": ["1"], "timestamps": ["1"], "tail": ["5"],
    }  # fmt: skip
    assert main("logs", "b").out == "raw\1\r\n"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1700000000", "1700000000.000000000"),
        ("1700000000.5", "1700000000.500000000"),
        ("2023-11-14T22:13:20Z", "1700000000.000000000"),
        ("2023-11-14T22:13:20.123456789Z", "1700000000.123456789"),
        ("2023-11-14T23:13:20.1+01:00", "1700000000.100000000"),
        ("2023-11-14", "1699920000.000000000"),
    ],
)
def test_times_become_seconds(text: str, seconds: str, engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/containers/a/json", {"Id": "a", "Config": {"Tty": True}})
    engine.on("GET", "/containers/a/logs", Answer(b""))
    main("logs", "--since", text, "a")
    assert engine.request("GET", "/containers/a/logs").query["since"] == [seconds]


def test_a_duration_is_a_time_ago(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/containers/a/json", {"Id": "a", "Config": {"Tty": True}})
    engine.on("GET", "/containers/a/logs", Answer(b""))
    main("logs", "--since", "10m", "a")
    since = float(engine.request("GET", "/containers/a/logs").query["since"][0])
    assert abs(time.time() - 600 - since) < 30


def test_what_is_no_time_is_refused(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/containers/a/json", {"Id": "a", "Config": {"Tty": True}})
    assert main("logs", "--since", "soon", "a") == Outcome(
        1, "", 'invalid value for "since": failed to parse value as time or duration: "soon"\n'
    )
