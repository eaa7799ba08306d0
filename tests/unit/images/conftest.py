import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sampan.images.store import Image, ImageStore, Reference, RegistryConfig
from sampan.state import Database
from sampan.testing.memory_storage import MemoryStorage
from tests.unit.images.fake_registry import FakeRegistry


@dataclass
class Items:
    """Collects progress items."""

    items: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, item: dict[str, Any]) -> None:
        self.items.append(item)

    @property
    def lines(self) -> list[str]:
        return [item.get("status") or item["stream"] for item in self.items]

    def of(self, id: str) -> list[str]:
        return [item["status"] for item in self.items if item.get("id") == id]


@dataclass
class Room:
    """A store on a memory driver, and everything it depends on."""

    root: Path
    storage: MemoryStorage
    database: Database
    store: ImageStore
    registry: FakeRegistry

    def reference(self, name: str) -> Reference:
        return Reference.parse(f"{self.registry.host}/{name}")

    async def pull(self, name: str, progress: Items | None = None, platform: str = "linux/amd64") -> Image:
        return await self.store.pull(self.reference(name), platform=platform, auth=None, progress=progress or Items())

    def blobs(self) -> set[str]:
        return {f"sha256:{path.name}" for path in (self.root / "images/content/blobs/sha256").glob("*")}

    def snapshots(self) -> set[str]:
        return {snapshot.name for snapshot in self.storage.list()}

    def is_empty(self) -> bool:
        ingest = list((self.root / "images/content/ingest").iterdir())
        rows = self.database.read(
            lambda connection: [
                row
                for table in ("images", "image_references", "layers")
                for row in connection.execute(f"SELECT * FROM {table}")
            ]
        )
        return not (self.blobs() or self.snapshots() or ingest or rows or self.store.list())

    def restarted(self) -> ImageStore:
        """A second store on the same state, as after the first was killed."""
        return ImageStore(self.root / "images", self.storage, self.database, registries=FAST)

    def mirrored(self, *mirrors: str) -> ImageStore:
        """The store, configured with mirrors of Docker Hub."""
        self.store._registries = replace(FAST, mirrors=mirrors)
        return self.store


FAST = RegistryConfig(retry_delay_s=0, attempts=3)


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    fake = FakeRegistry()
    runner = web.AppRunner(fake.application(), access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    fake.host = f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    yield fake
    for event in fake.held.values():
        event.set()
    await runner.cleanup()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db")
    yield database
    database.close()


MakeRoom = Callable[[bool], Coroutine[Any, Any, Room]]


@pytest.fixture(params=[True, False], ids=["detached", "attached"])
async def room(
    request: pytest.FixtureRequest, tmp_path: Path, database: Database, registry: FakeRegistry
) -> AsyncIterator[Room]:
    (tmp_path / "storage").mkdir()
    storage = MemoryStorage(tmp_path / "storage", detached=request.param)
    store = ImageStore(tmp_path / "images", storage, database, registries=FAST)
    await store.open()
    room = Room(tmp_path, storage, database, store, registry)
    yield room
    for one in {store, room.store}:  # a test may have replaced it
        await one.close()
    assert not [task for task in asyncio.all_tasks() if "sampan/images" in str(task.get_coro())]
