"""Clients killed at random moments of any request leave nothing behind in the daemon."""

import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Archives, LoadedSampand
from tests.support.clients import Client
from tests.support.containers import IMAGE, at_rest, eventually, held_by, run
from tests.support.engines import Sampand
from tests.support.holdings import difference, holdings

pytestmark = pytest.mark.root
AT_ONCE = 6
WARM_UP = 24
KILLS = 240
LONGEST_S = 0.8
SMALL_LOG = {"LogConfig": {"Type": "json-file", "Config": {"max-size": "20k", "max-file": "2"}}}
TALK = "while :; do echo $(seq 1 50); sleep 0.01; done"


@pytest.fixture
def engine(loaded_sampand: LoadedSampand) -> Iterator[Sampand]:
    with loaded_sampand() as engine:
        yield engine


def commands(archive: Path) -> list[list[str]]:
    """One of each kind of request: short ones, streams in both directions, and changes."""
    lines = f"""
        logs talk
        logs --follow talk
        logs --follow --tail 1000 talk
        attach --sig-proxy=false talk
        attach --sig-proxy=false quiet
        exec talk cat /bin/busybox
        exec --interactive quiet cat
        run --rm {IMAGE} echo hello
        run --rm --interactive {IMAGE} cat /bin/busybox
        wait quiet
        events
        stats
        cp quiet:/bin/busybox -
        cp {archive} quiet:/archive
        export quiet
        diff quiet
        commit quiet copied:1
        save {IMAGE}
        load --input {archive}
        system df --verbose
    """
    return [line.split() for line in lines.strip().splitlines()]


def kill_clients(client: Client, archive: Path, count: int) -> None:
    """Start `count` commands, several at a time, and kill those that take too long."""
    run(client.engine, "talk", "sh", "-c", TALK, host=SMALL_LOG)
    run(client.engine, "quiet", "cat", OpenStdin=True)
    choices = commands(archive)

    def kill_some(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(count // AT_ONCE):
            process = subprocess.Popen(
                client.command(*chance.choice(choices)),
                stdin=subprocess.PIPE,
                stdout=chance.choice((subprocess.PIPE, subprocess.DEVNULL)),  # left unread for now, or discarded
                stderr=subprocess.DEVNULL,
            )
            try:
                process.wait(chance.random() * LONGEST_S)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(kill_some, range(AT_ONCE)))


def clear_away(client: Client, image_id: str) -> None:
    """Remove all containers and the created images."""
    for id in client("ps", "--all", "--quiet").split():
        client.run("rm", "--force", id)  # a `run --rm` may be removing it already
    for image in ("copied:1", image_id):
        client.run("rmi", image)
    client("image", "prune", "--force")


@pytest.mark.timeout(600)
def test_clients_that_are_killed_leave_nothing(engine: Sampand, archives: Archives) -> None:
    assert engine.process is not None
    client, pid = Client("docker", engine), engine.process.pid
    before: dict[str, list[str]] = {}
    files = 0
    for count in (WARM_UP, KILLS):
        before, files = at_rest(lambda: holdings(engine)), len(held_by(pid))
        kill_clients(client, archives.layered, count)
        clear_away(client, archives.layered_id)
    assert eventually(lambda: not difference(before, holdings(engine)), 30), difference(before, holdings(engine))
    assert eventually(lambda: len(held_by(pid)) <= files, 30), held_by(pid)
    assert "Traceback" not in engine.log.read_text()
