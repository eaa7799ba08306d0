"""The conformance suite of storage drivers.

    from sampan.testing.storage_suite import StorageDriverSuite

    class TestTiny(StorageDriverSuite):
        @pytest.fixture
        def factory(self) -> StorageFactory:
            return TinyDriver

A driver whose snapshots are not plain directories needs root for mounting. Modelled on the test suite of containerd's
snapshotters (containerd core/snapshots/testsuite).
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sampan.drivers import ChangeKind, IntegrityCheckDriver, Snapshot, SnapshotKind, StorageDriver, StorageFactory
from sampan.errdefs import Conflict, InvalidArgument, NotFound, Unsupported
from sampan.testing import storage_content as content
from sampan.testing.mounting import run_inside

_OPAQUE = "trusted.overlay.opaque"
_USERS = "user.sampan"


class StorageDriverSuite:
    """Subclass it in a plugin's tests and provide the fixture `factory`."""

    persistent = True
    """Whether a second driver on the same directory finds the first one's snapshots. Real drivers must."""

    @pytest.fixture
    def factory(self) -> StorageFactory:
        """The driver's factory; to be overridden by every plugin."""
        raise NotImplementedError("provide a fixture `factory` that answers your StorageFactory")

    @pytest.fixture
    def state_dir(self, tmp_path: Path) -> Path:
        """The driver's state directory."""
        path = tmp_path / "state"
        path.mkdir()
        return path

    @pytest.fixture
    def driver(self, factory: StorageFactory, state_dir: Path) -> Iterator[StorageDriver]:
        """A driver on an empty state directory."""
        driver = factory(state_dir)
        if reason := driver.probe():
            pytest.skip(reason)
        yield driver
        _remove_all(driver)
        close(driver)

    @pytest.fixture
    def user_attributes(self, state_dir: Path) -> None:
        """For content with `user.*` attributes: see `require_user_attributes`."""
        require_user_attributes(state_dir)

    # Creating snapshots

    def test_a_new_driver_holds_nothing(self, driver: StorageDriver) -> None:
        assert list(driver.list()) == []

    def test_prepare_makes_an_active_snapshot(self, driver: StorageDriver) -> None:
        driver.prepare("key", None)
        assert driver.stat("key") == Snapshot("key", SnapshotKind.ACTIVE, None)

    def test_prepare_answers_the_mounts_of_the_snapshot(self, driver: StorageDriver) -> None:
        assert driver.prepare("key", None) == driver.mounts("key")

    def test_a_snapshot_without_a_parent_is_empty(self, driver: StorageDriver) -> None:
        assert run_inside(driver.prepare("key", None), content.names_in) == []

    def test_what_is_written_is_there_when_mounted_again(self, driver: StorageDriver) -> None:
        run_inside(driver.prepare("key", None), content.write("file", "content"))
        assert run_inside(driver.mounts("key"), content.read("file")) == "content"

    def test_prepare_on_a_missing_parent_is_not_found(self, driver: StorageDriver) -> None:
        with pytest.raises(NotFound):
            driver.prepare("key", "nothing")
        assert list(driver.list()) == []

    def test_prepare_on_an_active_parent_is_invalid(self, driver: StorageDriver) -> None:
        driver.prepare("active", None)
        with pytest.raises(InvalidArgument):
            driver.prepare("key", "active")

    def test_prepare_of_an_existing_key_is_a_conflict(self, driver: StorageDriver) -> None:
        run_inside(driver.prepare("key", None), content.write("file", "kept"))
        with pytest.raises(Conflict):
            driver.prepare("key", None)
        assert run_inside(driver.mounts("key"), content.read("file")) == "kept"

    def test_prepare_of_a_committed_name_is_a_conflict(self, driver: StorageDriver) -> None:
        commit(driver, "base", None)
        with pytest.raises(Conflict):
            driver.prepare("base", None)

    def test_a_size_without_quota_is_unsupported(self, driver: StorageDriver) -> None:
        if driver.capabilities.quota:
            pytest.skip("this driver has quota")
        with pytest.raises(Unsupported):
            driver.prepare("key", None, size_bytes=1 << 30)
        assert list(driver.list()) == []

    def test_a_size_bounds_what_is_written_into_one_snapshot(self, driver: StorageDriver) -> None:
        if not driver.capabilities.quota:
            pytest.skip("this driver has no quota")
        commit(driver, "base", None)
        large = content.write("large", "x" * (8 << 20))
        with pytest.raises(OSError, match=r"No space left|quota exceeded"):
            run_inside(driver.prepare("small", "base", size_bytes=4 << 20), large)
        run_inside(driver.prepare("large", "base", size_bytes=16 << 20), large)
        run_inside(driver.prepare("free", "base"), large)

    def test_keys_of_any_characters_are_only_names(self, driver: StorageDriver, tmp_path: Path) -> None:
        keys = {"sha256:" + "ab" * 32, "../outside", "a/b", ".", "with space", "ü", "n" * 200}
        for key in keys:
            driver.prepare(key, None)
        assert {snapshot.name for snapshot in driver.list()} == keys
        assert not (tmp_path / "outside").exists()

    def test_labels_are_kept_through_commit(self, driver: StorageDriver) -> None:
        driver.prepare("key", None, labels={"container": "web", "äöü": ""})
        assert driver.stat("key").labels == {"container": "web", "äöü": ""}
        driver.commit("name", "key")
        assert driver.stat("name").labels == {"container": "web", "äöü": ""}

    # Committing

    def test_commit_turns_the_key_into_the_name(self, driver: StorageDriver) -> None:
        driver.prepare("key", None)
        driver.commit("name", "key")
        assert list(driver.list()) == [Snapshot("name", SnapshotKind.COMMITTED, None)]

    def test_a_committed_key_is_free_again(self, driver: StorageDriver) -> None:
        commit(driver, "base", None, key="key")
        driver.prepare("key", "base")
        assert driver.stat("key").parent == "base"

    def test_commit_of_a_missing_key_is_not_found(self, driver: StorageDriver) -> None:
        with pytest.raises(NotFound):
            driver.commit("name", "nothing")

    def test_commit_to_an_existing_name_is_a_conflict_and_keeps_both(self, driver: StorageDriver) -> None:
        commit(driver, "base", None, content.write("file", "old"))
        run_inside(driver.prepare("key", None), content.write("file", "new"))
        with pytest.raises(Conflict):
            driver.commit("base", "key")
        assert run_inside(driver.mounts("key"), content.read("file")) == "new"
        assert _content(driver, "base", "file") == "old"

    def test_a_committed_snapshot_cannot_be_committed(self, driver: StorageDriver) -> None:
        commit(driver, "base", None)
        with pytest.raises(InvalidArgument):
            driver.commit("again", "base")

    def test_a_committed_snapshot_cannot_be_mounted(self, driver: StorageDriver) -> None:
        commit(driver, "base", None)
        with pytest.raises(InvalidArgument):
            driver.mounts("base")

    def test_mounts_of_nothing_is_not_found(self, driver: StorageDriver) -> None:
        with pytest.raises(NotFound):
            driver.mounts("nothing")

    def test_a_snapshot_with_a_parent_cannot_get_another(self, driver: StorageDriver) -> None:
        commit(driver, "base", None)
        commit(driver, "other", None)
        driver.prepare("key", "base")
        with pytest.raises(InvalidArgument):
            driver.commit("name", "key", parent="other")
        assert driver.stat("key").parent == "base"

    # Parents and children

    def test_a_child_sees_what_its_ancestors_hold(self, driver: StorageDriver) -> None:
        commit(driver, "one", None, content.write("1", "a"))
        commit(driver, "two", "one", content.write("2", "b"))
        assert run_inside(driver.prepare("key", "two"), content.names_in) == ["1", "2"]

    def test_a_child_changes_nothing_in_its_parent(self, driver: StorageDriver) -> None:
        commit(driver, "base", None, content.write_three_files)
        run_inside(driver.prepare("key", "base"), content.change_three_files)
        assert run_inside(driver.mounts("key"), content.contents_of) == {"changed": "new", "added": "new"}
        assert run_inside(driver.prepare("other", "base"), content.contents_of) == {
            "changed": "old",
            "deleted": "old",
        }

    def test_what_a_child_changed_is_in_its_own_children(self, driver: StorageDriver) -> None:
        commit(driver, "base", None, content.write_three_files)
        commit(driver, "child", "base", content.change_three_files)
        assert run_inside(driver.prepare("key", "child"), content.contents_of) == {"changed": "new", "added": "new"}

    def test_files_and_directories_may_replace_each_other(self, driver: StorageDriver) -> None:
        commit(driver, "base", None, content.write_file_and_directory)
        commit(driver, "child", "base", content.swap_file_and_directory)
        assert run_inside(driver.prepare("key", "child"), content.names_in) == ["dir", "file", "file/inner"]

    def test_a_directory_made_anew_is_empty(self, driver: StorageDriver) -> None:
        commit(driver, "base", None, content.write_file_and_directory)
        commit(driver, "child", "base", content.make_directory_anew)
        assert run_inside(driver.prepare("key", "child"), content.names_in) == ["dir", "file"]

    def test_modes_links_times_and_special_files_are_kept(self, driver: StorageDriver) -> None:
        commit(driver, "base", None, content.write_every_kind)
        assert run_inside(driver.prepare("key", "base"), content.kinds_in) == content.EVERY_KIND

    @pytest.mark.usefixtures("user_attributes")
    @pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and capabilities need root")
    def test_owners_attributes_devices_and_holes_are_kept(self, driver: StorageDriver) -> None:
        commit(driver, "base", None, content.write_roots_kinds)
        before = _looked_at(driver, "base")
        commit(driver, "child", "base", lambda root: (root / "note").chmod(0o600))
        assert before == content.ROOTS_KINDS
        assert _looked_at(driver, "child") == {
            **content.ROOTS_KINDS,
            "note": (*content.ROOTS_KINDS["note"][:3], 0o600),
        }
        assert sum(driver.usage(name).size_bytes for name in ("base", "child")) < content.HOLE_BYTES

    def test_the_root_directory_has_its_parents_mode(self, driver: StorageDriver) -> None:
        commit(driver, "base", None, lambda root: root.chmod(0o711))
        assert run_inside(driver.prepare("key", "base"), content.mode_of) == 0o711

    def test_a_tower_of_forty_layers_can_be_mounted(self, driver: StorageDriver) -> None:
        parent = None
        for number in range(40):
            commit(driver, f"layer {number}", parent, content.write(f"{number:02}", ""))
            parent = f"layer {number}"
        assert run_inside(driver.prepare("key", parent), content.names_in) == [f"{number:02}" for number in range(40)]

    # Views

    def test_a_view_shows_the_parent_and_is_mounted_read_only(self, driver: StorageDriver) -> None:
        commit(driver, "one", None, content.write("1", "a"))
        commit(driver, "two", "one", content.write("2", "b"))
        mounts = driver.view("view", "two")
        assert driver.stat("view") == Snapshot("view", SnapshotKind.VIEW, "two")
        assert all("ro" in mount.options for mount in mounts)
        assert mounts == driver.mounts("view")

    @pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
    def test_a_view_of_one_or_more_layers_cannot_be_written(self, driver: StorageDriver) -> None:
        commit(driver, "one", None, content.write("1", "a"))
        commit(driver, "two", "one", content.write("2", "b"))
        for parent, names in (("one", ["1"]), ("two", ["1", "2"])):
            mounts = driver.view(f"view of {parent}", parent)
            assert run_inside(mounts, content.names_in) == names
            with pytest.raises(OSError, match="Read-only file system"):
                run_inside(mounts, content.write("new", ""))

    def test_a_view_needs_a_committed_parent(self, driver: StorageDriver) -> None:
        driver.prepare("active", None)
        with pytest.raises(InvalidArgument):
            driver.view("view", "active")
        with pytest.raises(NotFound):
            driver.view("view", "nothing")

    def test_a_view_cannot_be_committed(self, driver: StorageDriver) -> None:
        commit(driver, "base", None)
        driver.view("view", "base")
        with pytest.raises(InvalidArgument):
            driver.commit("name", "view")

    # Removing

    def test_a_removed_snapshot_is_gone_and_its_name_free(self, driver: StorageDriver) -> None:
        run_inside(driver.prepare("key", None), content.write("file", "old"))
        driver.remove("key")
        with pytest.raises(NotFound):
            driver.stat("key")
        assert run_inside(driver.prepare("key", None), content.names_in) == []

    def test_remove_of_nothing_is_not_found(self, driver: StorageDriver) -> None:
        with pytest.raises(NotFound):
            driver.remove("nothing")

    def test_a_parent_cannot_be_removed(self, driver: StorageDriver) -> None:
        commit(driver, "base", None)
        driver.prepare("child", "base")
        with pytest.raises(Conflict):
            driver.remove("base")
        driver.remove("child")
        driver.remove("base")
        assert list(driver.list()) == []

    # Usage, changes, status

    def test_a_whole_snapshot_of_any_kind_is_found_whole(self, driver: StorageDriver) -> None:
        if not isinstance(driver, IntegrityCheckDriver):
            pytest.skip("this driver does not check")
        commit(driver, "base", None, content.write("file", ""))
        commit(driver, "child", "base")
        driver.prepare("key", "child")
        driver.view("view", "child")
        for name in ("base", "child", "key", "view"):
            driver.check(name)
        with pytest.raises(NotFound):
            driver.check("nothing")

    def test_usage_counts_what_was_written(self, driver: StorageDriver) -> None:
        run_inside(driver.prepare("key", None), content.write("file", "x" * content.CHUNK))
        usage = driver.usage("key")
        assert content.CHUNK <= usage.size_bytes < 2 * content.CHUNK
        assert usage.inodes == 2

    def test_usage_counts_a_hard_link_once(self, driver: StorageDriver) -> None:
        run_inside(driver.prepare("key", None), content.write_two_names_of_one_file)
        usage = driver.usage("key")
        assert content.CHUNK <= usage.size_bytes < 2 * content.CHUNK
        assert usage.inodes == 2

    def test_usage_of_nothing_is_not_found(self, driver: StorageDriver) -> None:
        with pytest.raises(NotFound):
            driver.usage("nothing")

    def test_changes_tells_added_modified_and_deleted_paths(self, driver: StorageDriver) -> None:
        commit(driver, "base", None, content.write_three_files)
        run_inside(driver.prepare("key", "base"), content.change_three_files)
        if not driver.capabilities.changes:
            with pytest.raises(Unsupported):
                driver.changes("key")
            return
        assert {change.path: change.kind for change in driver.changes("key")} == {
            "/added": ChangeKind.ADDED,
            "/changed": ChangeKind.MODIFIED,
            "/deleted": ChangeKind.DELETED,
        }

    def test_changes_looks_into_directories(self, driver: StorageDriver) -> None:
        if not driver.capabilities.changes:
            pytest.skip("this driver does not tell changes")
        commit(driver, "base", None, content.write_file_and_directory)
        run_inside(driver.prepare("key", "base"), content.make_directory_anew)
        assert {change.path: change.kind for change in driver.changes("key")} == {
            "/dir": ChangeKind.MODIFIED,
            "/dir/inner": ChangeKind.DELETED,
        }

    @pytest.mark.usefixtures("user_attributes")
    def test_changes_tells_only_of_what_differs(self, driver: StorageDriver) -> None:
        """Changes that were reverted, created and removed files, and a directory's time alone are not reported."""
        if not driver.capabilities.changes:
            pytest.skip("this driver does not tell changes")
        commit(driver, "base", None, content.write_tree_of_kinds)
        run_inside(driver.prepare("key", "base"), content.change_and_change_back)
        assert list(driver.changes("key")) == []

    @pytest.mark.usefixtures("user_attributes")
    def test_changes_tells_of_each_way_to_differ(self, driver: StorageDriver) -> None:
        """A directory comes before its contents, and is modified if something in it differs."""
        if not driver.capabilities.changes:
            pytest.skip("this driver does not tell changes")
        commit(driver, "base", None, content.write_tree_of_kinds)
        run_inside(driver.prepare("key", "base"), content.change_in_each_way)
        assert [(change.path, change.kind) for change in driver.changes("key")] == [
            ("/content", ChangeKind.MODIFIED),
            ("/deep", ChangeKind.MODIFIED),
            ("/deep/er", ChangeKind.MODIFIED),
            ("/deep/er/new", ChangeKind.ADDED),
            ("/dir", ChangeKind.MODIFIED),
            ("/file", ChangeKind.MODIFIED),
            ("/file/inner", ChangeKind.ADDED),
            ("/link", ChangeKind.MODIFIED),
            ("/mode", ChangeKind.MODIFIED),
            ("/note", ChangeKind.MODIFIED),
        ]

    def test_status_is_pairs_of_words_for_people(self, driver: StorageDriver) -> None:
        assert all(isinstance(name, str) and isinstance(value, str) for name, value in driver.status())

    # Layers that are unpacked before their parents exist

    def test_detached_layers_come_together_as_they_are_committed(self, driver: StorageDriver) -> None:
        _require_detached(driver)
        for number in (1, 2, 3):
            driver.prepare(f"key {number}", None)
        for number in (3, 1, 2):  # layers may be unpacked in any order
            directory = driver.detached_dir(f"key {number}")
            (directory / "dir").mkdir()
            (directory / "dir" / str(number)).touch()
        parent = None
        for number in (1, 2, 3):
            driver.commit(f"layer {number}", f"key {number}", parent=parent)
            parent = f"layer {number}"
        assert driver.stat("layer 3").parent == "layer 2"
        assert run_inside(driver.prepare("key", "layer 3"), content.names_in) == ["dir", "dir/1", "dir/2", "dir/3"]

    @pytest.mark.skipif(os.geteuid() != 0, reason="trusted attributes need root")
    def test_whiteouts_and_opaque_directories_of_a_detached_layer_hide(self, driver: StorageDriver) -> None:
        _require_detached(driver)
        commit(driver, "base", None, content.write_file_and_directory)
        driver.prepare("key", None)
        directory = driver.detached_dir("key")
        os.mknod(directory / "file", stat.S_IFCHR, os.makedev(0, 0))
        (directory / "dir").mkdir()
        os.setxattr(directory / "dir", _OPAQUE, b"y")
        (directory / "dir/new").touch()
        driver.commit("child", "key", parent="base")
        assert run_inside(driver.prepare("mounted", "child"), content.names_in) == ["dir", "dir/new"]

    def test_a_detached_layer_needs_a_committed_parent(self, driver: StorageDriver) -> None:
        _require_detached(driver)
        driver.prepare("key", None)
        driver.prepare("active", None)
        with pytest.raises(NotFound):
            driver.commit("name", "key", parent="nothing")
        with pytest.raises(InvalidArgument):
            driver.commit("name", "key", parent="active")
        assert driver.stat("key").kind is SnapshotKind.ACTIVE

    def test_detached_dir_is_unsupported_without_the_capability(self, driver: StorageDriver) -> None:
        if driver.capabilities.detached_layers:
            pytest.skip("this driver has detached layers")
        driver.prepare("key", None)
        with pytest.raises(Unsupported):
            driver.detached_dir("key")

    # Threads and restarts

    def test_of_many_threads_that_want_one_key_one_gets_it(self, driver: StorageDriver) -> None:
        together = threading.Barrier(8)

        def prepare(_: int) -> bool:
            together.wait()
            try:
                driver.prepare("key", None)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as threads:
            assert sorted(threads.map(prepare, range(8))) == [False] * 7 + [True]

    def test_many_threads_work_side_by_side(self, driver: StorageDriver) -> None:
        commit(driver, "base", None, content.write("file", ""))

        def live(number: int) -> list[str]:
            mounts = driver.prepare(f"key {number}", "base")
            names = run_inside(mounts, content.names_in)
            driver.commit(f"name {number}", f"key {number}")
            driver.remove(f"name {number}")
            return names

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(live, range(24))) == [["file"]] * 24
        assert [snapshot.name for snapshot in driver.list()] == ["base"]

    def test_a_new_driver_on_the_directory_finds_everything(
        self, driver: StorageDriver, factory: StorageFactory, state_dir: Path
    ) -> None:
        if not self.persistent:
            pytest.skip("this driver keeps nothing")
        commit(driver, "base", None, content.write("file", "content"), labels={"a": "b"})
        driver.prepare("key", "base")
        before = sorted(driver.list(), key=lambda snapshot: snapshot.name)
        again = factory(state_dir)
        assert sorted(again.list(), key=lambda snapshot: snapshot.name) == before
        assert run_inside(again.mounts("key"), content.read("file")) == "content"
        close(again)


def commit(
    driver: StorageDriver,
    name: str,
    parent: str | None,
    writing: content.Writing | None = None,
    *,
    key: str = "committing",
    labels: dict[str, str] | None = None,
) -> None:
    """Create the committed snapshot `name` on `parent`, with the content written by `writing`."""
    mounts = driver.prepare(key, parent, labels=labels)
    if writing:
        run_inside(mounts, writing)
    driver.commit(name, key)


def close(driver: StorageDriver) -> None:
    """Close a driver that keeps files open by its method `close`, which the interface does not require."""
    getattr(driver, "close", lambda: None)()


def _remove_all(driver: StorageDriver) -> None:
    """Remove all snapshots, children before their parents, so that a driver with real file systems can be closed."""
    left = {snapshot.name: snapshot for snapshot in driver.list()}
    while left:
        parents = {snapshot.parent for snapshot in left.values()}
        for name in left.keys() - parents:
            driver.remove(name)
            del left[name]


def require_user_attributes(directory: Path) -> None:
    """Skip the test if `directory` doesn't support `user.*` attributes; tmpfs does since Linux 6.6."""
    try:
        os.setxattr(directory, _USERS, b"")
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip(f"the file system of {directory} has no attributes of users, as tmpfs before Linux 6.6")
    os.removexattr(directory, _USERS)


def _require_detached(driver: StorageDriver) -> None:
    if not driver.capabilities.detached_layers:
        pytest.skip("this driver has no detached layers")


def _content(driver: StorageDriver, name: str, file: str) -> str:
    try:
        return run_inside(driver.prepare("reading", name), content.read(file))
    finally:
        driver.remove("reading")


def _looked_at(driver: StorageDriver, name: str) -> dict[str, tuple[tuple[int, int], int, dict[str, bytes], int]]:
    try:
        return run_inside(driver.prepare("looking", name), content.roots_kinds_in)
    finally:
        driver.remove("looking")
