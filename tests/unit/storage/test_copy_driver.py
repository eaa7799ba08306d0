"""The copy driver beyond the conformance suite: reported changes, recovery, failures."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sampan.drivers import ChangeKind
from sampan.errdefs import Conflict, DataLoss, SystemFailure
from sampan.storage import copy_changes, copy_driver
from sampan.storage.copy_changes import CopiedTree
from sampan.storage.copy_driver import CopyDriver
from sampan.storage.copy_tree import copy_tree
from sampan.storage.difference import File, differs
from sampan.storage.metadata import Metadata

TIME_NS = 10**18


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[CopyDriver]:
    driver = CopyDriver(tmp_path)
    yield driver
    driver.close()


def root(driver: CopyDriver, key: str) -> Path:
    return Path(driver.mounts(key)[0].source)


def base(driver: CopyDriver, *names: str) -> None:
    """Commit a snapshot `base` of files alike in size and mtime; each contains its path's first letter."""
    driver.prepare("making", None)
    for name in names:
        path = root(driver, "making") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name[0])
        os.utime(path, ns=(TIME_NS, TIME_NS))
    driver.commit("base", "making")


def told(driver: CopyDriver, key: str) -> dict[str, ChangeKind]:
    return {change.path: change.kind for change in driver.changes(key)}


def test_files_of_a_directory_that_was_moved_over_another_are_compared(driver: CopyDriver) -> None:
    """Moving a directory doesn't touch its contents, so the files' own ctimes prove nothing."""
    base(driver, "a/sub/file", "b/sub/file")
    driver.prepare("key", "base")
    shutil.rmtree(root(driver, "key") / "b")
    (root(driver, "key") / "a").rename(root(driver, "key") / "b")
    changes = told(driver, "key")
    assert changes["/b/sub/file"] is ChangeKind.MODIFIED
    assert changes["/a"] is ChangeKind.DELETED


def test_what_was_not_touched_since_the_copy_is_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old/dir").mkdir(parents=True)
    for name in ("one", "dir/two"):
        (tmp_path / "old" / name).write_text("content")
    copy_tree(tmp_path / "old", tmp_path / "new")
    copied_at_ns = 1 + max(path.lstat().st_ctime_ns for path in (tmp_path / "new").rglob("*"))
    while os.stat(tmp_path / "new").st_ctime_ns < copied_at_ns:  # kernel timestamps advance in ticks
        os.utime(tmp_path / "new")
    (tmp_path / "new/one").chmod(0o600)
    compared = []

    def noting(above: File, below: File, name: str) -> bool:
        compared.append(name)
        return differs(above, below, name)

    monkeypatch.setattr(copy_changes, "differs", noting)
    changes = list(CopiedTree(tmp_path / "new", tmp_path / "old", copied_at_ns).changes())
    assert [change.path for change in changes] == ["/one"]
    assert compared == ["one"]


def test_changes_of_a_tree_deeper_than_python_can_recurse_and_paths_can_be_are_told(driver: CopyDriver) -> None:
    driver.prepare("key", None)
    at = os.open(root(driver, "key"), os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    assert len(list(driver.changes("key"))) == 2500
    driver.remove("key")  # too deep for pytest to delete


def test_a_link_put_where_a_directory_was_is_not_followed(driver: CopyDriver, tmp_path: Path) -> None:
    base(driver, "dir/file")
    driver.prepare("key", "base")
    shutil.rmtree(root(driver, "key") / "dir")
    (root(driver, "key") / "dir").symlink_to(tmp_path)
    assert told(driver, "key") == {"/dir": ChangeKind.MODIFIED}


def test_a_key_that_is_being_copied_is_taken_and_its_parent_stays(
    driver: CopyDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    base(driver, "file")
    copying, go_on = threading.Event(), threading.Event()

    def slowly(source: Path, target: Path) -> None:
        copying.set()
        assert go_on.wait(60)
        copy_tree(source, target)

    monkeypatch.setattr(copy_driver, "copy_tree", slowly)
    with ThreadPoolExecutor(1) as threads:
        made = threads.submit(driver.prepare, "key", "base")
        assert copying.wait(60)
        with pytest.raises(Conflict, match="already exists"):
            driver.prepare("key", None)
        with pytest.raises(Conflict, match="has children"):
            driver.remove("base")
        assert [snapshot.name for snapshot in driver.list()] == ["base"]
        driver.prepare("other", None)  # others don't wait
        go_on.set()
        made.result()
    assert (root(driver, "key") / "file").read_text() == "f"


def test_a_copy_that_fails_leaves_nothing(
    driver: CopyDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base(driver, "file")
    monkeypatch.setenv("PATH", str(tmp_path))  # no cp on PATH
    with pytest.raises(SystemFailure, match="can't make snapshot key: cp can't be started"):
        driver.prepare("key", "base")
    driver.wait_for_removals()
    assert [snapshot.name for snapshot in driver.list()] == ["base"]
    assert len(list((tmp_path / "snapshots").iterdir())) == 1


def test_what_cp_says_is_the_error(tmp_path: Path) -> None:
    with pytest.raises(SystemFailure, match=r"cp: cannot stat .*nothing': No such file"):
        copy_tree(tmp_path / "nothing", tmp_path / "target")


def test_the_probe_says_why_directories_cannot_be_copied(driver: CopyDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    assert driver.probe() is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert "cp can't be started" in str(driver.probe())


def test_what_a_killed_daemon_left_is_cleared_at_the_next_start(driver: CopyDriver, tmp_path: Path) -> None:
    base(driver, "file")
    for left in ("snapshots/making-0123", "snapshots/99", "probe-x", "trash/old"):
        (tmp_path / left / "fs").mkdir(parents=True)
    again = CopyDriver(tmp_path)
    again.wait_for_removals()
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["1"]
    assert list((tmp_path / "trash").iterdir()) == list(tmp_path.glob("probe-*")) == []
    again.close()


def test_lost_files_are_named(driver: CopyDriver) -> None:
    base(driver, "file")
    driver.prepare("key", "base")
    lost = root(driver, "key")
    shutil.rmtree(lost)
    with pytest.raises(DataLoss, match=str(lost)):
        driver.mounts("key")


def test_a_view_takes_no_room(driver: CopyDriver) -> None:
    base(driver, "file")
    driver.view("view", "base")
    assert (driver.usage("view").size_bytes, driver.usage("view").inodes) == (0, 0)


def test_a_committed_snapshot_is_counted_once(driver: CopyDriver, tmp_path: Path) -> None:
    base(driver, "file")
    usage = driver.usage("base")
    assert usage.inodes == 2
    metadata = Metadata(tmp_path / "metadata.db")
    assert metadata.get("base").usage == usage
    metadata.close()


def test_the_status_says_what_is_below(driver: CopyDriver) -> None:
    status = dict(driver.status())
    assert status["Backing Filesystem"]
    assert status["Reflinks"] in ("true", "false")
