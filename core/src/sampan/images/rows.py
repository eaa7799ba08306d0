"""Images and layers as stored in SQLite: `document` is JSON."""

from __future__ import annotations

import json
import logging
import sqlite3
from dataclasses import dataclass
from typing import Any

from sampan.digest import Digest
from sampan.errdefs import InvalidArgument
from sampan.images.image import Image
from sampan.images.image_config import known_fields
from sampan.images.layer_maker import Layer

_log = logging.getLogger(__name__)

ImageRow = tuple[str, str]
LayerRow = tuple[str, str, str | None, int, str]


@dataclass(frozen=True)
class Rows:
    """All rows."""

    images: list[ImageRow]
    references: list[tuple[str, str]]
    layers: list[LayerRow]


def select(connection: sqlite3.Connection) -> Rows:
    """Read everything."""
    return Rows(
        connection.execute("SELECT id, document FROM images").fetchall(),
        connection.execute("SELECT reference, image_id FROM image_references").fetchall(),
        connection.execute("SELECT chain_id, diff_id, parent, size_bytes, document FROM layers").fetchall(),
    )


@dataclass(frozen=True)
class RowName:
    """A row, identified by its table (`images`, `layers` or `image_references`) and its key."""

    table: str
    key: str


def delete(connection: sqlite3.Connection, name: RowName) -> None:
    """Delete a row, and for an image its names too. Layers may be deleted in any order."""
    match name.table:
        case "images":
            connection.execute("DELETE FROM image_references WHERE image_id = ?", (name.key,))
            connection.execute("DELETE FROM image_uses WHERE image_id = ?", (name.key,))
            connection.execute("DELETE FROM images WHERE id = ?", (name.key,))
        case "layers":
            connection.execute("PRAGMA defer_foreign_keys = ON")  # until the commit
            connection.execute("DELETE FROM layers WHERE chain_id = ?", (name.key,))
        case _:
            connection.execute("DELETE FROM image_references WHERE reference = ?", (name.key,))


def image_document(image: Image) -> str:
    """The document of an image's row; names are in a separate table."""
    return json.dumps(
        {
            "config": image.config,
            "layers": image.layers,
            "size_bytes": image.size_bytes,
            "created": image.created,
            "tagged_at": image.tagged_at,
            "documents": image.documents,
        }
    )


def image_of(row: ImageRow) -> Image:
    """An image without its names. Raises `ValueError`, `KeyError`, `TypeError`, `InvalidArgument` for an invalid row.

    If its config is invalid, it gets an empty one, so that it is listed and can be removed.
    """
    id, document = row
    fields = json.loads(document)
    return Image(
        id=Digest(id),
        config=_config(id, json.dumps(fields["config"]).encode()),
        references=(),
        repo_digests=(),
        layers=tuple(Digest(one) for one in fields["layers"]),
        size_bytes=int(fields["size_bytes"]),
        created=str(fields["created"]),
        tagged_at=str(fields["tagged_at"]),
        documents=tuple(Digest(one) for one in fields["documents"]),
    )


def _config(id: str, document: bytes) -> dict[str, Any]:
    try:
        return known_fields(document)
    except InvalidArgument as error:
        _log.error("image %s is shown without its configuration: %s", id, error)
        return {}


def layer_row(layer: Layer) -> LayerRow:
    """The row of a layer."""
    document = {"blob": layer.blob, "blob_bytes": layer.blob_bytes, "media_type": layer.media_type}
    return layer.chain_id, layer.diff_id, layer.parent, layer.size_bytes, json.dumps(document)


def layer_of(row: LayerRow) -> Layer:
    """The layer in a row. Raises as `image_of` does."""
    chain_id, diff_id, parent, size_bytes, document = row
    fields = json.loads(document)
    return Layer(
        chain_id=Digest(chain_id),
        diff_id=Digest(diff_id),
        parent=Digest(parent) if parent else None,
        size_bytes=int(size_bytes),
        blob=Digest(fields["blob"]),
        blob_bytes=int(fields["blob_bytes"]),
        media_type=str(fields["media_type"]),
    )
