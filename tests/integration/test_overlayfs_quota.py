"""A container's layer is limited in size where the file system has project quotas: XFS, if the kernel supports it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from sampan.errdefs import Unsupported
from sampan.syscalls.fsxattr import project_of
from sampan.testing.mounting import run_inside
from sampan_overlayfs.driver import OverlayDriver

pytestmark = pytest.mark.root
MIB = 1 << 20


@pytest.fixture(scope="module")
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("xfs")
    disk, point = directory / "disk", directory / "point"
    point.mkdir()
    with disk.open("wb") as file:
        file.truncate(400 * MIB)
    for command in (["mkfs.xfs", "-q", str(disk)], ["mount", "-o", "loop,pquota", str(disk), str(point)]):
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            pytest.skip(f"there is no XFS with quota here: {command[0]}: {error}")
    yield point
    subprocess.run(["umount", str(point)], check=True)


@pytest.fixture
def driver(xfs: Path) -> Iterator[OverlayDriver]:
    driver = OverlayDriver(Path(mkdtemp(dir=xfs)))
    driver.prepare("key", None)
    (driver.detached_dir("key") / "below").write_bytes(b"x" * 6 * MIB)
    driver.commit("base", "key")
    yield driver
    driver.close()


def write(name: str, size_bytes: int) -> Callable[[Path], object]:
    def writing(root: Path) -> None:
        with (root / name).open("wb") as file:
            file.write(os.urandom(size_bytes))
            file.flush()
            os.fsync(file.fileno())

    return writing


def test_a_snapshot_takes_no_more_than_its_size(driver: OverlayDriver) -> None:
    assert driver.capabilities.quota
    assert ("Quota", "true") in driver.status()
    mounts = driver.prepare("small", "base", size_bytes=4 * MIB)
    run_inside(mounts, write("file", 3 * MIB))
    with pytest.raises(OSError, match=r"No space left|quota exceeded"):
        run_inside(mounts, write("more", 3 * MIB))
    with pytest.raises(OSError, match=r"No space left|quota exceeded"):  # on copy-up
        run_inside(mounts, lambda root: (root / "below").open("ab").write(b"x"))
    run_inside(mounts, lambda root: (root / "file").unlink())
    run_inside(mounts, lambda root: (root / "more").unlink())
    run_inside(mounts, write("again", 3 * MIB))


def test_others_are_not_bound_by_it(driver: OverlayDriver) -> None:
    driver.prepare("small", "base", size_bytes=4 * MIB)
    run_inside(driver.prepare("large", "base", size_bytes=16 * MIB), write("file", 12 * MIB))
    run_inside(driver.prepare("free", "base"), write("file", 32 * MIB))


def test_one_without_layers_below_is_bound_too(driver: OverlayDriver) -> None:
    mounts = driver.prepare("alone", None, size_bytes=4 * MIB)
    with pytest.raises(OSError, match=r"No space left|quota exceeded"):
        run_inside(mounts, write("file", 8 * MIB))


def test_a_removed_snapshot_leaves_no_limit(driver: OverlayDriver, xfs: Path) -> None:
    driver.prepare("small", "base", size_bytes=4 * MIB)
    [mount] = driver.mounts("small")
    [upper] = (one.partition("=")[2] for one in mount.options if one.startswith("upperdir="))
    fd = os.open(upper, os.O_RDONLY)
    project = project_of(fd)
    os.close(fd)
    report = ["xfs_quota", "-x", "-c", "report -p -n -N -b", str(xfs)]
    limits = subprocess.run(report, check=True, capture_output=True, text=True).stdout
    assert [line.split()[3] for line in limits.splitlines() if line.startswith(f"#{project} ")] == ["4096"]
    driver.remove("small")
    limits = subprocess.run(report, check=True, capture_output=True, text=True).stdout
    assert f"#{project} " not in limits or f"#{project} 0 0 0" in " ".join(limits.split())


def test_elsewhere_it_is_refused_with_the_reason(tmp_path: Path) -> None:
    driver = OverlayDriver(tmp_path)
    assert not driver.capabilities.quota
    with pytest.raises(
        Unsupported, match="a size can be limited only on XFS mounted with the option pquota, not in "
    ):
        driver.prepare("small", None, size_bytes=4 * MIB)
    assert list(driver.list()) == []
    driver.close()
