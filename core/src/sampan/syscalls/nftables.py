"""In-process libnftables: a batch of commands is one kernel transaction.

Running nft(8) for each call would take 8 to 19 ms; this takes 0.2. Source: nftables include/nftables/libnftables.h.
"""

from __future__ import annotations

import ctypes
import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from sampan.errdefs import SystemFailure, Unsupported
from sampan.syscalls.files import unshare_files

LIBRARY = "libnftables.so.1"
OUTPUT_JSON, OUTPUT_NUMERIC_PROTO = 1 << 4, 1 << 7
_FIRST_FILE = 3  # after standard input, output and error


class Nft:
    """One connection to nftables, in the network namespace of the thread that first uses it. Thread-safe.

    It has a dedicated thread with a separate file descriptor table: libnftables waits for the kernel with select(2),
    and glibc aborts the process if the socket's number is FD_SETSIZE or more (nftables src/mnl.c). A daemon with some
    170 containers has that many files open.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "nft", initializer=unshare_files, initargs=(_FIRST_FILE,))
        self._context: int | None = None

    def run(self, commands: str) -> None:
        """Run all commands or none. Raises `SystemFailure` with nft's message, `Unsupported` without the library."""
        self._run(commands)

    def query(self, command: str) -> list[dict[str, Any]]:
        """The output of a `list` command, as in libnftables-json(5). Raises as `run` does."""
        answer = self._run(command)
        found: list[dict[str, Any]] = json.loads(answer)["nftables"] if answer else []
        return found

    def close(self) -> None:
        """Close the connection for good, without waiting.

        After deletions, the kernel takes some 15 ms to close it (nft_rcv_nl_event in Linux
        net/netfilter/nf_tables_api.c).
        """
        self._thread.submit(self._free)
        self._thread.shutdown(wait=False)

    def _run(self, commands: str) -> str:
        library = load()
        return self._thread.submit(self._run_here, library, commands).result()

    def _run_here(self, library: ctypes.CDLL, commands: str) -> str:
        if self._context is None:
            self._context = _new_context(library)
        status = library.nft_run_cmd_from_buffer(self._context, commands.encode())
        output: bytes = library.nft_ctx_get_output_buffer(self._context)
        errors: bytes = library.nft_ctx_get_error_buffer(self._context)
        if status != 0:
            raise SystemFailure(f"nftables: {errors.decode(errors='replace').strip()}")
        return output.decode()

    def _free(self) -> None:
        if self._context is not None:
            load().nft_ctx_free(self._context)
            self._context = None


@cache
def load() -> ctypes.CDLL:
    """The library, with its functions declared. Raises `Unsupported` if it is not installed."""
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
