"""kill -9 and restart of the daemon: traffic among containers and with the outside never stops."""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.compat.test_run import free_port
from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.containers import call, eventually, run
from tests.support.engines import Engine, Sampand
from tests.support.images import BUSYBOX

PING = (str(BUSYBOX), "ping", "-i", "0.01")
ECHO = ("nc", "-ll", "-p", "80", "-e", "cat")


class Talk:
    """A connection that repeatedly sends a word and waits for the echo."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._connection = socket.create_connection(address, timeout=60)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._talk)
        self.words = 0
        self.trouble = ""

    def __enter__(self) -> Talk:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._connection.close()

    def goes_on(self) -> bool:
        """Whether another word is echoed."""
        before = self.words
        return eventually(lambda: self.words > before)

    def _talk(self) -> None:
        echo = self._connection.makefile("rb")
        try:
            while not self._ended.wait(0.01):
                word = b"%d\n" % self.words
                self._connection.sendall(word)
                answer = echo.readline()
                if answer != word:
                    self.trouble = f"{word!r} came back as {answer!r}"
                    return
                self.words += 1
        except OSError as error:
            self.trouble = str(error)


class Pings:
    """The pings of a process that prints a line per reply."""

    def __init__(self, told: Path) -> None:
        self._told = told

    def answered(self) -> set[int]:
        """The sequence numbers of the pings answered."""
        return {int(number) for number in re.findall(r" seq=(\d+) ttl=.* ms\n", self._told.read_text())}

    def lost(self) -> set[int]:
        """The sequence numbers unanswered although a later one was answered; pings in flight don't count."""
        answered = self.answered()
        return set(range(max(answered, default=0))) - answered

    def go_on(self) -> bool:
        """Whether another ping is answered."""
        before = self.answered()
        return eventually(lambda: self.answered() > before)


@contextmanager
def pinging(engine: Engine, source: str, address: str) -> Iterator[Pings]:
    """Ping an address from a container 100 times a second, by a process that no daemon started."""
    words = ["nsenter", f"--net=/proc/{pid_of(engine, source)}/ns/net", *PING, address]
    with tempfile.NamedTemporaryFile() as told, subprocess.Popen(words, stdout=told) as process:
        try:
            yield Pings(Path(told.name))
        finally:
            process.kill()


def pid_of(engine: Engine, name: str) -> int:
    return int(engine.get(f"/containers/{name}/json")["State"]["Pid"])


def address_of(engine: Engine, name: str, *, version: int = 4) -> str:
    field = {4: "IPAddress", 6: "GlobalIPv6Address"}[version]
    return str(engine.get(f"/containers/{name}/json")["NetworkSettings"]["Networks"]["one"][field])


def asked(pid: int, name: str) -> str:
    """The answer of the container's name server, with a one-second timeout."""
    dig = ["nsenter", f"--net=/proc/{pid}/ns/net", "dig", "@127.0.0.11", "+short", "+tries=1", "+time=1", name]
    return subprocess.run(dig, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def engine(start_sampand: Callable[..., Sampand], archives: Archives) -> Sampand:
    engine = start_sampand()
    with closing(Client("docker", engine)) as docker:
        docker("load", "--input", str(archives.busybox))
    status, answer = call(engine, "POST", "/networks/create", {"Name": "one", "EnableIPv6": True})
    assert status == 201, answer
    return engine


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("end", [Sampand.kill, Sampand.stop])
def test_nothing_is_lost_while_the_daemon_ends_and_starts(engine: Sampand, end: Callable[[Sampand], None]) -> None:
    port = free_port()
    published = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    run(engine, "server", *ECHO, host={"NetworkMode": "one", "PortBindings": published})
    run(engine, "client", host={"NetworkMode": "one"})
    assert eventually(lambda: listens(port))
    client, addresses = pid_of(engine, "client"), [address_of(engine, "server", version=v) for v in (4, 6)]
    with (
        pinging(engine, "client", addresses[0]) as four,
        pinging(engine, "client", addresses[1]) as six,
        Talk(("127.0.0.1", port)) as talk,
    ):
        assert talk.goes_on(), talk.trouble
        end(engine)
        engine.start()
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"new\n")
            assert connection.recv(4) == b"new\n"
        assert asked(client, "server") == addresses[0]
        assert talk.goes_on(), talk.trouble
        for pings in (four, six):
            assert pings.go_on()
            assert pings.lost() == set()
    assert not talk.trouble
