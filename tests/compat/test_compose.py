"""Debian's docker-compose (1.29) with an application of two services, two networks and a volume."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import Client
from tests.support.engines import Engine

FILE = """
version: "3.8"
services:
  web:
    image: busybox:test
    command: ["httpd", "-f", "-h", "/data"]
    networks: [front, back]
    volumes: ["content:/data"]
    depends_on: [store]
    ports: ["127.0.0.1::80"]
    env_file: [settings.env]
  store:
    image: busybox:test
    command: ["sh", "-c", "echo stored > /data/index.html; echo ready; exec sleep 1000"]
    networks:
      back:
        aliases: [keeper]
    volumes: ["content:/data"]
networks:
  front: {}
  back:
    internal: true
volumes:
  content: {}
"""

pytestmark = pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")


class Compose:
    """docker-compose, run in a directory with a compose file."""

    def __init__(self, engine: Engine, directory: Path, file: str) -> None:
        self.engine = engine
        self.directory = directory
        (directory / "docker-compose.yml").write_text(file)

    def __call__(self, *words: str) -> str:
        environment = {**os.environ, "DOCKER_HOST": self.engine.host, "COMPOSE_PROJECT_NAME": "boat"}
        command = [*self.engine.prefix, "docker-compose", "--ansi", "never", *words]
        done = subprocess.run(
            command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def compose(engine: Engine, tmp_path: Path) -> Iterator[Compose]:
    (tmp_path / "settings.env").write_text("PLANKS=3\n")
    compose = Compose(engine, tmp_path, FILE)
    yield compose
    compose("down", "-v", "-t", "1")


def test_an_application_goes_up_is_scaled_and_goes_down(compose: Compose, engine: Engine, docker: Client) -> None:
    compose("up", "-d")
    status = compose("ps")
    assert "boat_web_1" in status and "boat_store_1" in status and "->80/tcp" in status
    assert "ready" in compose("logs", "store")
    address = compose("port", "web", "80").strip()
    assert engine.curl(f"http://{address}/") == "stored\n"
    assert compose("exec", "-T", "web", "wget", "-qO-", "http://web.boat_front/").strip() == "stored"
    assert "Name:\tkeeper" in compose("exec", "-T", "web", "nslookup", "keeper")
    assert compose("exec", "-T", "web", "sh", "-c", "echo $PLANKS").strip() == "3"
    compose("up", "-d", "--scale", "store=2")
    answer = compose("exec", "-T", "web", "nslookup", "store")
    addresses = {line.split()[1] for line in answer.splitlines() if line.startswith("Address: ")}
    assert len(addresses) == 2, answer
    compose("restart", "-t", "1", "web")
    assert engine.curl(f"http://{compose('port', 'web', '80').strip()}/") == "stored\n"
    assert compose("run", "--rm", "-T", "store", "echo", "once").strip().endswith("once")
    compose("down", "-v", "-t", "1")
    assert "boat" not in docker("network", "ls") + docker("volume", "ls") + docker("ps", "-a")
