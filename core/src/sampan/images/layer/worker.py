"""The unpacker: a process for one layer. `unpack` starts and feeds it.

Its standard input is the blob, its only argument a JSON object (`directory`, `parent` pid, `whiteouts`, `expected`,
`size`, `hashed`, `growth`, `limits`), its answer a line of JSON: the fields of `Unpacked`, or `error` and `message`.

Everything it needs is imported before it is confined; later it loads nothing, as any path would lead to the image's
files (CVE-2019-14271; though it could not execute them, as the mount is noexec). For the same reason there are no
tracebacks, which would read source files.
"""

from __future__ import annotations

import json
import os
import sys
from base64 import b64encode
from collections.abc import Callable
from typing import Any, NoReturn

from sampan.errdefs import SampanError, SystemFailure
from sampan.images.layer.confine import confine
from sampan.images.layer.extract import Extracted, extract
from sampan.images.layer.limits import Limits, WhiteoutFormat
from sampan.images.layer.pipeline import Pipeline, chunks_of, grown_chunks

BLOB = 0
_ANSWER = 2


def main() -> None:
    """Unpack and answer; does not return."""
    answer_with(_work)


def answer_with(work: Callable[[dict[str, Any]], dict[str, Any]]) -> NoReturn:
    """Do `work` for the request in the arguments, write its result or error, and end the process."""
    try:
        answer = work(json.loads(sys.argv[1]))
    except SampanError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        answer = {"error": "InvalidArgument", "message": "the archive takes more memory than there is for it"}
    except Exception as error:  # hostile bytes may trigger any bug of ours: the daemon gets it as an answer
        answer = {
            "error": SystemFailure.__name__,
            "message": f"the archive can't be processed: {type(error).__name__}: {error}",
        }
    content = json.dumps(answer).encode()
    while content:
        content = content[os.write(_ANSWER, content) :]
    os._exit(0)  # threads may still be waiting for input that nobody needs


def _work(request: dict[str, Any]) -> dict[str, Any]:
    limits = Limits(**request["limits"])
    growth = request.get("growth")  # a daemon still running when its package is upgraded does not send it
    chunks = chunks_of(BLOB) if growth is None else grown_chunks(BLOB, growth)
    pipeline = Pipeline(
        chunks, expected=request["expected"], size=request["size"], limits=limits, hashed=request["hashed"]
    )
    confine(request["directory"], parent=request["parent"], file_bytes=limits.total_bytes)
    pipeline.start()
    blocks = pipeline.blocks()
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        extracted = extract(blocks, root, WhiteoutFormat(request["whiteouts"]), limits)
        for _ in blocks:
            pass  # what follows the tar's end is part of its digest
    except SampanError:
        pipeline.blame()
        raise
    return _answer(extracted, *pipeline.finish())


def _answer(extracted: Extracted, digest: str, diff_id: str) -> dict[str, Any]:
    return {
        "digest": digest,
        "diff_id": diff_id,
        "size_bytes": extracted.size_bytes,
        "inodes": extracted.inodes,
        "implicit_dirs": b64encode(b"\0".join(extracted.implicit)).decode(),
        "trusted": [[b64encode(part).decode() for part in one] for one in extracted.trusted],
    }
