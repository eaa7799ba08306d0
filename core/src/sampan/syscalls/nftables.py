"""libnftables in process: a batch of commands is one transaction of the kernel's.

A program per call would cost 8 to 19 ms, this costs 0.2. Source: nftables include/nftables/libnftables.h.
"""

from __future__ import annotations

import ctypes
import json
from functools import cache
from typing import Any

from sampan.errdefs import SystemFailure, Unsupported
from sampan.syscalls.files import unshare_files
from sampan.syscalls.netns import in_own_thread

LIBRARY = "libnftables.so.1"
OUTPUT_JSON, OUTPUT_NUMERIC_PROTO = 1 << 4, 1 << 7
_FIRST_FILE = 3  # after standard input, output and error


def run(commands: str) -> None:
    """Do all commands or none, in the network namespace of the calling thread.

    Raises `SystemFailure` with nft's words, `Unsupported` without the library.
    """
    _run(commands)


def query(command: str) -> list[dict[str, Any]]:
    """What a `list` command answers, as in libnftables-json(5). Raises as `run` does."""
    answer = _run(command)
    found: list[dict[str, Any]] = json.loads(answer)["nftables"] if answer else []
    return found


def _run(commands: str) -> str:
    library = load()
    return in_own_thread(lambda: _run_apart(library, commands))


def _run_apart(library: ctypes.CDLL, commands: str) -> str:
    # The library waits for the kernel with select(2), and glibc ends the process if the socket's number is FD_SETSIZE
    # or more (nftables src/mnl.c). A daemon with some 170 containers has as many files open; this thread has not.
    unshare_files(_FIRST_FILE)
    context = _new_context(library)
    try:
        status = library.nft_run_cmd_from_buffer(context, commands.encode())
        output: bytes = library.nft_ctx_get_output_buffer(context)
        errors: bytes = library.nft_ctx_get_error_buffer(context)
    finally:
        library.nft_ctx_free(context)
    if status != 0:
        raise SystemFailure(f"nftables: {errors.decode(errors='replace').strip()}")
    return output.decode()


@cache
def load() -> ctypes.CDLL:
    """The library, its functions declared. Raises `Unsupported` if it is not installed."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise Unsupported(
            f"{LIBRARY} is missing: install the package libnftables1 (Debian, Ubuntu) or nftables (elsewhere)"
        ) from None
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_new.restype = ctypes.c_void_p
    for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    return library


def _new_context(library: ctypes.CDLL) -> int:
    context: int | None = library.nft_ctx_new(0)
    if context is None:
        raise SystemFailure("nftables: no context can be made")
    library.nft_ctx_buffer_output(context)
    library.nft_ctx_buffer_error(context)
    library.nft_ctx_output_set_flags(context, OUTPUT_JSON | OUTPUT_NUMERIC_PROTO)
    return context
