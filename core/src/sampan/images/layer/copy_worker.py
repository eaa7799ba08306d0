"""Reads and writes a container's files: a process for one archive, in either direction. `copy` starts and feeds it.

Its argument is a JSON object: the `parent` pid, `namespace`, the file descriptor of a mount namespace whose root is
the container's, and `action`: `unpack` its standard input, or write a tar to its standard output, of a `path`, of the
`tree`, or of the `changes` that its standard input lists.

Everything it needs is imported before it is confined, as in `worker`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from sampan.errdefs import SystemFailure
from sampan.images.layer.confine import confine_in
from sampan.images.layer.extract import Placement, extract
from sampan.images.layer.limits import Limits, WhiteoutFormat
from sampan.images.layer.pack import DELETED, Packer, pack_path
from sampan.images.layer.pipeline import chunks_of, unhashed_blocks
from sampan.images.layer.worker import BLOB, answer_with

_OUTPUT = 1
_READ_BYTES = 256 << 10


def main() -> None:
    """Copy and answer; does not return."""
    answer_with(_work)


def _work(request: dict[str, Any]) -> dict[str, Any]:
    action = request["action"]
    if action == "unpack":
        return _unpack(request)
    confine_in(request["namespace"], parent=request["parent"], file_bytes=0)
    root = _open_root()
    packer = Packer(_OUTPUT, exact=action != "path")
    try:
        if action == "path":
            pack_path(packer, root, os.fsencode(request["path"]), os.fsencode(request["name"]))
        elif action == "tree":
            packer.add_content(root)
        else:
            packer.add_changes(root, _listed())
        packer.close()
    except OSError as error:
        raise SystemFailure(_told(error)) from error
    return {}


def _unpack(request: dict[str, Any]) -> dict[str, Any]:
    limits = Limits(**request["limits"])
    owner = request["owner"]
    placement = Placement(os.fsencode(request["base"]), tuple(owner) if owner else None, request["keep_kinds"])
    confine_in(request["namespace"], parent=request["parent"], file_bytes=limits.total_bytes)
    blocks = unhashed_blocks(chunks_of(BLOB), limits)
    extract(blocks, _open_root(), WhiteoutFormat.LITERAL, limits, placement)
    for _ in blocks:
        pass  # the sender need not know where the archive ends
    return {}


def _open_root() -> int:
    return os.open("/", os.O_RDONLY | os.O_DIRECTORY)


def _listed() -> Iterator[tuple[bytes, bool]]:
    """The changes in standard input: path, and whether it is deleted."""
    rest = b""
    while piece := os.read(BLOB, _READ_BYTES):
        *whole, rest = (rest + piece).split(b"\0")
        for line in whole:
            yield line[1:], line[:1] == DELETED
    if rest:
        raise SystemFailure("the list of changes is cut off")


def _told(error: OSError) -> str:
    text = (error.strerror or str(error)).lower()
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    return f"{name}: {text}" if name else text
