"""The whole daemon in this process, over in-memory drivers and runtime: no root, no kernel, no network."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote

from fastapi import FastAPI
from pluggy import PluginManager

from sampan.api.app import create_app
from sampan.api.server import Listener, Server
from sampan.daemon.daemon import Daemon, Parts, Settings
from sampan.digest import Digest
from sampan.drivers import NetworkSettings, ResourceSettings
from sampan.drivers.loader import Provenance, load
from sampan.engine import Engine, Limits, install_workers
from sampan.images.index import ImageIndex, NewImage
from sampan.images.layer_maker import Layer
from sampan.images.reference import Reference
from sampan.images.registry_config import RegistryConfig
from sampan.images.store import ImageStore
from sampan.network.controller import NetworkController, NetworkDefaults
from sampan.state import Database
from sampan.testing.memory_network import MemoryNetwork
from sampan.testing.memory_resource import MemoryResource
from sampan.testing.memory_runtime import MemoryRuntime
from sampan.testing.memory_sandbox import MemorySandboxKernel
from sampan.testing.memory_storage import MemoryStorage
from tests.support.engines import UnixConnection
from tests.support.volume_driver import ShelfDriver

T = TypeVar("T")
_spare_apps: set[FastAPI] = set()  # creating one takes longer than most tests
IMAGE = "busybox:test"
JSON = MappingProxyType({"Content-Type": "application/json"})
UPGRADE = MappingProxyType({"Connection": "Upgrade", "Upgrade": "tcp"})


@dataclass(frozen=True)
class Answer:
    """The answer to one request. `body` is parsed if it is JSON."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def message(self) -> str:
        """Docker's error message."""
        return str(self.body["message"])


class InProcess:
    """What outlives a daemon, and successive daemons over it, all in one thread's event loop.

    `runtime`, `storage`, `network` and `resources` stand in for the kernel: tests inspect them, or make them fail.
    """

    def __init__(self, root: Path, storage: type[MemoryStorage] = MemoryStorage) -> None:
        self.root = root
        self.socket = root / "s"
        for path in ("data/containers", "data/volumes", "data/images", "exec/bundles", "storage", "shelf"):
            (root / path).mkdir(parents=True)
        self.storage = storage(root / "storage")
        self.network = MemoryNetwork(NetworkSettings(root, "test"))
        self.network_defaults = NetworkDefaults()
        self.sandboxes = MemorySandboxKernel()
        self.shelf = ShelfDriver(root / "shelf")
        self.resources = MemoryResource(ResourceSettings(root, "/sampan-test"))
        self.runtime = MemoryRuntime()
        self.daemon: Daemon
        self.engine: Engine
        self._server: Server
        self._app: FastAPI
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="daemon")
        self._thread.start()

    @property
    def url(self) -> str:
        """The daemon's address as clients take it."""
        return f"unix://{self.socket}"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the daemon's loop and return its result."""
        return self.begin(work).result(30)

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Schedule `work` in the daemon's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def start(self, limits: Limits | None = None, **settings: Any) -> None:
        """Start a daemon, wired as by `sampan.bootstrap`."""
        self.run(self._start(limits, settings))

    def stop(self) -> None:
        """Stop the daemon as SIGTERM does; containers keep running."""
        self.run(self._stop())

    def close(self) -> None:
        """Stop the daemon, the containers and the loop."""
        self.stop()
        self.run(self._end_containers())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- as a client

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Answer:
        """Make one request on a new connection."""
        with self.opened(method, path, body, headers) as answer:
            content = answer.read()
            told = {name.lower(): value for name, value in answer.getheaders()}
            is_json = told.get("content-type") == "application/json" and content
            return Answer(answer.status, json.loads(content) if is_json else content, told)

    @contextlib.contextmanager
    def opened(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[http.client.HTTPResponse]:
        """Make a request; yields the answer with its headers read and its body still to be read."""
        with contextlib.closing(UnixConnection(self.socket)) as connection:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {**(JSON if body is not None else {}), **headers})
            with connection.getresponse() as answer:
                yield answer

    @contextlib.contextmanager
    def hijacked(self, path: str, body: Any = None) -> Iterator[Raw]:
        """A POST that is hijacked to a raw connection."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(30)
            connection.connect(str(self.socket))
            content = b"" if body is None else json.dumps(body).encode()
            head = [f"POST {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in UPGRADE.items())]
            head += ["Content-Type: application/json", f"Content-Length: {len(content)}"] if content else []
            connection.sendall("\r\n".join([*head, "", ""]).encode() + content)
            with contextlib.closing(Raw(connection)) as raw:
                yield raw

    def create(self, *command: str, name: str = "", **fields: Any) -> str:
        """Create a container from the test image; returns its id. `fields` are those of Docker's request body."""
        body = {"Image": IMAGE, "Cmd": list(command or ("sleep", "infinity")), **fields}
        answer = self.call("POST", f"/containers/create?name={name}", body)
        assert answer.status == 201, answer
        return str(answer.body["Id"])

    def launch(self, *command: str, name: str = "", **fields: Any) -> str:
        """Like `create`, then start it."""
        id = self.create(*command, name=name, **fields)
        answer = self.call("POST", f"/containers/{id}/start")
        assert answer.status == 204, answer
        return id

    def finish(self, *command: str, name: str = "", **fields: Any) -> str:
        """Like `launch`, then wait until it exits by itself."""
        id = self.launch(*command, name=name, **fields)
        assert self.call("POST", f"/containers/{id}/wait").status == 200
        return id

    def state(self, name: str) -> dict[str, Any]:
        """The state of a container according to inspect."""
        answer = self.call("GET", f"/containers/{name}/json")
        assert answer.status == 200, answer
        return dict(answer.body["State"])

    def ps(self, filters: Mapping[str, Sequence[str]] | None = None, *, all: bool = True) -> list[str]:
        """The names of the listed containers."""
        path = f"/containers/json?all={int(all)}&filters={_quoted(filters)}"
        answer = self.call("GET", path)
        assert answer.status == 200, answer
        return [one["Names"][0].removeprefix("/") for one in answer.body]

    # --- the wiring

    async def _start(self, limits: Limits | None, settings: Mapping[str, Any]) -> None:
        engine = Engine(limits)
        workers = install_workers(8)
        engine.on_stop(lambda: asyncio.to_thread(workers.shutdown, wait=False))
        database = Database(self.root / "data/state.db")
        engine.on_stop(lambda: asyncio.to_thread(self.resources.close))
        engine.on_stop(lambda: asyncio.to_thread(database.close))
        if not list(self.storage.list()):
            await self._put_images(database)
        images = ImageStore(self.root / "data/images", self.storage, database, registries=RegistryConfig())
        await images.open()
        engine.on_stop(images.close)
        networks = NetworkController(
            {"bridge": self.network}, database, defaults=self.network_defaults, kernel=self.sandboxes
        )
        await networks.open()
        engine.on_stop(networks.close)
        parts = Parts(
            database,
            images,
            networks,
            self.runtime,
            self.storage,
            self.resources,
            _hooks(),
            _PROVENANCE,
            {"shelf": self.shelf},
        )
        self.daemon = Daemon(_settings(self.root, settings), parts, engine.serial)
        self.daemon.install(engine)
        await self.daemon.open()
        engine.on_stop(self.daemon.close)
        engine.started()
        self.engine = engine
        self._app = _spare_apps.pop() if _spare_apps else create_app(engine)
        self._app.state.engine = engine
        self._server = Server(self._app, [Listener(self.url)])
        await self._server.start()

    async def _stop(self) -> None:
        await self.engine.stop(1)  # ends the streams, so that the server need not wait for them
        await self._server.close(1)
        _spare_apps.add(self._app)  # a test may have stopped the daemon already

    async def _end_containers(self) -> None:
        for id in self.runtime.list():
            await self.runtime.delete(id)
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(left)

    async def _put_images(self, database: Database) -> None:
        """Unpacking needs root, so images are added as if already unpacked: committed snapshots and rows."""
        index = ImageIndex(database)
        index.load(set())
        for reference, files, config in _IMAGES:
            layer = self._commit(reference, files)
            document = {
                "architecture": "amd64",
                "os": "linux",
                "created": "2023-11-14T22:13:20Z",
                "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], **config},
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            }
            id = Digest.of(json.dumps(document).encode())
            await index.add(NewImage(id, document, (layer,)), [Reference.parse(reference)])

    def _commit(self, reference: str, files: Mapping[str, str]) -> Layer:
        digest = Digest(f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}")
        [mount] = self.storage.prepare(reference, None)
        for path, content in files.items():
            place = Path(mount.source, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)
        self.storage.commit(digest, reference)
        return Layer(digest, digest, None, 1000, digest, 1000)


class Raw:
    """The client's side of a hijacked connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._reader = connection.makefile("rb")
        self.status = int(self._reader.readline().split()[1])
        self.headers: dict[str, str] = {}
        while line := self._reader.readline().strip():
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    @property
    def message(self) -> str:
        """Docker's error message, if the answer is not a stream."""
        return str(json.loads(self._reader.read(int(self.headers["content-length"])))["message"])

    def frame(self) -> tuple[int, bytes] | None:
        """The next frame of a multiplexed stream, `None` at its end."""
        head = self._reader.read(8)
        return (head[0], self._reader.read(int.from_bytes(head[4:], "big"))) if head else None

    def read(self, size: int = -1) -> bytes:
        """Read raw bytes, to the end by default."""
        return self._reader.read(size)

    def send(self, content: bytes) -> None:
        self.connection.sendall(content)

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()

    def half_close(self) -> None:
        """Close the sending side."""
        self.connection.shutdown(socket.SHUT_WR)


def frames(content: bytes) -> list[tuple[int, bytes]]:
    """Split a whole multiplexed stream into its frames."""
    found = []
    while content:
        size = int.from_bytes(content[4:8], "big")
        found.append((content[0], content[8 : 8 + size]))
        content = content[8 + size :]
    return found


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Poll until `condition` holds; for state that no event announces."""
    ended = threading.Event()
    for _ in range(int(timeout_s / 0.01)):
        if condition():
            return
        ended.wait(0.01)
    raise AssertionError("it did not come to be")


def _quoted(filters: Mapping[str, Sequence[str]] | None) -> str:
    return quote(json.dumps(filters or {}))


@cache
def _hooks() -> PluginManager:
    return load().hooks


def _settings(root: Path, more: Mapping[str, Any]) -> Settings:
    fields: dict[str, Any] = {
        "data_root": root / "data",
        "exec_root": root / "exec",
        "name": "harbour",
        "id": "engine-id",
        "storage_driver": "memory",
        "network_driver": "memory",
        "resource_driver": "memory",
        "runtimes": {"memory": "/memory"},
        "default_runtime": "memory",
    }
    return Settings(**{**fields, **more})


_CHECK = {"Test": ["CMD", "true"], "Interval": 10_000_000, "Retries": 7}
_IMAGES: tuple[tuple[str, Mapping[str, str], Mapping[str, Any]], ...] = (
    (IMAGE, {"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nboat:x:1000:1000::/home:/bin/sh\n"}, {}),
    ("labelled:1", {"a": "a"}, {"Labels": {"planks": "3"}, "Healthcheck": _CHECK}),
    ("keeper:1", {"data/seed": "planted\n"}, {"Volumes": {"/data": {}}, "ExposedPorts": {"80/tcp": {}}}),
)
_PROVENANCE = tuple(
    Provenance(kind, "memory", "sampan-core", "0", f"memory_{kind}") for kind in ("storage", "network", "resource")
)
