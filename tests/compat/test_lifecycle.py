"""create, start, stop, kill, wait, rm, ps, inspect, logs."""

import json
import re
import subprocess
import time

import pytest

from tests.support.clients import Client
from tests.support.engines import Engine

IMAGE = "busybox:test"
TRAP = "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done"


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def close(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def await_log(client: Client, container: str, line: str) -> None:
    """Return when the container has printed `line`."""
    following = client.spawn("logs", "-f", container)
    assert following.stdout is not None
    assert any(read.strip() == line for read in following.stdout)
    close(following)


def test_created_container_starts_and_keeps_its_output(client: Client) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", client("create", "--name", "later", IMAGE, "echo", "later"))
    assert client("start", "later") == "later"
    assert client("wait", "later") == "0"
    assert client("logs", "later") == "later"


def test_start_with_attach_prints_and_passes_the_status(client: Client) -> None:
    client("create", "--name", "seen", IMAGE, "sh", "-c", "echo seen; exit 3")
    done = client.run("start", "-a", "seen")
    assert (done.stdout, done.returncode) == ("seen\n", 3)


def test_starting_a_running_container_changes_nothing(client: Client, engine: Engine) -> None:
    client("run", "-d", "--name", "twice", IMAGE, "sleep", "600")
    before = engine.get("/containers/twice/json")["State"]
    client("start", "twice")
    assert engine.get("/containers/twice/json")["State"] == before
    assert engine.request("POST", "/containers/twice/start")[0] == 304


def test_stop_asks_before_it_kills(client: Client) -> None:
    client("run", "-d", "--name", "polite", IMAGE, "sh", "-c", TRAP)
    await_log(client, "polite", "up")
    assert client("stop", "polite") == "polite"
    assert client("wait", "polite") == "9"


def test_stop_kills_what_does_not_listen(client: Client) -> None:
    client("run", "-d", "--name", "deaf", IMAGE, "sleep", "600")
    client("stop", "-t", "1", "deaf")
    assert client("wait", "deaf") == "137"


def test_kill_sends_the_signal_that_is_named(client: Client) -> None:
    client("run", "-d", "--name", "target", IMAGE, "sh", "-c", TRAP.replace("TERM", "USR1"))
    await_log(client, "target", "up")
    assert client("kill", "-s", "USR1", "target") == "target"
    assert client("wait", "target") == "9"


def test_wait_answers_when_the_container_ends(client: Client) -> None:
    client("run", "-d", "--name", "ending", IMAGE, "sh", "-c", TRAP)
    await_log(client, "ending", "up")
    waiting = client.spawn("wait", "ending")
    client("stop", "ending")
    assert waiting.communicate(timeout=30)[0] == "9\n"


def test_logs_follow_until_the_container_ends(client: Client) -> None:
    client("run", "-d", "--name", "talker", IMAGE, "sh", "-c", "mkfifo /go; echo one; read x </go; echo two")
    following = client.spawn("logs", "-f", "talker")
    assert first_line(following) == "one\n"
    client("exec", "-d", "talker", "sh", "-c", "echo >/go")  # -d: killed with the container
    assert following.communicate(timeout=30)[0] == "two\n"
    assert following.returncode == 0


def test_logs_tail_and_timestamps(client: Client) -> None:
    client("run", "--name", "lines", IMAGE, "seq", "1", "5")
    assert client("logs", "--tail", "2", "lines") == "4\n5"
    stamped = client("logs", "-t", "--tail", "1", "lines")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z 5", stamped)


def test_logs_keep_stderr_apart(client: Client) -> None:
    client("run", "--name", "both", IMAGE, "sh", "-c", "echo out; echo err >&2")
    done = client.run("logs", "both")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_rm_refuses_a_running_container_and_force_removes_it(client: Client, engine: Engine) -> None:
    client("run", "-d", "--name", "busy", IMAGE, "sleep", "600")
    done = client.run("rm", "busy")
    assert done.returncode == 1
    assert re.search(r"remove .*container|container is running", done.stderr)
    assert client("rm", "-f", "busy") == "busy"
    assert engine.request("GET", "/containers/busy/json")[0] == 404


def test_ps_shows_running_containers_and_all_of_them(client: Client) -> None:
    client("run", "-d", "--name", "runs", IMAGE, "sleep", "600")
    client.run("run", "--name", "ended", IMAGE, "sh", "-c", "exit 3")
    assert client("ps", "--format", "{{.Names}}") == "runs"
    assert sorted(client("ps", "-a", "--format", "{{.Names}}").split()) == ["ended", "runs"]
    assert client("ps", "-a", "--filter", "status=exited", "--format", "{{.Names}}") == "ended"
    table = client("ps", "-a")
    assert re.search(r"^CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES", table)
    assert re.search(r"Exited \(3\) .* ago", table)


def test_inspect_tells_state_and_configuration(client: Client) -> None:
    client("run", "--name", "told", "-e", "A=b", "--label", "plank=one", IMAGE, "true")
    shown = json.loads(client("inspect", "told"))[0]
    assert shown["Name"] == "/told"
    assert (shown["State"]["Status"], shown["State"]["ExitCode"]) == ("exited", 0)
    assert "A=b" in shown["Config"]["Env"]
    assert client("inspect", "--format", '{{index .Config.Labels "plank"}}', "told") == "one"


def test_pause_stops_and_unpause_goes_on(client: Client, engine: Engine) -> None:
    client("run", "-d", "--name", "frozen", IMAGE, "sleep", "600")
    assert client("pause", "frozen") == "frozen"
    assert client("ps", "--format", "{{.Status}}").endswith("(Paused)")
    done = client.run("exec", "frozen", "true")
    assert done.returncode == 1
    assert "is paused, unpause the container before exec" in done.stderr
    assert client("unpause", "frozen") == "frozen"
    assert client("exec", "frozen", "echo", "on") == "on"
    assert "is not paused" in client.run("unpause", "frozen").stderr


def test_restart_is_a_new_start(client: Client, engine: Engine) -> None:
    client("run", "-d", "--name", "again", IMAGE, "sleep", "600")
    before = engine.get("/containers/again/json")["State"]["StartedAt"]
    assert client("restart", "-t", "0", "again") == "again"
    after = engine.get("/containers/again/json")["State"]
    assert after["Running"]
    assert after["StartedAt"] > before


def test_rename_gives_another_name(client: Client, engine: Engine) -> None:
    client("create", "--name", "before", IMAGE, "true")
    assert client("rename", "before", "after") == ""
    assert engine.request("GET", "/containers/before/json")[0] == 404
    assert engine.get("/containers/after/json")["Name"] == "/after"
    assert client.run("rename", "after", "after").returncode == 1


def test_update_changes_the_restart_policy(client: Client, engine: Engine) -> None:
    client("run", "-d", "--name", "changed", IMAGE, "sleep", "600")
    assert client("update", "--restart", "on-failure:3", "changed") == "changed"
    policy = engine.get("/containers/changed/json")["HostConfig"]["RestartPolicy"]
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 3}


def test_top_shows_processes(client: Client) -> None:
    client("run", "-d", "--name", "busy", IMAGE, "sleep", "600")
    titles, process = client("top", "busy", "-o", "pid,args").split("\n")
    assert titles.split() == ["PID", "COMMAND"]
    assert process.split()[1:] == ["sleep", "600"]
    client("pause", "busy")
    client("unpause", "busy")


def test_prune_removes_what_does_not_run(client: Client, engine: Engine) -> None:
    client("run", "-d", "--name", "runs", IMAGE, "sleep", "600")
    client("run", "--name", "ended", "--label", "tier=low", IMAGE, "true")
    id = client("create", "--name", "made", IMAGE, "true")
    said = client("container", "prune", "-f", "--filter", "label!=tier=low")
    assert said.split("\n")[:2] == ["Deleted Containers:", id]
    assert "Total reclaimed space: " in said
    assert sorted(client("ps", "-a", "--format", "{{.Names}}").split()) == ["ended", "runs"]


def test_a_health_check_shows_in_ps(client: Client, engine: Engine) -> None:
    health = ("--health-cmd", "true", "--health-interval", "100ms")
    began = f"{time.time():.6f}"  # other containers of that name have events too
    client("run", "-d", "--name", "well", *health, IMAGE, "sleep", "600")
    following = client.spawn(
        "events", "--since", began, "--filter", "event=health_status", "--filter", "container=well"
    )
    assert "health_status: healthy" in first_line(following)
    close(following)
    assert client("ps", "--format", "{{.Status}}").endswith("(healthy)")


@pytest.mark.parametrize(
    "command", ["start", "stop", "kill", "logs", "wait", "rm", "attach", "pause", "restart", "top"]
)
def test_every_verb_says_that_there_is_no_such_container(client: Client, command: str) -> None:
    done = client.run(command, "nobody")
    assert done.returncode == 1
    assert "No such container: nobody" in done.stderr
