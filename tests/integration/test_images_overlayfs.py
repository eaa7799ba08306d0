"""Images against Debian's docker-registry, skopeo and dockerd, on the real storage driver."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sampan.drivers import SnapshotKind
from sampan.images.mounted import mounted
from sampan.images.store import Image, ImageStore, Reference, RegistryConfig
from sampan.state import Database
from sampan_overlayfs.driver import OverlayDriver
from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.engines import Dockerd, running
from tests.support.images import Entry, directory, docker_archive, layer, symlink
from tests.support.registry import Registry

pytestmark = pytest.mark.root

REPOSITORY = Path(__file__).parents[2]


async def ignore(item: dict[str, object]) -> None:
    pass


class Room:
    """An image store on overlayfs, all under one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "storage").mkdir(exist_ok=True)
        self.storage = OverlayDriver(root / "storage")
        self.database = Database(root / "db")
        self.store = ImageStore(root / "images", self.storage, self.database, registries=RegistryConfig())

    async def close(self) -> None:
        await self.store.close()
        self.database.close()
        self.storage.wait_for_removals()

    async def pull(self, reference: str) -> Image:
        return await self.store.pull(Reference.parse(reference), platform=None, auth=None, progress=ignore)

    async def load(self, archive: Path) -> list[Image]:
        return await self.store.load(content_of(archive), progress=ignore, quiet=True)

    def listing(self, image: Image) -> list[str]:
        assert image.snapshot
        mounts = self.storage.view("look", image.snapshot)
        try:
            with mounted(mounts, self.root) as path:
                return list(listing(path))
        finally:
            self.storage.remove("look")


def listing(root: Path) -> Iterator[str]:
    """Every file: kind, mode, owner, links, size, time, attributes, content or target."""
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for path, directories, names, at in os.fwalk(".", dir_fd=top):
            for name in sorted([*directories, *names]):
                status = os.stat(name, dir_fd=at, follow_symlinks=False)
                link = os.readlink(name, dir_fd=at) if name not in directories and _is_link(status) else ""
                attributes = [] if link else _attributes(f"/proc/self/fd/{at}/{name}")
                size = 0 if name in directories else status.st_size
                yield (
                    f"{path}/{name} {status.st_mode:o} {status.st_uid}:{status.st_gid} "
                    f"{0 if name in directories else status.st_nlink} {size} {status.st_mtime_ns} {link} {attributes}"
                )
    finally:
        os.close(top)


def _is_link(status: os.stat_result) -> bool:
    return status.st_mode & 0o170000 == 0o120000


def _attributes(path: str) -> list[str]:
    names = [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith("trusted.")]
    return [f"{name}={os.getxattr(path, name, follow_symlinks=False)!r}" for name in sorted(names)]


async def content_of(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as archive:
        while chunk := archive.read(1 << 16):
            yield chunk


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(tmp_path)
    await room.store.open()
    yield room
    await room.close()
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert not list((tmp_path / "images/mounts").iterdir())


@pytest.fixture(scope="module")
def registry(session_dir: Path) -> Iterator[Registry]:
    root = session_dir / "images-registry"
    root.mkdir()
    registry = Registry(root)
    yield registry
    registry.close()


def umoci_listing(archive: Path, scratch: Path) -> list[str]:
    """What umoci unpacks from the same archive."""
    layout = scratch / "layout"
    copy = ["skopeo", "--insecure-policy", "copy", "--quiet", f"docker-archive:{archive}", f"oci:{layout}:x"]
    subprocess.run(copy, check=True)
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:x", scratch / "bundle"], check=True)
    return list(listing(scratch / "bundle/rootfs"))


async def test_a_pulled_image_has_the_files_that_umoci_unpacks(
    room: Room, registry: Registry, archives: Archives, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = await room.pull(registry.push(archives.layered, "planks/layered:1"))
    assert image.id == archives.layered_id
    expected = await asyncio.to_thread(umoci_listing, archives.layered, tmp_path_factory.mktemp("umoci"))
    assert sorted(room.listing(image)) == sorted(expected)
    await room.store.remove(image.id, force=True, in_use=lambda _: [])
    assert list(room.storage.list()) == []


async def test_a_zstd_image_is_pulled(room: Room, registry: Registry, archives: Archives) -> None:
    subprocess.run(
        [
            *("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"),
            *("--format", "oci", "--dest-compress-format", "zstd"),
            *(f"docker-archive:{archives.layered}", f"docker://{registry.host}/planks/zstd:1"),
        ],
        check=True,
    )
    (loaded,) = await room.load(archives.layered)
    before = room.listing(loaded)
    await room.store.remove(loaded.id, force=True, in_use=lambda _: [])
    image = await room.pull(f"{registry.host}/planks/zstd:1")
    assert room.listing(image) == before


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
async def test_what_skopeo_writes_is_loaded(room: Room, archives: Archives, transport: str, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    copy = ["skopeo", "--insecure-policy", "copy", "--quiet", f"docker-archive:{archives.layered}"]
    subprocess.run([*copy, f"{transport}:{archive}:sko/peo:1"], check=True)
    (image,) = await room.load(archive)
    (original,) = await room.load(archives.layered)
    assert image.references == ("sko/peo:1",)
    assert image.layers == original.layers


@pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")
async def test_what_docker_save_writes_is_loaded(
    room: Room, archives: Archives, session_dir: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.tar"

    def save() -> None:
        with running(Dockerd(session_dir / "saver-images", ["--bridge", "none", "--iptables=false"])) as saver:
            client = Client("docker", saver)
            client("load", "--input", str(archives.layered))
            client("tag", "layered:test", "saved:test")
            client("save", "--output", str(saved), "saved:test", "layered:test")

    await asyncio.to_thread(save)
    (image,) = await room.load(saved)
    assert set(image.references) == {"saved:test", "layered:test"}
    assert image.id == archives.layered_id


async def test_the_init_snapshot_of_a_real_image_has_the_mount_points(room: Room, archives: Archives) -> None:
    (image,) = await room.load(archives.busybox)
    name = await room.store.init_snapshot(image)
    assert room.storage.stat(name).kind is SnapshotKind.COMMITTED
    with mounted(room.storage.view("look", name), room.root) as path:
        found = {str(one.relative_to(path)) for one in path.rglob("*")}
    room.storage.remove("look")
    assert {"dev/pts", "dev/shm", "dev/console", "proc", "sys", ".dockerenv", "etc/hosts", "bin/busybox"} <= found
    await room.store.remove(image.id, force=True, in_use=lambda _: [])
    assert list(room.storage.list()) == []


def usr_merged(path: Path) -> str:
    """An image whose second layer has no entry for `bin`, a link in the first, or the world-writable `tmp`."""
    lower = layer([directory("usr"), directory("usr/bin"), symlink("bin", "usr/bin"), directory("tmp", 0o1777)])
    upper = layer([Entry("bin/tool", b"tool\n", mode=0o755), Entry("tmp/x", b"x\n")])
    return docker_archive(path, "merged:1", [lower, upper])


async def test_a_layer_without_its_directories_goes_through_the_links_below(room: Room, tmp_path: Path) -> None:
    usr_merged(tmp_path / "merged.tar")
    (image,) = await room.load(tmp_path / "merged.tar")
    with mounted(room.storage.view("look", image.snapshot or ""), room.root) as path:
        assert (path / "bin").is_symlink()
        assert (path / "usr/bin/tool").read_text() == "tool\n"
        assert (path / "tmp").stat().st_mode & 0o7777 == 0o1777
    room.storage.remove("look")


async def test_a_pull_of_a_killed_daemon_is_cleared_up(
    registry: Registry, archives: Archives, tmp_path: Path
) -> None:
    reference = registry.push(archives.layered, "planks/killed:1")
    die = "import sys; from tests.integration.test_images_overlayfs import pull_and_die; pull_and_die(*sys.argv[1:])"
    command = [sys.executable, "-c", die, str(tmp_path), reference]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
    room = Room(tmp_path)
    await room.store.open()
    assert room.store.list() == []
    assert list(room.storage.list()) == []
    for kept in ("blobs", "ingest"):  # what the next pull resumes is kept elsewhere
        assert not [path for path in (tmp_path / "images/content" / kept).rglob("*") if path.is_file()]
    assert (await room.pull(reference)).id == archives.layered_id
    await room.close()


def pull_and_die(root: str, reference: str) -> None:
    """Run by the test above in its own process, which kills itself once the first layer is complete."""

    async def die(item: dict[str, object]) -> None:
        if item["status"] == "Pull complete":
            os.kill(os.getpid(), signal.SIGKILL)

    async def pull() -> None:
        room = Room(Path(root))
        await room.store.open()
        await room.store.pull(Reference.parse(reference), platform=None, auth=None, progress=die)

    asyncio.run(pull())
