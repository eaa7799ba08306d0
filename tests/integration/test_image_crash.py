"""kill -9 at random moments of pulls and loads, clients that disconnect, and a disk that fills up."""

import contextlib
import hashlib
import io
import json
import os
import random
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.compat.test_daemon_trouble import await_room, tmpfs, used
from tests.support.containers import at_rest, call, eventually, send
from tests.support.engines import Sampand, UnixConnection, running
from tests.support.holdings import rows, snapshots
from tests.support.images import Entry, directory, docker_archive, layer, symlink
from tests.support.registry import Registry

pytestmark = pytest.mark.root
ROUNDS, LARGE_ROUNDS = 12, 100
TABLES = ("images", "image_references", "layers")
State = dict[str, list[str] | int]


def layers(count: int, file_bytes: int) -> list[bytes]:
    """Layers of one large file and many small ones each, which modify those below."""
    chance = random.Random(count)
    made = [layer([directory("d"), directory("gone"), Entry("gone/file", b"x"), symlink("link", "d")])]
    for number in range(count):
        small = [Entry(f"d/{number}-{index}", chance.randbytes(chance.randrange(3000))) for index in range(300)]
        large = Entry(f"large{number}", chance.randbytes(file_bytes))
        made.append(layer([directory(f"d{number}"), *small, large, Entry("link/through", b"%d" % number)]))
    made.append(layer([Entry(".wh.gone", b""), Entry("large0", b"replaced")]))
    return made


class Images:
    """What a test pulls and loads: an archive, and the same image in a registry."""

    def __init__(self, root: Path, registry: Registry, count: int, file_bytes: int) -> None:
        archive, name = root / "image.tar", f"planks/{root.name}:1"
        self.id = docker_archive(archive, name, layers(count, file_bytes))
        self.archive = archive.read_bytes()
        self.reference = registry.push(archive, name)


@pytest.fixture(scope="module")
def registry(session_dir: Path) -> Iterator[Registry]:
    with closing(Registry(Path(tempfile.mkdtemp(prefix="r", dir=session_dir)))) as registry:
        yield registry


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Images:
    return Images(tmp_path_factory.mktemp("images"), registry, count=3, file_bytes=6 << 20)


@pytest.fixture(scope="module")
def engine(session_dir: Path, leak_marks: list[str]) -> Iterator[Sampand]:
    engine = Sampand(Path(tempfile.mkdtemp(prefix="k", dir=session_dir)))
    leak_marks.extend(engine.marks)
    with running(engine):
        yield engine


def content(engine: Sampand) -> Path:
    return engine.data_root / "images/content"


def beginnings(engine: Sampand) -> list[str]:
    return sorted(path.name for path in (content(engine) / "begun").glob("*/*"))


def state(engine: Sampand) -> State:
    """Everything stored for images; blobs are listed with the digest of their content."""
    blobs = (content(engine) / "blobs").glob("*/*")
    return {
        "blobs": sorted(f"{path.name} {_digest(path)}" for path in blobs),
        "ingests": [path.name for path in (content(engine) / "ingest").iterdir()],
        "snapshots": snapshots(engine),
        "directories": sum(1 for _ in (engine.data_root / "drivers/overlayfs").glob("*/*")),
        "mounts": [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(engine.root) in line
        ],
        **{table: len(rows(engine, table)) for table in TABLES},
    }


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:  # it is being removed
        return ""


def pull(engine: Sampand, images: Images) -> None:
    status, answer = engine.request("POST", f"/images/create?fromImage={images.reference}")
    assert (status, b"errorDetail" in answer) == (200, False), answer


def load(engine: Sampand, images: Images) -> None:
    status, answer = send(engine, "/images/load", images.archive)
    assert (status, "errorDetail" in answer) == (200, False), answer


def remove(engine: Sampand, images: Images) -> None:
    assert call(engine, "DELETE", f"/images/{images.id}?force=1")[0] == 200


def files(engine: Sampand, images: Images) -> str:
    """A digest of all the image's files, as a container sees them."""
    status, answer = call(engine, "POST", "/containers/create?name=look", {"Image": images.id, "Cmd": ["x"]})
    assert status == 201, answer
    try:
        with tarfile.open(fileobj=io.BytesIO(engine.request("GET", "/containers/look/export")[1])) as archive:
            listed = [_described(archive, member) for member in archive]
    finally:
        assert call(engine, "DELETE", "/containers/look")[0] == 204
    assert len(listed) > 300
    return hashlib.sha256("\n".join(sorted(listed)).encode()).hexdigest()


def _described(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member) if member.isreg() else None
    found = hashlib.sha256(file.read()).hexdigest() if file else ""
    return f"{member.name} {member.type!r} {member.mode} {member.uid} {member.linkname} {found}"


class Killer:
    """Repeats an operation, killing the daemon at a random moment during it."""

    def __init__(self, engine: Sampand, images: Images, deed: Callable[[Sampand, Images], None]) -> None:
        self._engine = engine
        self._images = images
        self._deed = deed
        self._took_s = float("inf")
        self.empty = at_rest(lambda: state(engine))
        self.whole = self._whole()
        self.files = files(engine, images)
        self.killed_within = 0
        self._remove()

    def round(self) -> None:
        """Kill the daemon once; the next one finds nothing half done, and completes the operation."""
        self._killed_in_the_middle()
        self._engine.start()
        found = state(self._engine)
        assert eventually(lambda: state(self._engine) in (self.empty, self.whole)), (found, self.empty)
        assert problems(self._engine) == []
        before = self._is_here()
        if not before:
            self._whole()
        assert files(self._engine, self._images) == self.files
        assert problems(self._engine) == []
        assert not (beginnings(self._engine) and self._deed is pull and not before)
        self._remove()

    def _whole(self) -> State:
        began = time.monotonic()
        self._deed(self._engine, self._images)
        self._took_s = min(self._took_s, time.monotonic() - began)
        return at_rest(lambda: state(self._engine))

    def _remove(self) -> None:
        remove(self._engine, self._images)
        assert eventually(lambda: state(self._engine) == self.empty), (state(self._engine), self.empty)

    def _is_here(self) -> bool:
        return bool(self._engine.get("/images/json"))

    def _killed_in_the_middle(self) -> None:
        ended = threading.Event()

        def work() -> None:
            with contextlib.suppress(OSError, HTTPException):  # the daemon died while answering
                self._deed(self._engine, self._images)
            ended.set()

        working = threading.Thread(target=work)
        working.start()
        self.killed_within += not ended.wait(random.uniform(0, self._took_s))
        self._engine.kill()
        working.join()


def problems(engine: Sampand) -> list[str]:
    """What the engine's own check of the store reports: it covers every digest, snapshot and reference."""
    return [str(one) for one in engine.get("/system/check")["Problems"]]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("deed", [pull, load])
def test_a_daemon_killed_at_any_moment_leaves_a_clean_store(
    request: pytest.FixtureRequest, engine: Sampand, images: Images, deed: Callable[[Sampand, Images], None]
) -> None:
    random.seed(os.environ.get("SAMPAN_TEST_SEED", "planks"))
    rounds = (LARGE_ROUNDS if request.config.getoption("--large") else ROUNDS) // 2
    killer = Killer(engine, images, deed)
    for _ in range(rounds):
        killer.round()
    print(f"{killer.killed_within} of {rounds} kills came before the end")
    assert killer.killed_within > rounds // 4


def test_a_client_that_leaves_is_no_loss(engine: Sampand, images: Images) -> None:
    """What was downloaded is kept for the next pull, which requests the rest."""
    before = at_rest(lambda: state(engine))
    with closing(UnixConnection(engine.socket)) as connection:
        connection.request("POST", f"/images/create?fromImage={images.reference}")
        answer = connection.getresponse()
        for line in answer:
            if json.loads(line)["status"] == "Download complete":
                break
        connection.close()
    assert eventually(lambda: bool(beginnings(engine)) and state(engine) == before), (state(engine), before)
    pull(engine, images)
    assert beginnings(engine) == []
    remove(engine, images)
    assert eventually(lambda: state(engine) == before)


@pytest.mark.parametrize("deed", [pull, load])
def test_a_full_disk_is_named_and_leaves_nothing(
    session_dir: Path, leak_marks: list[str], registry: Registry, deed: Callable[[Sampand, Images], None]
) -> None:
    root = Path(tempfile.mkdtemp(prefix="f", dir=session_dir))
    (root / "large").mkdir()
    (root / "small").mkdir()
    too_large, fitting = Images(root / "large", registry, 3, 16 << 20), Images(root / "small", registry, 2, 1 << 20)
    engine = Sampand(root / "engine")
    engine.root.mkdir()
    leak_marks.extend(engine.marks)
    with tmpfs(engine.data_root, "size=72m"), running(engine):
        before = at_rest(lambda: state(engine))
        deed(engine, fitting)
        remove(engine, fitting)
        assert eventually(lambda: state(engine) == before)
        used_bytes = used(engine.data_root)
        with pytest.raises(AssertionError, match=r"(?i)no space left on device|disk is full"):
            deed(engine, too_large)
        assert eventually(lambda: state(engine) == before), (state(engine), before)
        assert beginnings(engine) == []
        await_room(engine.data_root, used_bytes + (1 << 20))
        deed(engine, fitting)
        assert files(engine, fitting)
        remove(engine, fitting)
