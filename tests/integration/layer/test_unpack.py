"""Layers on a real file system: what they become, and that hostile ones become nothing outside of their directory."""

import asyncio
import contextlib
import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.digest import Digest
from sampan.errdefs import DataLoss, InvalidArgument, NotFound, SampanError, SystemFailure
from sampan.images.layer.limits import Limits, WhiteoutFormat
from sampan.images.layer.pack import Packer
from sampan.images.layer.parents import adopt_parents
from sampan.images.layer.process import START, _environment, _module_paths
from sampan.images.layer.remove import remove
from sampan.images.layer.unpack import Unpacked, _request, unpack
from sampan.syscalls.mount import mount, umount2
from tests.support.containers import eventually
from tests.unit.images.layer.building import (
    block,
    directory,
    entry,
    hard_link,
    pax,
    symlink,
    tar,
    with_tarfile,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.root

OVERLAY, APPLY = WhiteoutFormat.OVERLAY, WhiteoutFormat.APPLY
# VFS_CAP_REVISION_2, cap_net_raw+ep
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "target"
    path.mkdir(mode=0o755)
    yield path
    # Some trees are deeper than shutil, with which pytest cleans up, can go.
    fd = os.open(tmp_path, os.O_RDONLY)
    remove(fd, b"target")
    os.close(fd)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """Files beside the target that nothing may touch."""
    path = tmp_path / "canary"
    (path / "deep").mkdir(parents=True)
    (path / "file").write_text("untouched")
    (path / "deep" / "file").write_text("untouched")
    before = tree(tmp_path, below="canary")
    siblings = sorted(os.listdir(tmp_path))
    yield path
    assert tree(tmp_path, below="canary") == before
    assert sorted({*os.listdir(tmp_path), "target"}) == sorted({*siblings, "target"})


async def unpacked(content: bytes, target: Path, format: WhiteoutFormat = OVERLAY, **more: Any) -> Unpacked:
    return await unpack(chunked(content), target, format=format, **more)


async def chunked(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def tree(root: Path, below: str = "") -> dict[str, tuple[Any, ...]]:
    """All that can be seen of the files below `root`, by path."""
    seen: dict[str, tuple[Any, ...]] = {}
    inodes: dict[int, str] = {}
    for parent, directories, files in os.walk(os.fsencode(root / below)):
        for name in sorted([*directories, *files]):
            path = os.path.join(parent, name)
            relative = os.fsdecode(os.path.relpath(path, os.fsencode(root)))
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            content: Any = None
            if kind == stat.S_IFREG:
                content = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
            elif kind == stat.S_IFLNK:
                content = os.readlink(path)
            xattrs = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
            }
            seen[relative] = (
                kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns,
                status.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0,
                inodes.setdefault(status.st_ino, relative), content, xattrs,
            )  # fmt: skip
    return seen


ZOO = (
    directory(b"bin/"),
    entry(b"bin/su", b"#!", mode=0o4755),
    entry(b"bin/wall", b"#!", mode=0o2755, gid=5),
    entry(b"bin/ping", b"ping", mode=0o755),
    hard_link(b"bin/pong", b"bin/ping"),
    pax((b"SCHILY.xattr.security.capability", CAPABILITY)) + entry(b"bin/capable", b"x", mode=0o755, uid=1),
    symlink(b"bin/sh", b"su", uid=7, gid=8),
    symlink(b"abs", b"/etc/passwd", mtime=12345),
    directory(b"tmp", mode=0o1777),
    directory(b"shared", mode=0o2770, uid=10, gid=20),
    entry(b"shared/a", b"a"),
    directory(b"shared/d"),
    directory(b"closed", mode=0o000),
    entry(b"closed/secret", b"x", mode=0o000),
    entry(b"empty"),
    entry(b"big", os.urandom(3_000_000)),
    entry(b"old", b"x", mtime=b"\xff" * 11 + b"\x9c"),
    pax((b"mtime", b"1234567890.123456789")) + entry(b"exact", b"x"),
    pax((b"uid", b"3000000000"), (b"gid", b"4000000000")) + entry(b"foreign", b"x"),
    pax((b"SCHILY.xattr.user.note", b"\xff\0\n=")) + entry(b"noted", b"x", mode=0o444),
    pax((b"SCHILY.xattr.user.dir", b"1")) + directory(b"noteddir", mtime=99),
    entry(b"noteddir/x", b"x"),
    pax((b"SCHILY.xattr.trusted.mark", b"1")) + entry(b"trusted", b"x"),
    entry(b"\xff\xfe not utf-8", b"x"),
    entry(b"new\nline", b"x"),
    pax((b"path", b"deep/" * 200 + b"end")) + entry(b"x", b"x"),
    block(b"null", b"3", device=(1, 3), mode=0o666),
    block(b"disk", b"4", device=(259, 70000), mode=0o660, gid=6),
    block(b"pipe", b"6", mode=0o600, uid=9),
    entry(b"./dotted/./name", b"x"),
    entry(b"/absolute", b"x"),
    entry(b"x/../resolved", b"x"),
)


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


def test_the_zoo_is_what_gnu_tar_makes_of_it(target: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    content = tar(*ZOO[:-1])  # GNU tar refuses the `..`
    asyncio.run(unpacked(content, target))
    command = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-p", "-x", "-C", str(theirs)]
    subprocess.run(command, input=content, check=True, capture_output=True)
    assert without_times_of_implicit(tree(target)) == without_times_of_implicit(tree(theirs))


@pytest.mark.skipif(not shutil.which("umoci"), reason="umoci is not installed")
def test_the_zoo_is_what_umoci_makes_of_it(target: Path, tmp_path: Path) -> None:
    # umoci 0.4 keeps no devices' high minors apart, writes no time before 1970, and clears trusted.*.
    content = tar(*(part for part in ZOO if not any(word in part for word in (b"disk", b"old", b"trusted"))))
    asyncio.run(unpacked(content, target))
    subprocess.run(
        ["umoci", "raw", "unpack", "--image", f"{oci_layout(tmp_path, content)}:x", str(tmp_path / "rootfs")],
        check=True, capture_output=True,
    )  # fmt: skip
    assert without_times_of_implicit(tree(target)) == without_times_of_implicit(tree(tmp_path / "rootfs"))


def without_times_of_implicit(seen: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {
        path: (*what[:4], *what[5:]) if path == "dotted" or path.endswith("deep") else what
        for path, what in seen.items()
    }


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


# Digests


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

    with pytest.raises(DataLoss, match="1000000 bytes were promised, more came"):
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


async def test_a_worker_that_can_not_be_started_is_told_of_and_leaves_nothing_open(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", fail)
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(SystemFailure, match=r"the unpacker can't be started: .*Resource temporarily unavailable"):
        await unpacked(tar(entry(b"a")), target)
    assert sorted(os.listdir("/proc/self/fd")) == before


async def test_a_cancelled_call_ends_its_worker(target: Path) -> None:
    started = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield entry(b"a", b"1")
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(unpack(stalling(), target, format=OVERLAY))
    await started.wait()
    # Spawning returns while exec is not quite done: for a moment the command line reads as empty.
    assert eventually(lambda: bool(workers(target)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not workers(target)


async def test_a_call_cancelled_at_any_step_and_once_more_leaves_no_process_and_no_descriptor(target: Path) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield entry(b"a", b"1")
        await asyncio.Event().wait()

    await unpacked(tar(entry(b"warm")), target)
    before = sorted(os.listdir("/proc/self/fd"))
    for steps in range(10):
        task = asyncio.create_task(unpack(stalling(), target, format=OVERLAY))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not workers(target)
    assert sorted(os.listdir("/proc/self/fd")) == before


def workers(target: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(target).encode() in process.read_bytes():
                found.append(process.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


# Hostile layers


def hostile(canary: bytes) -> dict[str, tuple[bytes, str | None]]:
    """Layers that want to get at `canary`, a path, and the message they end in, if any."""
    return {
        "a name that goes up": (entry(b"../canary/file", b"evil"), r'invalid entry name "\.\./canary/file"'),
        "a name that goes up late": (entry(b"a/../../canary/file", b"evil"), "invalid entry name"),
        "a link that goes up": (symlink(b"l", b"../canary") + entry(b"l/file", b"evil"), None),
        "a link that goes far up": (symlink(b"l", b"../" * 40 + canary) + entry(b"l/file", b"evil"), None),
        "an absolute link": (symlink(b"l", canary) + entry(b"l/file", b"evil"), None),
        "links behind links": (
            symlink(b"a", b"..") + symlink(b"b", b"a/..") + symlink(b"c", b"b/canary")
            + entry(b"c/file", b"evil"), None),
        "a file through a link to a file": (symlink(b"l", canary + b"/file") + entry(b"l", b"evil"), None),
        "a directory through a link": (symlink(b"l", canary) + directory(b"l", mode=0o777, uid=5), None),
        "a hard link that goes up": (hard_link(b"h", b"../canary/file"), "invalid entry name"),
        "a hard link to an absolute path": (hard_link(b"h", canary + b"/file"), "is not in this layer"),
        "a hard link through a link": (symlink(b"l", canary) + hard_link(b"h", b"l/file"), "is not in this layer"),
        "a hard link to a link out": (
            symlink(b"l", canary + b"/file") + hard_link(b"h", b"l") + entry(b"h", b"evil", mode=0o777), None),
        "a hard link to itself": (hard_link(b"h", b"h"), "is not in this layer"),
        "a hard link to a directory": (directory(b"d") + hard_link(b"h", b"d"), "invalid hardlink target"),
        "a hard link to the root": (hard_link(b"h", b"/"), "invalid hardlink target"),
        "a link loop": (symlink(b"a", b"b") + symlink(b"b", b"a") + entry(b"a/x", b"evil"), "too many levels"),
        "a link to itself": (symlink(b"a", b"a") + entry(b"a/x", b"evil"), "too many levels"),
        "a magic link": (symlink(b"l", b"/proc/self/root") + entry(b"l" + canary + b"/file", b"evil"), None),
        "a whiteout that goes up": (entry(b"../.wh.canary"), "invalid entry name"),
        "a whiteout of the parent": (entry(b".wh..."), "invalid whiteout"),
        "a whiteout of the directory": (entry(b"d/.wh.."), "invalid whiteout"),
        "a whiteout of nothing": (entry(b".wh."), "invalid whiteout"),
        "a whiteout through a link": (symlink(b"l", canary) + entry(b"l/.wh.file"), None),
        "an opaque mark through a link": (symlink(b"l", canary) + entry(b"l/.wh..wh..opq"), None),
        "a file replaced by a directory and back": (
            entry(b"x", b"1") + directory(b"x") + entry(b"x/y", b"2") + entry(b"x", b"3"), None),
        "a directory replaced by a link": (
            directory(b"d") + entry(b"d/file", b"1") + symlink(b"d", canary) + entry(b"d/file", b"evil"), None),
        "a link replaced by a directory": (
            symlink(b"d", canary) + entry(b"d/file", b"1") + directory(b"d") + entry(b"d/file", b"2"), None),
        "a file as a directory": (entry(b"f", b"1") + entry(b"f/x", b"2"), "not a directory"),
        "the same entry often": (entry(b"x", b"1") * 50, None),
        "the root as a file": (entry(b".", b"evil") + entry(b"/", b"evil"), None),
        "an empty name": (entry(b"", b"evil"), None),
        "a long name": (pax((b"path", b"n" * 4096)) + entry(b"x"), "too long"),
        "a long component": (pax((b"path", b"n" * 256)) + entry(b"x"), "file name too long"),
        "a long link": (pax((b"linkpath", b"n" * 4096)) + symlink(b"x", b"x"), "too long"),
        "an empty link": (symlink(b"l", b""), "no such file"),
        "no such device": (block(b"x", b"3", device=(0o777777, 0)), "there is no device"),
        "no such owner": (block(b"x", uid=b"\x80\0\0\0\xff\xff\xff\xff"), "there is no owner"),
        "a negative owner": (block(b"x", uid=b"\xff" * 8), "there is no owner"),
        "a sparse bomb": (
            pax((b"GNU.sparse.size", b"9000000000000000000"), (b"GNU.sparse.map", b"")) + entry(b"s"),
            "take more than"),
        "a PAX bomb": (block(b"x", b"x", 1 << 30), "larger than"),
        "an overlay redirect": (
            pax((b"SCHILY.xattr.trusted.overlay.redirect", b"/canary")) + directory(b"d"), None),
        "a deep tree": (
            b"".join(symlink(b"s%d" % n, b"s%d/" % (n - 1) + b"d/" * 40 if n else b"d") + entry(b"s%d/f" % n, b"x")
                     for n in range(30)), None),
        "a name that is no UTF-8": (entry(b"\xff/../\xfe", b"x"), None),
    }  # fmt: skip


@pytest.mark.parametrize("format", [OVERLAY, APPLY])
@pytest.mark.parametrize("name", hostile(b""))
async def test_a_hostile_layer_ends_in_an_error_or_harmlessly(
    name: str, format: WhiteoutFormat, target: Path, canary: Path
) -> None:
    content, message = hostile(os.fsencode(canary))[name]
    if message is None:
        await unpacked(tar(content), target, format)
        return
    with pytest.raises(SampanError, match=re.compile(message, re.IGNORECASE)) as failure:
        await unpacked(tar(content), target, format)
    assert not isinstance(failure.value, SystemFailure)


async def test_a_name_of_4095_bytes_is_harmless(target: Path, canary: Path) -> None:
    name = b"/".join([b"n" * 200] * 20) + b"/end"
    await unpacked(tar(pax((b"path", name[-4095:])) + entry(b"x", b"1")), target)


async def test_a_gzip_bomb_is_refused_when_it_gets_too_large(target: Path) -> None:
    bomb = gzip.compress(block(b"zeros", size=b"\x80" + (1 << 33).to_bytes(11, "big")) + bytes(64 << 20), 1)
    with pytest.raises(InvalidArgument, match="more than 100 times as large"):
        await unpacked(bomb, target, limits=Limits(ratio=100, ratio_from_bytes=16 << 20))
    with pytest.raises(InvalidArgument, match="take more than 1000000 bytes"):
        await unpacked(bomb, target, limits=Limits(total_bytes=1_000_000))
    with pytest.raises(InvalidArgument, match="larger than 1000000 bytes"):
        await unpacked(gzip.compress(bytes(2_000_000)), target, limits=Limits(total_bytes=1_000_000))


async def test_too_many_entries_are_refused(target: Path) -> None:
    with pytest.raises(InvalidArgument, match="more than 100 entries"):
        await unpacked(tar(*(entry(b"%d" % number) for number in range(101))), target, limits=Limits(entries=100))


async def test_too_many_directories_without_entries_are_refused(target: Path) -> None:
    names = [b"%d/%sfile" % (number, b"d/" * 2000) for number in range(5)]
    assert len((await unpacked(tar(*map(entry, names[:2])), target)).implicit_dirs) == 4002
    with pytest.raises(InvalidArgument, match="the layer has no entries for too many directories"):
        await unpacked(tar(*map(entry, names[2:])), target)


async def test_too_many_attributes_for_others_to_set_are_refused(target: Path) -> None:
    marked = pax((b"SCHILY.xattr.trusted.a", b"x" * 100)) + entry(b"file")
    await unpacked(tar(marked), target, limits=Limits(told_bytes=200))
    assert os.getxattr(target / "file", "trusted.a") == b"x" * 100
    with pytest.raises(InvalidArgument, match=r"too many extended attributes of trusted\.\*"):
        await unpacked(tar(marked, marked), target, limits=Limits(told_bytes=200))


async def test_a_full_disk_is_named(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("tmpfs", disk, "tmpfs", 0, "size=1m")
    try:
        with pytest.raises(SystemFailure, match="/big: no space left on device"):
            await unpacked(tar(entry(b"big", bytes(2 << 20))), disk)
        with pytest.raises(SystemFailure, match="no space left on device"):
            await unpacked(tar(*(entry(b"%d" % number, bytes(4000)) for number in range(500))), disk)
    finally:
        umount2(disk)


async def test_a_directory_that_is_not_there_is_a_system_failure(tmp_path: Path) -> None:
    with pytest.raises(SystemFailure, match="missing"):
        await unpacked(tar(entry(b"a")), tmp_path / "missing")


async def test_a_worker_sees_only_its_directory_and_holds_few_capabilities(target: Path) -> None:
    (target / "inside").write_text("")
    started = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        for number in range(100):
            yield entry(b"%d" % number, bytes(100_000))
        while not (target / "50").exists():
            await asyncio.sleep(0)
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(unpack(stalling(), target, format=OVERLAY))
    await started.wait()
    (pid,) = workers(target)
    assert "inside" in os.listdir(f"/proc/{pid}/root")
    status = Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"CapEff:\t000000008800\w{4}$", status, re.MULTILINE)
    assert re.search(r"CapBnd:\t000000008800001b$", status, re.MULTILINE)
    assert re.search(r"CapInh:\t0000000000000000$", status, re.MULTILINE)
    assert "NoNewPrivs:\t1" in status
    mounts = Path(f"/proc/{pid}/mounts").read_text().splitlines()
    assert len(mounts) == 1
    assert "nosuid,nodev,noexec" in mounts[0]
    fds = {os.readlink(f"/proc/{pid}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{pid}/fd")}
    assert all(fd == "pipe" or fd.startswith("/") for fd in fds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Whiteouts


async def test_whiteouts_become_overlays(target: Path) -> None:
    content = tar(directory(b"d"), entry(b"d/.wh.gone"), entry(b"o/.wh..wh..opq"), entry(b"o/kept", b"1"))
    await unpacked(content, target)
    gone = os.lstat(target / "d/gone")
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(target / "o", "trusted.overlay.opaque") == b"y"
    assert sorted(tree(target)) == ["d", "d/gone", "o", "o/kept"]


LOWER = (
    directory(b"etc"), entry(b"etc/a", b"lower"), entry(b"etc/b", b"lower"), directory(b"etc/d"),
    entry(b"etc/d/x", b"lower"), directory(b"tmp", mode=0o1777, uid=3, mtime=77), entry(b"tmp/low", b"lower"),
    symlink(b"lib", b"usr/lib"), directory(b"usr/lib"),
)  # fmt: skip
UPPER: dict[str, bytes] = {
    "a file": entry(b"etc/.wh.a"),
    "a directory": entry(b"etc/.wh.d"),
    "what is not there": entry(b"etc/.wh.none"),
    "a file that comes anew, before": entry(b"etc/.wh.a") + entry(b"etc/a", b"upper"),
    "a file that comes anew, after": entry(b"etc/a", b"upper") + entry(b"etc/.wh.a"),
    "a directory that comes anew, before": entry(b"etc/.wh.d") + directory(b"etc/d") + entry(b"etc/d/y", b"upper"),
    "a directory that comes anew, after": directory(b"etc/d") + entry(b"etc/d/y", b"upper") + entry(b"etc/.wh.d"),
    "a directory with an implicit one": entry(b"etc/.wh.d") + entry(b"etc/d/y", b"upper"),
    "all, before": entry(b"etc/.wh..wh..opq") + entry(b"etc/c", b"upper"),
    "all, after": entry(b"etc/c", b"upper") + directory(b"etc/d") + entry(b"etc/.wh..wh..opq"),
    "all, and one": entry(b"etc/.wh..wh..opq") + entry(b"etc/.wh.a") + entry(b"etc/d/.wh.x")
    + entry(b"etc/d/z", b"1"),
    "one that is replaced in an opaque directory": entry(b"etc/.wh..wh..opq") + entry(b"etc/.wh.d")
    + directory(b"etc/d") + entry(b"etc/d/n", b"upper"),
    "a file by a directory": directory(b"etc/a") + entry(b"etc/a/x", b"upper"),
    "a directory by a file": entry(b"etc/d", b"upper"),
}  # fmt: skip


@pytest.mark.parametrize("name", UPPER)
async def test_a_layer_of_overlays_looks_like_one_applied(name: str, tmp_path: Path) -> None:
    upper = tar(directory(b"etc"), UPPER[name])
    lower, applied, merged = (tmp_path / name for name in ("lower", "applied", "merged"))
    detached, work = tmp_path / "detached", tmp_path / "work"
    for path in (lower, applied, merged, detached, work):
        path.mkdir()
    await unpacked(tar(*LOWER), lower)
    await unpacked(tar(*LOWER), applied)
    await unpacked(upper, applied, APPLY)
    result = await unpacked(upper, detached)
    assert adopt_parents(detached, result.implicit_dirs, [lower]) == ()
    mount("overlay", merged, "overlay", 0, f"lowerdir={detached}:{lower}")
    try:
        assert timeless(tree(merged)) == timeless(tree(applied))
    finally:
        umount2(merged)


def timeless(seen: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """Without times of directories, which removing a file changes, times of whiteouts, and extended attributes."""
    return {
        path: (*what[:4], None if what[0] in (stat.S_IFDIR, stat.S_IFCHR) else what[4], *what[5:8])
        for path, what in seen.items()
    }


async def test_a_layer_can_be_applied_to_a_mounted_overlay(tmp_path: Path) -> None:
    lower, upper, work, merged = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    for path in (lower, upper, work, merged):
        path.mkdir()
    await unpacked(tar(*LOWER), lower)
    mount("overlay", merged, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")
    try:
        content = tar(
            entry(b"etc/.wh.a"), entry(b"lib/new", b"1"), hard_link(b"etc/c", b"etc/b"), entry(b"tmp/x", b"1")
        )
        result = await unpacked(content, merged, APPLY)
        assert result.implicit_dirs == ()
        assert sorted(os.listdir(merged / "etc")) == ["b", "c", "d"]
        assert (merged / "usr/lib/new").read_bytes() == b"1"
        assert stat.S_IMODE(os.stat(merged / "tmp").st_mode) == 0o1777
    finally:
        umount2(merged)


async def test_a_hard_link_into_a_lower_layer_is_told_apart(target: Path) -> None:
    with pytest.raises(NotFound, match='etc/c: hardlink target "etc/b" is not in this layer'):
        await unpacked(tar(hard_link(b"etc/c", b"etc/b")), target)


async def test_the_layers_below_may_be_reached_by_a_descriptor(tmp_path: Path) -> None:
    """As those of a mounted view are: it is no link that the layer hides, and need not be unpacked twice."""
    for name in ("top", "bottom"):
        (tmp_path / name).mkdir()
    await unpacked(tar(*LOWER), tmp_path / "bottom")
    result = await unpacked(tar(entry(b"tmp/f")), tmp_path / "top")
    below = os.open(tmp_path / "bottom", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert adopt_parents(tmp_path / "top", result.implicit_dirs, [Path(f"/proc/self/fd/{below}")]) == ()
    finally:
        os.close(below)
    assert stat.S_IMODE(os.stat(tmp_path / "top/tmp").st_mode) == 0o1777


async def test_implicit_directories_get_their_looks_from_the_nearest_layer_below(tmp_path: Path) -> None:
    layers = [tmp_path / name for name in ("top", "middle", "bottom")]
    for path in layers:
        path.mkdir()
    top, middle, bottom = layers
    await unpacked(tar(*LOWER), bottom)
    note = pax((b"SCHILY.xattr.user.note", b"1"))
    await unpacked(tar(note + directory(b"tmp/sub", mode=0o700, uid=9, mtime=5), entry(b"etc/.wh.d")), middle)
    adopt_parents(middle, ("tmp",), [bottom])
    result = await unpacked(tar(entry(b"tmp/sub/f"), entry(b"etc/d/f"), entry(b"lib/f"), entry(b"own/f")), top)
    assert adopt_parents(top, result.implicit_dirs, [middle, bottom]) == ("lib",)
    seen = tree(top)
    assert seen["tmp"][1:5] == (0o1777, 3, 0, 77 * 10**9)
    assert seen["tmp/sub"][1:5] == (0o700, 9, 0, 5 * 10**9)
    assert seen["tmp/sub"][8] == {"user.note": b"1"}
    assert seen["etc/d"][1:4] == (0o755, 0, 0)
    assert seen["own"][1:4] == (0o755, 0, 0)


# Writing


def packed(directory: Path) -> bytes:
    """The exact tar of what is in a directory."""
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    with tempfile.TemporaryFile() as output, contextlib.chdir("."):  # a packer goes to what it packs
        packer = Packer(output.fileno(), exact=True)
        packer.add_content(root)
        packer.close()
        os.close(root)
        return os.pread(output.fileno(), os.fstat(output.fileno()).st_size, 0)


async def test_a_packed_tree_unpacks_to_the_same_tree_and_the_same_bytes(target: Path, tmp_path: Path) -> None:
    await unpacked(tar(*ZOO), target)
    first, again = packed(target), tmp_path / "again"
    assert packed(target) == first
    again.mkdir()
    await unpacked(first, again)
    assert timeless(tree(again)) == timeless(tree(target))
    assert packed(again) == first


async def test_many_layers_unpack_at_once(tmp_path: Path) -> None:
    content = with_tarfile(tarfile.PAX_FORMAT, (tarfile.TarInfo("a"), os.urandom(100_000)))
    targets = [tmp_path / str(number) for number in range(12)]
    for path in targets:
        path.mkdir()
    await asyncio.gather(*(unpacked(content, path) for path in targets))
    assert all((path / "a").stat().st_size == 100_000 for path in targets)


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("blob", [gzip.compress(tar(*ZOO)), zstd.compress(tar(*ZOO)), b"garbage" * 1000])
def test_a_worker_opens_nothing_of_its_own_once_it_is_confined(target: Path, tmp_path: Path, blob: bytes) -> None:
    trace = tmp_path / "trace"
    request = _request(target, OVERLAY, Digest(f"sha512:{'0' * 128}"), len(blob), Limits())
    start = START.format("sampan.images.layer.worker")
    code = f"import os, sys; sys.argv[1] = sys.argv[1].replace('PARENT', str(os.getppid())); {start}"
    request = request.replace(f'"parent": {os.getpid()}', '"parent": PARENT')
    command = [
        str(shutil.which("strace")),
        "-f",
        "-o",
        str(trace),
        "-e",
        "trace=open,openat,openat2,execve,socket,umount2",
    ]
    command += [sys.executable, "-I", "-S", "-X", "utf8", "-c", code, request, *_module_paths()]
    answer = subprocess.run(command, input=blob, check=True, capture_output=True, env=_environment()).stderr
    assert json.loads(answer)["error"] == "DataLoss"
    _, confined = trace.read_text().split("umount2(")
    assert re.findall(r'open\w*\(AT_FDCWD, "([^"]*)"|execve|socket\(', confined) == ["/"]


@pytest.mark.parametrize("module", ["worker", "copy_worker", "expand_worker"])
def test_a_worker_starts_without_what_is_heavy(module: str) -> None:
    code = f"import sys; sys.path += sys.argv[1:]; import sampan.images.layer.{module}; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code, *_module_paths()]
    modules = set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert not modules & {"asyncio", "pydantic", "aiohttp", "dataclasses", "tarfile", "subprocess", "shutil"}
