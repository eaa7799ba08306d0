"""docker-compose (1.29) with a Redis-backed web application: health checks, profiles, a registry; also docker-py."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker as docker_py
import pytest

from tests.compat.test_compose import Compose
from tests.support.clients import Client
from tests.support.containers import eventually
from tests.support.engines import Engine
from tests.support.registry import Registry

pytestmark = [
    pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed"),
    pytest.mark.timeout(900),  # for slow mirrors
]

FILE = """
services:
  web:
    image: {debian}
    command: ["python3", "/app/web.py"]
    networks: [front, back]
    volumes: ["./web.py:/app/web.py:ro"]
    ports: ["127.0.0.1::8000"]
    env_file: [settings.env]
    environment: {{STORE: store}}
    depends_on:
      store: {{condition: service_healthy}}
  store:
    image: {debian}
    command: ["redis-server", "--save", "", "--appendonly", "yes", "--dir", "/data", "--protected-mode", "no"]
    networks: [back]
    volumes: ["data:/data"]
    restart: unless-stopped
    healthcheck:
      test: ["CMD", "redis-cli", "ping"]
      interval: 1s
      timeout: 30s
      retries: 60
  once:
    image: {pulled}
    profiles: [tools]
    network_mode: none
    command: ["cat", "/etc/hostname"]
networks:
  front: {{}}
  back: {{internal: true}}
volumes:
  data: {{}}
"""

WEB = '''
"""Counts its visitors in Redis and says the count, in a greeting that the environment words."""
import http.server, os, socket

class Visit(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with socket.create_connection((os.environ["STORE"], 6379)) as store:
            store.sendall(b"INCR visits\\r\\n")
            count = store.makefile().readline().strip().removeprefix(":")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{os.environ['GREETING']} {count}\\n".encode())

print("open", flush=True)
http.server.ThreadingHTTPServer(("", 8000), Visit).serve_forever()
'''


@pytest.fixture
def compose(engine: Engine, debian: str, registry: Registry, tmp_path: Path) -> Iterator[Compose]:
    file = FILE.format(debian=debian, pulled=f"{registry.host}/planks/layered:test")
    compose = Compose(engine, tmp_path, file)
    (tmp_path / "web.py").write_text(WEB)
    (tmp_path / "settings.env").write_text("GREETING=welcome\n")
    yield compose
    compose("--profile", "tools", "down", "-v", "-t", "1")


def visit(compose: Compose, number: int = 1) -> str:
    address = compose("port", "--index", str(number), "web", "8000").strip()
    return compose.engine.curl(f"http://{address}/").strip()


def test_a_web_application_lives_with_its_store(compose: Compose, docker: Client) -> None:
    compose("up", "-d")
    assert visit(compose) == "welcome 1"
    assert "healthy" in compose("ps", "store")
    assert "open" in compose("logs", "--no-color", "web")
    assert compose("exec", "-T", "store", "redis-cli", "get", "visits").strip() == "1"

    compose("up", "-d", "--scale", "web=3")
    assert [visit(compose, number) for number in (1, 2, 3)] == ["welcome 2", "welcome 3", "welcome 4"]
    compose("up", "-d", "--scale", "web=1")
    assert docker("ps", "-q", "--filter", "label=com.docker.compose.service=web").count("\n") == 0

    compose("restart", "-t", "5", "store")
    assert eventually(lambda: "(healthy)" in compose("ps", "store"), 60)
    assert visit(compose) == "welcome 5"  # reloaded from the append-only file in the volume
    greeting = compose(
        "run",
        "--rm",
        "-T",
        "-e",
        "GREETING=hello",
        "web",
        "python3",
        "-c",
        "import os; print(os.environ['GREETING'])",
    )
    assert greeting.strip().endswith("hello")
    compose("down", "-t", "5")
    compose("up", "-d")
    assert visit(compose) == "welcome 6"


def test_the_store_is_kept_from_the_outside(compose: Compose, docker: Client) -> None:
    compose("up", "-d")
    networks = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", "boat_store_1"))
    assert networks.keys() == {"boat_back"} and networks["boat_back"]["Gateway"] == ""
    assert docker("exec", "boat_store_1", "sh", "-c", "cat /proc/net/route | wc -l") == "2"  # the header, the subnet


def test_a_profile_is_pulled_and_run_when_asked_for(compose: Compose, docker: Client, registry: Registry) -> None:
    compose("up", "-d", "store")
    assert "once" not in compose("ps")
    compose("--profile", "tools", "pull", "once")
    assert f"{registry.host}/planks/layered" in docker("images", "--format", "{{.Repository}}")
    compose("--profile", "tools", "up", "once")
    assert docker("inspect", "--format", "{{.State.ExitCode}}", "boat_once_1") == "0"
    docker("rm", "boat_once_1")
    docker("rmi", f"{registry.host}/planks/layered:test")


def test_docker_py_finds_and_drives_what_compose_made(compose: Compose, engine: Engine) -> None:
    compose("up", "-d")
    with closing(docker_py.DockerClient(base_url=engine.host, version="auto")) as library:
        project = {"label": "com.docker.compose.project=boat"}
        services = {one.labels["com.docker.compose.service"]: one for one in library.containers.list(filters=project)}
        assert services.keys() == {"web", "store"}
        assert services["store"].attrs["State"]["Health"]["Status"] == "healthy"
        code, output = services["store"].exec_run(["redis-cli", "set", "visits", "41"])
        assert (code, output) == (0, b"OK\n")
        assert visit(compose) == "welcome 42"
        assert {one.name for one in library.networks.list(filters=project)} == {"boat_front", "boat_back"}
        assert [one.name for one in library.volumes.list(filters=project)] == ["boat_data"]
