"""Layers on top of others: whiteouts, links and directories of the layers below."""

import os
import stat
from pathlib import Path

import pytest

from sampan.errdefs import NotFound
from sampan.images.layer.parents import adopt_parents
from sampan.syscalls.mount import mount, umount2
from tests.support.unpacking import APPLY, timeless, tree, unpacked
from tests.unit.images.layer.building import directory, entry, hard_link, pax, symlink, tar

pytestmark = pytest.mark.root


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
    """As with a mounted view: such a path is not a link hidden by the layer, and needs no second unpacking."""
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


@pytest.mark.usefixtures("user_attributes")
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
