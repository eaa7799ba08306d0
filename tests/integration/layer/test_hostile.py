"""Hostile layers write nothing outside their directory, and no more than they are allowed."""

import gzip
import os
import re
from pathlib import Path

import pytest

from sampan.errdefs import InvalidArgument, SampanError, SystemFailure
from sampan.images.layer.limits import Limits, WhiteoutFormat
from sampan.syscalls.mount import mount, umount2
from tests.support.unpacking import APPLY, OVERLAY, unpacked
from tests.unit.images.layer.building import block, directory, entry, hard_link, pax, symlink, tar

pytestmark = pytest.mark.root


def hostile(canary: bytes) -> dict[str, tuple[bytes, str | None]]:
    """Layers that try to reach the path `canary`, each with the expected error, if any."""
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
