"""The manifest of an image in the store, as sent to registries and written to archives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sampan.digest import Digest
from sampan.errdefs import SampanError
from sampan.images.content import ContentStore
from sampan.images.image import Image
from sampan.images.layer.decompress import sniff
from sampan.images.layer_maker import Layer
from sampan.images.manifest import DOCUMENT_BYTES_MAX, OCI_MANIFEST, Descriptor, Manifest, parse_document

_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
_SUFFIXES = {None: "", "gzip": "+gzip", "zstd": "+zstd"}
_HEAD_BYTES = 16


@dataclass(frozen=True)
class Description:
    """A manifest, its bytes, and the blobs of its layers, lowest first."""

    content: bytes
    media_type: str
    layers: tuple[Descriptor, ...]

    @property
    def digest(self) -> Digest:
        """The digest of the bytes."""
        return Digest.of(self.content)


def known(content: ContentStore, image: Image) -> list[Description]:
    """The manifests that an image was obtained or pushed with, oldest first. Reads files.

    The blobs that they refer to may differ from those in the store.
    """
    found, layers = [], len(image.layers)
    for digest in image.documents:
        try:
            document = content.read(digest, DOCUMENT_BYTES_MAX)
            parsed = parse_document(document)
        except SampanError:
            continue  # gone, or of a kind that is not passed on
        if isinstance(parsed, Manifest) and parsed.config.digest == image.id and len(parsed.layers) == layers:
            found.append(Description(document, parsed.media_type, parsed.layers))
    return found


def described(content: ContentStore, image: Image, layers: Sequence[Layer]) -> Description:
    """A manifest of our own: always the same bytes for the same image and blobs. Reads files."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": _OCI_CONFIG, "digest": image.id, "size": content.size_bytes(image.id)},
        "layers": [
            {
                "mediaType": _OCI_LAYER + _SUFFIXES[compression_of(content.path(layer.blob))],
                "digest": layer.blob,
                "size": layer.blob_bytes,
            }
            for layer in layers
        ],
    }
    document = json.dumps(manifest, separators=(",", ":")).encode()
    return Description(document, OCI_MANIFEST, cast("Manifest", parse_document(document)).layers)


def is_distributable(content: ContentStore, layer: Layer) -> bool:
    """Whether registries accept the layer's blob: it must be compressed, in a common format. Reads a file."""
    return compression_of(content.path(layer.blob)) in ("gzip", "zstd")


def compression_of(blob: Path) -> str | None:
    """A blob's compression, `None` if it has none."""
    with blob.open("rb") as file:
        return sniff(iter([file.read(_HEAD_BYTES)]))[0]
