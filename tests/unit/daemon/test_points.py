"""Mount points from binds, mounts, tmpfs and the image's volumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.daemon.points import mount_points, parse_bind, parse_mount
from sampan.errdefs import InvalidArgument, Unsupported
from sampan.models import BindOptions, ContainerConfig, HostConfig, Mount, TmpfsOptions


def test_a_bind_of_a_host_directory() -> None:
    point = parse_bind("/srv/x/:/data/:ro,rslave")
    assert (point.type, point.source, point.destination) == ("bind", "/srv/x", "/data")
    assert (point.rw, point.propagation) == (False, "rslave")


def test_a_source_without_a_slash_is_a_volume() -> None:
    point = parse_bind("cache:/data")
    assert (point.type, point.name, point.driver, point.rw) == ("volume", "cache", "local", True)


@pytest.mark.parametrize(
    "spec", ["", ":", "/a", "/a:", ":/b", "/a:b", "/a:/b:zz", "/a:/b:ro:rw", "v:/b:rslave", "/a:/"]
)
def test_bad_binds_are_refused_in_dockers_words(spec: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid volume specification"):
        parse_bind(spec)


def test_two_mounts_at_one_place_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="Duplicate mount point: /data"):
        mount_points(ContainerConfig(), HostConfig(binds=["/a:/data", "v:/data"]))


def test_the_images_volume_yields_to_the_users() -> None:
    config = ContainerConfig(volumes={"/data": {}, "/more": {}})
    points = {point.destination: point for point in mount_points(config, HostConfig(binds=["/a:/data"]))}
    assert points["/data"].type == "bind"
    assert (points["/more"].type, points["/more"].name) == ("volume", None)


def test_a_mount_of_a_missing_directory_is_refused_unless_it_may_be_made(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(InvalidArgument, match=f"bind source path does not exist: {missing}"):
        parse_mount(Mount(type="bind", source=missing, target="/data"))
    options = BindOptions(create_mountpoint=True)
    assert parse_mount(Mount(type="bind", source=missing, target="/data", bind_options=options)).source == missing


def test_a_tmpfs_mount_carries_its_size_and_mode() -> None:
    point = parse_mount(Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=4096, mode=0o1777)))
    assert (point.type, point.mode) == ("tmpfs", "size=4096,mode=1777")


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (Mount(type="bind", source="/"), "field Target must not be empty"),
        (Mount(type="bind", target="/x"), "field Source must not be empty"),
        (Mount(type="volume", target="x"), "mount path must be absolute"),
        (Mount(type="floppy", target="/x"), "mount type unknown"),
    ],
)
def test_bad_mounts_are_refused_in_dockers_words(mount: Mount, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_mount(mount)


def test_what_is_not_served_yet_says_so() -> None:
    with pytest.raises(Unsupported, match="mounts of type image"):
        parse_mount(Mount(type="image", source="x", target="/x"))
