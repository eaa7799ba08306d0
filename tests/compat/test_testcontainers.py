"""testcontainers-python from PyPI: what a test program creates, and the clean-up after one that was killed.

Its reaper, Ryuk, is a separate image, replaced here by an equivalent stand-in of the same name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.clients import Client
from tests.support.containers import await_event, events
from tests.support.engines import Engine

pytestmark = pytest.mark.timeout(900)  # for slow mirrors

RYUK = "testcontainers/ryuk:0.8.1"
REAPER = '''
"""Reads filters from the one who connects, and removes what they match when he is gone."""
import http.client, json, socket, urllib.parse

class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")

def ask(method, path):
    connection = Connection("localhost")
    connection.request(method, path)
    return connection.getresponse().read()

listener = socket.create_server(("", 8080))
print("ryuk Started!", flush=True)
connection, _ = listener.accept()
lines = connection.makefile("rw")
filters = []
try:
    for line in lines:
        filters.append(line.strip())
        lines.write("ACK\\n")
        lines.flush()
except ConnectionResetError:  # he has not read everything
    pass
for line in filters:
    labels = [label for kind, label in urllib.parse.parse_qsl(line) if kind == "label"]
    query = urllib.parse.urlencode({"all": 1, "filters": json.dumps({"label": labels})})
    for found in json.loads(ask("GET", f"/containers/json?{query}")):
        ask("DELETE", f"/containers/{found['Id']}?force=1&v=1")
'''

HEAD = """
import os, signal, urllib.request
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import HealthcheckWaitStrategy, HttpWaitStrategy, LogMessageWaitStrategy
"""

LIFE = """
server = (
    DockerContainer("busybox:test")
    .with_command(["sh", "-c", 'mkdir /srv; echo "$WORD" > /srv/index.html; exec httpd -f -h /srv'])
    .with_env("WORD", "three planks")
    .with_exposed_ports(80)
    .with_copy_into_container(b"sent along", "/sent")
    .waiting_for(HttpWaitStrategy(80))
)
with Network() as network, server.with_network(network).with_network_aliases("harbour"):
    url = f"http://{server.get_container_host_ip()}:{server.get_exposed_port(80)}/"
    print(urllib.request.urlopen(url).read().decode().strip())
    print(server.exec(["cat", "/sent"]).output.decode())
    guest = DockerContainer("busybox:test").with_network(network)
    with guest.with_command(["wget", "-qO-", "http://harbour/"]):
        print(guest.wait(), guest.get_logs()[0].decode().strip())
"""

STORE = """
store = (
    DockerContainer("debian:made-here")
    .with_command(["redis-server", "--save", "", "--protected-mode", "no"])
    .with_exposed_ports(6379)
    .with_kwargs(healthcheck={"test": ["CMD", "redis-cli", "ping"], "interval": 10**9})
    .waiting_for(HealthcheckWaitStrategy())
)
with store:
    print(store.exec(["redis-cli", "incr", "visits"]).output.decode().strip(), store.status)
    print("Ready to accept connections" in store.get_logs()[0].decode())
"""

KILLED = """
left = DockerContainer("busybox:test").with_command(["sleep", "1000"]).start()
print(left.get_wrapped_container().id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def ryuk(shared_engine: Engine, debian: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    script = tmp_path_factory.mktemp("ryuk") / "reaper.py"
    script.write_text(REAPER)
    with closing(Client("docker", shared_engine)) as docker:
        docker("create", "--name", "ryuk", debian, "python3", "/reaper.py")
        docker("cp", str(script), "ryuk:/reaper.py")
        docker("commit", "ryuk", RYUK)
        docker("rm", "ryuk")
        yield
        docker("rmi", RYUK)


@pytest.fixture
def program(engine: Engine, ryuk: None, tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a user's test program to completion."""
    environment = {**os.environ, "DOCKER_HOST": engine.host, "TC_POOLING_INTERVAL": "0.1", "HOME": str(tmp_path)}

    def run(text: str) -> subprocess.CompletedProcess[str]:
        words = [*engine.prefix, sys.executable, "-c", HEAD + text]
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)

    return run


def test_containers_and_a_network_of_a_program(
    program: Callable[[str], subprocess.CompletedProcess[str]], docker: Client
) -> None:
    done = program(LIFE)
    assert done.stdout.splitlines() == ["three planks", "sent along", "0 three planks"], done.stderr
    assert docker("ps", "-aq") == ""


def test_a_store_is_waited_for_by_its_health_check(
    program: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    done = program(STORE)
    assert done.stdout.splitlines() == ["1 running", "True"], done.stderr


def test_what_a_killed_program_leaves_is_reaped(
    program: Callable[[str], subprocess.CompletedProcess[str]], engine: Engine
) -> None:
    with events(engine) as told:
        done = program(KILLED)
        assert done.returncode == -signal.SIGKILL, done.stderr
        await_event(told, "destroy", done.stdout.strip())
