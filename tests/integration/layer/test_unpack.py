"""Layers unpacked on a real file system."""

import asyncio
import contextlib
import gzip
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.digest import Digest
from sampan.errdefs import DataLoss, SystemFailure
from sampan.images.layer.pack import Packer
from sampan.images.layer.unpack import unpack
from tests.support.unpacking import CAPABILITY, OVERLAY, ZOO, timeless, tree, unpacked, without_times_of_implicit
from tests.unit.images.layer.building import entry, tar

pytestmark = pytest.mark.root


@pytest.mark.usefixtures("user_attributes")
async def test_a_zoo_of_entries_becomes_what_their_headers_say(target: Path) -> None:
    result = await unpacked(gzip.compress(tar(*ZOO)), target)
    seen = tree(target)
    assert stat.S_IMODE(os.stat(target / "bin/su").st_mode) == 0o4755
    assert seen["bin/wall"][1:4] == (0o2755, 0, 5)
    assert seen["bin/ping"][6] == seen["bin/pong"][6]
    assert seen["bin/sh"][2:4] == (7, 8)
    assert seen["tmp"][1] == 0o1777
    assert seen["shared"][1:4] == (0o2770, 10, 20)
    assert seen["shared/a"][2:4] == (0, 0)
    assert seen["shared/d"][1:4] == (0o755, 0, 0)
    assert seen["old"][4] == -100 * 10**9
    assert seen["exact"][4] == 1234567890123456789
    assert seen["foreign"][2:4] == (3_000_000_000, 4_000_000_000)
    assert seen["noted"][8] == {"user.note": b"\xff\0\n="}
    assert seen["noteddir"][4] == 99 * 10**9
    assert seen["noteddir"][8] == {"user.dir": b"1"}
    assert seen["bin/capable"][8] == {"security.capability": CAPABILITY}
    assert seen["trusted"][8] == {"trusted.mark": b"1"}
    assert seen["disk"][5] == os.makedev(259, 70000)
    assert {"dotted/name", "absolute", "resolved"} <= set(seen)
    assert result.inodes == len(seen) - 1
    assert result.size_bytes == sum(os.lstat(os.path.join(os.fsencode(target), os.fsencode(path))).st_size
                                    for path, what in seen.items()
                                    if what[0] in (stat.S_IFREG, stat.S_IFLNK) and path != "bin/pong")  # fmt: skip
    assert result.implicit_dirs == (*("/".join(["deep"] * depth) for depth in range(1, 201)), "dotted")


@pytest.mark.usefixtures("user_attributes")
def test_the_zoo_is_what_gnu_tar_makes_of_it(target: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    content = tar(*ZOO[:-1])  # GNU tar refuses the `..`
    asyncio.run(unpacked(content, target))
    command = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "-x", "-C", str(theirs)]
    subprocess.run(command, input=content, check=True, capture_output=True)
    assert without_times_of_implicit(tree(target)) == without_times_of_implicit(tree(theirs))


@pytest.mark.usefixtures("user_attributes")
@pytest.mark.skipif(not shutil.which("umoci"), reason="umoci is not installed")
def test_the_zoo_is_what_umoci_makes_of_it(target: Path, tmp_path: Path) -> None:
    # umoci 0.4 mishandles high device minors, writes no times before 1970, and clears trusted.*.
    content = tar(*(part for part in ZOO if not any(word in part for word in (b"disk", b"old", b"trusted"))))
    asyncio.run(unpacked(content, target))
    subprocess.run(
        ["umoci", "raw", "unpack", "--image", f"{oci_layout(tmp_path, content)}:x", str(tmp_path / "rootfs")],
        check=True, capture_output=True,
    )  # fmt: skip
    assert without_times_of_implicit(tree(target)) == without_times_of_implicit(tree(tmp_path / "rootfs"))


def oci_layout(tmp_path: Path, layer: bytes) -> Path:
    layout = tmp_path / "layout"
    (layout / "blobs/sha256").mkdir(parents=True)

    def blob(content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(content)
        return {
            "mediaType": f"application/vnd.oci.image.{media_type}",
            "digest": f"sha256:{digest}",
            "size": len(content),
        }

    described = blob(layer, "layer.v1.tar")
    config = {"architecture": "amd64", "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": [described["digest"]]}}  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": [described],
    }
    index = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    index["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [index]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return layout


def test_a_sparse_file_has_its_holes(target: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with (source / "sparse").open("wb") as file:
        for offset in range(0, 64 << 20, 8 << 20):
            file.seek(offset)
            file.write(b"data" * 1000)
        file.truncate(65 << 20)
    for version in ("0.0", "0.1", "1.0"):
        command = ["tar", "-C", str(source), "-S", "--format=pax", f"--sparse-version={version}", "-c", "sparse"]
        asyncio.run(unpacked(subprocess.run(command, check=True, capture_output=True).stdout, target))
        assert (target / "sparse").read_bytes() == (source / "sparse").read_bytes()
        assert (target / "sparse").stat().st_blocks < 4096
    command = ["tar", "-C", str(source), "-S", "--format=gnu", "-c", "sparse"]
    asyncio.run(unpacked(subprocess.run(command, check=True, capture_output=True).stdout, target))
    assert (target / "sparse").read_bytes() == (source / "sparse").read_bytes()


async def test_digests_and_sizes_are_answered_and_verified(target: Path) -> None:
    plain = tar(entry(b"a", b"1"))
    blob = gzip.compress(plain)
    result = await unpacked(blob, target, expected=Digest.of(blob), size=len(blob))
    assert (result.digest, result.diff_id) == (Digest.of(blob), Digest.of(plain))


async def test_what_is_behind_the_end_of_the_tar_belongs_to_the_diff_id(target: Path) -> None:
    plain = tar(entry(b"a", b"1")) + bytes(300_000) + b"trailing"
    assert (await unpacked(gzip.compress(plain), target)).diff_id == Digest.of(plain)
    assert (await unpacked(plain, target)).diff_id == Digest.of(plain)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
async def test_what_the_caller_has_hashed_is_not_hashed_again(
    target: Path, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    plain = tar(entry(b"a", b"1"))
    (blob := tmp_path / "blob").write_bytes(pack(plain))
    given = Digest.of(b"what the caller says")
    more: dict[str, Any] = {"format": OVERLAY, "expected": given, "size": blob.stat().st_size}
    result = await unpack(blob, target, hashed=True, **more)
    assert (result.digest, result.diff_id) == (given, given if pack is bytes else Digest.of(plain))
    with pytest.raises(DataLoss, match="verification failed"):
        await unpack(blob, target, **more)
    with pytest.raises(DataLoss, match="failed size validation"):
        await unpack(blob, target, hashed=True, **{**more, "size": 1})


async def test_a_sha512_digest_is_verified_too(target: Path) -> None:
    plain = tar(entry(b"a", b"1"))
    expected = Digest(f"sha512:{hashlib.sha512(plain).hexdigest()}")
    result = await unpacked(plain, target, expected=expected)
    assert (result.digest, result.diff_id) == (expected, Digest.of(plain))


@pytest.mark.parametrize("blob", [tar(entry(b"a")), b"garbage" * 1000, gzip.compress(b"x" * 5000)[:-9]])
async def test_another_blob_than_asked_for_is_said_to_be_one_whatever_is_in_it(target: Path, blob: bytes) -> None:
    expected = Digest.of(b"something else")
    with pytest.raises(DataLoss, match=f"filesystem layer verification failed for digest {expected}"):
        await unpacked(blob, target, expected=expected, size=len(blob))


@pytest.mark.parametrize("off", [-1, 1])
async def test_a_blob_of_another_size_is_data_loss(target: Path, off: int) -> None:
    blob = tar(entry(b"a", b"1"))
    with pytest.raises(DataLoss, match="failed size validation"):
        await unpacked(blob, target, size=len(blob) + off)


async def test_an_endless_blob_ends_at_its_size(target: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(100_000)

    with pytest.raises(DataLoss, match="1000000 bytes were announced, more came"):
        await unpack(endless(), target, format=OVERLAY, size=1_000_000)


async def test_a_blob_may_come_from_a_file_or_a_file_descriptor(target: Path, tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(tar(entry(b"a", b"1")))
    await unpack(path, target, format=OVERLAY)
    with path.open("rb") as file:
        await unpack(file.fileno(), target, format=OVERLAY)
    assert (target / "a").read_bytes() == b"1"


async def test_an_error_of_the_source_is_the_callers(target: Path) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield tar(entry(b"a", b"1"))[:100]
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError, match="gone"):
        await unpack(failing(), target, format=OVERLAY)


async def test_a_directory_that_is_not_there_is_a_system_failure(tmp_path: Path) -> None:
    with pytest.raises(SystemFailure, match="missing"):
        await unpacked(tar(entry(b"a")), tmp_path / "missing")


def packed(directory: Path) -> bytes:
    """The exact tar of a directory's contents."""
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    with tempfile.TemporaryFile() as output, contextlib.chdir("."):  # a packer changes the working directory
        packer = Packer(output.fileno(), exact=True)
        packer.add_content(root)
        packer.close()
        os.close(root)
        return os.pread(output.fileno(), os.fstat(output.fileno()).st_size, 0)


@pytest.mark.usefixtures("user_attributes")
async def test_a_packed_tree_unpacks_to_the_same_tree_and_the_same_bytes(target: Path, tmp_path: Path) -> None:
    await unpacked(tar(*ZOO), target)
    first, again = packed(target), tmp_path / "again"
    assert packed(target) == first
    again.mkdir()
    await unpacked(first, again)
    assert timeless(tree(again)) == timeless(tree(target))
    assert packed(again) == first
