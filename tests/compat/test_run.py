"""`docker run` and `sampan run`: output, streams, terminal, exit statuses."""

import contextlib
import re
import secrets
import socket
from pathlib import Path

import pytest

from tests.support.clients import Client
from tests.support.engines import Engine

IMAGE = "busybox:test"


def free_port() -> int:
    """An unused port outside the kernel's ephemeral range (net.ipv4.ip_local_port_range)."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port


def await_server(client: Client, container: str) -> None:
    """Wait until the container's web server responds inside the container."""
    client("exec", container, "sh", "-c", "until wget -qO /dev/null http://127.0.0.1/; do sleep 0.05; done")


def test_run_prints_what_the_command_prints(client: Client) -> None:
    assert client("run", "--rm", IMAGE, "echo", "hi") == "hi"


def test_run_keeps_stdout_and_stderr_apart(client: Client) -> None:
    done = client.run("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_end_of_stdin_reaches_the_command(client: Client) -> None:
    assert client("run", "-i", "--rm", IMAGE, "cat", stdin="x\n") == "x"


def test_a_megabyte_goes_through_stdin_and_stdout_unchanged(client: Client) -> None:
    sent = "".join(f"{line:015x}\n" for line in range(65536))
    assert client.run("run", "-i", "--rm", IMAGE, "cat", stdin=sent).stdout == sent


@pytest.mark.parametrize("status", [0, 3])
def test_exit_status_is_the_commands_own(client: Client, status: int) -> None:
    assert client.run("run", "--rm", IMAGE, "sh", "-c", f"exit {status}").returncode == status


def test_exit_status_of_a_file_that_cannot_be_executed_is_126(client: Client) -> None:
    done = client.run("run", "--rm", IMAGE, "/etc/passwd")
    assert done.returncode == 126
    assert "permission denied" in done.stderr


def test_exit_status_of_a_missing_command_is_127(client: Client) -> None:
    done = client.run("run", "--rm", IMAGE, "no-such-command")
    assert done.returncode == 127
    assert re.search(r'exec: "no-such-command": executable file not found in \$PATH', done.stderr)


def test_exit_status_of_a_killed_container_is_137(client: Client) -> None:
    running = client.spawn("run", "--rm", "--name", "victim", IMAGE, "sh", "-c", "echo up; exec sleep 600")
    assert running.stdout is not None
    assert running.stdout.readline() == "up\n"
    client("kill", "victim")
    running.communicate(timeout=30)
    assert running.returncode == 137


def test_exit_status_of_the_engines_own_refusal_is_125(client: Client) -> None:
    done = client.run("run", "--rm", "--pull", "never", "no-such-image", "true")
    assert done.returncode == 125
    assert "No such image: no-such-image:latest" in done.stderr


def test_run_with_rm_leaves_no_container(client: Client, engine: Engine) -> None:
    client("run", "--rm", IMAGE, "true")
    assert engine.get("/containers/json?all=1") == []


def test_a_terminal_has_the_size_of_the_window_and_follows_it(client: Client) -> None:
    with client.terminal("run", "-it", "--rm", IMAGE, "sh", rows=30, columns=100) as terminal:
        terminal.expect("# ")
        terminal.send("until [ \"$(stty size)\" = '30 100' ]; do sleep 0.05; done; echo first''size\n")
        terminal.expect("firstsize")
        terminal.resize(41, 123)
        terminal.send("until [ \"$(stty size)\" = '41 123' ]; do sleep 0.05; done; echo second''size\n")
        terminal.expect("secondsize")
        terminal.send("tty; exit 5\n")
        terminal.expect("/dev/(pts/0|console)")
        assert terminal.wait() == 5


def test_control_c_reaches_the_foreground_program(client: Client) -> None:
    with client.terminal("run", "-it", "--rm", IMAGE, "sh") as terminal:
        terminal.expect("# ")
        terminal.send("sh -c 'echo wait''ing; exec sleep 600'\n")
        terminal.expect("waiting")
        terminal.send("\x03")
        terminal.send("echo status=$?\n")
        terminal.expect("status=130")
        terminal.send("exit\n")
        terminal.wait()


def test_detach_keys_leave_the_container_running(client: Client, engine: Engine) -> None:
    with client.terminal("run", "-it", "--name", "left", IMAGE, "sh") as terminal:
        terminal.expect("# ")
        terminal.send("\x10\x11")
        terminal.wait()
    assert engine.get("/containers/left/json")["State"]["Running"] is True


def test_attach_comes_back_to_a_detached_terminal(client: Client) -> None:
    client("run", "-dit", "--name", "back", IMAGE, "sh")
    with client.terminal("attach", "back") as terminal:
        terminal.send("echo he''re\n")
        terminal.expect("here")
        terminal.send("exit 4\n")
        assert terminal.wait() == 4


def test_a_published_port_a_volume_and_a_memory_limit(client: Client, engine: Engine) -> None:
    port = free_port()
    client(
        *("run", "-d", "-p", f"{port}:80", "-v", "planks:/data", "-m", "64m", "--name", "web"),
        *(IMAGE, "httpd", "-f", "-p", "80", "-h", "/www"),
    )
    assert engine.curl(f"http://127.0.0.1:{port}/") == "three planks\n"
    shown = engine.get("/containers/web/json")
    assert shown["HostConfig"]["Memory"] == 64 << 20
    assert shown["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == str(port)
    assert [(mount["Type"], mount["Name"], mount["Destination"]) for mount in shown["Mounts"]] == [
        ("volume", "planks", "/data")
    ]
    client("rm", "-f", "web")
    client("volume", "rm", "planks")


def test_the_engine_chooses_a_port_when_none_is_named(client: Client, engine: Engine) -> None:
    client("run", "-d", "-p", "127.0.0.1::80", "--name", "any", IMAGE, "httpd", "-f", "-p", "80", "-h", "/www")
    address = client("port", "any", "80/tcp") if client.name == "docker" else _first_port(engine, "any")
    assert engine.curl(f"http://{address}/") == "three planks\n"


def _first_port(engine: Engine, name: str) -> str:
    bound = engine.get(f"/containers/{name}/json")["NetworkSettings"]["Ports"]["80/tcp"][0]
    return f"{bound['HostIp']}:{bound['HostPort']}"


def test_a_volume_keeps_what_a_container_wrote(client: Client) -> None:
    client("run", "--rm", "-v", "kept:/data", IMAGE, "sh", "-c", "echo kept >/data/file")
    assert client("run", "--rm", "-v", "kept:/data:ro", IMAGE, "cat", "/data/file") == "kept"
    client("volume", "rm", "kept")


def test_a_bind_mount_shows_the_hosts_directory(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    assert client("run", "--rm", "-v", f"{tmp_path}:/mnt:ro", IMAGE, "cat", "/mnt/file") == "of the host"
    done = client.run("run", "--rm", "-v", f"{tmp_path}:/mnt:ro", IMAGE, "touch", "/mnt/new")
    assert "Read-only file system" in done.stderr


def test_environment_user_directory_and_host_name_are_as_asked(client: Client) -> None:
    shown = client(
        *("run", "--rm", "-e", "PLANK=one", "-u", "boat", "-w", "/tmp", "-h", "sampan"),
        *(IMAGE, "sh", "-c", 'echo "$PLANK $(id -u):$(id -g) $PWD $(hostname)"; id -G'),
    )
    assert shown == "one 1000:1000 /tmp sampan\n1000 2000"


def test_a_container_has_an_address_and_reaches_another_by_it(client: Client, engine: Engine) -> None:
    client("run", "-d", "--name", "peer", IMAGE, "httpd", "-f", "-p", "80", "-h", "/www")
    await_server(client, "peer")
    address = engine.get("/containers/peer/json")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert client("run", "--rm", IMAGE, "wget", "-q", "-O", "-", f"http://{address}/") == "three planks"


def test_network_none_has_only_loopback(client: Client) -> None:
    assert client("run", "--rm", "--network", "none", IMAGE, "ls", "/sys/class/net").split() == ["lo"]


def test_network_host_is_the_engines_own(client: Client) -> None:
    inside = client("run", "--rm", "--network", "host", IMAGE, "readlink", "/proc/self/ns/net")
    assert inside == _network_of(client.engine)


def _network_of(engine: Engine) -> str:
    assert engine.process is not None
    return str(Path(f"/proc/{engine.process.pid}/ns/net").readlink())


def test_a_read_only_root_refuses_writes(client: Client) -> None:
    done = client.run("run", "--rm", "--read-only", IMAGE, "touch", "/new")
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_init_reaps_and_forwards(client: Client) -> None:
    shown = client("run", "--rm", "--init", IMAGE, "sh", "-c", "cat /proc/1/comm; echo $$")
    name, pid = shown.splitlines()
    assert name in {"docker-init", "tini", "catatonit"}
    assert pid != "1"
