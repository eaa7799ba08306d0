"""Decompresses its standard input to its standard output: a process for one archive. `expand` starts and feeds it.

Its argument is a JSON object: the `parent` pid, an empty `directory` to be confined in, `limits`. Everything it needs
is imported before it is confined, as in `worker`.
"""

from __future__ import annotations

import os
from typing import Any

from sampan.images.layer.confine import confine
from sampan.images.layer.limits import Limits
from sampan.images.layer.pipeline import chunks_of, unhashed_blocks
from sampan.images.layer.worker import BLOB, answer_with

_OUTPUT = 1


def main() -> None:
    """Decompress and answer; does not return."""
    answer_with(_work)


def _work(request: dict[str, Any]) -> dict[str, Any]:
    confine(request["directory"], parent=request["parent"], file_bytes=0)
    for block in unhashed_blocks(chunks_of(BLOB), Limits(**request["limits"])):
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(_OUTPUT, rest) :]
    return {}
