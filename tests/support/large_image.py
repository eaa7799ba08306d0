"""An image with many files and every unusual kind of file, written to disk as it is generated."""

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from isal import igzip

from tests.support.images import EPOCH_S, Entry, busybox_layer, directory, hard_link, image_config, symlink

LAYERS = 4
MEAN_FILE_BYTES = 19_000  # as in images with Python and Node
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CAPABILITY = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0".decode("latin-1")  # cap_net_raw+ep, as on ping
NAMES = ("plain", "with space", "ümläut", "line\nbreak", "-dash", "back\\slash", "n" * 255)


def write_large_layout(path: Path, files: int) -> None:
    """Write an OCI layout with one image, `x`, of `LAYERS` layers: busybox, and `files` files below /files."""
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True)
    written = [_write_layer(blobs, _base_layer())]
    written += [_write_layer(blobs, _layer(number, files // (LAYERS - 1))) for number in range(1, LAYERS)]
    config = json.loads(image_config([], {}))
    config["rootfs"]["diff_ids"] = [diff_id for diff_id, _ in written]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _write_blob(blobs, json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor for _, descriptor in written],
    }
    index = _write_blob(blobs, json.dumps(manifest).encode(), MANIFEST_TYPE)
    index["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [index]}))


def _base_layer() -> Iterator[Entry]:
    with tarfile.open(fileobj=io.BytesIO(busybox_layer())) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            content = file.read() if file else b""
            yield Entry(member.name, content, member.type, member.mode, link=member.linkname)


def _layer(number: int, files: int) -> Iterator[Entry]:
    """Layer `number`: ordinary and odd files in its own directories, changes to the odd ones of the layer below."""
    yield directory("files")
    yield from _ordinary(number, files)
    yield from _odd(number)
    if number > 1:
        yield from _changes(number)


def _ordinary(number: int, files: int) -> Iterator[Entry]:
    """Files as in installed packages: 20 to a directory, from empty to megabytes, some of them hard links."""
    chance = random.Random(number)
    pool = chance.randbytes(1 << 20) + b"".join(b"line %d of a file\n" % line for line in range(200_000))
    top = f"files/layer{number}"
    file = directory(top)
    yield file
    for index in range(files):
        place = f"{top}/package{index // 20}"
        if index % 20 == 0:
            yield directory(place)
        if index % 50 == 49:
            yield replace(file, path=f"{place}/link{index}", content=b"", type=tarfile.LNKTYPE, link=file.path)
            continue
        size = min(int(chance.lognormvariate(8.6, 1.6)), len(pool))
        start = chance.randrange(len(pool) - size + 1)
        mode = chance.choice((0o644, 0o755, 0o600, 0o444))
        owner = chance.choice((0, 0, 1000, 65534, 2_000_000))
        time_s = EPOCH_S + chance.randrange(10_000_000)
        content = pool[start : start + size]
        file = Entry(f"{place}/file{index}", content, mode=mode, uid=owner, gid=owner, mtime_s=time_s)
        yield file


def _odd(number: int) -> Iterator[Entry]:
    """Names, types, modes, attributes and times that are rare in archives."""
    top = f"files/odd{number}"
    yield directory(top, 0o1777)
    for name in NAMES:
        yield Entry(f"{top}/{name}", name.encode())
    yield Entry(f"{top}/empty")
    yield Entry(f"{top}/setuid", b"x", mode=0o6755, uid=1000, gid=2000)
    yield Entry(f"{top}/capable", b"x", mode=0o755, xattrs={"security.capability": CAPABILITY})
    yield Entry(f"{top}/labelled", b"x", xattrs={"user.plank": "storage", "user.ü": "ü"})
    yield Entry(f"{top}/ancient", b"x", mtime_s=1)
    yield Entry(f"{top}/future", b"x", mtime_s=4_000_000_000)
    yield Entry(f"{top}/fifo", type=tarfile.FIFOTYPE, mode=0o622)
    yield Entry(f"{top}/null", type=tarfile.CHRTYPE, mode=0o666, device=(1, 3))
    yield Entry(f"{top}/disk", type=tarfile.BLKTYPE, mode=0o660, gid=6, device=(7, 250))
    yield symlink(f"{top}/dangling", "/no/such/file")
    yield symlink(f"{top}/up", "../../../../../etc/passwd")
    yield Entry(f"{top}/fifo2", type=tarfile.LNKTYPE, mode=0o622, link=f"{top}/fifo")
    yield hard_link(f"{top}/labelled2", f"{top}/labelled")
    yield Entry(f"{top}/no-access", b"x", mode=0)
    yield directory(f"{top}/closed", 0)
    deep = top
    for level in range(60):
        deep = f"{deep}/level{level}"
        yield directory(deep)
    yield Entry(f"{deep}/bottom", b"x")
    for kind in ("file", "directory", "link", "hidden", "removed"):
        yield directory(f"{top}/{kind}")
        yield Entry(f"{top}/{kind}/below", kind.encode())


def _changes(number: int) -> Iterator[Entry]:
    """A layer's changes to the odd files of the layer below it."""
    below = f"files/odd{number - 1}"
    yield directory(below, 0o750)
    yield Entry(f"{below}/file", b"a file now")
    yield directory(f"{below}/empty")
    yield Entry(f"{below}/empty/inside", b"x")
    yield symlink(f"{below}/link", "directory")
    yield directory(f"{below}/hidden", 0o700)
    yield Entry(f"{below}/hidden/.wh..wh..opq")
    yield Entry(f"{below}/hidden/above", b"x")
    yield Entry(f"{below}/.wh.removed")
    yield Entry(f"{below}/.wh.labelled2")
    yield Entry(f"{below}/plain", b"changed", mode=0o4711, uid=7, mtime_s=EPOCH_S + number)


def _write_layer(blobs: Path, entries: Iterable[Entry]) -> tuple[str, dict[str, object]]:
    """Write one compressed layer to disk; returns its diff ID and its descriptor."""
    scratch = blobs / "layer"
    with scratch.open("wb") as file:
        hashed = _Hashing(igzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0))  # type: ignore[no-untyped-call]
        with tarfile.open(fileobj=hashed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for entry in entries:
                archive.addfile(entry.header(), io.BytesIO(entry.content))
        hashed.inner.close()
    with scratch.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    scratch.rename(blobs / digest)
    return f"sha256:{hashed.digest.hexdigest()}", {
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
        "digest": f"sha256:{digest}",
        "size": (blobs / digest).stat().st_size,
    }


class _Hashing(io.RawIOBase):
    """Passes writes on to `inner` and hashes them."""

    def __init__(self, inner: igzip.GzipFile) -> None:
        self.inner = inner
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        self.digest.update(content)
        self.inner.write(content)  # type: ignore[no-untyped-call]
        return len(content)


def _write_blob(blobs: Path, content: bytes, media_type: str) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}
