"""`exec`: output, streams, terminal, exit statuses."""

import pytest

from tests.support.clients import Client
from tests.support.engines import Dockerd

IMAGE = "busybox:test"


@pytest.fixture
def box(client: Client) -> str:
    """The name of a running container."""
    client("run", "-d", "--name", "box", "-e", "PLANK=one", IMAGE, "sleep", "600")
    return "box"


def test_exec_prints_what_the_command_prints(client: Client, box: str) -> None:
    assert client("exec", box, "sh", "-c", "echo $PLANK") == "one"


def test_exec_passes_the_exit_status_on(client: Client, box: str) -> None:
    assert client.run("exec", box, "sh", "-c", "exit 3").returncode == 3


def test_exec_of_a_missing_command_is_127(client: Client, box: str) -> None:
    done = client.run("exec", box, "no-such-command")
    assert done.returncode == (126 if isinstance(client.engine, Dockerd) else 127)  # 126 before Docker 23
    assert 'exec: "no-such-command": executable file not found in $PATH' in done.stdout + done.stderr


def test_exec_reads_stdin_to_its_end(client: Client, box: str) -> None:
    assert client("exec", "-i", box, "wc", "-c", stdin="12345") == "5"


def test_exec_has_a_terminal_that_follows_the_window(client: Client, box: str) -> None:
    with client.terminal("exec", "-it", box, "sh", rows=30, columns=100) as terminal:
        terminal.expect("# ")
        terminal.send("until [ \"$(stty size)\" = '30 100' ]; do sleep 0.05; done; echo first''size\n")
        terminal.expect("firstsize")
        terminal.resize(41, 123)
        terminal.send("until [ \"$(stty size)\" = '41 123' ]; do sleep 0.05; done; echo second''size\n")
        terminal.expect("secondsize")
        terminal.send("exit 6\n")
        assert terminal.wait() == 6


def test_exec_takes_user_directory_and_environment(client: Client, box: str) -> None:
    words = ("exec", "-u", "boat", "-w", "/tmp", "-e", "PLANK=two", box, "sh", "-c", "echo $(id -u) $PWD $PLANK")
    assert client(*words) == "1000 /tmp two"


def test_exec_in_the_background_returns_at_once(client: Client, box: str) -> None:
    client("exec", box, "mkfifo", "/go")
    client("exec", "-d", box, "sh", "-c", "read x </go; echo done >/go")
    assert client("exec", box, "sh", "-c", "echo >/go; cat /go") == "done"


def test_exec_needs_a_running_container(client: Client) -> None:
    client("create", "--name", "still", IMAGE, "true")
    done = client.run("exec", "still", "true")
    assert done.returncode == 1
    assert "is not running" in done.stderr
