"""The parts of the overlayfs driver that need no mount: layout, changes, usage, trash, recovery."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.drivers import Change, ChangeKind, Snapshot, SnapshotKind
from sampan.errdefs import DataLoss, SystemFailure
from sampan.storage.trash import Trash
from sampan.storage.usage import disk_usage
from sampan.syscalls.overlay import fit_page
from sampan_overlayfs import options
from sampan_overlayfs.changes import changes_of
from sampan_overlayfs.driver import OverlayDriver
from sampan_overlayfs.layout import Layout
from sampan_overlayfs.probe import why_not

DEPTH = 2500
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="trusted attributes need root")


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[OverlayDriver]:
    driver = OverlayDriver(tmp_path)
    yield driver
    driver.close()


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))


def fill(root: Path, *names: str) -> Path:
    """Fill a layer: a trailing slash makes a directory, a leading `-` a whiteout."""
    root.mkdir(exist_ok=True)
    for name in names:
        path = root / name.removeprefix("-")
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.startswith("-"):
            whiteout(path)
        elif name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_text(root.name)
    return root


def told(upper: Path, *lowers: Path) -> dict[str, ChangeKind]:
    return {change.path: change.kind for change in changes_of(upper, list(lowers))}


def test_a_path_that_a_lower_layer_has_is_modified_and_another_added(tmp_path: Path) -> None:
    upper, lower = fill(tmp_path / "upper", "etc/new", "etc/old"), fill(tmp_path / "lower", "etc/old", "etc/other")
    assert told(upper, lower) == {
        "/etc": ChangeKind.MODIFIED,
        "/etc/new": ChangeKind.ADDED,
        "/etc/old": ChangeKind.MODIFIED,
    }


def test_changes_come_in_order_a_directory_first(tmp_path: Path) -> None:
    upper = fill(tmp_path / "upper", "b/2", "b/1", "a")
    assert [change.path for change in changes_of(upper, [])] == ["/a", "/b", "/b/1", "/b/2"]


def test_a_whiteout_is_a_deletion_of_what_any_lower_layer_has(tmp_path: Path) -> None:
    upper, middle = fill(tmp_path / "upper", "-gone"), fill(tmp_path / "middle", "else")
    assert told(upper, middle, fill(tmp_path / "lower", "gone")) == {"/gone": ChangeKind.DELETED}


def test_a_whiteout_over_nothing_is_no_change(tmp_path: Path) -> None:
    assert told(fill(tmp_path / "upper", "-gone"), fill(tmp_path / "lower", "else")) == {}


def test_what_a_middle_layer_deleted_is_added_again(tmp_path: Path) -> None:
    upper, middle = fill(tmp_path / "upper", "file"), fill(tmp_path / "middle", "-file")
    assert told(upper, middle, fill(tmp_path / "lower", "file")) == {"/file": ChangeKind.ADDED}


def test_a_directory_below_a_file_does_not_show_through(tmp_path: Path) -> None:
    upper, middle = fill(tmp_path / "upper", "dir/inner"), fill(tmp_path / "middle", "dir")
    assert told(upper, middle, fill(tmp_path / "lower", "dir/inner")) == {
        "/dir": ChangeKind.MODIFIED,
        "/dir/inner": ChangeKind.ADDED,
    }


@needs_root
def test_an_opaque_directory_deletes_what_it_hides(tmp_path: Path) -> None:
    upper, lower = fill(tmp_path / "upper", "dir/kept"), fill(tmp_path / "lower", "dir/kept", "dir/gone")
    os.setxattr(upper / "dir", "trusted.overlay.opaque", b"y")
    assert told(upper, lower) == {
        "/dir": ChangeKind.MODIFIED,
        "/dir/gone": ChangeKind.DELETED,
        "/dir/kept": ChangeKind.MODIFIED,
    }


@needs_root
def test_an_opaque_directory_of_a_middle_layer_hides_the_lower_ones(tmp_path: Path) -> None:
    upper, middle = fill(tmp_path / "upper", "dir/file"), fill(tmp_path / "middle", "dir/")
    os.setxattr(middle / "dir", "trusted.overlay.opaque", b"y")
    assert told(upper, middle, fill(tmp_path / "lower", "dir/file"))["/dir/file"] is ChangeKind.ADDED


def test_a_symbolic_link_is_never_followed(tmp_path: Path) -> None:
    upper, lower = fill(tmp_path / "upper", "dir/passwd"), fill(tmp_path / "lower")
    (lower / "dir").symlink_to("/etc")
    assert told(upper, lower)["/dir/passwd"] is ChangeKind.ADDED


def test_usage_counts_blocks_and_every_inode_once(tmp_path: Path) -> None:
    root = fill(tmp_path / "layer", "dir/")
    (root / "sparse").touch()
    os.truncate(root / "sparse", 1 << 30)
    (root / "dir/file").write_bytes(b"x" * 8192)
    (root / "link").hardlink_to(root / "dir/file")
    usage = disk_usage(root)
    assert usage.inodes == 4
    assert 8192 <= usage.size_bytes < 64 * 1024


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Directories nested deeper than Python's recursion limit and PATH_MAX."""
    root = tmp_path / "deep"
    root.mkdir()
    fd = os.open(root, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("level", dir_fd=fd)
        inner = os.open("level", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    yield root
    subprocess.run(["rm", "-rf", root], check=True)  # pytest's own cleanup is recursive


def test_usage_of_a_tree_deeper_than_paths_are_long_is_counted(deep: Path) -> None:
    assert disk_usage(deep).inodes == DEPTH + 1


def test_a_tree_deeper_than_python_can_recurse_is_deleted(tmp_path: Path, deep: Path) -> None:
    trash = Trash(tmp_path / "trash")
    trash.put(deep)
    trash.wait()
    assert list((tmp_path / "trash").iterdir()) == []


def test_changes_of_a_tree_deeper_than_python_can_recurse_are_told(tmp_path: Path) -> None:
    depth = 1500
    upper = inner = fill(tmp_path / "upper")
    for _ in range(depth):
        inner = fill(inner / "d")
    assert len(told(upper)) == depth
    subprocess.run(["rm", "-rf", upper], check=True)


def test_what_is_in_the_trash_is_deleted_and_what_comes_later_too(tmp_path: Path) -> None:
    trash = Trash(tmp_path / "trash")
    for _ in range(3):
        trash.put(fill(tmp_path / "tree", "dir/file"))
    trash.wait()
    assert list((tmp_path / "trash").iterdir()) == []


def test_what_a_killed_daemon_left_in_the_trash_the_next_one_deletes(tmp_path: Path) -> None:
    fill(tmp_path / "trash", "5-abc/fs/file")
    OverlayDriver(tmp_path).wait_for_removals()
    assert list((tmp_path / "trash").iterdir()) == []


def test_a_directory_without_a_row_is_cleared_at_the_next_start(tmp_path: Path, driver: OverlayDriver) -> None:
    driver.prepare("kept", None)
    layout = Layout(tmp_path)
    fill(layout.snapshot(77), "fs/half")
    layout.link(77).symlink_to(layout.link_target(77))
    fill(layout.snapshots, "lost+found/")
    again = OverlayDriver(tmp_path)
    again.wait_for_removals()
    assert sorted(path.name for path in layout.snapshots.iterdir()) == ["1", "lost+found"]
    assert [path.name for path in layout.links.iterdir()] == ["1"]
    assert [snapshot.name for snapshot in again.list()] == ["kept"]


def test_damaged_metadata_is_named(tmp_path: Path) -> None:
    (tmp_path / "metadata.db").write_bytes(b"not a database" * 100)
    with pytest.raises(DataLoss, match=r"metadata\.db is damaged"):
        OverlayDriver(tmp_path)


def test_a_number_is_never_used_for_another_snapshot(tmp_path: Path, driver: OverlayDriver) -> None:
    for _ in range(3):
        driver.prepare("key", None)
        driver.remove("key")
    driver.prepare("key", None)
    assert [path.name for path in Layout(tmp_path).snapshots.iterdir()] == ["4"]


def test_a_failure_to_make_the_directories_leaves_nothing(tmp_path: Path, driver: OverlayDriver) -> None:
    layout = Layout(tmp_path)
    layout.link(1).symlink_to("in the way")
    with pytest.raises(SystemFailure, match="can't make snapshot key: "):
        driver.prepare("key", None)
    assert list(driver.list()) == []
    assert list(layout.snapshots.iterdir()) == []
    driver.prepare("key", None)
    assert driver.stat("key") == Snapshot("key", SnapshotKind.ACTIVE, None)


def test_a_lost_layer_is_named(tmp_path: Path, driver: OverlayDriver) -> None:
    driver.prepare("key", None)
    driver.commit("base", "key")
    driver.prepare("child", "base")
    Layout(tmp_path).files(1).rmdir()
    with pytest.raises(DataLoss, match=r"child lost its layer .*/snapshots/1/fs"):
        driver.mounts("child")


def test_usage_of_a_committed_snapshot_is_counted_once(tmp_path: Path, driver: OverlayDriver) -> None:
    driver.prepare("key", None)
    driver.commit("base", "key")
    usage = driver.usage("base")
    fill(Layout(tmp_path).files(1), "slipped in")
    assert driver.usage("base") == usage
    assert OverlayDriver(tmp_path).usage("base") == usage


def test_a_view_or_a_first_layer_has_no_work_directory(tmp_path: Path, driver: OverlayDriver) -> None:
    driver.prepare("key", None)
    driver.commit("base", "key")
    driver.view("view", "base")
    driver.prepare("child", "base")
    layout = Layout(tmp_path)
    assert [layout.work(number).exists() for number in (1, 2, 3)] == [False, False, True]
    driver.commit("committed", "child")
    assert not layout.work(3).exists()


def test_the_metadata_survives_as_a_plain_database(tmp_path: Path, driver: OverlayDriver) -> None:
    driver.prepare("key", None, labels={"a": "b"})
    connection = sqlite3.connect(tmp_path / "metadata.db")
    assert connection.execute("SELECT name, kind, labels FROM snapshots").fetchall() == [
        ("key", "active", '{"a": "b"}')
    ]
    connection.close()


def test_changes_of_a_snapshot_without_a_parent_are_its_files(driver: OverlayDriver) -> None:
    driver.prepare("key", None)
    assert list(driver.changes("key")) == []
    Path(driver.mounts("key")[0].source, "new").touch()
    assert list(driver.changes("key")) == [Change("/new", ChangeKind.ADDED)]


@needs_root
def test_a_directory_whose_name_separates_options_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    assert str(why_not(tmp_path / "a:b")).endswith("a:b: its name has a character that separates mount options")


def test_options_within_a_page_are_left_as_they_are() -> None:
    given = options.writable(Path("/s/2/fs"), Path("/s/2/work"), [Path("/s/l/1")])
    assert fit_page(given) == (None, given)
    assert fit_page(("bind", "ro")) == (None, ("bind", "ro"))


def test_options_beyond_a_page_become_relative_to_where_the_layers_lie() -> None:
    lowers = [Path(f"/a/rather/long/way/to/the/data/root/l/{number}") for number in range(500)]
    directory, fitted = fit_page(options.writable(Path("/x/fs"), Path("/x/work"), lowers))
    assert directory == "/a/rather/long/way/to/the/data/root/l"
    assert "lowerdir=" + ":".join(map(str, range(500))) in fitted
    assert "upperdir=/x/fs" in fitted
    assert len(",".join(fitted)) < 4096
