"""Functions by which the storage suite writes, changes and reads the content of snapshots."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

Writing = Callable[[Path], object]
CHUNK = 64 * 1024


def write(name: str, content: str) -> Writing:
    return lambda root: (root / name).write_text(content)


def read(name: str) -> Callable[[Path], str]:
    return lambda root: (root / name).read_text()


def names_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def contents_of(root: Path) -> dict[str, str]:
    return {name: (root / name).read_text() for name in names_in(root)}


def mode_of(root: Path) -> int:
    return stat.S_IMODE(root.stat().st_mode)


def write_three_files(root: Path) -> None:
    (root / "changed").write_text("old")
    (root / "deleted").write_text("old")


def change_three_files(root: Path) -> None:
    (root / "changed").write_text("new")
    (root / "deleted").unlink()
    (root / "added").write_text("new")


def write_file_and_directory(root: Path) -> None:
    (root / "file").touch()
    (root / "dir").mkdir()
    (root / "dir/inner").touch()


def swap_file_and_directory(root: Path) -> None:
    (root / "file").unlink()
    (root / "dir/inner").unlink()
    (root / "dir").rmdir()
    (root / "dir").touch()
    (root / "file").mkdir()
    (root / "file/inner").touch()


def write_tree_of_kinds(root: Path) -> None:
    for name in ("content", "file", "mode", "note", "dir/inner", "deep/er/old", "kept/inner"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("old")
        os.utime(root / name, ns=(10**18, 10**18))
    (root / "link").symlink_to("old")


def change_and_change_back(root: Path) -> None:
    for mode in (0o600, 0o644):
        (root / "mode").chmod(mode)
    (root / "content").write_text("old")
    os.utime(root / "content", ns=(10**18, 10**18))
    (root / "kept/new").touch()
    (root / "kept/new").unlink()
    os.setxattr(root / "note", "user.note", b"x")
    os.removexattr(root / "note", "user.note")


def change_in_each_way(root: Path) -> None:
    (root / "content").write_text("new")
    os.utime(root / "content", ns=(10**18, 10**18))  # the size is unchanged too
    (root / "deep/er/new").touch()
    shutil.rmtree(root / "dir")
    (root / "dir").write_text("a file now")
    (root / "file").unlink()
    (root / "file").mkdir()
    (root / "file/inner").touch()
    (root / "link").unlink()
    (root / "link").symlink_to("new")
    (root / "mode").chmod(0o4711)
    os.setxattr(root / "note", "user.note", b"x")
    (root / "kept/new").touch()
    (root / "kept/new").unlink()


def make_directory_anew(root: Path) -> None:
    (root / "dir/inner").unlink()
    (root / "dir").rmdir()
    (root / "dir").mkdir()


def write_two_names_of_one_file(root: Path) -> None:
    (root / "one").write_text("x" * CHUNK)
    (root / "two").hardlink_to(root / "one")


_TIME_NS = 981_173_106_000_000_001
EVERY_KIND = {
    "setuid": (stat.S_IFREG | 0o4755, 1, _TIME_NS),
    "one": (stat.S_IFREG | 0o600, 2, _TIME_NS),
    "two": (stat.S_IFREG | 0o600, 2, _TIME_NS),
    "sticky": (stat.S_IFDIR | 0o1777, None, _TIME_NS),
    "pipe": (stat.S_IFIFO | 0o644, 1, _TIME_NS),
    "link": (stat.S_IFLNK | 0o777, 1, _TIME_NS),
}
"""Type and mode, number of links (`None` for directories, where file systems differ), mtime."""


def write_every_kind(root: Path) -> None:
    (root / "setuid").touch()
    (root / "one").touch()
    (root / "two").hardlink_to(root / "one")
    (root / "sticky").mkdir()
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("/nowhere")
    for name, (mode, _, time_ns) in EVERY_KIND.items():
        if not stat.S_ISLNK(mode):
            (root / name).chmod(stat.S_IMODE(mode))
        os.utime(root / name, ns=(time_ns, time_ns), follow_symlinks=False)


HOLE_BYTES = 64 << 20
_CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service+ep, revision 2
ROOTS_KINDS: dict[str, tuple[tuple[int, int], int, dict[str, bytes], int]] = {
    "able": ((0, 0), 0, {"security.capability": _CAPABILITY}, 0o755),
    "device": ((0, 5), os.makedev(10, 200), {}, 0o640),
    "hole": ((0, 0), 0, {}, 0o644),
    "link": ((7, 8), 0, {}, 0o777),
    "note": ((1_000_000, 2_000_000), 0, {"user.note": b"x\0y", "trusted.note": b""}, 0o4711),
}
"""Owner and group, device, extended attributes, mode."""


def write_roots_kinds(root: Path) -> None:
    for name in ("able", "note"):
        (root / name).touch()
    os.mknod(root / "device", stat.S_IFBLK, os.makedev(10, 200))
    (root / "link").symlink_to("note")
    with (root / "hole").open("wb") as file:
        file.truncate(HOLE_BYTES)
    for name, (owner, _, attributes, mode) in ROOTS_KINDS.items():
        os.chown(root / name, *owner, follow_symlinks=False)
        if name != "link":
            (root / name).chmod(mode)
        for attribute, value in attributes.items():
            os.setxattr(root / name, attribute, value)


def roots_kinds_in(root: Path) -> dict[str, tuple[tuple[int, int], int, dict[str, bytes], int]]:
    found = {}
    for path in sorted(root.iterdir()):
        status = path.lstat()
        attributes = {
            one: os.getxattr(path, one, follow_symlinks=False) for one in os.listxattr(path, follow_symlinks=False)
        }
        owner = (status.st_uid, status.st_gid)
        found[path.name] = (owner, status.st_rdev, attributes, stat.S_IMODE(status.st_mode))
    return found


def kinds_in(root: Path) -> dict[str, tuple[int, int | None, int]]:
    found = {}
    for path in root.iterdir():
        status = path.lstat()
        links = None if path.is_dir() else status.st_nlink
        found[path.name] = (status.st_mode, links, status.st_mtime_ns)
    return found
