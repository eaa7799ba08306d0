"""The image to pull, with layers of real Python and JavaScript packages, as in typical images."""

import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from isal import igzip

from tests.support.images import Entry, busybox_layer, image_config

LARGEST_FILE_BYTES = 4 << 20
MEAN_FILE_BYTES = 19_300  # 1.35 GB in 70,000 files, as measured on an image with Python and Node


@dataclass(frozen=True)
class Layout:
    """An OCI image layout on disk, and the size of its contents."""

    path: Path
    unpacked_bytes: int
    compressed_bytes: int
    files: int
    layers: int


def write_layout(path: Path, total_bytes: int, layers: int = 4) -> Layout:
    """Write an image of `layers` layers with `total_bytes` of files: busybox, then packages of this machine."""
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True)
    packages = package_files()
    tars = [busybox_layer(), *(_package_layer(n, total_bytes // (layers - 1), packages) for n in range(1, layers))]
    config = image_config(tars, {})
    descriptors = [_write_layer(blobs, tar) for tar in tars]
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _write_blob(blobs, config, "application/vnd.oci.image.config.v1+json"),
        "layers": descriptors,
    }
    index = _write_blob(blobs, json.dumps(manifest).encode(), str(manifest["mediaType"]))
    index["annotations"] = {"org.opencontainers.image.ref.name": "bench"}
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [index]}))
    return Layout(
        path,
        sum(map(len, tars)),
        sum(int(str(descriptor["size"])) for descriptor in descriptors),
        sum(_count_files(tar) for tar in tars),
        layers,
    )


def package_files() -> list[Path]:
    """Files of installed packages: those of this environment, then those of the machine."""
    roots = [Path(sys.prefix, "lib"), Path("/usr/lib/python3"), Path("/usr/lib/node_modules"), Path("/usr/share")]
    found = [path for root in roots if root.is_dir() for path in _regular_files(root)]
    if not found:
        raise FileNotFoundError("no package files on this machine to make an image of")
    return found


def _regular_files(root: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST_FILE_BYTES:
                yield path


def _package_layer(number: int, total_bytes: int, packages: list[Path]) -> bytes:
    """A tar of `total_bytes`: the packages, beginning at a different place in each layer, repeated as needed.

    Large files are skipped while the mean size is above that of real images, small ones while it is below.
    """
    entries: list[Entry] = []
    written = 0
    start = number * len(packages) // 4
    for turn in count():
        for path in (*packages[start:], *packages[:start]):
            if written >= total_bytes:
                return _tar(entries)
            size = path.stat().st_size
            if (written > MEAN_FILE_BYTES * len(entries)) == (size > MEAN_FILE_BYTES):
                continue
            entries.append(Entry(f"layer{number}/{turn}{path}", path.read_bytes(), mtime_s=1_700_000_000 + number))
            written += size
    raise AssertionError("count() has no end")


def _tar(entries: list[Entry]) -> bytes:
    stream = io.BytesIO()
    made: set[str] = set()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            for parent in reversed(Path(entry.path).parents):
                if str(parent) not in made and str(parent) != ".":
                    made.add(str(parent))
                    archive.addfile(Entry(str(parent), type=tarfile.DIRTYPE, mode=0o755).header())
            archive.addfile(entry.header(), io.BytesIO(entry.content))
    return stream.getvalue()


def _count_files(tar: bytes) -> int:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return sum(1 for _ in archive)


def _write_layer(blobs: Path, tar: bytes) -> dict[str, object]:
    return _write_blob(blobs, igzip.compress(tar, 3), "application/vnd.oci.image.layer.v1.tar+gzip")


def _write_blob(blobs: Path, content: bytes, media_type: str) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}
