"""Corrupted layers, archives and documents: each is either read or refused, and nothing else happens.

A short run is part of the suite; `--fuzz-seconds` runs each of these for that long (`make test-images-fuzz`).
A failure names its case number, which reproduces the case.
"""

import asyncio
import bz2
import contextlib
import gzip
import json
import lzma
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from sampan.errdefs import DataLoss, InvalidArgument, SampanError, SystemFailure
from sampan.images import archive_reader
from sampan.images.layer.decompress import decompress, sniff
from sampan.images.layer.extract import extract
from sampan.images.layer.limits import Limits, WhiteoutFormat
from sampan.images.layer.tar import REGULAR, TarReader
from sampan.images.manifest import Index, choose, parse_config, parse_document
from sampan.images.platform import Platform
from sampan.images.refusal import error_of
from sampan.images.registry import _tags_in
from tests.support.images import image_config
from tests.unit.images.conftest import Items, Room
from tests.unit.images.fake_registry import CONFIG, INDEX, LAYER, MANIFEST, descriptor
from tests.unit.images.layer.building import block, directory, entry, hard_link, pax, symlink, tar
from tests.unit.images.mutation import mutated_bytes, mutated_json, mutated_tar
from tests.unit.images.test_archive import docker_archive, oci_archive

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = [pytest.mark.root, pytest.mark.timeout(0)]
LIMITS = Limits(total_bytes=64 << 20, entries=10_000)
CASE_S = 20.0  # limit for one case, even on a slow machine
BATCH = 50

SEEDS = (
    tar(
        directory(b"d", mode=0o1777),
        entry(b"d/file", b"x" * 700, uid=1000),
        hard_link(b"d/hard", b"d/file"),
        symlink(b"link", b"d"),
        entry(b"link/through", b"1"),
        block(b"null", b"3", device=(1, 3)),
        block(b"pipe", b"6"),
        entry(b"d/.wh.gone"),
        entry(b"d/.wh..wh..opq"),
        pax((b"path", b"n/" * 5 + b"e" * 200), (b"mtime", b"-1.5"), (b"SCHILY.xattr.user.a", b"\0\xff"))
        + entry(b"x", b"y"),
        symlink(b"up", b"../../canary"),
        entry(b"up/file", b"evil"),
        entry(b"d", b"a file now"),
        directory(b"d"),
    ),
    tar(
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"5000"))
        + entry(b"s", (b"2\n0\n10\n4000\n10\n").ljust(512, b"\0") + b"x" * 20),
        pax((b"GNU.sparse.size", b"9000"), (b"GNU.sparse.map", b"0,5,8000,5")) + entry(b"s1", b"x" * 10),
        block(b"long", b"L", 300) + b"l" * 300 + bytes(212) + entry(b"short", b"1"),
        block(b"global", b"g", 512) + b"20 comment=anything\n" + bytes(492) + entry(b"after", b"1"),
    ),
)  # fmt: skip
COMPRESSED = tuple(pack(SEEDS[0]) for pack in (gzip.compress, bz2.compress, lzma.compress, zstd.compress))


class Cases:
    """The case numbers to try: at least `few`, and as many as fit into `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, few: int) -> Iterator[int]:
        end = time.monotonic() + self.seconds
        number = 0
        while number < few or time.monotonic() < end:
            yield number
            number += 1
        print(f"{number} cases")


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> Cases:
    return Cases(request.config.getoption("--fuzz-seconds"))


@contextlib.contextmanager
def case(number: int, *allowed: type[Exception]) -> Iterator[random.Random]:
    """The RNG of a case, which may raise only `allowed` errors and must finish within CASE_S."""
    began = time.monotonic()
    try:
        yield random.Random(number)
    except allowed:
        pass
    except BaseException as error:
        error.add_note(f"case {number}")
        raise
    assert time.monotonic() - began < CASE_S, f"case {number} took too long"


def test_tars_are_read_or_refused(cases: Cases) -> None:
    for number in cases(2000):
        with case(number, DataLoss, InvalidArgument) as chance:
            content = mutated_tar(chance.choice(SEEDS), chance)
            size = chance.choice((512, 1000, len(content) + 1))
            reader = TarReader((content[at : at + size] for at in range(0, len(content), size)), LIMITS)
            for header in reader:
                if header.kind == REGULAR and chance.random() < 0.5:
                    reader.consumed(sum(map(len, reader.stream.pieces(header.stored))))


def test_compressed_bytes_are_read_or_refused(cases: Cases) -> None:
    for number in cases(500):
        with case(number, DataLoss) as chance:
            content = mutated_bytes(chance.choice(COMPRESSED), chance)
            size = chance.choice((1, 100, len(content) + 1))
            compression, chunks = sniff(iter([content[at : at + size] for at in range(0, len(content), size)]))
            assert sum(map(len, decompress(compression, chunks))) < 64 << 20


def test_layers_are_unpacked_or_refused_and_stay_in_their_directory(cases: Cases, tmp_path: Path) -> None:
    """Runs chrooted to a test directory, so anything that escapes the target is found next to it."""
    for number in cases(4):
        (jail := tmp_path / str(number)).mkdir()
        first = number * BATCH
        pid = os.fork()
        if pid == 0:
            _extract_cases(jail, first)
        _, status = os.waitpid(pid, 0)
        assert status == 0, (first, (jail / "failure").read_text() if (jail / "failure").exists() else status)
        os.system(f"rm -rf {jail}")  # too deep for shutil


def _extract_cases(jail: Path, first: int) -> None:
    """Never returns."""
    status = 1
    try:
        signal.alarm(int(CASE_S * BATCH))
        os.chroot(jail)
        os.chdir("/")
        for number in range(first, first + BATCH):
            with case(number, SampanError) as chance:
                _extract_one(mutated_tar(chance.choice(SEEDS), chance), chance.choice(list(WhiteoutFormat)))
        status = 0
    except BaseException as error:
        Path("/failure").write_text(f"{error!r} {getattr(error, '__notes__', '')}")
    finally:
        os._exit(status)


def _extract_one(content: bytes, format: WhiteoutFormat) -> None:
    Path("/target").mkdir()
    Path("/canary").mkdir()
    Path("/canary/file").write_text("untouched")
    root = os.open("/target", os.O_RDONLY | os.O_DIRECTORY)
    try:
        extract(iter([content]), root, format, LIMITS)
    except SystemFailure as error:
        raise AssertionError(f"the layer is to blame for: {error}") from error
    finally:
        os.close(root)
        os.chdir("/")
        assert sorted(os.listdir("/")) == ["canary", "target"], os.listdir("/")
        assert os.listdir("/canary") == ["file"]
        assert Path("/canary/file").read_text() == "untouched"
        assert os.lstat("/canary/file").st_nlink == 1
        _remove_all("/target")
        _remove_all("/canary")


def _remove_all(path: str) -> None:
    for parent, directories, names in os.walk(path, topdown=False):
        for name in names:
            os.unlink(os.path.join(parent, name))
        for name in directories:
            whole = os.path.join(parent, name)
            os.unlink(whole) if os.path.islink(whole) else os.rmdir(whole)
    os.rmdir(path)


MANIFEST_SEED = {
    "schemaVersion": 2,
    "mediaType": MANIFEST,
    "config": descriptor(b"config", CONFIG),
    "layers": [descriptor(b"layer", LAYER, annotations={"a": "b"}), descriptor(b"other", LAYER)],
}
INDEX_SEED = {
    "schemaVersion": 2,
    "mediaType": INDEX,
    "manifests": [
        descriptor(b"1", MANIFEST, platform={"os": "linux", "architecture": "amd64", "variant": "v3"}),
        descriptor(b"2", INDEX, platform={"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1"}),
    ],
}
CONFIG_SEED = json.loads(image_config([b"a", b"b"], {"Env": ["A=b"], "Cmd": ["x"]}))


def test_documents_are_read_or_refused(cases: Cases) -> None:
    platform = Platform.parse("linux/arm/v7")
    for number in cases(2000):
        with case(number, InvalidArgument, SampanError) as chance:
            content = _document(chance.choice((MANIFEST_SEED, INDEX_SEED, CONFIG_SEED)), chance)
            read: Callable[[bytes], object] = chance.choice((parse_document, parse_config, _tags_in))
            found = read(content)
            if isinstance(found, Index):
                choose(found, platform)


def test_a_registrys_errors_are_always_texts(cases: Cases) -> None:
    seed = {"errors": [{"code": "DENIED", "message": "no", "detail": {}}], "details": "said"}
    for number in cases(1000):
        with case(number) as chance:
            code, text = error_of(_document(seed, chance), chance.choice((401, 403, 404, 429, 418)))
            assert isinstance(code, str) and isinstance(text, str)


def _document(seed: object, chance: random.Random) -> bytes:
    content = json.dumps(mutated_json(seed, chance)).encode()
    return mutated_bytes(content, chance) if chance.random() < 0.2 else content


LAYERS = [SEEDS[0], tar(directory(b"d"), entry(b"d/upper", b"1"))]


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_reader, "Limits", lambda **_: LIMITS)


@pytest.mark.parametrize("room", [True], ids=["detached"], indirect=True)
async def test_archives_are_loaded_or_refused_and_leave_nothing(cases: Cases, room: Room) -> None:
    seeds = (
        docker_archive((LAYERS, ["a:1"]), ([SEEDS[0]], [])),
        oci_archive(LAYERS),
        gzip.compress(oci_archive(LAYERS)),
    )
    for number in cases(15):
        with case(number, SampanError) as chance:
            seed = chance.choice(seeds)
            content = mutated_bytes(seed, chance) if seed.startswith(b"\x1f") else mutated_tar(seed, chance)
            await _in_time(room.store.load(_chunked(content), progress=Items(), quiet=False))
        await _emptied(room, number)


@pytest.mark.parametrize("room", [True], ids=["detached"], indirect=True)
async def test_a_registrys_answers_are_taken_or_refused_and_leave_nothing(cases: Cases, room: Room) -> None:
    for number in cases(15):
        room.registry.blobs.clear()
        room.registry.manifests.clear()
        manifest = json.loads(room.registry.push("1", LAYERS))
        with case(number, SampanError) as chance:
            what = chance.randrange(3)
            if what == 0:
                room.registry.put("1", _document(manifest, chance))
            elif what == 1:
                digest = chance.choice(list(room.registry.blobs))
                room.registry.blobs[digest] = mutated_bytes(room.registry.blobs[digest], chance)
            else:
                _put_layer(room, manifest, mutated_tar(SEEDS[0], chance))
            await _in_time(room.pull("app:1"))
        await _emptied(room, number)


def _put_layer(room: Room, manifest: dict[str, object], layer: bytes) -> None:
    """Push an image that is valid except for its layer's content."""
    blob, config = gzip.compress(layer), image_config([layer], {})
    described = {**manifest, "config": descriptor(config, CONFIG), "layers": [descriptor(blob, LAYER)]}
    for content in (blob, config):
        room.registry.blobs[descriptor(content, "")["digest"]] = content
    room.registry.put("1", json.dumps(described).encode())


async def _chunked(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 10_000):
        yield content[at : at + 10_000]


async def _in_time(work: object) -> None:
    async with asyncio.timeout(CASE_S):
        await work  # type: ignore[misc]


async def _emptied(room: Room, number: int) -> None:
    """Remove all images; nothing may be left."""
    for image in room.store.list():
        await room.store.remove(image.id, force=True, in_use=lambda _: [])
    assert room.is_empty(), f"case {number} left something"
