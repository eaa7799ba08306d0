"""The physical lower bound for a pull on this machine, and the memory that a pull takes."""

import contextlib
import hashlib
import multiprocessing
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.subjects import Subject, own_processes, proportional_bytes
from sampan.images.layer.decompress import BLOCK_BYTES, decompress, sniff

_LOOK_S = 0.05


def physical_limit_s(blobs: Sequence[Path], directory: Path) -> float:
    """Seconds for reading, hashing and decompressing the layers in `blobs`, and hashing and writing the result.

    Each layer is written to one file below `directory`, by one process per processor, and nothing else is done.
    """
    largest_first = sorted(blobs, key=lambda path: -path.stat().st_size)
    with multiprocessing.get_context("forkserver").Pool() as processes:
        processes.map(_ready, range(multiprocessing.cpu_count()))
        began = time.perf_counter()
        processes.starmap(_write, [(blob, directory / blob.name) for blob in largest_first], chunksize=1)
        return time.perf_counter() - began


def _ready(number: int) -> None:
    pass


def _write(blob: Path, target: Path) -> None:
    compressed, plain = hashlib.sha256(), hashlib.sha256()
    with blob.open("rb", buffering=0) as source, target.open("wb", buffering=0) as file:
        compression, chunks = sniff(iter(lambda: source.read(BLOCK_BYTES), b""))
        for block in decompress(compression, chunks):
            plain.update(block)
            file.write(block)
        source.seek(0)
        while chunk := source.read(BLOCK_BYTES):
            compressed.update(chunk)


def most_bytes(subject: Subject, command: Sequence[str]) -> int:
    """The peak memory of `subject`, sampled while running `command`, which must succeed."""
    most = 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a worker has just ended
                pids = own_processes(subject.root, subject.daemon_pid())
                most = max(most, sum(map(proportional_bytes, pids)))
            time.sleep(_LOOK_S)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {process.returncode}")
    return most
