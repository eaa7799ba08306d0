"""The overlayfs driver on the real kernel: deep stacks, effective options, and kill -9 at any line."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sampan.drivers import Mount, SnapshotKind
from sampan.errdefs import NotFound, SystemFailure
from sampan.images.mounted import mounted_for_all
from sampan.testing.mounting import run_inside
from sampan_overlayfs.driver import OverlayDriver
from sampan_overlayfs.layout import Layout
from sampan_overlayfs.probe import why_not

pytestmark = pytest.mark.root
CRASH = Path(__file__).with_name("storage_crash.py")
LAYERS = 128


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[OverlayDriver]:
    driver = OverlayDriver(tmp_path)
    if reason := driver.probe():
        pytest.skip(reason)
    yield driver
    driver.close()


def tower(driver: OverlayDriver, height: int) -> str:
    parent = None
    for number in range(height):
        driver.prepare("key", None)
        (driver.detached_dir("key") / str(number)).touch()
        driver.commit(f"layer {number}", "key", parent=parent)
        parent = f"layer {number}"
    return f"layer {height - 1}"


def test_a_tower_of_128_layers_can_be_mounted_and_written(driver: OverlayDriver) -> None:
    mounts = driver.prepare("container", tower(driver, LAYERS))
    assert len(run_inside(mounts, os.listdir)) == LAYERS
    run_inside(mounts, lambda root: (root / "5").unlink())
    assert [change.path for change in driver.changes("container")] == ["/5"]


def test_a_tower_under_a_long_data_root_can_be_mounted(tmp_path: Path) -> None:
    long = tmp_path.joinpath(*["a-directory-with-a-rather-long-name"] * 4)
    long.mkdir(parents=True)
    driver = OverlayDriver(long)
    mounts = driver.prepare("container", tower(driver, LAYERS))
    assert len(",".join(mounts[0].options)) > 4096
    assert len(run_inside(mounts, os.listdir)) == LAYERS
    driver.close()


def test_a_tower_can_be_mounted_for_other_processes_too(tmp_path: Path) -> None:
    """The data root's path is so long that the mount options exceed a page."""
    root = tmp_path / ("x" * 60)
    for name in ("driver", "mounts"):
        (root / name).mkdir(parents=True)
    driver = OverlayDriver(root / "driver")
    mounts = driver.prepare("container", tower(driver, LAYERS))
    assert len(",".join(mounts[0].options)) > 2 * mmap.PAGESIZE
    with mounted_for_all(mounts, root / "mounts") as path:
        listed = subprocess.run(["ls", path], check=True, capture_output=True, text=True).stdout
    assert len(listed.splitlines()) == LAYERS
    assert list((root / "mounts").iterdir()) == []
    driver.close()


def test_the_options_are_in_force_whatever_the_kernels_defaults(driver: OverlayDriver) -> None:
    mounts = driver.prepare("container", tower(driver, 2))
    line = run_inside(mounts, _mountinfo_line)
    assert "redirect_dir=nofollow" in line
    assert "metacopy=on" not in line
    assert "index=on" not in line
    assert "volatile" not in line
    assert "xino=on" not in line
    assert "xino=auto" not in line


def test_the_status_names_the_options_and_the_file_system_below(driver: OverlayDriver) -> None:
    status = dict(driver.status())
    assert status.pop("Backing Filesystem") not in ("", "overlay")
    assert status.pop("Quota") in ("true", "false")
    assert status == {"index": "off", "redirect_dir": "nofollow", "metacopy": "off", "xino": "off"}


def test_a_directory_of_the_image_is_moved_by_copying_and_leaves_no_redirect(
    driver: OverlayDriver, tmp_path: Path
) -> None:
    driver.prepare("key", None)
    (driver.detached_dir("key") / "dir").mkdir()
    (driver.detached_dir("key") / "dir/file").touch()
    driver.commit("base", "key")
    mounts = driver.prepare("container", "base")
    run_inside(mounts, lambda root: subprocess.run(["mv", str(root / "dir"), str(root / "moved")], check=True))
    moved = Layout(tmp_path).files(2) / "moved"
    assert (moved / "file").exists()
    assert "trusted.overlay.redirect" not in os.listxattr(moved)


def test_an_overlay_cannot_lie_on_an_overlay_and_the_probe_says_so(driver: OverlayDriver, tmp_path: Path) -> None:
    mounts = driver.prepare("container", tower(driver, 2))
    reason = run_inside(mounts, _probe_inside)
    assert reason is not None
    assert "overlay, which can't hold an upper directory" in reason


def test_probing_leaves_no_mount_and_no_file(driver: OverlayDriver, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    assert driver.probe() is None
    assert sorted(tmp_path.iterdir()) == before
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_a_mounted_snapshot_can_be_removed(driver: OverlayDriver) -> None:
    mounts = driver.prepare("container", tower(driver, 2))
    run_inside(mounts, lambda root: driver.remove("container"))
    with pytest.raises(NotFound):
        driver.stat("container")


def test_removing_a_large_tree_does_not_wait_for_its_files(driver: OverlayDriver, tmp_path: Path) -> None:
    driver.prepare("key", None)
    root = driver.detached_dir("key")
    for number in range(2000):
        (root / str(number)).touch()
    driver.remove("key")
    assert not root.exists()
    driver.wait_for_removals()
    assert list((tmp_path / "trash").iterdir()) == []


def test_on_a_full_disk_a_call_fails_with_a_sentence_and_leaves_what_was_there(tmp_path: Path) -> None:
    run_inside([Mount("tmpfs", "tmpfs", ("size=512k",))], _fill_the_disk)


def _fill_the_disk(root: Path) -> None:
    driver = OverlayDriver(root)
    driver.prepare("kept", None)
    ballast = root / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(SystemFailure, match=r"full|No space left"):
        for number in range(1000):
            driver.prepare(f"snapshot {number}", None)
    ballast.unlink()
    before = {snapshot.name for snapshot in driver.list()}
    driver.commit("base", "kept")
    driver.prepare("after", "base")
    assert {snapshot.name for snapshot in driver.list()} == (before - {"kept"}) | {"base", "after"}
    driver.wait_for_removals()
    assert len(list((root / "snapshots").iterdir())) == len(before) + 1
    driver.close()


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many lines of the driver the crash script runs."""
    done = _crash(tmp_path_factory.mktemp("whole"), 0)
    assert done.returncode == 0
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize("share", [number / 24 for number in range(24)])
def test_killed_at_any_line_every_call_has_happened_or_has_not(share: float, lines: int, tmp_path: Path) -> None:
    done = _crash(tmp_path, 1 + int(share * lines))
    assert done.returncode == -signal.SIGKILL
    driver = OverlayDriver(tmp_path)
    driver.wait_for_removals()
    _assert_promises(driver, done.stdout)
    _assert_nothing_half(driver, Layout(tmp_path))
    driver.close()


def _crash(state_dir: Path, line: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CRASH), "overlayfs", str(state_dir), str(line)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


def _assert_promises(driver: OverlayDriver, said: str) -> None:
    """Everything the killed process reported as done holds."""
    kinds = {snapshot.name: snapshot.kind for snapshot in driver.list()}
    promises: dict[str, Callable[[str], bool]] = {
        "committed": lambda name: kinds.get(name) is SnapshotKind.COMMITTED,
        "removed": lambda name: name not in kinds,
    }
    for line in said.splitlines():
        verb, *names = line.split()
        assert all(promises[verb](name) for name in names if verb in promises), line
    if "prepared container" in said:
        assert driver.stat("container").parent == "top"
        assert driver.stat("top").parent == "base"


def _assert_nothing_half(driver: OverlayDriver, layout: Layout) -> None:
    """Every listed snapshot is complete, and nothing else is on disk."""
    snapshots = list(driver.list())
    for snapshot in snapshots:
        if snapshot.kind is SnapshotKind.ACTIVE:
            run_inside(driver.mounts(snapshot.name), os.listdir)
    assert len(list(layout.snapshots.iterdir())) == len(snapshots)
    assert sorted(link.resolve() for link in layout.links.iterdir()) == sorted(
        path / "fs" for path in layout.snapshots.iterdir()
    )
    assert list(layout.trash.iterdir()) == []
    for snapshot in snapshots:
        if snapshot.name == "base":
            driver.prepare("reading", "base")
            assert run_inside(driver.mounts("reading"), lambda root: (root / "file").read_text()) == "content"


def _mountinfo_line(root: Path) -> str:
    lines = Path("/proc/thread-self/mountinfo").read_text().splitlines()
    return next(line for line in lines if f" {root} " in line)


def _probe_inside(root: Path) -> str | None:
    (root / "state").mkdir()
    return why_not(root / "state")
