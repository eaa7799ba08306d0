"""What pull tests push, and what they inspect."""

import json
from pathlib import Path
from typing import Any

import pytest

from sampan.digest import Digest
from sampan.errdefs import (
    SampanError,
)
from sampan.images.store import Image
from tests.support.images import Entry, directory, layer
from tests.unit.images.conftest import Room
from tests.unit.images.fake_registry import INDEX, MANIFEST, descriptor

BASE = layer([directory("etc"), Entry("etc/base", b"base\n")])
UPPER = layer([directory("etc"), Entry("etc/upper", b"upper\n")])
OTHER = layer([Entry("other", b"other\n" * 50_000)])


def diff_ids(*layers: bytes) -> list[Digest]:
    return [Digest.of(one) for one in layers]


def files(room: Room, image: Image) -> dict[str, bytes]:
    """The files of an image, read through a temporary snapshot."""
    mounts = room.storage.prepare("look", image.snapshot)
    try:
        root = Path(mounts[0].source)
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    finally:
        room.storage.remove("look")


def push_index(room: Room, **more: Any) -> bytes:
    manifest = room.registry.push("amd64", [BASE])
    arm = room.registry.push("arm64", [UPPER], architecture="arm64")
    document = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                descriptor(arm, MANIFEST, platform={"os": "linux", "architecture": "arm64"}),
                descriptor(manifest, MANIFEST, platform={"os": "linux", "architecture": "amd64"}, **more),
            ],
        }
    ).encode()
    room.registry.put("multi", document, INDEX)
    return document


async def refuses(room: Room, kind: type[SampanError], message: str) -> None:
    with pytest.raises(kind) as refused:
        await room.pull("app:1")
    assert message in str(refused.value)
    assert room.is_empty()
