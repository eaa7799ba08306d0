"""Images for tests, demo and benchmarks, built from Debian's busybox-static; nothing is downloaded."""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

BUSYBOX = Path("/bin/busybox")
EPOCH_S = 1_700_000_000
GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True)
class Entry:
    """One member of a layer: `content` for a file, `link` for a symbolic or hard link, `device` for a device."""

    path: str
    content: bytes = b""
    type: bytes = tarfile.REGTYPE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    link: str = ""
    mtime_s: int = EPOCH_S
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, str] = field(default_factory=dict)

    def header(self) -> tarfile.TarInfo:
        header = tarfile.TarInfo(self.path)
        header.type, header.mode, header.linkname = self.type, self.mode, self.link
        header.uid, header.gid, header.mtime, header.size = self.uid, self.gid, self.mtime_s, len(self.content)
        header.devmajor, header.devminor = self.device
        header.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in self.xattrs.items()}
        return header


def directory(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, type=tarfile.DIRTYPE, mode=mode)


def symlink(path: str, target: str) -> Entry:
    return Entry(path, type=tarfile.SYMTYPE, mode=0o777, link=target)


def hard_link(path: str, target: str) -> Entry:
    return Entry(path, type=tarfile.LNKTYPE, link=target)


def layer(entries: Iterable[Entry]) -> bytes:
    """The uncompressed tar of `entries`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            archive.addfile(entry.header(), io.BytesIO(entry.content))
    return stream.getvalue()


@cache
def busybox_layer() -> bytes:
    """A root file system of busybox: every applet in /bin, passwd and group, a page for httpd in /www."""
    applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
    return layer(
        [
            *(directory(path) for path in ("bin", "etc", "home", "root", "usr", "usr/bin", "var", "www")),
            directory("tmp", 0o1777),
            Entry("bin/busybox", BUSYBOX.read_bytes(), mode=0o755),
            *(symlink(f"bin/{applet}", "busybox") for applet in applets if applet != "busybox"),
            symlink("usr/bin/env", "../../bin/busybox"),
            Entry("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nboat:x:1000:1000::/home:/bin/sh\n"),
            Entry("etc/group", b"root:x:0:\nboat:x:1000:\nplanks:x:2000:boat\n"),
            Entry("www/index.html", b"three planks\n"),
        ]
    )


def layered_layers() -> list[bytes]:
    """Busybox and three layers on top: changes, removals, an opaque directory, links, owners, xattrs, times."""
    second = layer(
        [
            directory("tree"),
            Entry("tree/kept", b"kept\n"),
            Entry("tree/removed", b"removed\n"),
            Entry("tree/changed", b"old\n"),
            hard_link("tree/twin", "tree/kept"),
            directory("hidden"),
            Entry("hidden/below", b"below\n"),
        ]
    )
    third = layer(
        [
            directory("tree"),
            Entry("tree/changed", b"new\n", mode=0o4755, uid=1000, gid=2000, mtime_s=EPOCH_S + 1),
            Entry("tree/.wh.removed"),
            directory("hidden"),
            Entry("hidden/.wh..wh..opq"),
            Entry("hidden/above", b"above\n"),
        ]
    )
    fourth = layer(
        [
            Entry("labelled", b"x\n", xattrs={"user.plank": "storage"}),
            symlink("dangling", "/no/such/file"),
            directory("a" * 120),
            Entry("a" * 120 + "/long", b"long name\n"),
        ]
    )
    return [busybox_layer(), second, third, fourth]


def image_config(layers: Sequence[bytes], config: Mapping[str, Any]) -> bytes:
    machine = platform.machine()
    return json.dumps(
        {
            "architecture": GO_ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "created": "2023-11-14T22:13:20Z",
            "config": {"Env": ["PATH=/bin:/usr/bin"], "Cmd": ["sh"], "WorkingDir": "/", **config},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in layers]},
            "history": [
                {"created": "2023-11-14T22:13:20Z", "created_by": f"layer {n}"} for n, _ in enumerate(layers)
            ],
        }
    ).encode()


def docker_archive(
    path: Path, reference: str, layers: Sequence[bytes], config: Mapping[str, Any] | None = None
) -> str:
    """Write what `docker save` writes for one image; returns the image's ID (`sha256:…`)."""
    document = image_config(layers, config or {})
    name = hashlib.sha256(document).hexdigest()
    paths = [f"{hashlib.sha256(tar).hexdigest()}/layer.tar" for tar in layers]
    manifest = [{"Config": f"{name}.json", "RepoTags": [reference], "Layers": paths}]
    members = [
        Entry(f"{name}.json", document),
        *(Entry(member, tar) for member, tar in zip(paths, layers, strict=True)),
        Entry("manifest.json", json.dumps(manifest).encode()),
    ]
    path.write_bytes(layer(members))
    return f"sha256:{name}"


def busybox_archive(path: Path, reference: str = "busybox:test") -> str:
    """Write a docker-archive of one layer in which every busybox applet runs; returns the image's ID."""
    return docker_archive(path, reference, [busybox_layer()])


def layered_archive(path: Path, reference: str = "layered:test") -> str:
    """Write a docker-archive of four layers (see `layered_layers`); returns the image's ID."""
    return docker_archive(path, reference, layered_layers(), {"Labels": {"planks": "3"}})
