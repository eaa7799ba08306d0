"""Containers through the API alone, for tests that need many, or nothing that a client adds."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tests.support.engines import Engine, UnixConnection

T = TypeVar("T")
IMAGE = "busybox:test"
REST_S = 0.5
Answer = tuple[int, Any]
FOREVER = ("sleep", "1000")


def call(engine: Engine, method: str, path: str, body: Any = None) -> Answer:
    """Status and body, decoded if it is a JSON object."""
    status, content = engine.request(method, path, body)
    return status, json.loads(content) if content.startswith(b"{") else content


def at_once(engine: Engine, *requests: tuple[Any, ...]) -> list[Answer]:
    """Make requests, each `(method, path)` or `(method, path, body)`, concurrently; answers are in request order."""
    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(lambda request: call(engine, *request), requests))


def create(engine: Engine, name: str, *command: str, host: Any = None, **config: Any) -> str:
    """Create a container from the busybox image; returns its id."""
    body = {"Image": IMAGE, "Cmd": command or FOREVER, "HostConfig": host or {}, **config}
    status, answer = call(engine, "POST", f"/containers/create?name={name}", body)
    assert status == 201, answer
    return str(answer["Id"])


def run(engine: Engine, name: str, *command: str, host: Any = None, **config: Any) -> str:
    """Like `create`, then start it."""
    id = create(engine, name, *command, host=host, **config)
    status, answer = call(engine, "POST", f"/containers/{id}/start")
    assert status == 204, answer
    return id


def state_of(engine: Engine, name: str) -> Any:
    return engine.get(f"/containers/{name}/json")["State"]


def send(engine: Engine, path: str, content: bytes, method: str = "POST") -> Answer:
    """Send an archive."""
    with contextlib.closing(UnixConnection(engine.socket)) as connection:
        connection.request(method, path, content)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@contextlib.contextmanager
def hijacked(engine: Engine, path: str) -> Iterator[socket.socket]:
    """A connection that has requested an upgrade; it is closed without further data."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(engine.socket))
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        yield connection


@contextlib.contextmanager
def events(engine: Engine) -> Iterator[Iterator[dict[str, Any]]]:
    """Events from now on."""
    with contextlib.closing(UnixConnection(engine.socket)) as connection:
        connection.request("GET", "/events")
        answer = connection.getresponse()
        yield (json.loads(line) for line in answer)


def await_event(told: Iterable[dict[str, Any]], action: str, id: str) -> dict[str, Any]:
    """Read events until one of this container begins with `action`."""
    return next(one for one in told if one["Action"].startswith(action) and one["Actor"]["ID"] == id)


def eventually(holds: Callable[[], bool], deadline_s: float = 10.0) -> bool:
    """Poll until `holds()`: for what the kernel or the daemon does after an answer, which no event announces."""
    end = time.monotonic() + deadline_s
    while not (done := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return done


def at_rest(look: Callable[[], T]) -> T:
    """The result of `look` once background work has settled: unchanged for half a second."""
    seen, since = look(), time.monotonic()

    def unchanged() -> bool:
        nonlocal seen, since
        if (now := look()) != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > REST_S

    assert eventually(unchanged, 30), seen
    return seen


def held_by(pid: int) -> list[str]:
    """The paths of a process's open files, except network namespaces, some of which the daemon creates in advance."""
    ways = map(_target, Path(f"/proc/{pid}/fd").iterdir())
    return sorted(way for way in ways if way and not way.startswith("net:"))


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except FileNotFoundError:  # closed since the listing
        return ""


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")
