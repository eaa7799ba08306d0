"""Archives written by other engines and builders, and how dockerd unpacks a zoo of odd entries."""

import asyncio
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.images.layer.limits import WhiteoutFormat
from tests.conftest import Archives
from tests.integration.test_images_overlayfs import Room, listing, room
from tests.support.clients import Client
from tests.support.engines import Dockerd, running
from tests.support.images import docker_archive
from tests.support.unpacking import ZOO, tree, unpacked, without_times_of_implicit
from tests.unit.images.layer.building import tar

pytestmark = pytest.mark.root
__all__ = ["room"]  # a fixture

# dockerd has no times before 1970, and gives a file the mode in the entry of a hard link to it.
NOT_THEIRS = frozenset({"old", "bin/ping", "bin/pong"})

Write = Callable[[Path, Path, str], None]
"""Rewrites an image archive in a given format, under a scratch directory."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout.strip()


def store_flags(scratch: Path) -> list[str]:
    return ["--root", f"{scratch}/g", "--runroot", f"{scratch}/r", "--storage-driver", "vfs"]


def podman_saves(scratch: Path, archive: Path, format: str) -> None:
    podman = ["podman", *store_flags(scratch)]
    run(*podman, "load", "--input", archive)
    run(*podman, "save", "--format", format, "--output", scratch / "written.tar", "layered:test")


def buildah_builds(scratch: Path, archive: Path, format: str) -> None:
    """Adds a layer of its own, with a new file."""
    buildah = ["buildah", *store_flags(scratch)]
    container = run(*buildah, "from", f"docker-archive:{archive}")
    (scratch / "added").write_text("added\n")
    run(*buildah, "copy", container, scratch / "added", "/www/added")
    run(*buildah, "config", "--cmd", "added", container)
    run(*buildah, "commit", container, "built:1")
    run(*buildah, "push", "built:1", f"{format}:{scratch / 'written.tar'}:built:1")


def umoci_repacks(scratch: Path, archive: Path, format: str) -> None:
    """Adds a layer of its own: one more file, one directory fewer."""
    layout, bundle = scratch / "layout", scratch / "bundle"
    run("skopeo", "--insecure-policy", "copy", "--quiet", f"docker-archive:{archive}", f"oci:{layout}:x")
    run("umoci", "unpack", "--image", f"{layout}:x", bundle)
    (bundle / "rootfs/added").write_text("added\n")
    shutil.rmtree(bundle / "rootfs/www")
    run("umoci", "repack", "--image", f"{layout}:y", bundle)
    run("umoci", "rm", "--image", f"{layout}:x")
    with tarfile.open(scratch / "written.tar", "w") as written:
        for name in os.listdir(layout):
            written.add(layout / name, name)


@pytest.fixture
def scratch(session_dir: Path) -> Iterator[Path]:
    """A directory with a short path, as podman requires."""
    with tempfile.TemporaryDirectory(dir=session_dir) as root:
        yield Path(root)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("write", "format"),
    [
        (podman_saves, "docker-archive"),
        (podman_saves, "oci-archive"),
        (buildah_builds, "docker-archive"),
        (buildah_builds, "oci-archive"),
        (umoci_repacks, "oci-archive"),
    ],
)
async def test_what_others_write_is_loaded_as_umoci_unpacks_it(
    room: Room, archives: Archives, scratch: Path, write: Write, format: str
) -> None:
    tool = write.__name__.partition("_")[0]
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    await asyncio.to_thread(write, scratch, archives.layered, format)
    (image,) = await room.load(scratch / "written.tar")
    layout, bundle = scratch / "theirs", scratch / "unpacked"
    source = f"{format}:{scratch / 'written.tar'}"
    await asyncio.to_thread(run, "skopeo", "--insecure-policy", "copy", "--quiet", source, f"oci:{layout}:x")
    await asyncio.to_thread(run, "umoci", "unpack", "--image", f"{layout}:x", bundle)
    assert sorted(room.listing(image)) == sorted(listing(bundle / "rootfs"))
    config = json.loads(await asyncio.to_thread(run, "skopeo", "inspect", "--config", "--raw", f"oci:{layout}:x"))
    assert image.config["rootfs"]["diff_ids"] == config["rootfs"]["diff_ids"]
    await room.store.remove(image.id, force=True, in_use=lambda _: [])
    assert list(room.storage.list()) == []


@pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")
def test_the_zoo_is_what_dockerd_makes_of_it(session_dir: Path, tmp_path: Path) -> None:
    content = tar(*ZOO)
    (ours := tmp_path / "ours").mkdir()
    asyncio.run(unpacked(content, ours, WhiteoutFormat.OVERLAY))
    docker_archive(tmp_path / "zoo.tar", "zoo:1", [content])
    with running(Dockerd(session_dir / "zoo", ["--bridge", "none", "--iptables=false"])) as dockerd:
        client = Client("docker", dockerd)
        client("load", "--input", str(tmp_path / "zoo.tar"))
        graph = dockerd.get("/images/zoo:1/json")["GraphDriver"]
        theirs = tree(Path(graph["Data"]["UpperDir"]))
    assert comparable(tree(ours)) == comparable(theirs)


def comparable(seen: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {path: one for path, one in without_times_of_implicit(seen).items() if path not in NOT_THEIRS}
