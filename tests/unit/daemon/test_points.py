"""Mount points from binds, mounts, tmpfs, the image's volumes and other containers'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.daemon.filesystem.binds import merge_tmpfs_options, parse_bind, parse_volumes_from
from sampan.daemon.filesystem.mounts import Point, parse_mount, tmpfs_options
from sampan.daemon.filesystem.points import mount_points
from sampan.errdefs import InvalidArgument
from sampan.models import ContainerConfig, HostConfig, Mount, TmpfsOptions

DATA_ROOT = Path("/var/lib/sampan")


def points_of(host: HostConfig, volumes: Any = None, others: list[Point] | None = None) -> dict[str, Point]:
    """Mount points by destination."""
    config = ContainerConfig(volumes=volumes)
    found = mount_points(config, host, lambda name: others or [], DATA_ROOT)
    return {point.destination: point for point in found}


def test_a_bind_of_a_host_directory() -> None:
    point = parse_bind("/srv/x/:/data/:ro,rslave")
    assert (point.type, point.source, point.destination) == ("bind", "/srv/x", "/data")
    assert (point.rw, point.propagation, point.mode) == (False, "rslave", "ro,rslave")


def test_a_source_without_a_slash_is_a_volume() -> None:
    point = parse_bind("cache:/data", "local")
    assert (point.type, point.name, point.driver, point.rw, point.copies) == ("volume", "cache", "local", True, True)
    assert parse_bind("cache:/data:nocopy").copies is False


def test_a_destination_alone_is_an_anonymous_volume() -> None:
    point = parse_bind("/data")
    assert (point.type, point.name, point.destination) == ("volume", None, "/data")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "invalid volume specification: ''"),
        (":", "invalid volume specification: ':'"),
        ("/a:", "invalid volume specification: '/a:'"),
        (":/b", "invalid volume specification: ':/b'"),
        ("/a:ro", "invalid volume specification: '/a:ro'"),
        ("/a:/b:ro:rw", "invalid volume specification: '/a:/b:ro:rw'"),
        ("/a:b", "invalid mount path: 'b' mount path must be absolute"),
        ("/a:/", "invalid specification: destination can't be '/'"),
        ("/a:/b:zz", "invalid mode: zz"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:z,Z", "invalid mode: z,Z"),
        ("v:/b:rslave", "field BindOptions must not be specified"),
    ],
)
def test_bad_binds_are_refused_in_dockers_words(spec: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_bind(spec)


@pytest.mark.parametrize("mode", ["z", "Z", "cached", "delegated", "consistent", "rw,Z,rshared", "nocopy"])
def test_modes_that_only_other_hosts_know_are_taken(mode: str) -> None:
    assert parse_bind(f"/a:/b:{mode}").mode == mode


@pytest.mark.parametrize(
    "host",
    [
        HostConfig(binds=["/a:/data", "v:/data/"]),
        HostConfig(binds=["/a:/data"], mounts=[Mount(type="tmpfs", target="/data")]),
        HostConfig(binds=["/a:/data"], tmpfs={"/data": ""}),
    ],
)
def test_two_mounts_at_one_place_are_refused(host: HostConfig) -> None:
    with pytest.raises(InvalidArgument, match="Duplicate mount point: /data"):
        points_of(host)


def test_the_images_volume_yields_to_the_users() -> None:
    points = points_of(HostConfig(binds=["/a:/data"], tmpfs={"/t": ""}), {"/data/": {}, "/more": {}, "/t": {}})
    assert points["/data"].type == "bind"
    assert (points["/more"].type, points["/more"].name, points["/more"].copies) == ("volume", None, True)
    assert "/t" not in points


@pytest.mark.parametrize("destination", ["data", "/", "/.."])
def test_an_image_with_a_volume_at_no_place_is_refused(destination: str) -> None:
    with pytest.raises(InvalidArgument, match=r"mount path must be absolute|destination can't be '/'"):
        points_of(HostConfig(), {destination: {}})


def test_volumes_of_another_container_yield_to_the_users_and_are_not_filled() -> None:
    others = [
        Point(type="volume", name="kept", source="/v", destination="/data", rw=True, copies=True),
        Point(type="bind", source="/srv", destination="/srv", rw=True, propagation="rslave"),
    ]
    points = points_of(HostConfig(volumes_from=["other:ro"], binds=["/mine:/data"]), {"/srv": {}}, others)
    assert (points["/data"].source, points["/data"].rw) == ("/mine", True)
    assert (points["/srv"].type, points["/srv"].rw, points["/srv"].propagation) == ("bind", False, "rslave")
    points = points_of(HostConfig(volumes_from=["other"]), None, others)
    assert (points["/data"].name, points["/data"].rw, points["/data"].copies) == ("kept", True, False)


@pytest.mark.parametrize("text", ["", "a:zz", "a:rslave", "a:nocopy", "a:ro,rw"])
def test_bad_volumes_from_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid mode|cannot be an empty string"):
        parse_volumes_from(text)


def test_a_mount_of_a_missing_directory_is_refused_unless_it_may_be_made(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(InvalidArgument, match=f"bind source path does not exist: {missing}"):
        parse_mount(Mount(type="bind", source=missing, target="/data"))
    made = Mount.model_validate(
        {"Type": "bind", "Source": missing, "Target": "/data", "BindOptions": {"CreateMountpoint": True}}
    )
    assert parse_mount(made).source == missing


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (TmpfsOptions(size_bytes=4096, mode=0o1777), "mode=1777,size=4k"),
        (TmpfsOptions(size_bytes=3 << 30), "size=3g"),
        (TmpfsOptions(size_bytes=1025), "size=1025"),
        (TmpfsOptions(options=[["exec"]]), "exec"),
        (None, ""),
    ],
)
def test_tmpfs_options(options: TmpfsOptions | None, expected: str) -> None:
    assert tmpfs_options(options, read_only=False) == expected
    assert tmpfs_options(options, read_only=True).startswith("ro")


def test_of_tmpfs_options_the_last_one_holds() -> None:
    merged = merge_tmpfs_options(("noexec", "nosuid", "nodev", "rprivate", "size=1k", "exec", "size=2k", "rslave"))
    assert merged == ("nosuid", "nodev", "exec", "size=2k", "rslave")


@pytest.mark.parametrize("option", ["", "bind", "rbind", "remount", "size", "upperdir=/", "lowerdir=/etc"])
def test_what_is_no_option_of_a_tmpfs_is_refused(option: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid tmpfs option"):
        merge_tmpfs_options((option,))


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ({"Type": "bind", "Source": "/"}, "field Target must not be empty"),
        ({"Type": "bind", "Target": "/x"}, "field Source must not be empty"),
        ({"Type": "bind", "Target": "/x", "Source": "y"}, "invalid mount path: 'y' mount path must be absolute"),
        ({"Type": "bind", "Target": "/..", "Source": "/"}, "destination can't be '/'"),
        (
            {"Type": "bind", "Source": "/", "Target": "/x", "BindOptions": {"Propagation": "up"}},
            "propagation mode: up",
        ),
        ({"Type": "bind", "Source": "/", "Target": "/x", "VolumeOptions": {}}, "VolumeOptions must not be specified"),
        ({"Type": "bind", "Source": "/a\0", "Target": "/x"}, "stat /a"),
        (
            {"Type": "bind", "Source": "/", "Target": "/x", "BindOptions": {"ReadOnlyNonRecursive": True}},
            "mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive",
        ),
        (
            {"Type": "bind", "Source": "/", "Target": "/x", "BindOptions": {"ReadOnlyForceRecursive": True}},
            "mount options conflict: !ReadOnly && BindOptions.ReadOnlyForceRecursive",
        ),
        ({"Type": "volume", "Target": "x"}, "mount path must be absolute"),
        ({"Type": "volume", "Target": "/x", "VolumeOptions": {"Subpath": "a"}}, "when using anonymous volumes"),
        (
            {"Type": "volume", "Source": "v", "Target": "/x", "VolumeOptions": {"Subpath": "a/../../b"}},
            "subpath must be a relative path within the volume",
        ),
        ({"Type": "image", "Target": "/x"}, "field Source must not be empty"),
        (
            {"Type": "image", "Source": "i", "Target": "/x", "ImageOptions": {"Subpath": "/a"}},
            "subpath must be a relative path within the volume",
        ),
        ({"Type": "tmpfs", "Source": "a", "Target": "/x"}, "field Source must not be specified"),
        ({"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"SizeBytes": -1}}, "invalid tmpfs size"),
        ({"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"Options": [["suid"]]}}, "invalid option: suid"),
        ({"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"Options": [[]]}}, "invalid option array length"),
        ({"Type": "cluster", "Source": "c", "Target": "/x"}, "mount type unknown"),
        ({"Type": "floppy", "Target": "/x"}, "mount type unknown"),
    ],
)
def test_bad_mounts_are_refused_in_dockers_words(mount: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_mount(Mount.model_validate(mount))


@pytest.mark.parametrize(
    ("source", "asked", "propagation"),
    [
        ("/", "", "rslave"),
        ("/var/lib/sampan/volumes", "", "rslave"),
        ("/var", "rshared", "rshared"),
        ("/var/lib/sampan2", "", "rprivate"),
    ],
)
def test_what_holds_the_engines_files_is_a_slave_of_the_host(source: str, asked: str, propagation: str) -> None:
    points = points_of(HostConfig(binds=[f"{source}:/host" + (f":{asked}" if asked else "")]))
    assert points["/host"].propagation == propagation


def test_what_holds_the_engines_files_cannot_be_private() -> None:
    with pytest.raises(InvalidArgument, match='must use either propagation mode "rslave" or "rshared"'):
        points_of(HostConfig(binds=["/:/host:rprivate"]))


def test_to_clients_before_1_44_read_only_binds_end_at_mounts_below() -> None:
    host = HostConfig(binds=["/a:/a:ro", "/b:/b"])
    points = mount_points(ContainerConfig(), host, lambda name: [], DATA_ROOT, recursive=False)
    options = [point.spec.bind_options for point in points]
    assert [one and one.read_only_non_recursive for one in options] == [True, False]
